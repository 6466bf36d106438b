//! Which values share scales.

use bantam_compress::target::{BiasForm, OpRole, ScaleForm, TARGETS};
use bantam_graph::ops::{Binary, MatMul, Pad, PadMode, Split, Unary};
use bantam_graph::{Graph, Op, ValueId};
use bantam_tensor::{DType, Tensor};

use crate::branches;
use crate::support::{agreement, constant, convolution, finish, input, kept, max_pool, quantized, scale_of};

#[test]
fn concatenated_values_share_a_scale_where_the_target_has_no_kernel_for_more() {
    let graph = branches();
    for target in TARGETS {
        let (plan, _) = quantized(&graph, "static", target, |_| ()).unwrap();
        let [relu, second, joined] = ["relu", "second", "joined"]
            .map(|name| scale_of(&plan, name).unwrap_or_else(|| panic!("{name}")));
        let concat = bantam_graph::ops::Concat { axis: 1 };
        if target.role(&concat.into()) == OpRole::Join {
            assert_ne!(relu, second);
            assert_eq!(
                relu.1, 0,
                "{}: the lowest code is zero, or Relu would not be fused",
                target.name
            );
        } else {
            assert_eq!(relu, second, "{}", target.name);
            assert_eq!(relu, joined, "{}", target.name);
        }
    }
}

/// A padded convolution, its padding pooled.
fn padded(by: f32) -> Graph {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[3, 8, 8]);
    let first = convolution(&mut graph, "first", x, [3, 4]);
    let relu = graph.add_node("relu", Unary::Relu, &[first]);
    let pads = graph.add_constant("pads", Tensor::from_vec1(&[0i64, 0, 1, 1, 0, 0, 1, 1]));
    let value = graph.add_constant("value", Tensor::scalar(by));
    let pad = Pad {
        mode: PadMode::Constant,
    };
    let padded = graph.add_node("padded", pad, &[relu, pads, value]);
    let pooled = max_pool(&mut graph, "pooled", padded);
    let last = convolution(&mut graph, "last", pooled, [4, 2]);
    finish(graph, &[last])
}

#[test]
fn padding_does_not_leave_the_range_of_the_scale() {
    for target in TARGETS {
        for (by, stays) in [(0.0, false), (-3.0, true), (f32::NEG_INFINITY, true)] {
            let graph = padded(by);
            let (plan, result) = quantized(&graph, "static", target, |_| ()).unwrap();
            assert_eq!(kept(&plan, "padded").is_some(), stays, "{} {by}", target.name);
            let db = agreement(&graph, &result);
            assert!(db > 28.0, "{} {by}: {db:.1} dB", target.name);
        }
    }
}

#[test]
fn parts_of_a_float_value_have_scales_of_their_own() {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[4, 12]);
    let tall = graph.add_node("tall", Unary::Exp, &[x]);
    let parts: [ValueId; 3] = split(&mut graph, tall);
    let [a, b, c] = [0, 1, 2].map(|index| {
        let w = constant(&mut graph, &format!("w{index}"), &[4, 4], 0.5);
        graph.add_node(&format!("y{index}"), MatMul {}, &[parts[index], w])
    });
    let graph = finish(graph, &[a, b, c]);
    for target in TARGETS {
        let (plan, _) = quantized(&graph, "static", target, |_| ()).unwrap();
        assert!(scale_of(&plan, "tall").is_none(), "{}", target.name);
        let scales: Vec<_> = ["p0", "p1", "p2"]
            .map(|name| scale_of(&plan, name).unwrap())
            .to_vec();
        // Ranges that differ may have the same power of two.
        assert!(
            target.scales == ScaleForm::PowerOfTwo || scales[0] != scales[1] && scales[1] != scales[2],
            "{} {scales:?}",
            target.name
        );
    }
}

/// Three parts of the last axis, `p0` to `p2`.
fn split(graph: &mut Graph, x: ValueId) -> [ValueId; 3] {
    let sizes = graph.add_constant("sizes", Tensor::from_vec1(&[4i64, 4, 4]));
    let split = Split {
        axis: 2,
        num_outputs: None,
    };
    let first = graph.add_node("p0", split, &[x, sizes]);
    let others = ["p1", "p2"].map(|name| {
        graph.add_value(bantam_graph::Value {
            name: name.to_owned(),
            ..Default::default()
        })
    });
    let node = graph.nodes.last_mut().unwrap();
    node.outputs.extend(others.map(Some));
    [first, others[0], others[1]]
}

#[test]
fn sigmoids_and_what_they_gate_are_integer_ops_where_the_target_has_such() {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[3, 8, 8]);
    let a = convolution(&mut graph, "a", x, [3, 4]);
    let gate = graph.add_node("gate", Unary::Sigmoid, &[a]);
    let gated = graph.add_node("gated", bantam_graph::ops::Binary::Mul, &[a, gate]);
    let last = convolution(&mut graph, "last", gated, [4, 2]);
    let graph = finish(graph, &[last]);
    for target in TARGETS {
        let (plan, result) = quantized(&graph, "static", target, |_| ()).unwrap();
        let has = |op: Op| target.role(&op) == OpRole::Arithmetic;
        let (sigmoid, product) = (has(Op::Unary(Unary::Sigmoid)), has(Op::Binary(Binary::Mul)));
        assert_eq!(kept(&plan, "gate").is_none(), sigmoid, "{}", target.name);
        assert_eq!(
            kept(&plan, "gated").is_none(),
            sigmoid && product,
            "{}",
            target.name
        );
        assert!(agreement(&graph, &result) > 26.0, "{}", target.name);
    }
}

#[test]
fn rows_added_to_products_are_biases() {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[5, 6]);
    let w = constant(&mut graph, "w", &[6, 4], 0.5);
    let row = constant(&mut graph, "row", &[4], 0.5);
    let product = graph.add_node("product", MatMul {}, &[x, w]);
    let sum = graph.add_node("sum", bantam_graph::ops::Binary::Add, &[row, product]);
    let graph = finish(graph, &[sum]);
    for target in TARGETS {
        let (_, result) = quantized(&graph, "static", target, |_| ()).unwrap();
        let add = result.nodes.iter().find(|node| node.name == "sum").unwrap();
        let producer = result.producers()[add.input(0).unwrap().index()];
        let codes = producer.and_then(|id| result.constant_input(result.node(id), 0));
        let expected = (target.bias == BiasForm::Int32).then_some(DType::I32);
        assert_eq!(codes.map(Tensor::dtype), expected, "{}", target.name);
        assert!(agreement(&graph, &result) > 35.0, "{}", target.name);
    }
}
