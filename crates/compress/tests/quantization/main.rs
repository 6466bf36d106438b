//! Quantization of whole small networks, for every target.

mod dynamic;
mod groups;
mod rescale;
mod rotate;
mod scales;
mod support;

use bantam_compress::plan::Action;
use bantam_compress::select::Selector;
use bantam_compress::target::{TARGETS, target_by_name};
use bantam_graph::ops::{Binary, Concat, Gemm, MatMul, Unary};
use bantam_graph::{Graph, Op};

use support::{agreement, constant, convolution, finish, input, max_pool, quantized};

/// Two branches of different ranges, one below zero, that are pooled, concatenated and added.
fn branches() -> Graph {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[3, 8, 8]);
    let first = convolution(&mut graph, "first", x, [3, 4]);
    let relu = graph.add_node("relu", Unary::Relu, &[first]);
    let pooled = max_pool(&mut graph, "pooled", relu);
    let second = convolution(&mut graph, "second", pooled, [4, 4]);
    let joined = graph.add_node("joined", Concat { axis: 1 }, &[pooled, second]);
    let third = convolution(&mut graph, "third", joined, [8, 4]);
    let sum = graph.add_node("sum", Binary::Add, &[third, pooled]);
    let last = convolution(&mut graph, "last", sum, [4, 2]);
    finish(graph, &[last])
}

/// One matrix that is read three times, with its channels along either axis.
fn shared_weights() -> Graph {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[6]);
    let w = constant(&mut graph, "w", &[6, 6], 0.6);
    let gemm = |transposed| Gemm {
        alpha: 1.0,
        beta: 1.0,
        transA: false,
        transB: transposed,
    };
    let a = graph.add_node("a", gemm(true), &[x, w]);
    let b = graph.add_node("b", gemm(false), &[a, w]);
    let c = graph.add_node("c", MatMul {}, &[b, w]);
    finish(graph, &[a, c])
}

#[test]
fn every_target_keeps_what_a_network_computes() {
    for target in TARGETS {
        for (name, graph) in [("branches", branches()), ("shared", shared_weights())] {
            let (_, result) = quantized(&graph, "static", target, |_| ()).unwrap();
            let db = agreement(&graph, &result);
            assert!(db > 28.0, "{} {name}: {db:.1} dB", target.name);
        }
    }
}

#[test]
fn an_excluded_convolution_stays_in_float_in_runtimes_that_would_quantize_it() {
    let graph = branches();
    for target in TARGETS {
        let (plan, result) = quantized(&graph, "static", target, |settings| {
            settings.exclude = vec![Selector::parse("third").unwrap()];
        })
        .unwrap();
        let apart = |action: &Action| matches!(action, Action::DequantizeApart(_));
        let count = plan
            .decisions
            .iter()
            .filter(|decision| apart(&decision.action))
            .count();
        assert_eq!(count, usize::from(target.requantizes), "{}", target.name);
        let node = result.nodes.iter().find(|node| node.name == "third").unwrap();
        let input = result.producers()[node.input(0).unwrap().index()].unwrap();
        let scales = result
            .constant_input(result.node(input), 1)
            .map_or(0, |scale| scale.len());
        if target.requantizes {
            assert_eq!(scales, 8, "one for each channel");
        }
        assert!(
            result.constant_input(node, 1).is_some(),
            "its weight is a float constant"
        );
        assert!(agreement(&graph, &result) > 28.0, "{}", target.name);
    }
}

#[test]
fn integer_forms_that_only_floats_read_are_left_out() {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[3, 8, 8]);
    let a = convolution(&mut graph, "a", x, [3, 4]);
    let b = convolution(&mut graph, "b", a, [4, 4]);
    let sum = graph.add_node("sum", Binary::Add, &[a, b]);
    let end = graph.add_node("end", Unary::Tanh, &[sum]);
    let graph = finish(graph, &[end]);
    let (plan, result) = quantized(&graph, "static", target_by_name("onnxruntime").unwrap(), |_| ()).unwrap();
    assert_eq!(
        support::kept(&plan, "sum"),
        Some("its result is used in float only")
    );
    let quantizers = result
        .nodes
        .iter()
        .filter(|node| matches!(node.op, Op::QuantizeLinear(_)));
    assert_eq!(quantizers.count(), 3, "x and both convolutions");
}
