//! Training with zeros and lottery tickets, as a user runs them.

use bantam::graph::{Graph, Node, Op};
use bantam::tensor::Tensor;

use super::support::Demo;

fn run(demo: &Demo, arguments: &str) -> serde_json::Value {
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let run = demo.run(&[&arguments[..], &["--json"]].concat());
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_slice(&run.stdout).expect("one JSON object")
}

fn graph(demo: &Demo, file: &str) -> Graph {
    bantam::pipeline::load(&demo.path(file)).unwrap().graph
}

/// The weights of convolutions and dense layers, or their codes, in the order of the nodes.
fn weights(graph: &Graph) -> Vec<&Tensor> {
    let producers = graph.producers();
    let products = graph
        .nodes
        .iter()
        .filter(|node| matches!(node.op, Op::Conv(_) | Op::Gemm(_) | Op::MatMul(_)));
    let weight = |node: &Node| {
        let value = node.input(1)?;
        let before = producers[value.index()].map(|producer| graph.node(producer));
        graph.constant(before.map_or(Some(value), |before| before.input(0))?)
    };
    products.filter_map(weight).collect()
}

fn zeros(tensor: &Tensor) -> Vec<bool> {
    tensor
        .to_f32()
        .unwrap()
        .iter()
        .map(|weight| *weight == 0.0)
        .collect()
}

fn share(tensors: &[&Tensor]) -> f64 {
    let all: Vec<bool> = tensors.iter().flat_map(|tensor| zeros(tensor)).collect();
    all.iter().filter(|is_zero| **is_zero).count() as f64 / all.len() as f64
}

fn top1(report: &serde_json::Value) -> f64 {
    report["scores"]["second"]["metrics"]["top1"]["value"]
        .as_f64()
        .unwrap()
}

#[test]
fn pruned_networks_keep_their_zeros_in_float_and_in_codes() {
    let demo = Demo::new();
    let train = "train digits.onnx --data digits.toml --batch 32";
    let report = run(
        &demo,
        &format!("{train} --epochs 6 --sparsity 80% --teacher digits.onnx -o sparse.onnx"),
    );
    assert!(top1(&report) > 0.95, "{}", top1(&report));
    let sparse = graph(&demo, "sparse.onnx");
    let before = weights(&sparse);
    assert!((share(&before) - 0.8).abs() < 1e-3, "{}", share(&before));
    let layers = report["sparsity"].as_array().unwrap();
    let told: u64 = layers.iter().map(|layer| layer["zeros"].as_u64().unwrap()).sum();
    let there = before
        .iter()
        .flat_map(|tensor| zeros(tensor))
        .filter(|is_zero| *is_zero)
        .count();
    assert_eq!(told, there as u64);
    let keep = "train sparse.onnx --data digits.toml --batch 32 --epochs 2 --sparsity keep";
    run(&demo, &format!("{keep} -o kept.onnx"));
    let kept = graph(&demo, "kept.onnx");
    let same = before
        .iter()
        .zip(weights(&kept))
        .all(|(before, after)| zeros(before) == zeros(after));
    assert!(same, "what was zero is zero, and nothing else");
    for rest in ["--weights int8", "--weights int4 --progressive 8:1"] {
        let report = run(&demo, &format!("{keep} --quantize {rest} -o codes.onnx"));
        assert!(top1(&report) > 0.95, "{}", top1(&report));
        let codes = graph(&demo, "codes.onnx");
        let codes = weights(&codes);
        assert!(codes.iter().all(|tensor| !tensor.dtype().is_float()));
        assert_eq!(codes.len(), before.len(), "{rest}");
        for (before, codes) in before.iter().zip(codes) {
            let mut pairs = zeros(before).into_iter().zip(zeros(codes));
            assert!(pairs.all(|(gone, is_zero)| !gone || is_zero), "{rest}");
        }
    }
}

#[test]
fn a_lottery_finds_a_ticket_and_goes_on_where_it_was() {
    let demo = Demo::new();
    run(&demo, "new --reinit digits.onnx -o fresh.onnx");
    let lottery = "lottery fresh.onnx --data digits.toml --sparsity 75% --rounds 2 --rewind-step 10 --epochs 4 --batch 32 \
                   --learning-rate 0.05 --control";
    let report = run(&demo, &format!("{lottery} -o trained.onnx"));
    let rounds = report["rounds"].as_array().unwrap();
    let shares: Vec<f64> = rounds
        .iter()
        .map(|round| round["sparsity"].as_f64().unwrap())
        .collect();
    assert!(
        (shares[1] - 0.5).abs() < 1e-3 && (shares[2] - 0.75).abs() < 1e-3,
        "{shares:?}"
    );
    let score = |report: &serde_json::Value| report["scores"]["metrics"]["top1"]["value"].as_f64().unwrap();
    assert!(score(&rounds[2]) > 0.9, "{}", score(&rounds[2]));
    assert!(score(&report["control"]) > 0.5);
    let (ticket, trained) = (
        graph(&demo, "trained.onnx.ticket.onnx"),
        graph(&demo, "trained.onnx"),
    );
    let (rewound, fresh) = (
        graph(&demo, "trained.onnx.rounds/rewind.onnx"),
        graph(&demo, "fresh.onnx"),
    );
    let control = graph(&demo, "trained.onnx.rounds/control.onnx");
    for (index, ticket) in weights(&ticket).into_iter().enumerate() {
        assert_eq!(zeros(ticket), zeros(weights(&trained)[index]));
        assert_eq!(zeros(ticket), zeros(weights(&control)[index]));
        let start = weights(&rewound)[index].to_f32().unwrap();
        assert_ne!(
            start,
            weights(&fresh)[index].to_f32().unwrap(),
            "ten steps were made"
        );
        let mut pairs = start.into_iter().zip(ticket.to_f32().unwrap());
        assert!(pairs.all(|(start, ticket)| ticket == 0.0 || ticket == start));
    }
    let whole = demo.read("trained.onnx");
    for file in ["trained.onnx.rounds/round-2.onnx", "trained.onnx"] {
        std::fs::remove_file(demo.path(file)).unwrap();
    }
    let first = demo
        .path("trained.onnx.rounds/round-1.onnx")
        .metadata()
        .unwrap()
        .modified()
        .unwrap();
    run(&demo, &format!("{lottery} --resume -o trained.onnx"));
    assert_eq!(demo.read("trained.onnx"), whole);
    let again = demo
        .path("trained.onnx.rounds/round-1.onnx")
        .metadata()
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(first, again, "the first round is not repeated");
    let other = lottery.replace("75%", "80%") + " --resume -o trained.onnx";
    let other: Vec<&str> = other.split_whitespace().collect();
    let refused = demo.run(&other);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("other settings"),
        "{said}"
    );
}
