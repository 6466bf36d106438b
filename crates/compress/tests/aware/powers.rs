//! Targets whose scales are powers of two, and those that prescribe some.

use bantam_compress::plan::{Action, Plan};
use bantam_compress::quantize::aware::{
    AwareError, AwareSettings, BatchNormalizationMode, ScaleTraining, bake, prepare,
};
use bantam_compress::quantize::layerwise::ALGORITHMS;
use bantam_compress::target::{is_power_of_two, target_by_name};

use crate::algorithms::chosen;
use crate::networks::{aware, decibels, residual, run, settings, shaken};

fn fpga(weights: &str, activations: &str) -> AwareSettings {
    settings(target_by_name("fpga").unwrap(), weights, activations)
}

/// All scales of a plan.
fn scales(plan: &Plan) -> Vec<f32> {
    let params = plan
        .decisions
        .iter()
        .filter_map(|decision| match &decision.action {
            Action::QuantizeActivation(params) | Action::QuantizeConstant { params, .. } => Some(params),
            _ => None,
        });
    params.flat_map(|params| params.scale.clone()).collect()
}

#[test]
fn codes_of_every_algorithm_have_scales_that_are_powers_of_two() {
    let graph = residual();
    for algorithm in std::iter::once(None).chain(ALGORITHMS.iter().map(Some)) {
        for (weights, least) in [("int8", 20.0), ("int4", 8.0)] {
            let algorithms: Vec<_> = algorithm.into_iter().copied().collect();
            let name = algorithm.map_or("nearest", |algorithm| algorithm.name());
            let baked = bake(&chosen(&graph, &algorithms, &fpga(weights, "int8").untrained())).unwrap();
            let scales = scales(&baked.plan);
            assert!(scales.len() > 20, "{name}: {}", scales.len());
            assert!(
                scales.iter().all(|scale| is_power_of_two(*scale)),
                "{name} {weights}: {scales:?}"
            );
            let quality = decibels(&run(&graph), &run(&baked.graph));
            assert!(quality > least, "{name} {weights}: {quality:.1} dB");
        }
    }
}

#[test]
fn training_keeps_powers_of_two() {
    let aware = shaken(aware(&residual(), &fpga("int4", "int8")).unwrap());
    let scales = scales(&bake(&aware).unwrap().plan);
    assert!(scales.iter().all(|scale| is_power_of_two(*scale)), "{scales:?}");
}

#[test]
fn what_would_leave_other_scales_is_refused() {
    let graph = residual();
    let mut learned = fpga("int8", "int8");
    learned.scales = ScaleTraining::Learned;
    let mut kept = fpga("int8", "int8");
    kept.batch_normalization = BatchNormalizationMode::Keep;
    for settings in [learned, kept] {
        let refused = prepare(&graph, &settings);
        assert!(matches!(refused, Err(AwareError::Scales { target: "fpga" })));
    }
}
