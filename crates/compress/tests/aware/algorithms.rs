//! Algorithms that choose codes: each makes the outputs of a small network differ less from those in float.

use bantam_compress::quantize::aware::{
    Aware, AwareSettings, BatchNormalizationMode, bake, make_aware, prepare,
};
use bantam_compress::quantize::layerwise::{ALGORITHMS, Algorithm, Calibration, algorithm_by_name};
use bantam_compress::stats::{ObserveOptions, observe};
use bantam_compress::target::target_by_name;
use bantam_graph::Graph;
use bantam_graph::ops::MatMul;
use bantam_tensor::{BatchSize, Samples, Tensor};

use crate::networks::{decibels, residual, run, settings};
use crate::support::{Noise, constant, finish, input};

/// Settings for these formats.
fn formats([weights, activations]: [&str; 2], mode: BatchNormalizationMode) -> AwareSettings {
    let mut settings = settings(target_by_name("onnxruntime").unwrap(), weights, activations);
    settings.batch_normalization = mode;
    settings
}

/// The network with quantizers, after these algorithms.
pub(crate) fn chosen(graph: &Graph, algorithms: &[&dyn Algorithm], settings: &AwareSettings) -> Aware {
    let preparation = prepare(graph, settings).unwrap();
    let samples = Noise::for_graph(graph);
    let indices: Vec<usize> = (0..samples.len()).collect();
    let batch_size = BatchSize::AtMost(4);
    let options = ObserveOptions {
        indices: &indices,
        batch_size,
        progress: &|_| (),
    };
    let stats = observe(&preparation.observed, &samples, &preparation.requests, &options).unwrap();
    let mut aware = make_aware(&preparation, &stats).unwrap();
    for algorithm in algorithms {
        let calibration = Calibration {
            float: &preparation.base,
            samples: &samples,
            indices: &indices,
            batch_size,
            steps: Some(150),
            learning_rate: Some(1e-3),
            seed: 1,
            progress: &|_, _| (),
        };
        algorithm.apply(&mut aware, &calibration).unwrap();
    }
    aware
}

/// Signal to noise of the file's outputs.
fn quality(graph: &Graph, aware: &Aware) -> f64 {
    decibels(&run(graph), &run(&bake(aware).unwrap().graph))
}

#[test]
fn each_is_better_than_the_nearest_codes() {
    let graph = residual();
    for widths in [["int4", "uint8"], ["int3", "uint8"], ["int2", "uint8"]] {
        for mode in [BatchNormalizationMode::Fold, BatchNormalizationMode::Keep] {
            let nearest = quality(&graph, &chosen(&graph, &[], &formats(widths, mode)));
            for algorithm in ALGORITHMS {
                // Batches of four say too little to train with their statistics.
                if algorithm.name() == "distill" && mode == BatchNormalizationMode::Keep {
                    continue;
                }
                let found = quality(&graph, &chosen(&graph, &[*algorithm], &formats(widths, mode)));
                let name = algorithm.name();
                assert!(
                    found > nearest + 1.0,
                    "{name}, {widths:?}, {mode:?}: {found:.1} dB after {nearest:.1} dB"
                );
            }
        }
    }
}

#[test]
fn least_squares_make_up_for_rounded_activations() {
    let graph = residual();
    let quality = |name: &str| {
        let algorithm = algorithm_by_name(name).unwrap();
        quality(
            &graph,
            &chosen(
                &graph,
                &[algorithm],
                &formats(["int4", "uint3"], BatchNormalizationMode::Fold),
            ),
        )
    };
    let (plain, better) = (quality("gptq"), quality("least-squares"));
    assert!(better > plain + 1.0, "{better:.1} dB after {plain:.1} dB");
}

#[test]
fn what_is_chosen_is_what_is_baked() {
    let graph = residual();
    for algorithm in ALGORITHMS {
        let aware = chosen(
            &graph,
            &[*algorithm],
            &formats(["int3", "uint4"], BatchNormalizationMode::Fold),
        );
        let (trained, baked) = (run(&aware.graph), run(&bake(&aware).unwrap().graph));
        let decibels = decibels(&trained, &baked);
        assert!(decibels > 60.0, "{}: {decibels:.1} dB", algorithm.name());
    }
}

#[test]
fn zero_points_of_weights_are_kept() {
    let graph = residual();
    let mut settings = formats(["uint3", "uint8"], BatchNormalizationMode::Fold);
    settings.quantize.symmetric_weights = false;
    let nearest = quality(&graph, &chosen(&graph, &[], &settings));
    for name in ["gptq", "obq", "adaround", "signround", "least-squares"] {
        let found = quality(
            &graph,
            &chosen(&graph, &[algorithm_by_name(name).unwrap()], &settings),
        );
        assert!(
            found > nearest + 1.0,
            "{name}: {found:.1} dB after {nearest:.1} dB"
        );
    }
}

/// Nothing is known of weights whose inputs are always zero.
#[test]
fn inputs_that_are_always_zero_leave_weights_finite() {
    let mut graph = residual();
    let beta = graph.value_by_name("second_beta").unwrap();
    graph.value_mut(beta).initializer = Some(Tensor::from_vec1(&[-100f32; 8]));
    for name in ["gptq", "obq", "adaround", "signround", "least-squares"] {
        let settings = formats(["int3", "uint8"], BatchNormalizationMode::Fold);
        let found = quality(
            &graph,
            &chosen(&graph, &[algorithm_by_name(name).unwrap()], &settings),
        );
        assert!(found > 15.0, "{name}: {found:.1} dB");
    }
}

#[test]
fn rows_that_are_too_long_are_refused() {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[1200]);
    let weight = constant(&mut graph, "w", &[1200, 2], 0.5);
    let y = graph.add_node("y", MatMul {}, &[x, weight]);
    let graph = finish(graph, &[y]);
    let mut settings = formats(["int4", "uint8"], BatchNormalizationMode::Fold);
    settings.float_activations = true;
    let preparation = prepare(&graph, &settings).unwrap();
    let mut aware = make_aware(&preparation, &Default::default()).unwrap();
    let calibration = Calibration {
        float: &preparation.base,
        samples: &Noise::for_graph(&graph),
        indices: &[0],
        batch_size: BatchSize::AtMost(4),
        steps: None,
        learning_rate: None,
        seed: 0,
        progress: &|_, _| (),
    };
    let error = algorithm_by_name("obq").unwrap().apply(&mut aware, &calibration);
    let message = error.unwrap_err().to_string();
    assert!(
        message.contains("1200 weights") && message.contains("hint: "),
        "{message}"
    );
}
