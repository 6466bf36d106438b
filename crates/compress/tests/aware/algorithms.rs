//! Algorithms that choose codes: each makes the outputs of a small network differ less from those in float.

use bantam_compress::quantize::aware::{Aware, BatchNormalizationMode, bake, make_aware, prepare};
use bantam_compress::quantize::layerwise::{ALGORITHMS, Algorithm, Calibration, algorithm_by_name};
use bantam_compress::stats::{ObserveOptions, observe};
use bantam_compress::target::target_by_name;
use bantam_graph::Graph;
use bantam_tensor::{BatchSize, Samples};

use crate::networks::{decibels, residual, run, settings};
use crate::support::Noise;

/// The network with quantizers, after these algorithms.
fn chosen(
    graph: &Graph,
    algorithms: &[&dyn Algorithm],
    formats: [&str; 2],
    mode: BatchNormalizationMode,
) -> Aware {
    let mut settings = settings(target_by_name("onnxruntime").unwrap(), formats[0], formats[1]);
    settings.batch_normalization = mode;
    let preparation = prepare(graph, &settings).unwrap();
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
    for formats in [["int4", "uint8"], ["int3", "uint8"], ["int2", "uint8"]] {
        for mode in [BatchNormalizationMode::Fold, BatchNormalizationMode::Keep] {
            let nearest = quality(&graph, &chosen(&graph, &[], formats, mode));
            for algorithm in ALGORITHMS {
                // Batches of four say too little to train with their statistics.
                if algorithm.name() == "distill" && mode == BatchNormalizationMode::Keep {
                    continue;
                }
                let found = quality(&graph, &chosen(&graph, &[*algorithm], formats, mode));
                let name = algorithm.name();
                assert!(
                    found > nearest + 1.0,
                    "{name}, {formats:?}, {mode:?}: {found:.1} dB after {nearest:.1} dB"
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
                ["int4", "uint3"],
                BatchNormalizationMode::Fold,
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
            ["int3", "uint4"],
            BatchNormalizationMode::Fold,
        );
        let (trained, baked) = (run(&aware.graph), run(&bake(&aware).unwrap().graph));
        let decibels = decibels(&trained, &baked);
        assert!(decibels > 60.0, "{}: {decibels:.1} dB", algorithm.name());
    }
}
