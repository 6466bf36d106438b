//! One row for each rule: what an old form becomes, and that it comes back when it is written at its opset.

use bantam_graph::{Attribute, Attributes, Graph, Model, Node, Op, OperatorSet, ops::Custom};
use bantam_tensor::{DType, Tensor};
use half::f16;

use super::lift_graph;
use crate::onnx::OnnxError;
use crate::onnx::lower::lower;
use crate::onnx::testing::{Given, floats, graph, ints, list, string, text};

const X: Given = Given::Value(DType::F32, &[2, 3, 4, 4]);

fn lift(opset: i64, graph: Graph) -> Result<Graph, OnnxError> {
    lift_graph(graph, Some(opset))
}

/// Lifts a node of an opset and compares; then lowers the result to the same opset and lifts it again.
fn check(
    opset: i64,
    op: &str,
    attributes: &[(&str, Attribute)],
    inputs: &[Given],
    outputs: usize,
    expected: &str,
) {
    let lifted = lift(opset, graph(op, attributes, inputs, outputs)).unwrap();
    assert_eq!(text(&lifted), expected, "{op} of opset {opset}");
    let mut model = Model::new(lifted);
    model.opsets.push(OperatorSet {
        domain: String::new(),
        version: opset.max(7),
    });
    let (lowered, header) =
        lower(&model, None).unwrap_or_else(|error| panic!("{op} of opset {opset}: {error}"));
    let again = lift(header.opsets[0].version, lowered).unwrap();
    assert_eq!(text(&again), expected, "{op} of opset {opset} after a round trip");
}

#[test]
fn lists_become_inputs() {
    check(
        11,
        "Squeeze",
        &[("axes", ints(&[0]))],
        &[Given::Value(DType::F32, &[1, 2])],
        1,
        "y0 = Squeeze(x0, [0.0])",
    );
    check(
        12,
        "Unsqueeze",
        &[("axes", ints(&[-1]))],
        &[X],
        1,
        "y0 = Unsqueeze(x0, [-1.0])",
    );
    check(
        12,
        "ReduceSum",
        &[("axes", ints(&[1])), ("keepdims", Attribute::Int(0))],
        &[X],
        1,
        "y0 = ReduceSum(x0, [1.0]) {keepdims=0}",
    );
    check(
        17,
        "ReduceMean",
        &[("axes", ints(&[1, 2]))],
        &[X],
        1,
        "y0 = ReduceMean(x0, [1.0, 2.0])",
    );
    check(17, "ReduceMax", &[], &[X], 1, "y0 = ReduceMax(x0)");
    check(
        12,
        "Split",
        &[("axis", Attribute::Int(1)), ("split", ints(&[1, 2]))],
        &[X],
        2,
        "y0, y1 = Split(x0, [1.0, 2.0]) {axis=1}",
    );
    check(
        9,
        "Slice",
        &[("starts", ints(&[0])), ("ends", ints(&[1])), ("axes", ints(&[2]))],
        &[X],
        1,
        "y0 = Slice(x0, [0.0], [1.0], [2.0])",
    );
    check(
        9,
        "TopK",
        &[("k", Attribute::Int(2))],
        &[X],
        2,
        "y0, y1 = TopK(x0, [2.0])",
    );
    check(
        17,
        "DFT",
        &[("onesided", Attribute::Int(1))],
        &[X],
        1,
        "y0 = DFT(x0, -, [1.0]) {onesided=1}",
    );
}

#[test]
fn numbers_become_inputs_of_the_data_type() {
    check(
        10,
        "Clip",
        &[("min", Attribute::Float(0.0)), ("max", Attribute::Float(6.0))],
        &[X],
        1,
        "y0 = Clip(x0, [0.0], [6.0])",
    );
    check(
        6,
        "Clip",
        &[("max", Attribute::Float(6.0))],
        &[X],
        1,
        "y0 = Clip(x0, -, [6.0])",
    );
    check(
        10,
        "Pad",
        &[
            ("pads", ints(&[0, 1])),
            ("value", Attribute::Float(1.5)),
            ("mode", string("constant")),
        ],
        &[Given::Value(DType::F32, &[3])],
        1,
        "y0 = Pad(x0, [0.0, 1.0], [1.5])",
    );
    check(
        11,
        "Dropout",
        &[("ratio", Attribute::Float(0.25))],
        &[X],
        1,
        "y0 = Dropout(x0, [0.25])",
    );

    let half = Given::Value(DType::F16, &[3]);
    let lifted = lift(10, graph("Clip", &[("min", Attribute::Float(0.5))], &[half], 1)).unwrap();
    let bound = lifted.constant_input(&lifted.nodes[0], 1).unwrap();
    assert_eq!(bound, &Tensor::scalar(f16::from_f32(0.5)));
}

