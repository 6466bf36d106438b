use super::*;
use crate::attributes::{Attribute, Attributes};
use crate::ops::{Binary, Loop, Unary};
use bantam_tensor::{DType, Tensor};

/// A type from text as `f32[N,3]`.
fn ty(text: &str) -> ValueType {
    let (name, dims) = text.trim_end_matches(']').split_once('[').expect("a type");
    let dtype = DType::ALL.iter().copied().find(|dtype| dtype.name() == name);
    let dim = |dim: &str| match dim.parse() {
        Ok(size) => Dim::Known(size),
        _ if dim == "?" => Dim::Unknown,
        _ => Dim::Symbol(dim.to_owned()),
    };
    let dims = dims.split(',').filter(|dim| !dim.is_empty());
    ValueType::Tensor {
        dtype,
        shape: Some(dims.map(dim).collect()),
    }
}

fn graph_with_inputs(inputs: &[&str]) -> Graph {
    let mut graph = Graph::default();
    for (index, text) in inputs.iter().enumerate() {
        let id = graph.add_value(Value {
            name: format!("x{index}"),
            ty: ty(text),
            ..Value::default()
        });
        graph.inputs.push(id);
    }
    graph
}

fn op(name: &str, attributes: &[(&str, Attribute)]) -> Op {
    let mut all = Attributes::new();
    attributes
        .iter()
        .for_each(|(name, value)| all.set(name, value.clone()));
    let op = Op::parse("", name, &mut all).unwrap();
    assert!(all.is_empty() && !matches!(op, Op::Custom(_)), "{name}");
    op
}

fn ints(values: &[i64]) -> Attribute {
    Attribute::Ints(values.to_vec())
}

/// The types of the outputs of one node whose inputs are of these types, then constants.
fn outputs(op: Op, inputs: &[&str], constants: &[&[i64]], count: usize) -> Result<Vec<String>, InferError> {
    let mut graph = graph_with_inputs(inputs);
    for values in constants {
        graph.add_constant("constant", Tensor::from_vec1(values));
    }
    let all: Vec<ValueId> = (0..graph.values.len()).map(ValueId::new).collect();
    let results: Vec<ValueId> = (0..count).map(|_| graph.add_value(Value::default())).collect();
    graph.nodes.push(Node::new("node", op, &all, &results));
    infer_shapes(&mut graph, &InferOptions::default())?;
    Ok(results.iter().map(|id| graph.value(*id).ty.to_string()).collect())
}

fn check(
    name: &str,
    attributes: &[(&str, Attribute)],
    inputs: &[&str],
    constants: &[&[i64]],
    expected: &str,
) {
    let got =
        outputs(op(name, attributes), inputs, constants, 1).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(got, [expected], "{name} of {inputs:?} {constants:?}");
}

fn check_fails(
    name: &str,
    attributes: &[(&str, Attribute)],
    inputs: &[&str],
    constants: &[&[i64]],
    expected: &str,
) {
    let got = outputs(op(name, attributes), inputs, constants, 1)
        .unwrap_err()
        .to_string();
    assert!(got.contains(expected), "{name}: {got}");
    assert!(got.starts_with("node `node`"), "{got}");
}

