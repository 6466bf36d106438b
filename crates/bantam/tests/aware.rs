//! Graphs that quantization-aware training leaves compute in ONNX Runtime and OpenVINO what they compute in Bantam.

#![expect(clippy::print_stderr, reason = "a skipped test says so")]

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../../compress/tests/aware/networks.rs"]
mod networks;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../../compress/tests/quantization/support.rs"]
mod support;

use bantam::compress::quantize::aware::{ActivationMapping, AwareSettings, WeightMapping, bake};
use bantam::compress::target::target_by_name;
use bantam::formats::onnx::SaveOptions;
use bantam::graph::Model;
use bantam::pipeline;
use bantam::runtime::{RuntimeError, RuntimeKind, open, version};
use bantam::tensor::Tensor;

use networks::{aware, decibels, residual, run, settings, shaken};
use support::Noise;

fn check(kind: RuntimeKind, name: &str, settings: &AwareSettings) {
    let graph = residual();
    let trained = shaken(aware(&graph, settings).unwrap());
    let baked = bake(&trained).unwrap().graph;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("baked.onnx");
    pipeline::export(&Model::new(baked), &path, &SaveOptions::default()).unwrap();
    let inputs = Noise::for_graph(&graph).all().inputs;
    let inputs: Vec<(&str, Tensor)> = inputs
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor.clone()))
        .collect();
    let mut runner = open(kind, &path, 1).unwrap();
    let outputs = runner.run(&inputs).unwrap()[0].to_f64().unwrap();
    let ours = run(&trained.graph);
    // Numbers on the border of two levels may go to either, so that a sample or two may differ.
    let mut db: Vec<f64> = ours
        .chunks(2)
        .zip(outputs.chunks(2))
        .map(|(ours, theirs)| decibels(ours, theirs))
        .collect();
    db.sort_by(f64::total_cmp);
    assert!(db[2] > 38.0, "{kind}, {name}: {db:?} dB");
}

#[test]
fn runtimes_agree() {
    for (kind, target) in [
        (RuntimeKind::OnnxRuntime, "onnxruntime"),
        (RuntimeKind::OpenVino, "openvino"),
    ] {
        match version(kind) {
            Ok(_) => {}
            Err(error @ RuntimeError::NotFound { .. }) => {
                eprintln!("skipped: {error}");
                continue;
            }
            Err(error) => panic!("{error}"),
        }
        let target = target_by_name(target).unwrap();
        for [weights, activations] in [
            ["int8", "uint8"],
            ["int4", "uint4"],
            ["int2", "uint2"],
            ["int5", "uint3"],
        ] {
            let name = format!("{weights} {activations}");
            check(kind, &name, &settings(target, weights, activations));
        }
        for &mapping in WeightMapping::ALL {
            let mut settings = settings(target, "int4", "float");
            settings.weight_mapping = mapping;
            check(kind, mapping.name(), &settings);
        }
        let mut settings = settings(target, "int4", "int4");
        settings.activation_mapping = ActivationMapping::Binary;
        check(kind, "binary activations", &settings);
    }
}