#[test]
fn softmax_flattened_from_its_axis_on() {
    let matrix = Given::Value(DType::F32, &[2, 3]);
    check(12, "Softmax", &[], &[matrix], 1, "y0 = Softmax(x0)");
    check(
        12,
        "LogSoftmax",
        &[("axis", Attribute::Int(3))],
        &[X],
        1,
        "y0 = LogSoftmax(x0)",
    );
    check(
        11,
        "Softmax",
        &[],
        &[Given::Value(DType::F32, &[2, 10, 1, 1])],
        1,
        "y0 = Softmax(x0) {axis=1}",
    );
    check(
        11,
        "Hardmax",
        &[],
        &[X],
        1,
        "y0_Flatten = Flatten(x0); y0_Hardmax = Hardmax(y0_Flatten); y0 = Reshape(y0_Hardmax, [2.0, 3.0, 4.0, 4.0])",
    );
    check(
        11,
        "Softmax",
        &[("axis", Attribute::Int(2))],
        &[Given::Untyped],
        1,
        "y0_Flatten = Flatten(x0) {axis=2}; y0_Softmax = Softmax(y0_Flatten); y0_Shape = Shape(x0); \
         y0 = Reshape(y0_Softmax, y0_Shape)",
    );
    check(
        13,
        "Softmax",
        &[("axis", Attribute::Int(1))],
        &[X],
        1,
        "y0 = Softmax(x0) {axis=1}",
    );
}

#[test]
fn removed_ops_become_those_that_replaced_them() {
    let asymmetric = "coordinate_transformation_mode=asymmetric";
    check(
        8,
        "Upsample",
        &[("scales", Attribute::Floats(vec![1.0, 1.0, 2.0, 2.0]))],
        &[X],
        1,
        &format!("y0 = Resize(x0, -, [1.0, 1.0, 2.0, 2.0]) {{{asymmetric}, nearest_mode=floor}}"),
    );
    check(
        9,
        "Upsample",
        &[("mode", string("linear"))],
        &[X, floats(&[1.0, 1.0, 2.0, 2.0])],
        1,
        &format!(
            "y0 = Resize(x0, -, [1.0, 1.0, 2.0, 2.0]) {{{asymmetric}, mode=linear, nearest_mode=floor}}"
        ),
    );
    check(
        10,
        "Resize",
        &[],
        &[X, floats(&[1.0, 1.0, 0.5, 0.5])],
        1,
        &format!("y0 = Resize(x0, -, [1.0, 1.0, 0.5, 0.5]) {{{asymmetric}, nearest_mode=ceil}}"),
    );
    check(
        11,
        "Resize",
        &[],
        &[X, floats(&[]), floats(&[]), list(&[2, 3, 8, 8])],
        1,
        "y0 = Resize(x0, -, -, [2.0, 3.0, 8.0, 8.0])",
    );
    let vector = || Given::Value(DType::F32, &[3]);
    check(
        9,
        "Scatter",
        &[],
        &[vector(), list(&[1]), vector()],
        1,
        "y0 = ScatterElements(x0, [1.0], x2)",
    );
}

#[test]
fn changed_names_and_defaults() {
    check(
        16,
        "GridSample",
        &[("mode", string("bicubic"))],
        &[X, X],
        1,
        "y0 = GridSample(x0, x1) {mode=cubic}",
    );
    check(16, "GridSample", &[], &[X, X], 1, "y0 = GridSample(x0, x1)");
    check(
        10,
        "RoiAlign",
        &[],
        &[X, X, X],
        1,
        "y0 = RoiAlign(x0, x1, x2) {coordinate_transformation_mode=output_half_pixel}",
    );
    check(16, "RoiAlign", &[], &[X, X, X], 1, "y0 = RoiAlign(x0, x1, x2)");
    check(
        11,
        "DepthToSpace",
        &[("blocksize", Attribute::Int(2)), ("mode", string("CRD"))],
        &[X],
        1,
        "y0 = DepthToSpace(x0) {blocksize=2, mode=CRD}",
    );
    check(
        10,
        "Gemm",
        &[],
        &[Given::Untyped, Given::Untyped, floats(&[0.5])],
        1,
        "y0 = Gemm(x0, x1, [0.5])",
    );
}

