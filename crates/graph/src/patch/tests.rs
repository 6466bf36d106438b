use super::*;
use crate::ops::{Binary, If};
use crate::{Dim, ValueType, verify};
use bantam_tensor::DType;

fn value(name: &str) -> Value {
    Value {
        name: name.to_owned(),
        ..Value::default()
    }
}

/// x -> a (Relu) -> b (Abs), b the output.
fn chain() -> (Graph, [ValueId; 3]) {
    let mut graph = Graph::default();
    let x = graph.add_input("x", DType::F32, vec![Dim::Known(2)]);
    let a = graph.add_node("a", Unary::Relu, &[x]);
    let b = graph.add_node("b", Unary::Abs, &[a]);
    graph.value_mut(b).ty = ValueType::tensor(DType::F32, vec![Dim::Known(2)]);
    graph.outputs.push(b);
    (graph, [x, a, b])
}

/// A branch that adds the values of these names.
fn adding(left: &str, right: &str) -> Box<Graph> {
    let mut graph = Graph::default();
    let left_id = graph.add_value(value(left));
    let right_id = if left == right {
        left_id
    } else {
        graph.add_value(value(right))
    };
    let sum = graph.add_node(&format!("{left}_plus_{right}"), Binary::Add, &[left_id, right_id]);
    graph.outputs.push(sum);
    Box::new(graph)
}

/// [`chain`] with a node `choice` whose branches capture `a` and `b`.
fn chain_with_branches() -> (Graph, [ValueId; 3]) {
    let (mut graph, ids) = chain();
    let condition = graph.add_input("condition", DType::Bool, vec![]);
    let choice = If {
        then_branch: adding("a", "b"),
        else_branch: adding("b", "b"),
    };
    let choice = graph.add_node("choice", Op::If(choice), &[condition]);
    graph.outputs.push(choice);
    (graph, ids)
}

fn applied(graph: &mut Graph, patch: Patch) {
    patch.apply(graph).unwrap();
    verify(graph).unwrap();
}

/// `op(inputs...)` for every node, in order, by the names of values.
fn lines(graph: &Graph) -> Vec<String> {
    let name = |id: &Option<ValueId>| id.map_or("-".to_owned(), |id| graph.value(id).name.clone());
    let list = |ids: &[Option<ValueId>]| ids.iter().map(name).collect::<Vec<_>>().join(" ");
    let line = |node: &Node| {
        format!(
            "{} = {} {}",
            list(&node.outputs),
            node.op.name(),
            list(&node.inputs)
        )
    };
    graph.nodes.iter().map(line).collect()
}

fn output_names(graph: &Graph) -> Vec<&str> {
    graph
        .outputs
        .iter()
        .map(|id| graph.value(*id).name.as_str())
        .collect()
}

#[test]
fn a_node_before_another() {
    let (mut graph, [_, a, _]) = chain();
    let mut patch = Patch::new(&graph);
    let new = patch.add_value(value("a"));
    patch.add_node(Node::new("new", Op::from(Unary::Neg), &[a], &[new]));
    patch.set_input(NodeId::new(1), 0, Some(new));
    applied(&mut graph, patch);
    assert_eq!(lines(&graph), ["a = Relu x", "a_1 = Neg a", "b = Abs a_1"]);
}

#[test]
fn a_node_after_another_serves_all_readers_and_outputs() {
    let (mut graph, [_, a, b]) = chain();
    graph.add_node("c", Unary::Exp, &[a]);
    let mut patch = Patch::new(&graph);
    for old in [a, b] {
        let new = patch.add_value(value(&graph.value(old).name));
        patch.add_node(Node::new("new", Op::from(Unary::Neg), &[old], &[new]));
        patch.replace_uses(old, new);
    }
    applied(&mut graph, patch);
    assert_eq!(
        lines(&graph),
        [
            "a = Relu x",
            "a_1 = Neg a",
            "b_1 = Abs a_1",
            "c = Exp a_1",
            "b = Neg b_1"
        ]
    );
    assert_eq!(output_names(&graph), ["b"]);
    let ty = ValueType::tensor(DType::F32, vec![Dim::Known(2)]);
    assert_eq!(graph.value(graph.outputs[0]).ty, ty, "the output keeps its type");
}

