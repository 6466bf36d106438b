//! Canonical nodes at older opsets: the form they get, or the opset that they need.

use bantam_graph::{Attribute, CANONICAL_OPSET, Graph, Model, OperatorSet, Value, ValueType};
use bantam_tensor::{DType, Tensor};

use super::lower;
use crate::onnx::lift::lift_graph;
use crate::onnx::testing::{Given, floats, graph, ints, list, number, string, text};

const X: Given = Given::Value(DType::F32, &[2, 3, 4, 4]);

fn canonical(op: &str, attributes: &[(&str, Attribute)], inputs: &[Given], outputs: usize) -> Graph {
    lift_graph(graph(op, attributes, inputs, outputs), Some(CANONICAL_OPSET)).unwrap()
}

/// The text of a graph at an opset, or the opset that it needs.
fn at(opset: i64, graph: Graph) -> String {
    match lower(&Model::new(graph), Some(opset)) {
        Ok((lowered, _)) => text(&lowered),
        Err(crate::onnx::OnnxError::OpsetTooLow { needs, .. }) => format!("needs {needs}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn older_forms_and_needed_opsets() {
    let matrix = || Given::Value(DType::F32, &[2, 3]);
    let asymmetric = [
        ("coordinate_transformation_mode", string("asymmetric")),
        ("nearest_mode", string("floor")),
    ];
    let group = [("num_groups", Attribute::Int(1))];
    #[rustfmt::skip]
    let cases = [
        (12, canonical("Squeeze", &[], &[X, list(&[0])], 1), "y0 = Squeeze(x0) {axes=[0]}"),
        (12, canonical("Squeeze", &[], &[X, Given::Untyped], 1), "needs 13"),
        (10, canonical("Squeeze", &[], &[X, list(&[-1])], 1), "needs 11"),
        (17, canonical("ReduceMean", &[], &[X, list(&[1])], 1), "y0 = ReduceMean(x0) {axes=[1]}"),
        (17, canonical("ReduceMean", &[], &[X, list(&[])], 1), "y0 = ReduceMean(x0)"),
        (17, canonical("ReduceMean", &[("noop_with_empty_axes", Attribute::Int(1))], &[X], 1), "y0 = Identity(x0)"),
        (13, canonical("ReduceSum", &[("noop_with_empty_axes", Attribute::Int(1))], &[X], 1),
            "y0 = ReduceSum(x0) {noop_with_empty_axes=1}"),
        (18, canonical("Split", &[], &[X], 2), "y0, y1 = Split(x0) {num_outputs=2}"),
        (13, canonical("Split", &[("num_outputs", Attribute::Int(2))], &[X], 2), "y0, y1 = Split(x0)"),
        (13, canonical("Split", &[("num_outputs", Attribute::Int(2)), ("axis", Attribute::Int(1))], &[X], 2), "needs 18"),
        (7, canonical("Clip", &[], &[X, number(0.0), number(6.0)], 1), "y0 = Clip(x0) {max=6.0, min=0.0}"),
        (7, canonical("Clip", &[], &[X, Given::Untyped], 1), "needs 11"),
        (11, canonical("Clip", &[], &[Given::Value(DType::I32, &[1])], 1), "needs 12"),
        (9, canonical("Slice", &[], &[X, list(&[0]), list(&[1]), Given::Absent, list(&[1])], 1),
            "y0 = Slice(x0) {ends=[1], starts=[0]}"),
        (9, canonical("Slice", &[], &[X, list(&[0]), list(&[1]), Given::Absent, list(&[2])], 1), "needs 10"),
        (10, canonical("Pad", &[], &[matrix(), list(&[0, 1, 0, 1]), number(0.5)], 1),
            "y0 = Pad(x0) {pads=[0, 1, 0, 1], value=0.5}"),
        (17, canonical("Pad", &[], &[matrix(), list(&[1, 2]), Given::Absent, list(&[-1])], 1),
            "y0 = Pad(x0, [0.0, 1.0, 0.0, 2.0])"),
        (17, canonical("Pad", &[], &[Given::Untyped, list(&[1, 2]), Given::Absent, list(&[-1])], 1), "needs 18"),
        (9, canonical("TopK", &[], &[X, list(&[2])], 2), "y0, y1 = TopK(x0) {k=2}"),
        (10, canonical("TopK", &[("largest", Attribute::Int(0))], &[X, list(&[2])], 2), "needs 11"),
        (11, canonical("Dropout", &[], &[X, number(0.5)], 1), "y0 = Dropout(x0) {ratio=0.5}"),
        (11, canonical("Dropout", &[], &[X, number(0.5), Given::Constant(Tensor::from_bools(&[], &[true]).unwrap())], 1),
            "needs 12"),
        (12, canonical("Softmax", &[], &[X], 1), "y0 = Softmax(x0) {axis=3}"),
        (12, canonical("Softmax", &[], &[Given::Untyped], 1), "y0 = Softmax(x0) {axis=-1}"),
        (10, canonical("Softmax", &[], &[Given::Untyped], 1), "needs 11"),
        (12, canonical("Softmax", &[("axis", Attribute::Int(1))], &[X], 1), "needs 13"),
        (8, canonical("Resize", &asymmetric, &[X, Given::Absent, floats(&[1.0, 1.0, 2.0, 2.0])], 1),
            "y0 = Upsample(x0) {scales=[1.0, 1.0, 2.0, 2.0]}"),
        (10, canonical("Resize", &asymmetric, &[X, Given::Absent, Given::Untyped], 1), "y0 = Resize(x0, x2)"),
        (10, canonical("Resize", &[], &[X, Given::Absent, Given::Untyped], 1), "needs 11"),
        (12, canonical("Resize", &[], &[X, Given::Absent, Given::Absent, list(&[1, 1, 2, 2])], 1),
            "y0 = Resize(x0, [], [], [1.0, 1.0, 2.0, 2.0])"),
        (17, canonical("Resize", &[("antialias", Attribute::Int(1))], &[X, Given::Absent, floats(&[2.0])], 1), "needs 18"),
        (10, canonical("ScatterElements", &[], &[X, X, X], 1), "y0 = Scatter(x0, x1, x2)"),
        (13, canonical("ScatterElements", &[("reduction", string("add"))], &[X, X, X], 1), "needs 16"),
        (10, canonical("Gemm", &[], &[matrix(), matrix()], 1), "y0 = Gemm(x0, x1, [0.0])"),
        (20, canonical("GroupNormalization", &group, &[X, floats(&[2.0, 2.0, 2.0]), floats(&[1.0, 1.0, 1.0])], 1),
            "y0 = GroupNormalization(x0, [2.0], [1.0]) {num_groups=1}"),
        (20, canonical("GroupNormalization", &group, &[X, floats(&[2.0, 3.0, 2.0]), floats(&[1.0, 1.0, 1.0])], 1), "needs 21"),
        (16, canonical("GridSample", &[], &[X, X], 1), "y0 = GridSample(x0, x1) {mode=bilinear}"),
        (15, canonical("RoiAlign", &[], &[X, X, X], 1), "needs 16"),
        (16, canonical("LayerNormalization", &[], &[X, X], 1), "needs 17"),
        (12, canonical("Relu", &[], &[Given::Value(DType::BF16, &[1])], 1), "needs 13"),
        (13, canonical("Relu", &[], &[Given::Value(DType::I8, &[1])], 1), "needs 14"),
        (22, canonical("RotaryEmbedding", &[], &[X, X, X], 1), "needs 23"),
        (10, canonical("AveragePool", &[("kernel_shape", ints(&[2, 2])), ("dilations", ints(&[2, 2]))], &[X], 1), "needs 19"),
    ];
    for (opset, graph, expected) in cases {
        let op = graph.nodes.last().unwrap().op.name().to_owned();
        assert_eq!(at(opset, graph), expected, "{op} at opset {opset}");
    }
}

#[test]
fn quantization_needs_what_it_uses() {
    let scalar = || number(0.5);
    let zero = |dtype| Given::Constant(Tensor::zeros(dtype, &[]).unwrap());
    let zeros = |dtype| Given::Constant(Tensor::zeros(dtype, &[3]).unwrap());
    let scales = || floats(&[1.0, 2.0, 3.0]);
    let block = [("block_size", Attribute::Int(32))];
    #[rustfmt::skip]
    let cases = [
        (canonical("QuantizeLinear", &[], &[X, scalar(), zero(DType::U8)], 1), 10),
        (canonical("QuantizeLinear", &[], &[X, scales(), zeros(DType::I8)], 1), 13),
        (canonical("QuantizeLinear", &[("axis", Attribute::Int(0))], &[X, scalar(), zero(DType::U8)], 1), 10),
        (canonical("QuantizeLinear", &[], &[X, scalar(), zero(DType::F8E4M3FN)], 1), 19),
        (canonical("QuantizeLinear", &[], &[X, scalar(), zero(DType::U16)], 1), 21),
        (canonical("DequantizeLinear", &[], &[zeros(DType::I32), scalar()], 1), 10),
        (canonical("DequantizeLinear", &[], &[zeros(DType::I4), scalar()], 1), 21),
        (canonical("DequantizeLinear", &block, &[zeros(DType::I8), scales()], 1), 21),
        (canonical("DequantizeLinear", &[], &[zeros(DType::F4E2M1), scalar()], 1), 23),
    ];
    for (graph, expected) in cases {
        let shown = text(&graph);
        let mut model = Model::new(graph);
        model.opsets.push(OperatorSet {
            domain: String::new(),
            version: 7,
        });
        let (_, header) = lower(&model, None).unwrap();
        assert_eq!(header.opsets[0].version, expected, "{shown}");
    }
}

#[test]
fn own_opset_is_kept_and_versions_are_stated() {
    let mut model = Model::new(canonical("Relu", &[], &[X], 1));
    let (_, header) = lower(&model, None).unwrap();
    assert_eq!(
        (header.opsets[0].version, header.ir_version),
        (13, 7),
        "no file: the usual opset"
    );
    model.opsets.push(OperatorSet {
        domain: String::new(),
        version: 17,
    });
    model.ir_version = 9;
    let (_, header) = lower(&model, None).unwrap();
    assert_eq!(
        (header.opsets[0].version, header.ir_version),
        (17, 9),
        "a file's own"
    );
    let (_, header) = lower(&model, Some(21)).unwrap();
    assert_eq!(
        (header.opsets[0].version, header.ir_version),
        (21, 10),
        "the one asked for"
    );
    for opset in [6, 29] {
        assert!(lower(&model, Some(opset)).is_err());
    }
}

#[test]
fn ops_that_no_schema_has_stay_at_their_opset() {
    let mut model = Model::new(canonical("Mystery", &[], &[X], 1));
    model.opsets.push(OperatorSet {
        domain: String::new(),
        version: 17,
    });
    assert!(lower(&model, None).is_ok());
    let error = lower(&model, Some(18)).unwrap_err().to_string();
    assert!(error.contains("Mystery") && error.contains("17"), "{error}");
}

#[test]
fn new_domains_are_imported() {
    let mut graph = canonical("Relu", &[], &[X], 1);
    let op = bantam_graph::Op::parse("com.microsoft", "Gelu", &mut Default::default()).unwrap();
    let output = graph.outputs[0];
    graph.add_node("gelu", op, &[output]);
    let (_, header) = lower(&Model::new(graph), None).unwrap();
    assert!(header.opsets.contains(&OperatorSet {
        domain: "com.microsoft".to_owned(),
        version: 1
    }));
}

#[test]
fn sequences_need_the_opset_that_takes_them() {
    let mut graph = canonical("Identity", &[], &[Given::Untyped], 1);
    let input = graph.inputs[0];
    *graph.value_mut(input) = Value {
        name: "s".to_owned(),
        ty: ValueType::Opaque(vec![0x22, 0]),
        ..Value::default()
    };
    assert_eq!(at(13, graph), "needs 14");
}

#[test]
fn ops_of_training_are_refused() {
    let mut graph = canonical("Relu", &[], &[X], 1);
    graph.nodes[0].op = bantam_graph::ops::SoftmaxGradient { axis: -1 }.into();
    let error = lower(&Model::new(graph), None).unwrap_err().to_string();
    assert!(
        error.contains("for training only") && error.contains("hint:"),
        "{error}"
    );
}