#[test]
fn group_normalization_by_channel() {
    let attributes = [("num_groups", Attribute::Int(2))];
    let x = || Given::Value(DType::F32, &[1, 4, 2]);
    check(
        18,
        "GroupNormalization",
        &attributes,
        &[x(), floats(&[1.0, 2.0]), floats(&[3.0, 4.0])],
        1,
        "y0 = GroupNormalization(x0, [1.0, 1.0, 2.0, 2.0], [3.0, 3.0, 4.0, 4.0]) {num_groups=2}",
    );
    let lifted = lift(18, graph("GroupNormalization", &attributes, &[x(), X, X], 1)).unwrap();
    assert!(text(&lifted).contains("Expand"), "{}", text(&lifted));
}

#[test]
fn forms_before_opset_9() {
    let c = || Given::Value(DType::F32, &[3]);
    let attributes = [
        ("spatial", Attribute::Int(1)),
        ("momentum", Attribute::Float(0.5)),
    ];
    check(
        8,
        "BatchNormalization",
        &attributes,
        &[X, c(), c(), c(), c()],
        1,
        "y0 = BatchNormalization(x0, x1, x2, x3, x4) {momentum=0.5}",
    );
    let per_element = [("spatial", Attribute::Int(0))];
    let lifted = lift(7, graph("BatchNormalization", &per_element, &[X, X, X, X, X], 1)).unwrap();
    assert!(
        text(&lifted).ends_with("y0 = Add(y0_Mul, x2)"),
        "{}",
        text(&lifted)
    );
    check(
        8,
        "MeanVarianceNormalization",
        &[("across_channels", Attribute::Int(1))],
        &[X],
        1,
        "y0 = MeanVarianceNormalization(x0) {axes=[0, 1, 2, 3]}",
    );
}

#[test]
fn forms_of_opset_6() {
    let along = [("broadcast", Attribute::Int(1)), ("axis", Attribute::Int(1))];
    let c = || Given::Value(DType::F32, &[3]);
    check(
        6,
        "Add",
        &along,
        &[X, c()],
        1,
        "y0_Unsqueeze = Unsqueeze(x1, [1.0, 2.0]); y0 = Add(x0, y0_Unsqueeze)",
    );
    check(
        6,
        "Mul",
        &[("broadcast", Attribute::Int(1))],
        &[X, X],
        1,
        "y0 = Mul(x0, x1)",
    );
    check(
        6,
        "PRelu",
        &[],
        &[X, c()],
        1,
        "y0_Unsqueeze = Unsqueeze(x1, [1.0, 2.0]); y0 = PRelu(x0, y0_Unsqueeze)",
    );
    check(
        6,
        "Dropout",
        &[("is_test", Attribute::Int(1))],
        &[X],
        1,
        "y0 = Dropout(x0)",
    );
    let unknown = lift(6, graph("Add", &along, &[Given::Untyped, c()], 1)).unwrap_err();
    assert!(unknown.to_string().contains("ranks"), "{unknown}");
}

#[test]
fn constants_become_initializers() {
    let cases = [
        (
            "value",
            Attribute::Tensor(Tensor::from_vec1(&[1i8])),
            Tensor::from_vec1(&[1i8]),
        ),
        ("value_int", Attribute::Int(3), Tensor::scalar(3i64)),
        ("value_ints", ints(&[3, 4]), Tensor::from_vec1(&[3i64, 4])),
        ("value_float", Attribute::Float(0.5), Tensor::scalar(0.5f32)),
        (
            "value_floats",
            Attribute::Floats(vec![0.5]),
            Tensor::from_vec1(&[0.5f32]),
        ),
        (
            "value_string",
            string("a"),
            Tensor::from_strings(&[], vec![b"a".to_vec()]).unwrap(),
        ),
        (
            "value_strings",
            Attribute::Strings(vec![b"a".to_vec()]),
            Tensor::from_strings(&[1], vec![b"a".to_vec()]).unwrap(),
        ),
    ];
    for (name, attribute, expected) in cases {
        let lifted = lift(13, graph("Constant", &[(name, attribute)], &[], 1)).unwrap();
        assert!(lifted.nodes.is_empty());
        assert_eq!(
            lifted.value(lifted.outputs[0]).initializer.as_ref(),
            Some(&expected),
            "{name}"
        );
    }
    for wrong in [
        vec![],
        vec![("value_int", ints(&[1]))],
        vec![("value_int", Attribute::Int(1)), ("value_ints", ints(&[1]))],
    ] {
        assert!(lift(13, graph("Constant", &wrong, &[], 1)).is_err(), "{wrong:?}");
    }
}

