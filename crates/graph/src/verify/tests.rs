use super::*;
use crate::ops::{Binary, If, Unary};
use crate::{Dim, Op, Value};
use bantam_tensor::{DType, Tensor};

/// x -> a (Relu) -> b (Add with constant w), b the output.
fn good() -> Graph {
    let mut graph = Graph::default();
    let x = graph.add_input("x", DType::F32, vec![Dim::Known(2)]);
    let w = graph.add_constant("w", Tensor::from_vec1(&[1.0f32, 2.0]));
    let a = graph.add_node("a", Unary::Relu, &[x]);
    let b = graph.add_node("b", Binary::Add, &[a, w]);
    graph.outputs.push(b);
    graph
}

fn id(graph: &Graph, name: &str) -> ValueId {
    graph.value_by_name(name).unwrap()
}

/// A branch that returns the absolute value of `name`, which it captures.
fn branch(name: &str) -> Box<Graph> {
    let mut graph = Graph::default();
    let outer = graph.add_value(Value {
        name: name.to_owned(),
        ..Value::default()
    });
    let result = graph.add_node("inner", Unary::Abs, &[outer]);
    graph.outputs.push(result);
    Box::new(graph)
}

/// [`good`] with a node before the last that has branches capturing `captured`.
fn with_branches(captured: &str) -> Graph {
    let mut graph = good();
    let condition = graph.add_input("condition", DType::Bool, vec![]);
    let choice = If {
        then_branch: branch(captured),
        else_branch: branch("x"),
    };
    graph.add_node("choice", choice, &[condition]);
    graph.nodes.swap(1, 2);
    graph
}

#[test]
fn well_formed_graphs_pass() {
    verify(&Graph::default()).unwrap();
    verify(&good()).unwrap();
    verify(&with_branches("a")).unwrap();
    verify(&with_branches("w")).unwrap();
}

#[test]
fn each_rule_has_its_error() {
    type Break = fn(&mut Graph);
    let cases: &[(Break, &str)] = &[
        (
            |g| g.nodes.swap(0, 1),
            "node `b` (Add) reads `a`, which a later node defines",
        ),
        (
            |g| _ = g.nodes.remove(0),
            "node `b` (Add) reads `a`, which nothing defines",
        ),
        (
            |g| _ = g.nodes.pop(),
            "the graph's output `b` is defined by nothing",
        ),
        (
            |g| g.nodes[0].outputs[0] = g.nodes[1].outputs[0],
            "node `b` (Add) reads `a`, which nothing defines",
        ),
        (
            |g| g.nodes[1].outputs.push(None),
            "node `b` (Add) has 2 outputs, not 1",
        ),
        (
            |g| g.nodes.push(g.nodes[0].clone()),
            "node `a` (Relu) has an output `a` that already has a producer",
        ),
        (
            |g| g.nodes[1].outputs[0] = Some(id(g, "w")),
            "`w` is a constant or an input and is also the output of `b` (Add)",
        ),
        (
            |g| g.nodes[1].outputs[0] = Some(id(g, "x")),
            "`x` is a constant or an input and is also the output of `b` (Add)",
        ),
        (|g| g.values[1].name = "x".to_owned(), "two values are named `x`"),
        (|g| g.values[1].name.clear(), "a value has no name"),
        (|g| g.inputs.push(g.inputs[0]), "two values are named `x`"),
        (
            |g| g.nodes[0].inputs[0] = Some(ValueId::new(99)),
            "node `a` (Relu) refers to a value outside of its graph",
        ),
        (
            |g| g.nodes[0].outputs[0] = Some(ValueId::new(99)),
            "node `a` (Relu) refers to a value outside of its graph",
        ),
        (
            |g| g.outputs.push(ValueId::new(99)),
            "node `graph` refers to a value outside of its graph",
        ),
        (
            |g| g.nodes[1].inputs.truncate(1),
            "node `b` (Add) has 1 inputs, not 2",
        ),
        (
            |g| g.nodes[1].inputs[1] = None,
            "node `b` (Add) lacks its required input 1 (counted from 0)",
        ),
    ];
    for (damage, expected) in cases {
        let mut graph = good();
        damage(&mut graph);
        assert_eq!(verify(&graph).unwrap_err().to_string(), *expected);
    }
}

#[test]
fn captured_names_must_be_defined_before_their_node() {
    let undefined = |captured: &str| verify(&with_branches(captured)).unwrap_err().to_string();
    assert_eq!(
        undefined("nowhere"),
        "node `inner` (Abs) reads `nowhere`, which nothing defines"
    );
    assert_eq!(
        undefined("b"),
        "node `inner` (Abs) reads `b`, which nothing defines"
    );
}

#[test]
fn function_bodies_are_checked() {
    let mut model = Model::new(good());
    verify_model(&model).unwrap();
    let mut body = good();
    body.nodes.remove(0);
    model.functions.push(crate::Function {
        domain: "local".to_owned(),
        name: "f".to_owned(),
        overload: String::new(),
        attributes: Vec::new(),
        default_attributes: Vec::new(),
        body,
        opsets: Vec::new(),
        doc: String::new(),
        metadata: Vec::new(),
    });
    assert!(matches!(verify_model(&model), Err(GraphError::Undefined { .. })));
}

#[test]
fn positions_that_may_be_left_out_are_known() {
    let op = |name: &str| Op::parse("com.microsoft", name, &mut crate::Attributes::new()).unwrap();
    let mut graph = good();
    let (x, y) = (graph.inputs[0], graph.add_value(Value::default()));
    let mut node = Node::new("q", op("QLinearAdd"), &[x; 8], &[y]);
    node.inputs[2] = None;
    graph.nodes.push(node);
    verify(&graph).unwrap();
    graph.nodes[2].inputs[1] = None;
    assert!(matches!(
        verify(&graph),
        Err(GraphError::MissingInput { position: 1, .. })
    ));
}
