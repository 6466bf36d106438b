//! Residual streams that are turned: the network stays what it is, and its channels become alike.

use bantam_compress::plan::{Action, Decision, Plan, Site};
use bantam_compress::quantize::rotate::rotate;
use bantam_compress::rewrite;
use bantam_graph::ops::{Binary, Gather, Gemm, MatMul, RmsNormalization, Unary};
use bantam_graph::{Graph, InferOptions, ValueId, infer_shapes};
use bantam_tensor::{DType, Tensor};

use crate::support::{agreement, constant, finish, input, noise};

fn gemm(transposed: bool) -> Gemm {
    Gemm {
        alpha: 1.0,
        beta: 1.0,
        transA: false,
        transB: transposed,
    }
}

/// RMSNorm with a scale of numbers on both sides of one.
fn norm(graph: &mut Graph, name: &str, x: ValueId, width: usize) -> ValueId {
    let scale: Vec<f32> = noise(width, name.len() as u32)
        .iter()
        .map(|x| 1.0 + 0.8 * x)
        .collect();
    let scale = graph.add_constant(&format!("{name}_scale"), Tensor::from_vec1(&scale));
    let op = RmsNormalization {
        axis: -1,
        epsilon: 1e-5,
        stash_type: 1,
    };
    graph.add_node(name, op, &[x, scale])
}

/// Two blocks behind a product, the first channel of the stream being much larger than others; the last norm is read by
/// another op than a product where `open`.
fn transformer(width: usize, open: bool) -> Graph {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[10]);
    let weight = constant(&mut graph, "in_w", &[10, width], 0.5);
    let bias: Vec<f32> = (0..width)
        .map(|channel| if channel == 0 { 20.0 } else { 0.1 })
        .collect();
    let bias = graph.add_constant("in_b", Tensor::from_vec1(&bias));
    let mut x = graph.add_node("in", gemm(false), &[x, weight, bias]);
    for block in ["a", "b"] {
        let name = |part: &str| format!("{block}_{part}");
        let normal = norm(&mut graph, &name("norm"), x, width);
        let up = constant(&mut graph, &name("up_w"), &[width, 24], 0.5);
        let up = graph.add_node(&name("up"), MatMul {}, &[normal, up]);
        let gate = constant(&mut graph, &name("gate_w"), &[24, width], 0.5);
        let gate = graph.add_node(&name("gate"), gemm(true), &[normal, gate]);
        let gate = graph.add_node(&name("sigmoid"), Unary::Sigmoid, &[gate]);
        let wide = graph.add_node(&name("wide"), Binary::Mul, &[up, gate]);
        let down = constant(&mut graph, &name("down_w"), &[width, 24], 0.5);
        let down = graph.add_node(&name("down"), gemm(true), &[wide, down]);
        x = graph.add_node(&name("sum"), Binary::Add, &[x, down]);
    }
    let normal = norm(&mut graph, "last_norm", x, width);
    if open {
        let tanh = graph.add_node("tanh", Unary::Tanh, &[normal]);
        return finish(graph, &[tanh]);
    }
    let head = constant(&mut graph, "head_w", &[5, width], 0.5);
    let head = graph.add_node("head", gemm(true), &[normal, head]);
    finish(graph, &[head])
}

fn turned(graph: &Graph, decisions: Vec<Decision>) -> Graph {
    let plan = Plan {
        version: Plan::VERSION,
        model: None,
        method: "rotate".to_owned(),
        target: "any".to_owned(),
        decisions,
    };
    let mut turned = rewrite(graph, &plan).unwrap();
    infer_shapes(&mut turned, &InferOptions::default()).unwrap();
    turned
}

#[test]
fn the_function_stays_as_it_is() {
    // Sylvester's, Paley's doubled, and sizes of which no Hadamard matrix is known here.
    for width in [32, 24, 40, 18] {
        for open in [false, true] {
            let graph = transformer(width, open);
            let decisions = rotate(&graph, 5);
            let nodes = if open { 1 } else { 0 };
            let result = turned(&graph, decisions);
            assert_eq!(result.nodes.len(), graph.nodes.len() + nodes, "{width}, {open}");
            let decibels = agreement(&graph, &result);
            assert!(decibels > 90.0, "{width}, {open}: {decibels:.1} dB");
            let before = graph.value_by_name("a_down_w").unwrap();
            let after = result.value_by_name("a_down_w").unwrap();
            assert_ne!(graph.constant(before), result.constant(after));
        }
    }
}

/// What the largest channel of the first product's bias is to the mean of all.
fn largest(graph: &Graph) -> f32 {
    let bias = graph
        .constant(graph.value_by_name("in_b").unwrap())
        .unwrap()
        .to_f32()
        .unwrap();
    let mean = bias.iter().map(|x| x.abs()).sum::<f32>() / bias.len() as f32;
    bias.iter().fold(0f32, |largest, x| largest.max(x.abs())) / mean
}

#[test]
fn outliers_are_spread_over_channels() {
    let graph = transformer(32, false);
    let result = turned(&graph, rotate(&graph, 0));
    assert!(
        largest(&graph) > 20.0 && largest(&result) < 2.0,
        "{} after {}",
        largest(&result),
        largest(&graph)
    );
    // Other seeds, other matrices.
    assert_ne!(result.values, turned(&graph, rotate(&graph, 1)).values);
}

/// An embedding that is also the head stays, behind two products.
#[test]
fn shared_embeddings_stay() {
    let mut graph = Graph::default();
    let tokens = graph.add_input("tokens", DType::I64, vec![bantam_graph::Dim::Known(6)]);
    let table = constant(&mut graph, "table", &[9, 16], 0.5);
    let x = graph.add_node("embedded", Gather { axis: 0 }, &[table, tokens]);
    let normal = norm(&mut graph, "norm", x, 16);
    let weight = constant(&mut graph, "w", &[16, 16], 0.5);
    let y = graph.add_node("product", MatMul {}, &[normal, weight]);
    let x = graph.add_node("sum", Binary::Add, &[x, y]);
    let normal = norm(&mut graph, "last_norm", x, 16);
    let head = graph.add_node("head", gemm(true), &[normal, table]);
    let graph = finish(graph, &[head]);
    let decisions = rotate(&graph, 0);
    let kind = |wanted: fn(&Action) -> bool| decisions.iter().filter(|it| wanted(&it.action)).count();
    assert_eq!(
        kind(|action| matches!(action, Action::Rotate { size: 16, .. })),
        1
    );
    assert_eq!(
        kind(|action| matches!(action, Action::RotateBack { size: 16, .. })),
        1
    );
    let at = |site: &Site| site.name() == "embedded";
    assert!(decisions.iter().any(|it| at(&it.site)));
    let result = turned(&graph, decisions);
    let run = |graph: &Graph| {
        let program = bantam_exec::compile(graph, &bantam_exec::CompileOptions::default()).unwrap();
        let tokens = Tensor::from_vec1(&[3i64, 1, 4, 1, 5, 8]);
        program
            .run(&[("tokens", tokens)], &mut bantam_exec::Taps::none())
            .unwrap()[0]
            .to_f32()
            .unwrap()
    };
    for (before, after) in run(&graph).into_iter().zip(run(&result)) {
        assert!((before - after).abs() < 1e-4, "{after} after {before}");
    }
}

#[test]
fn networks_without_a_stream_are_left_alone() {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[6]);
    let weight = constant(&mut graph, "w", &[6, 6], 0.5);
    let y = graph.add_node("y", MatMul {}, &[x, weight]);
    assert!(rotate(&finish(graph, &[y]), 0).is_empty());
}
