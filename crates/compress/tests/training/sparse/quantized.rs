//! Zeros become codes of zero.

use bantam_compress::quantize::aware::{AwareSettings, bake, make_aware, prepare, weights_without_zero};
use bantam_compress::stats::{ObserveOptions, observe};
use bantam_compress::target::target_by_name;
use bantam_tensor::BatchSize;

use super::*;

fn aware(graph: &Graph, samples: &Bars, weights: &str) -> bantam_compress::quantize::aware::Aware {
    let mut settings = AwareSettings::for_target(target_by_name("onnxruntime").unwrap());
    settings.set_formats(weights, "uint8").unwrap();
    let preparation = prepare(graph, &settings).unwrap();
    let options = ObserveOptions {
        indices: &(0..32).collect::<Vec<_>>(),
        batch_size: BatchSize::AtMost(8),
        progress: &|_| (),
    };
    let stats = observe(&preparation.observed, samples, &preparation.requests, &options).unwrap();
    make_aware(&preparation, &stats).unwrap()
}

#[test]
fn pruned_weights_get_codes_of_zero() {
    let samples = Bars::new(160);
    for format in ["int8", "int4", "int3"] {
        let start = pruned(&network(), 0.6);
        let mut aware = aware(&start, &samples, format);
        assert!(weights_without_zero(&aware).unwrap().is_empty());
        let settings = with(SparsitySettings::default());
        let mut notes = Notes::default();
        let trained = train(
            &aware.graph,
            &samples,
            &settings,
            &aware.rules(),
            None,
            None,
            &mut notes,
        )
        .unwrap();
        assert_eq!(
            trained.sparsity.iter().map(|it| it.zeros).sum::<usize>(),
            count_zeros(&start)
        );
        aware.graph = trained.graph;
        let baked = bake(&aware).unwrap().graph;
        for (name, before) in MASKED.iter().zip(masked(&start)) {
            let shape = |graph: &Graph| {
                let value = graph.value_by_name(name).unwrap();
                graph.constant(value).unwrap().shape().to_vec()
            };
            let codes = baked
                .values
                .iter()
                .filter_map(|value| value.initializer.as_ref())
                .find(|tensor| {
                    !tensor.dtype().is_float()
                        && tensor.shape() == shape(&start)
                        && tensor.len() == before.len()
                });
            let codes = codes.expect("a weight in codes").to_f32().unwrap();
            let gone = before.iter().zip(&codes).filter(|(before, _)| **before == 0.0);
            assert!(
                gone.map(|(_, code)| *code).all(|code| code == 0.0),
                "{format}: {name}"
            );
            assert!(codes.iter().any(|code| *code != 0.0));
        }
        assert!(samples.accuracy(&baked) > 0.9, "{format}");
    }
}

#[test]
fn formats_without_a_zero_are_named() {
    let without = weights_without_zero(&aware(&network(), &Bars::new(64), "int2")).unwrap();
    // The first and the last layer keep 8 bits.
    assert_eq!(without, ["hidden_w"]);
}
