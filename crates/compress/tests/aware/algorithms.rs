//! Algorithms that choose codes: each makes the outputs of a small network differ less from those in float.

use bantam_compress::quantize::aware::{
    Aware, AwareSettings, BatchNormalizationMode, bake, make_aware, prepare,
};
use bantam_compress::quantize::layerwise::{ALGORITHMS, Algorithm, Calibration, algorithm_by_name};
use bantam_compress::stats::{ObserveOptions, observe};
use bantam_compress::target::target_by_name;
use bantam_graph::ops::MatMul;
use bantam_graph::{Dim, Graph, InferOptions, Op, ValueType, infer_shapes};
use bantam_tensor::{BatchSize, DType, Samples, Tensor};

use crate::networks::{decibels, residual, run, settings};
use crate::support::{Noise, constant, finish, input};

/// Settings for these formats.
fn formats([weights, activations]: [&str; 2], mode: BatchNormalizationMode) -> AwareSettings {
    let mut settings = settings(target_by_name("onnxruntime").unwrap(), weights, activations);
    settings.batch_normalization = mode;
    // Rounded weights are what counts here: not every sum is rounded too.
    settings.packed_codes = false;
    settings
}

/// The network with quantizers, after these algorithms.
pub(crate) fn chosen(graph: &Graph, algorithms: &[&dyn Algorithm], settings: &AwareSettings) -> Aware {
    drawn(graph, algorithms, settings, (150, 1))
}

/// The same with so many steps and this seed.
fn drawn(
    graph: &Graph,
    algorithms: &[&dyn Algorithm],
    settings: &AwareSettings,
    (steps, seed): (usize, u64),
) -> Aware {
    let preparation = prepare(graph, settings).unwrap();
    let samples = Noise::for_graph(graph);
    let indices: Vec<usize> = (0..samples.len()).collect();
    let dims = graph.value(graph.inputs[0]).ty.shape().unwrap();
    let batch_size = dims[0].known().map_or(BatchSize::AtMost(4), BatchSize::Fixed);
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
            steps: Some(steps),
            learning_rate: Some(1e-3),
            seed,
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
            for algorithm in ALGORITHMS.iter().filter(|it| it.name() != "stochastic") {
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

/// Those that train take as many samples at once as a network with a batch of its own wants.
#[test]
fn a_network_fixes_the_samples_of_a_step() {
    let mut graph = residual();
    let x = graph.inputs[0];
    let mut dims = graph.value(x).ty.shape().unwrap().to_vec();
    dims[0] = Dim::Known(2);
    graph.values[x.index()].ty = ValueType::tensor(DType::F32, dims);
    infer_shapes(&mut graph, &InferOptions::default()).unwrap();
    let settings = formats(["int3", "uint8"], BatchNormalizationMode::Fold);
    let values = |algorithms: &[&dyn Algorithm]| {
        let aware = drawn(&graph, algorithms, &settings, (20, 0));
        let weight = aware.graph.value_by_name("fc_w").unwrap();
        aware.graph.constant(weight).unwrap().to_f32().unwrap()
    };
    for name in ["brecq", "distill"] {
        assert_ne!(values(&[algorithm_by_name(name).unwrap()]), values(&[]), "{name}");
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

/// Weights rounded at random are right on average, and each lies beside the number it comes from; the best of many draws is better than most.
#[test]
fn stochastic_rounding_is_unbiased() {
    let graph = residual();
    let settings = formats(["int3", "uint8"], BatchNormalizationMode::Fold);
    let of_draw =
        |algorithms: &[&dyn Algorithm], steps, seed| drawn(&graph, algorithms, &settings, (steps, seed));
    let stochastic = algorithm_by_name("stochastic").unwrap();
    let before = of_draw(&[], 1, 0);
    let draws: Vec<Aware> = (0..200).map(|seed| of_draw(&[stochastic], 1, seed)).collect();
    let name = before.graph.nodes.iter().find_map(|node| {
        let weight = node.input(0).filter(|_| matches!(node.op, Op::FakeQuant(_)))?;
        let is_kernel = before.graph.constant(weight)?.rank() == 4;
        is_kernel.then(|| before.graph.value(weight).name.clone())
    });
    let name = name.unwrap();
    let weights = |aware: &Aware| {
        let value = aware.graph.value_by_name(&name).unwrap();
        aware.graph.constant(value).unwrap().to_f32().unwrap()
    };
    let exact = weights(&before);
    let rounded: Vec<Vec<f32>> = draws.iter().map(weights).collect();
    assert_ne!(rounded[0], rounded[1]);
    assert_eq!(rounded[0], weights(&of_draw(&[stochastic], 1, 0)));
    let largest = exact.iter().fold(0f32, |largest, x| largest.max(x.abs()));
    let mut bias = 0.0;
    for (index, x) in exact.iter().enumerate() {
        let mean = rounded.iter().map(|row| row[index]).sum::<f32>() / draws.len() as f32;
        bias += (mean - x) / exact.len() as f32;
        // Scales are per channel, of at most a third of the largest weight; clipped ends may be further away.
        assert!((mean - x).abs() < largest / 3.0, "{x} became {mean}");
    }
    assert!(bias.abs() < 0.005 * largest, "{bias}");
    let single: Vec<f64> = draws[..20].iter().map(|draw| quality(&graph, draw)).collect();
    let best = quality(&graph, &of_draw(&[stochastic], 64, 0));
    let better = single.iter().filter(|draw| **draw > best).count();
    assert!(better < 5, "{best:.1} dB, single draws {single:.1?}");
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