#[test]
fn convolutions_and_products() {
    let pads = ("pads", ints(&[1, 1, 1, 1]));
    let strides = ("strides", ints(&[2, 2]));
    check(
        "Conv",
        std::slice::from_ref(&pads),
        &["f32[N,3,32,32]", "f32[16,3,3,3]"],
        &[],
        "f32[N,16,32,32]",
    );
    check(
        "Conv",
        &[pads.clone(), strides.clone()],
        &["f32[N,3,H,32]", "f32[16,3,3,3]"],
        &[],
        "f32[N,16,?,16]",
    );
    check(
        "Conv",
        &[("group", Attribute::Int(2))],
        &["f32[1,4,5]", "f32[6,2,3]", "f32[6]"],
        &[],
        "f32[1,6,3]",
    );
    check(
        "ConvTranspose",
        &[strides],
        &["f32[1,4,5,5]", "f32[4,2,3,3]"],
        &[],
        "f32[1,2,11,11]",
    );
    check("MatMul", &[], &["f32[N,4,3]", "f32[3,5]"], &[], "f32[N,4,5]");
    check("MatMul", &[], &["f32[3]", "f32[2,3,5]"], &[], "f32[2,5]");
    check(
        "Gemm",
        &[("transB", Attribute::Int(1))],
        &["f32[N,64]", "f32[10,64]", "f32[10]"],
        &[],
        "f32[N,10]",
    );
    let equation = |text: &str| [("equation", Attribute::String(text.as_bytes().to_vec()))];
    check(
        "Einsum",
        &equation("bij,bjk->bik"),
        &["f32[N,2,3]", "f32[N,3,4]"],
        &[],
        "f32[N,2,4]",
    );
    check(
        "Einsum",
        &equation("...ij->...ji"),
        &["f32[N,2,3]"],
        &[],
        "f32[N,3,2]",
    );
    check("Einsum", &equation("ba"), &["f32[2,3]"], &[], "f32[3,2]");
    check_fails(
        "Conv",
        &[pads],
        &["f32[1,3,8,8]", "f32[16,4,3,3]"],
        &[],
        "must be equal, got 3 and 4 (inputs: `x0`: f32[1,3,8,8]",
    );
    check_fails(
        "Conv",
        &[],
        &["f32[1,3,2,2]", "f32[16,3,3,3]"],
        &[],
        "a window of 3 does not fit into 2",
    );
    check_fails(
        "Conv",
        &[],
        &["f32[1,3,9,9]", "f16[16,3,3,3]"],
        &[],
        "must have one type, got f32 and f16",
    );
    check_fails(
        "MatMul",
        &[],
        &["f32[2,3]", "f32[4,5]"],
        &[],
        "the inner dimensions must be equal, got 3 and 4",
    );
}

#[test]
fn pools_and_normalizations() {
    let kernel = ("kernel_shape", ints(&[2, 2]));
    let strides = ("strides", ints(&[2, 2]));
    check(
        "AveragePool",
        &[kernel.clone(), strides.clone()],
        &["f32[N,8,9,8]"],
        &[],
        "f32[N,8,4,4]",
    );
    check(
        "MaxPool",
        &[kernel.clone(), strides, ("ceil_mode", Attribute::Int(1))],
        &["f32[N,8,9,8]"],
        &[],
        "f32[N,8,5,4]",
    );
    check("GlobalAveragePool", &[], &["f32[N,8,H,W]"], &[], "f32[N,8,1,1]");
    check(
        "BatchNormalization",
        &[],
        &["f32[N,8,H,W]", "f32[8]", "f32[8]", "f32[8]", "f32[8]"],
        &[],
        "f32[N,8,H,W]",
    );
    check_fails(
        "BatchNormalization",
        &[],
        &["f32[N,8,4,4]", "f32[8]", "f32[8]", "f32[8]", "f32[9]"],
        &[],
        "got 8 and 9",
    );
    check_fails(
        "Softmax",
        &[("axis", Attribute::Int(2))],
        &["f32[N,8]"],
        &[],
        "axis 2 is out of range for 2",
    );
    check_fails(
        "MaxPool",
        &[kernel],
        &["f32[N,8,9]"],
        &[],
        "`kernel_shape` is [2, 2], expected 1 numbers",
    );
    let norm = outputs(
        op("LayerNormalization", &[]),
        &["f16[N,5,64]", "f16[64]", "f16[64]"],
        &[],
        3,
    )
    .unwrap();
    assert_eq!(norm, ["f16[N,5,64]", "f32[N,5,1]", "f32[N,5,1]"]);
}