#[test]
fn subgraphs_are_lifted_and_see_constants_around_them() {
    let mut inner = graph("Upsample", &[], &[Given::Untyped, Given::Untyped], 1);
    inner.inputs.clear();
    let (x, scales) = (
        inner.nodes[0].inputs[0].unwrap(),
        inner.nodes[0].inputs[1].unwrap(),
    );
    inner.value_mut(x).name = "image".to_owned();
    inner.value_mut(scales).name = "scales".to_owned();
    let mut outer = Graph::default();
    outer.add_input("image", DType::F32, vec![1.into(), 1.into(), 4.into(), 4.into()]);
    outer.add_constant("scales", Tensor::from_vec1(&[1.0f32, 1.0, 0.5, 0.5]));
    let condition = outer.add_input("condition", DType::Bool, vec![]);
    let mut attributes = Attributes::new();
    attributes.set("then_branch", Attribute::Graph(Box::new(inner.clone())));
    attributes.set("else_branch", Attribute::Graph(Box::new(inner)));
    let output = outer.add_node("y", Op::Custom(Custom::new("", "If", attributes)), &[condition]);
    outer.outputs.push(output);
    let lifted = lift(10, outer).unwrap();
    let Op::If(op) = &lifted.nodes[0].op else {
        panic!("not an If")
    };
    assert!(
        text(&op.then_branch).contains("nearest_mode=ceil"),
        "{}",
        text(&op.then_branch)
    );
}

#[test]
fn scan_of_opset_8_loops_over_the_batch_first() {
    let body = graph("Add", &[], &[Given::Untyped, Given::Untyped], 1);
    let attributes = [
        ("body", Attribute::Graph(Box::new(body))),
        ("num_scan_inputs", Attribute::Int(1)),
    ];
    let lifted = lift(8, graph("Scan", &attributes, &[Given::Absent, X, X], 1)).unwrap();
    assert!(text(&lifted).contains("num_scan_inputs=2"), "{}", text(&lifted));
    assert!(text(&lifted).contains("num_scan_inputs=1"), "{}", text(&lifted));
    let with_lengths = lift(8, graph("Scan", &attributes, &[list(&[1]), X, X], 1));
    assert!(with_lengths.unwrap_err().to_string().contains("lengths"));
}

#[test]
fn unknown_ops_domains_and_attributes_stay() {
    let mut graph = graph("Relu", &[("vendor", Attribute::Int(1))], &[X], 1);
    let y = graph.outputs[0];
    let mut attributes = Attributes::new();
    attributes.set("k", Attribute::Int(2));
    graph.nodes.push(Node::new(
        "n",
        Op::Custom(Custom::new("my.domain", "Op", attributes.clone())),
        &[y],
        &[],
    ));
    // The domain of our own ops is nobody's in a file.
    let own = Op::Custom(Custom::new("bantam", "SumTo", Attributes::new()));
    graph.nodes.push(Node::new("own", own.clone(), &[y, y], &[]));
    let lifted = lift(13, graph).unwrap();
    assert_eq!(lifted.nodes[2].op, own);
    assert_eq!(lifted.nodes[0].extra.get("vendor"), Some(&Attribute::Int(1)));
    assert_eq!(
        lifted.nodes[1].op,
        Op::Custom(Custom::new("my.domain", "Op", attributes))
    );
}

#[test]
fn opsets_out_of_range_and_broken_nodes_are_named() {
    let cases = [
        (29, graph("Relu", &[], &[X], 1), "opset 29"),
        (5, graph("Reshape", &[], &[X, X], 1), ""),
        (4, graph("Reshape", &[], &[X], 1), "opset 4"),
        (9, graph("Upsample", &[], &[X], 1), "input 1 is missing"),
        (8, graph("Upsample", &[], &[X], 1), "`scales` is missing"),
        (9, graph("Slice", &[], &[X], 1), "`starts` is missing"),
        (
            12,
            graph("Squeeze", &[("axes", Attribute::Int(1))], &[X], 1),
            "`axes` is not a list of integers",
        ),
        (
            18,
            graph(
                "GroupNormalization",
                &[("num_groups", Attribute::Int(0))],
                &[X, X, X],
                1,
            ),
            "num_groups",
        ),
        (17, graph("Concat", &[], &[X], 1), "`axis` is missing"),
    ];
    for (opset, graph, expected) in cases {
        match lift(opset, graph) {
            Ok(_) => assert_eq!(expected, "", "opset {opset}"),
            Err(error) => {
                let message = error.to_string();
                assert!(
                    message.contains(expected) && message.contains("hint:"),
                    "{message}"
                );
            }
        }
    }
}