#[test]
fn captured_names_follow_a_replacement() {
    let (mut graph, [_, a, _]) = chain_with_branches();
    let mut patch = Patch::new(&graph);
    let new = patch.add_value(value("a"));
    patch.add_node(Node::new("new", Op::from(Unary::Neg), &[a], &[new]));
    patch.replace_uses(a, new);
    applied(&mut graph, patch);
    let choice = graph.nodes.last().unwrap();
    assert_eq!(lines(choice.op.subgraphs()[0]), ["a_plus_b = Add a_1 b"]);
    assert_eq!(lines(choice.op.subgraphs()[1]), ["b_plus_b = Add b b"]);
}

#[test]
fn an_output_that_takes_the_name_of_another_captured_value() {
    // Without node b, the value `a` becomes the output and is called `b`, also where it was captured as `a`.
    let (mut graph, [_, a, b]) = chain_with_branches();
    let mut patch = Patch::new(&graph);
    patch.replace_uses(b, a);
    patch.remove_node(NodeId::new(1));
    applied(&mut graph, patch);
    assert_eq!(lines(&graph), ["b = Relu x", "choice = If condition"]);
    let choice = graph.nodes.last().unwrap();
    assert_eq!(lines(choice.op.subgraphs()[0]), ["a_plus_b = Add b b"]);
}

#[test]
fn an_output_replaced_by_an_input_or_another_output_keeps_its_name() {
    let (mut graph, [x, a, b]) = chain();
    graph.outputs.push(a);
    let mut patch = Patch::new(&graph);
    patch.replace_uses(a, x);
    patch.replace_uses(b, x);
    patch.remove_node(NodeId::new(0));
    patch.remove_node(NodeId::new(1));
    applied(&mut graph, patch);
    assert_eq!(output_names(&graph), ["b", "a"]);
    assert_eq!(lines(&graph), ["a = Identity x", "b = Identity x"]);
}

#[test]
fn replacements_chain() {
    let (mut graph, [x, a, b]) = chain();
    let c = graph.add_node("c", Unary::Exp, &[b]);
    graph.outputs = vec![c];
    let mut patch = Patch::new(&graph);
    patch.replace_uses(b, a);
    patch.replace_uses(a, x);
    patch.remove_node(NodeId::new(0));
    patch.remove_node(NodeId::new(1));
    applied(&mut graph, patch);
    assert_eq!(lines(&graph), ["c = Exp x"]);
    assert_eq!(graph.values.len(), 2, "values without a reader are dropped");
}

#[test]
fn constants_ops_and_optional_inputs() {
    let (mut graph, [x, ..]) = chain();
    let weight = graph.add_constant("w", Tensor::from_vec1(&[1.0f32, 2.0]));
    graph.add_node("sum", Binary::Add, &[x, weight]);
    let mut patch = Patch::new(&graph);
    patch.set_initializer(weight, Tensor::from_vec1(&[3i64]));
    let bias = patch.add_constant("w", Tensor::scalar(0.5f32));
    patch.set_op(NodeId::new(2), Op::from(crate::ops::Variadic::Sum));
    patch.set_input(NodeId::new(2), 2, Some(bias));
    applied(&mut graph, patch);
    assert_eq!(lines(&graph)[2], "sum = Sum x w w_1");
    assert_eq!(
        graph.value(weight).ty,
        ValueType::tensor(DType::I64, vec![Dim::Known(1)])
    );
}

#[test]
fn new_names_avoid_those_inside_subgraphs() {
    let (graph, _) = chain_with_branches();
    let mut patch = Patch::new(&graph);
    let new = patch.add_value(value("a_plus_b"));
    assert_eq!(new.index(), graph.values.len());
    patch.add_node(Node::new("new", Op::from(Unary::Neg), &[graph.inputs[0]], &[new]));
    let mut edited = graph.clone();
    applied(&mut edited, patch);
    assert!(edited.value_by_name("a_plus_b_1").is_some());
}

#[test]
fn a_patch_that_makes_a_cycle_is_refused() {
    let (mut graph, [_, _, b]) = chain();
    let mut patch = Patch::new(&graph);
    patch.set_input(NodeId::new(0), 0, Some(b));
    assert!(matches!(patch.apply(&mut graph), Err(GraphError::Cycle { .. })));
}

#[test]
fn names_of_added_nodes_are_new() {
    let (mut graph, [x, a, _]) = chain();
    let mut patch = Patch::new(&graph);
    let (first, second) = (patch.add_value(value("first")), patch.add_value(value("second")));
    for output in [first, second] {
        patch.add_node(Node::new("a", Unary::Neg.into(), &[x], &[output]));
    }
    patch.replace_uses(a, second);
    applied(&mut graph, patch);
    let mut names: Vec<&str> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "a_1", "a_2", "b"]);
}