#[test]
fn shapes_and_movement() {
    check("Reshape", &[], &["f32[N,8,4,4]"], &[&[0, -1]], "f32[N,128]");
    check("Reshape", &[], &["f32[N,8,4]"], &[&[-1, 32]], "f32[N,32]");
    check("Reshape", &[], &["f32[6,4]"], &[&[2, -1]], "f32[2,12]");
    check_fails(
        "Reshape",
        &[],
        &["f32[6,4]"],
        &[&[5, -1]],
        "cannot reshape [6,4] to [5,?]",
    );
    check_fails("Reshape", &[], &["f32[6,4]"], &[&[5, 5]], "cannot reshape");
    check_fails("Reshape", &[], &["f32[6,4]"], &[&[-1, -1]], "at most one -1");
    check("Flatten", &[], &["f32[N,8,4,4]"], &[], "f32[N,128]");
    check(
        "Transpose",
        &[("perm", ints(&[0, 2, 1]))],
        &["f32[N,8,4]"],
        &[],
        "f32[N,4,8]",
    );
    check_fails(
        "Transpose",
        &[("perm", ints(&[0, 0, 1]))],
        &["f32[N,8,4]"],
        &[],
        "each of the 3 axes once",
    );
    check(
        "Concat",
        &[("axis", Attribute::Int(1))],
        &["f32[N,8,4]", "f32[N,2,4]"],
        &[],
        "f32[N,10,4]",
    );
    check_fails(
        "Concat",
        &[("axis", Attribute::Int(1))],
        &["f32[N,8,4]", "f32[N,2,5]"],
        &[],
        "got 4 and 5",
    );
    check(
        "Slice",
        &[],
        &["f32[N,8,32]"],
        &[&[0, 0], &[i64::MAX, 32], &[0, 2], &[1, 2]],
        "f32[N,8,16]",
    );
    check("Pad", &[], &["f32[N,8,4]"], &[&[0, 4, 0, 0, 4, 0]], "f32[N,16,4]");
    check("Unsqueeze", &[], &["f32[N,8]"], &[&[0, -1]], "f32[1,N,8,1]");
    check("Squeeze", &[], &["f32[N,1,8]"], &[&[1]], "f32[N,8]");
    check("Expand", &[], &["f32[N,1]"], &[&[1, 7]], "f32[N,7]");
    check(
        "Gather",
        &[("axis", Attribute::Int(1))],
        &["f32[N,8,4]", "i64[2,3]"],
        &[],
        "f32[N,2,3,4]",
    );
    check(
        "ReduceMean",
        &[("keepdims", Attribute::Int(0))],
        &["f32[N,8,4,4]"],
        &[&[2, 3]],
        "f32[N,8]",
    );
    check("Tile", &[], &["f32[N,8]"], &[&[1, 3]], "f32[N,24]");
    check(
        "DepthToSpace",
        &[("blocksize", Attribute::Int(2))],
        &["f32[N,8,4,W]"],
        &[],
        "f32[N,2,8,?]",
    );
    let split = outputs(
        op("Split", &[("num_outputs", Attribute::Int(3))]),
        &["f32[7,2]"],
        &[],
        3,
    )
    .unwrap();
    assert_eq!(split, ["f32[3,2]", "f32[3,2]", "f32[1,2]"]);
    let top = outputs(op("TopK", &[]), &["f32[N,10]"], &[&[3]], 2).unwrap();
    assert_eq!(top, ["f32[N,3]", "i64[N,3]"]);
}

#[test]
fn a_shape_computed_in_the_graph_is_followed() {
    // y = reshape(x, concat([shape(x)[0]], [-1])), as PyTorch writes `x.view(x.size(0), -1)`.
    let mut graph = graph_with_inputs(&["f32[N,8,4,4]"]);
    let x = graph.inputs[0];
    let shape = graph.add_node("shape", op("Shape", &[]), &[x]);
    let zero = graph.add_constant("zero", Tensor::scalar(0i64));
    let batch = graph.add_node("batch", op("Gather", &[]), &[shape, zero]);
    let axes = graph.add_constant("axes", Tensor::from_vec1(&[0i64]));
    let list = graph.add_node("list", op("Unsqueeze", &[]), &[batch, axes]);
    let rest = graph.add_constant("rest", Tensor::from_vec1(&[-1i64]));
    let target = graph.add_node(
        "target",
        op("Concat", &[("axis", Attribute::Int(0))]),
        &[list, rest],
    );
    let y = graph.add_node("y", op("Reshape", &[]), &[x, target]);
    // The width by arithmetic: 4 * 8 / 2 = 16.
    let two = graph.add_constant("two", Tensor::from_vec1(&[2i64]));
    let three = graph.add_constant("three", Tensor::from_vec1(&[3i64]));
    let width = graph.add_node("width", op("Slice", &[]), &[shape, two, three]);
    let product = graph.add_node("product", Binary::Mul, &[width, three]);
    let ones = graph.add_node("ones", op("ConstantOfShape", &[]), &[product]);
    graph.outputs = vec![y, ones];
    infer_shapes(&mut graph, &InferOptions::default()).unwrap();
    assert_eq!(graph.value(y).ty.to_string(), "f32[N,128]");
    assert_eq!(graph.value(ones).ty.to_string(), "f32[12]");
}

