use super::*;
use crate::Dim;
use crate::ops::{MatMul, Unary};
use crate::passes::{MERGE_BIAS, run_passes};

fn matrix(graph: &mut Graph, rows: usize, columns: usize) -> ValueId {
    let values: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
    graph.add_constant("w", Tensor::from_slice(&[rows, columns], &values).unwrap())
}

fn input(graph: &mut Graph, rank: usize) -> ValueId {
    let mut shape = vec![Dim::Symbol("N".into())];
    shape.resize(rank, Dim::Known(2));
    graph.add_input("x", DType::F32, shape)
}

fn run(graph: &mut Graph) -> usize {
    run_passes(graph, &[MERGE_BIAS]).unwrap()[0].applied
}

/// Whether MatMul of a value of this rank and Add of a constant of this shape become one Gemm.
fn merged(rank: usize, bias: &[usize], added_first: bool) -> bool {
    let mut graph = Graph::default();
    let (x, w) = (input(&mut graph, rank), matrix(&mut graph, 2, 3));
    let values = vec![0.5f32; bias.iter().product()];
    let b = graph.add_constant("b", Tensor::from_slice(bias, &values).unwrap());
    let product = graph.add_node("product", MatMul {}, &[x, w]);
    let terms = if added_first { [b, product] } else { [product, b] };
    let sum = graph.add_node("sum", Binary::Add, &terms);
    graph.outputs.push(sum);
    let applied = run(&mut graph);
    assert_eq!(graph.nodes.len(), 2 - applied);
    if applied == 1 {
        let node = &graph.nodes[0];
        assert_eq!((node.op.name(), node.output(0)), ("Gemm", Some(graph.outputs[0])));
        let bias = graph.constant_input(node, 2).unwrap();
        assert_eq!(bias.to_f32().unwrap(), [0.5; 3]);
    }
    applied == 1
}

#[test]
fn products_of_matrices_take_in_added_rows() {
    for bias in [&[3][..], &[1, 3], &[1], &[]] {
        assert!(merged(2, bias, false), "{bias:?}");
        assert!(merged(2, bias, true), "{bias:?}");
        assert!(!merged(3, bias, false), "{bias:?}");
    }
    assert!(!merged(2, &[2, 3], false), "differs from row to row");
    assert!(!merged(2, &[1, 1, 3], false), "raises the rank");
}

#[test]
fn a_product_that_others_read_stays() {
    let mut graph = Graph::default();
    let (x, w) = (input(&mut graph, 2), matrix(&mut graph, 2, 3));
    let b = graph.add_constant("b", Tensor::from_vec1(&[1.0f32, 2.0, 3.0]));
    let product = graph.add_node("product", MatMul {}, &[x, w]);
    let sum = graph.add_node("sum", Binary::Add, &[product, b]);
    let other = graph.add_node("other", Unary::Relu, &[product]);
    graph.outputs.extend([sum, other]);
    assert_eq!(run(&mut graph), 0);
}

#[test]
fn factors_of_a_gemm_go_into_its_constants() {
    let mut graph = Graph::default();
    let (x, w) = (input(&mut graph, 2), matrix(&mut graph, 3, 2));
    let b = graph.add_constant("b", Tensor::from_slice(&[1, 1], &[0.25f32]).unwrap());
    let gemm = Gemm {
        alpha: 0.5,
        beta: 4.0,
        transA: false,
        transB: true,
    };
    let y = graph.add_node("y", gemm, &[x, w, b]);
    // Another reader of the weight keeps it as it was.
    let z = graph.add_node("z", plain(false, true), &[x, w]);
    graph.outputs.extend([y, z]);
    assert_eq!(run(&mut graph), 1);
    let (first, second) = (&graph.nodes[0], &graph.nodes[1]);
    assert_eq!(first.op, plain(false, true).into());
    let constant = |node, position| graph.constant_input(node, position).unwrap().to_f32().unwrap();
    assert_eq!(constant(first, 1), [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]);
    assert_eq!(constant(first, 2), [1.0; 3]);
    assert_eq!(constant(second, 1), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
}

#[test]
fn a_bias_that_is_computed_stays() {
    let mut graph = Graph::default();
    let (x, w) = (input(&mut graph, 2), matrix(&mut graph, 2, 3));
    let b = graph.add_input("b", DType::F32, vec![Dim::Known(3)]);
    let gemm = Gemm {
        beta: 2.0,
        ..plain(false, false)
    };
    let y = graph.add_node("y", gemm, &[x, w, b]);
    graph.outputs.push(y);
    assert_eq!(run(&mut graph), 0);
}
