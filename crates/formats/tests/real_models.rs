//! Inference, cost and passes on models that others trained.

#![expect(clippy::print_stderr, reason = "says what was checked, or why nothing was")]

use std::path::{Path, PathBuf};

use bantam_formats::onnx;
use bantam_graph::passes::{PASSES, run_passes};
use bantam_graph::{Dim, Graph, InferOptions, cost, infer_shapes, verify};

/// A model of the data folder as its file has it; `None` where there is no such folder.
fn read(name: &str) -> Option<Graph> {
    let beside_the_workspace = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("BANTAM_DATA").map_or_else(beside_the_workspace, PathBuf::from);
    let path = folder.join("models").join(name);
    if !path.exists() {
        eprintln!("skipped: no {}; set BANTAM_DATA", path.display());
        return None;
    }
    let graph = onnx::load(&path).unwrap().graph;
    verify(&graph).unwrap();
    Some(graph)
}

/// A model with its types, for a batch of one.
fn model(name: &str) -> Option<Graph> {
    let mut graph = read(name)?;
    let batch = InferOptions::default().with_input_shapes(&[("input", vec![1, 3, 32, 32])]);
    infer_shapes(&mut graph, &batch).unwrap();
    Some(graph)
}

#[test]
fn a_symbolic_batch_reaches_the_outputs() {
    let Some(mut graph) = read("resnet20.onnx") else {
        return;
    };
    infer_shapes(&mut graph, &InferOptions::default()).unwrap();
    for value in &graph.values {
        let shape = value
            .ty
            .shape()
            .unwrap_or_else(|| panic!("{} has no shape", value.name));
        assert!(!shape.contains(&Dim::Unknown), "{}: {}", value.name, value.ty);
    }
    assert_eq!(graph.value(graph.outputs[0]).ty.to_string(), "f32[N,10]");
}

#[test]
fn the_cost_of_residual_networks() {
    // He et al. 2016, section 4.2: 3x3 convolutions at 32, 16 and 8 pixels with 16, 32 and 64 channels; a network of
    // depth 6n + 2 has 2n of each. The first convolution and the last layer are added, the shortcuts are free.
    for (name, n) in [("resnet20.onnx", 3), ("resnet56.onnx", 9)] {
        let Some(graph) = model(name) else { return };
        let same = 32 * 32 * 16 * 16 * 9;
        let halving = same / 2;
        let macs = 32 * 32 * 16 * 27 + 2 * n * 3 * same - 2 * halving + 64 * 10;
        let weights = 16 * 27 + 2 * n * 9 * (16 * 16 + 32 * 32 + 64 * 64) - 9 * (32 * 16 + 64 * 32) + 64 * 10;
        let channels = 16 + 2 * n * (16 + 32 + 64);
        let cost = cost(&graph);
        assert_eq!(cost.macs, macs, "{name}");
        assert_eq!(cost.parameters, weights + 4 * channels + 10, "{name}");
        assert_eq!(cost.incomplete, 0, "{name}");
    }
    let macs = model("resnet20.onnx").map(|graph| cost(&graph).macs);
    assert!(
        macs.is_none_or(|macs| (40_500_000..41_000_000).contains(&macs)),
        "{macs:?}"
    );
}

#[test]
fn every_normalization_of_residual_networks_is_folded() {
    for (name, layers) in [("resnet20.onnx", 19), ("resnet56.onnx", 55)] {
        let Some(mut graph) = model(name) else { return };
        let before = cost(&graph);
        let reports = run_passes(&mut graph, PASSES).unwrap();
        let folded = reports
            .iter()
            .find(|report| report.pass == "fold-batch-normalization")
            .unwrap();
        assert_eq!((folded.applied, folded.not_applied.len()), (layers, 0), "{name}");
        assert!(
            graph
                .nodes
                .iter()
                .all(|node| node.op.name() != "BatchNormalization"),
            "{name}"
        );
        infer_shapes(&mut graph, &InferOptions::default()).unwrap();
        let after = cost(&graph);
        assert_eq!(after.macs, before.macs, "{name}");
        assert!(after.parameters < before.parameters, "{name}");
    }
}