#[test]
fn sizes_can_be_bound() {
    let mut graph = graph_with_inputs(&["f32[N,8]", "f32[N,8]"]);
    let (a, b) = (graph.inputs[0], graph.inputs[1]);
    let sum = graph.add_node("sum", Binary::Add, &[a, b]);
    graph.outputs = vec![sum];
    let bound = |shapes: &[(&str, Vec<usize>)]| {
        let mut graph = graph.clone();
        infer_shapes(&mut graph, &InferOptions::default().with_input_shapes(shapes))
            .map(|()| graph.value(sum).ty.to_string())
    };
    assert_eq!(bound(&[]).unwrap(), "f32[N,8]");
    assert_eq!(bound(&[("x0", vec![5, 8])]).unwrap(), "f32[5,8]");
    let error = |shapes: &[(&str, Vec<usize>)]| bound(shapes).unwrap_err().to_string();
    assert_eq!(
        error(&[("x0", vec![5, 8]), ("x1", vec![6, 8])]),
        "the dimension `N` would be both 5 and 6"
    );
    assert_eq!(
        error(&[("x0", vec![5, 9])]),
        "input `x0` is declared as f32[N,8], which [5, 9] does not fit"
    );
    assert_eq!(
        error(&[("y", vec![5])]),
        "the graph has no input `y`; its inputs are `x0`, `x1`"
    );
    let mut graph = graph.clone();
    infer_shapes(&mut graph, &InferOptions::default().with_symbol("N", 3)).unwrap();
    assert_eq!(graph.value(sum).ty.to_string(), "f32[3,8]");
}

#[test]
fn inferred_types_win_and_declared_ones_fill_the_gaps() {
    let mut graph = graph_with_inputs(&["f32[N,8]"]);
    let x = graph.inputs[0];
    let y = graph.add_node("y", Unary::Relu, &[x]);
    let unknown = graph.add_node("unknown", op("NonZero", &[]), &[y]);
    graph.value_mut(y).ty = ty("f32[7,9]");
    graph.value_mut(unknown).ty = ty("i64[2,count]");
    infer_shapes(&mut graph, &InferOptions::default()).unwrap();
    assert_eq!(graph.value(y).ty.to_string(), "f32[N,8]");
    assert_eq!(graph.value(unknown).ty.to_string(), "i64[2,count]");
}

/// A branch that reads `x0` from outside and reshapes it.
fn reshaping(target: &[i64]) -> Attribute {
    let mut branch = Graph::default();
    let x = branch.add_value(Value {
        name: "x0".to_owned(),
        ..Value::default()
    });
    let shape = branch.add_constant("target", Tensor::from_vec1(target));
    let y = branch.add_node("reshaped", op("Reshape", &[]), &[x, shape]);
    branch.outputs.push(y);
    Attribute::Graph(Box::new(branch))
}

