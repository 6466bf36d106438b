use super::*;
use crate::attributes::{Attribute, Attributes};
use crate::{InferOptions, Op, Value, infer_shapes};
use bantam_tensor::{DType, Tensor};

fn op(name: &str, attributes: &[(&str, Attribute)]) -> Op {
    let mut all = Attributes::new();
    attributes
        .iter()
        .for_each(|(name, value)| all.set(name, value.clone()));
    Op::parse("", name, &mut all).unwrap()
}

/// A graph of one node with an input of this shape (0: not known) and weights of these shapes.
fn graph_of(op: Op, input: &[usize], weights: &[&[usize]]) -> Graph {
    let mut graph = Graph::default();
    let dims = input
        .iter()
        .map(|&size| if size == 0 { Dim::Unknown } else { Dim::Known(size) });
    let x = graph.add_input("x", DType::F32, dims.collect());
    let weights = weights
        .iter()
        .map(|shape| graph.add_constant("w", Tensor::zeros(DType::F32, shape).unwrap()));
    let inputs: Vec<ValueId> = [x].into_iter().chain(weights.collect::<Vec<_>>()).collect();
    let y = graph.add_node("y", op, &inputs);
    graph.outputs.push(y);
    infer_shapes(&mut graph, &InferOptions::default()).unwrap();
    graph
}

#[test]
fn numbers_of_single_nodes() {
    let int = Attribute::Int;
    let pads = || ("pads", Attribute::Ints(vec![1; 4]));
    let kernel = ("kernel_shape", Attribute::Ints(vec![2, 2]));
    let equation = ("equation", Attribute::String(b"bi,oi->bo".to_vec()));
    // op, input, weights -> MACs, operations, parameters
    type Case<'a> = (Op, &'a [usize], Vec<&'a [usize]>, u64, u64, u64);
    let cases: Vec<Case<'_>> = vec![
        (
            op("Conv", &[pads()]),
            &[2, 3, 8, 8],
            vec![&[4, 3, 3, 3], &[4]],
            2 * 4 * 64 * 27,
            0,
            112,
        ),
        (
            op("Conv", &[pads(), ("group", int(3))]),
            &[1, 3, 8, 8],
            vec![&[3, 1, 3, 3]],
            3 * 64 * 9,
            0,
            27,
        ),
        (
            op("ConvTranspose", &[]),
            &[1, 3, 8, 8],
            vec![&[3, 4, 2, 2]],
            3 * 64 * 16,
            0,
            48,
        ),
        (op("Gemm", &[]), &[5, 7], vec![&[7, 9], &[9]], 5 * 7 * 9, 0, 72),
        (
            op("Gemm", &[("transA", int(1))]),
            &[7, 5],
            vec![&[7, 9]],
            5 * 7 * 9,
            0,
            63,
        ),
        (op("MatMul", &[]), &[2, 5, 7], vec![&[7, 9]], 2 * 5 * 7 * 9, 0, 63),
        (
            op("Einsum", &[equation]),
            &[5, 7],
            vec![&[9, 7]],
            5 * 7 * 9,
            0,
            63,
        ),
        (
            op("LSTM", &[("hidden_size", int(6))]),
            &[4, 2, 5],
            vec![&[1, 24, 5], &[1, 24, 6]],
            8 * 24 * 11,
            0,
            264,
        ),
        (op("Relu", &[]), &[2, 3], vec![], 0, 6, 0),
        (op("Add", &[]), &[2, 3], vec![&[3]], 0, 6, 3),
        (op("MaxPool", &[kernel]), &[1, 3, 4, 4], vec![], 0, 3 * 9 * 4, 0),
        (op("GlobalAveragePool", &[]), &[1, 3, 4, 4], vec![], 0, 48, 0),
        (
            op("BatchNormalization", &[]),
            &[1, 3, 4, 4],
            vec![&[3]; 4],
            0,
            48,
            12,
        ),
        (op("Transpose", &[]), &[2, 3], vec![], 0, 0, 0),
    ];
    for (op, input, weights, macs, operations, parameters) in cases {
        let name = op.name().to_owned();
        let cost = cost(&graph_of(op, input, &weights));
        let got = (cost.macs, cost.operations, cost.parameters, cost.incomplete);
        assert_eq!(got, (macs, operations, parameters, 0), "{name}");
        assert_eq!(cost.weight_bytes, 4 * parameters, "{name}");
    }
}

#[test]
fn attention_counts_both_products() {
    let mut graph = Graph::default();
    let tensor = |graph: &mut Graph, name: &str, shape: [usize; 4]| {
        graph.add_input(name, DType::F32, shape.into_iter().map(Dim::Known).collect())
    };
    let q = tensor(&mut graph, "q", [2, 4, 3, 8]);
    let k = tensor(&mut graph, "k", [2, 4, 5, 8]);
    let v = tensor(&mut graph, "v", [2, 4, 5, 16]);
    graph.add_node("y", op("Attention", &[]), &[q, k, v]);
    infer_shapes(&mut graph, &InferOptions::default()).unwrap();
    assert_eq!(cost(&graph).macs, 2 * 4 * 3 * 5 * (8 + 16));
}

#[test]
fn unknown_sizes_are_said() {
    let graph = graph_of(op("Relu", &[]), &[0, 3], &[]);
    let cost = cost(&graph);
    assert_eq!(
        (
            cost.nodes[0].operations,
            cost.nodes[0].output_bytes,
            cost.incomplete
        ),
        (None, None, 1)
    );
}

#[test]
fn a_shared_constant_counts_once() {
    let mut graph = graph_of(op("Gemm", &[]), &[5, 7], &[&[7, 9]]);
    let (x, w) = (graph.inputs[0], graph.value_by_name("w").unwrap());
    graph.add_node("z", op("MatMul", &[]), &[x, w]);
    infer_shapes(&mut graph, &InferOptions::default()).unwrap();
    let cost = cost(&graph);
    assert_eq!((cost.parameters, cost.weight_bytes), (63, 252));
    assert_eq!(
        cost.nodes.iter().map(|node| node.parameters).collect::<Vec<_>>(),
        [63, 63]
    );
    assert_eq!(cost.activation_bytes, 2 * 5 * 9 * 4);
    assert_eq!(cost.nodes[0].input_bytes, Some(5 * 7 * 4));
}

#[test]
fn scales_shapes_and_bounds_are_no_parameters() {
    let mut graph = Graph::default();
    let codes = graph.add_constant("codes", Tensor::zeros(DType::I8, &[4, 3]).unwrap());
    let scale = graph.add_constant("scale", Tensor::scalar(0.5f32));
    let zero_point = graph.add_constant("zero_point", Tensor::scalar(0i8));
    let real = graph.add_node("real", op("DequantizeLinear", &[]), &[codes, scale, zero_point]);
    let high = graph.add_constant("high", Tensor::scalar(6.0f32));
    let clipped = graph.add_value(Value::default());
    let mut clip = Node::new("clip", op("Clip", &[]), &[real, high, high], &[clipped]);
    clip.inputs[1] = None;
    graph.nodes.push(clip);
    let shape = graph.add_constant("shape", Tensor::from_vec1(&[2i64, 6]));
    graph.add_node("y", op("Reshape", &[]), &[clipped, shape]);
    infer_shapes(&mut graph, &InferOptions::default()).unwrap();
    let cost = cost(&graph);
    assert_eq!((cost.parameters, cost.weight_bytes), (12, 12 + 4 + 1 + 4 + 16));
}
