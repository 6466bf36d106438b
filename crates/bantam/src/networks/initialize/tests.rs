//! Weights by op, on small graphs and on a trained network.

use bantam_graph::ops::*;
use bantam_graph::{Dim, Graph, ValueId};
use bantam_tensor::{DType, Tensor};

use super::*;
use crate::networks::{NetworkSettings, network, network_by_name};

/// A graph with an input and one node that reads it and some constants of ones.
fn graph(op: impl Into<bantam_graph::Op>, shapes: &[&[usize]]) -> Graph {
    let mut graph = Graph::default();
    let x = graph.add_input("x", DType::F32, vec![Dim::Symbol("batch".into())]);
    let mut inputs = vec![x];
    for (index, shape) in shapes.iter().enumerate() {
        let elements: usize = shape.iter().product();
        let tensor = Tensor::from_slice(shape, &vec![1f32; elements]).unwrap();
        inputs.push(graph.add_constant(&format!("c{}", index + 1), tensor));
    }
    let y = graph.add_node("node", op, &inputs);
    graph.outputs.push(y);
    graph
}

fn fillings(graph: &Graph) -> Vec<(String, Filling)> {
    let found = roles::fillings(graph, Initialization::Standard).unwrap();
    let named = |(id, filling): (ValueId, Filling)| (graph.value(id).name.clone(), filling);
    found.into_iter().map(named).collect()
}

fn filled(name: &str, filling: Filling) -> (String, Filling) {
    (name.to_owned(), filling)
}

#[test]
fn each_op_has_its_own() {
    let cell = Lstm {
        activation_alpha: vec![],
        activation_beta: vec![],
        activations: vec![],
        clip: None,
        direction: Direction::Forward,
        hidden_size: Some(4),
        layout: 0,
        input_forget: false,
    };
    let lstm = graph(cell, &[&[1, 16, 3], &[1, 16, 4], &[1, 32]]);
    assert_eq!(
        fillings(&lstm),
        [
            filled("c1", Filling::Uniform(0.5)),
            filled("c2", Filling::Uniform(0.5)),
            filled("c3", Filling::Value(0.0))
        ]
    );
    let norm = LayerNormalization {
        axis: -1,
        epsilon: 1e-5,
        stash_type: 1,
    };
    let ones = [
        filled("c1", Filling::Value(1.0)),
        filled("c2", Filling::Value(0.0)),
    ];
    assert_eq!(fillings(&graph(norm, &[&[8], &[8]])), ones);
    let product = graph(MatMul {}, &[&[6, 2]]);
    assert_eq!(fillings(&product), [filled("c1", Filling::Normal(0.5))]);
    assert_eq!(
        fillings(&graph(Binary::PRelu, &[&[1]])),
        [filled("c1", Filling::Value(0.25))]
    );
}

#[test]
fn a_rectifier_behind_a_bias_counts() {
    let mut net = graph(MatMul {}, &[&[8, 2]]);
    let bias = net.add_constant("bias", Tensor::from_vec1(&[1f32, 1.0]));
    let product = net.outputs[0];
    let sum = net.add_node("sum", Binary::Add, &[product, bias]);
    assert_eq!(fillings(&net)[0], filled("c1", Filling::Normal((0.2f64).sqrt())));
    net.add_node("relu", Unary::Relu, &[sum]);
    let expected = [
        filled("c1", Filling::Normal(0.5)),
        filled("bias", Filling::Value(0.0)),
    ];
    assert_eq!(fillings(&net), expected);
}

#[test]
fn masks_and_unknown_constants_are_kept() {
    let mask = Tensor::from_slice(&[2, 2], &[0f32, -1e4, 0.0, 0.0]).unwrap();
    let mut net = graph(MatMul {}, &[&[2, 2]]);
    let mask = net.add_constant("mask", mask);
    let product = net.outputs[0];
    let masked = net.add_node("masked", Binary::Add, &[product, mask]);
    let factor = net.add_constant("factor", Tensor::from_vec1(&[3f32, 4.0]));
    net.add_node("scaled", Binary::Mul, &[masked, factor]);
    let report = initialize(&mut net, Initialization::Standard, 0).unwrap();
    assert_eq!((report.drawn, report.reset), (1, 0));
    assert_eq!(report.kept, ["mask", "factor"]);
}

#[test]
fn nothing_to_draw_and_quantized_weights_are_refused() {
    let refusal = |mut graph: Graph| {
        initialize(&mut graph, Initialization::Standard, 0)
            .unwrap_err()
            .explained()
    };
    let said = refusal(graph(Unary::Relu, &[]));
    assert!(said.contains("no weights") && said.contains("hint:"), "{said}");
    let mut net = Graph::default();
    let x = net.add_input("x", DType::F32, vec![Dim::Known(2), Dim::Known(2)]);
    let codes = net.add_constant("codes", Tensor::from_slice(&[2, 2], &[1i8, 2, 3, 4]).unwrap());
    let scale = net.add_constant("scale", Tensor::scalar(0.1f32));
    let op = bantam_graph::Op::parse("", "DequantizeLinear", &mut bantam_graph::Attributes::new()).unwrap();
    let weights = net.add_node("weights", op, &[codes, scale]);
    net.add_node("product", MatMul {}, &[x, weights]);
    let said = refusal(net);
    assert!(said.contains("`product` (MatMul) are quantized"), "{said}");
}

/// Drawing again with the seed of a fresh network gives that network, whatever its weights were.
#[test]
fn drawing_anew_gives_the_fresh_network() {
    for network_name in ["resnet20", "encoder-tiny", "lenet5"] {
        let kind = network_by_name(network_name).unwrap();
        let fresh = |seed| {
            let settings = NetworkSettings {
                seed,
                ..NetworkSettings::default()
            };
            network(kind, &settings).unwrap().graph
        };
        let mut graph = fresh(5);
        let report = initialize(&mut graph, kind.initialization, 9).unwrap();
        assert_eq!(graph, fresh(9), "{network_name}");
        assert!(report.kept.is_empty(), "{network_name}: {:?}", report.kept);
    }
}