#[test]
fn branches_are_merged_and_see_what_is_outside() {
    let cases = [
        (&[2, 12][..], &[3, 8][..], "f32[?,?]"),
        (&[2, -1], &[-1, 12], "f32[2,12]"),
        (&[2, 12], &[24], "f32[...]"),
    ];
    for (yes, no, expected) in cases {
        let choice = op(
            "If",
            &[("then_branch", reshaping(yes)), ("else_branch", reshaping(no))],
        );
        let mut graph = graph_with_inputs(&["f32[4,6]", "bool[]"]);
        let condition = graph.inputs[1];
        let y = graph.add_node("y", choice.clone(), &[condition]);
        infer_shapes(&mut graph, &InferOptions::default()).unwrap();
        assert_eq!(graph.value(y).ty.to_string(), expected);
        // A known condition takes its branch.
        let fixed = graph.add_constant("fixed", Tensor::from_bools(&[], &[true]).unwrap());
        graph.nodes[0].inputs[0] = Some(fixed);
        graph.value_mut(y).ty = ValueType::Unknown;
        infer_shapes(&mut graph, &InferOptions::default()).unwrap();
        assert_eq!(
            graph.value(y).ty.shape().map(<[Dim]>::len),
            Some(2),
            "the first branch gives a matrix"
        );
    }
}

#[test]
fn a_loop_widens_what_grows() {
    // Carries x, which grows by one row of itself each time, and z, which stays; collects z.
    let mut body = Graph::default();
    let unknown = |graph: &mut Graph, name: &str| {
        let id = graph.add_value(Value {
            name: name.to_owned(),
            ..Value::default()
        });
        graph.inputs.push(id);
        id
    };
    unknown(&mut body, "iteration");
    let condition = unknown(&mut body, "go");
    let (x, z) = (unknown(&mut body, "x"), unknown(&mut body, "z"));
    let grown = body.add_node("grown", op("Concat", &[("axis", Attribute::Int(0))]), &[x, x]);
    let stays = body.add_node("stays", Unary::Relu, &[z]);
    body.outputs = vec![condition, grown, stays, stays];
    let mut graph = graph_with_inputs(&["i64[]", "bool[]", "f32[1,3]", "f32[4]"]);
    let inputs = graph.inputs.clone();
    let outputs: Vec<ValueId> = (0..3).map(|_| graph.add_value(Value::default())).collect();
    graph.nodes.push(Node::new(
        "loop",
        Op::Loop(Loop { body: Box::new(body) }),
        &inputs,
        &outputs,
    ));
    infer_shapes(&mut graph, &InferOptions::default()).unwrap();
    let types: Vec<String> = outputs.iter().map(|id| graph.value(*id).ty.to_string()).collect();
    assert_eq!(types, ["f32[?,3]", "f32[4]", "f32[?,4]"]);
}

#[test]
fn ranks_that_grow_without_bound_are_refused() {
    // Each Gather of a value by itself nearly doubles the rank.
    let mut graph = graph_with_inputs(&["i64[2,2]"]);
    let mut value = graph.inputs[0];
    for _ in 0..64 {
        value = graph.add_node("doubled", op("Gather", &[]), &[value, value]);
    }
    let error = infer_shapes(&mut graph, &InferOptions::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("at most 64 are supported"), "{error}");
    check("Reshape", &[], &["f32[4]", "i64[999999999999]"], &[], "f32[...]");
}

/// A Loop whose body is this graph's, with one carried value.
fn loop_around(inner: Option<Graph>) -> Graph {
    let mut body = Graph::default();
    for name in ["iteration", "go", "x"] {
        let id = body.add_value(Value {
            name: name.to_owned(),
            ..Value::default()
        });
        body.inputs.push(id);
    }
    let [iteration, go, x] = body.inputs[..] else {
        unreachable!("three inputs")
    };
    let axis = [("axis", Attribute::Int(0))];
    let mut grown = body.add_node("grown", op("Concat", &axis), &[x, x]);
    if let Some(inner) = inner {
        let inner = Loop {
            body: Box::new(inner),
        };
        grown = body.add_node("inner", inner, &[iteration, go, grown]);
    }
    body.outputs = vec![go, grown];
    body
}

#[test]
fn deep_loops_take_no_exponential_time() {
    let body = (0..24)
        .fold(None, |inner, _| Some(loop_around(inner)))
        .expect("a body");
    let mut graph = graph_with_inputs(&["i64[]", "bool[]", "f32[1,3]"]);
    let inputs = graph.inputs.clone();
    let y = graph.add_node("y", Loop { body: Box::new(body) }, &inputs);
    infer_shapes(&mut graph, &InferOptions::default()).unwrap();
    assert_eq!(graph.value(y).ty.dtype(), Some(DType::F32));
}
