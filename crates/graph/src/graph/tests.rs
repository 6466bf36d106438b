use super::*;
use crate::ops::{Binary, If, Unary};

fn input(graph: &mut Graph, name: &str) -> ValueId {
    graph.add_input(name, DType::F32, vec![Dim::Known(2)])
}

fn node_names(graph: &Graph) -> Vec<&str> {
    graph.nodes.iter().map(|node| node.name.as_str()).collect()
}

/// A graph without inputs that returns the absolute value of what it captures.
fn branch(captured: &str) -> Box<Graph> {
    let mut graph = Graph::default();
    let outer = graph.add_value(Value {
        name: captured.to_owned(),
        ..Value::default()
    });
    let result = graph.add_node(&format!("abs_{captured}"), Unary::Abs, &[outer]);
    graph.outputs.push(result);
    Box::new(graph)
}

#[test]
fn sorting_is_stable_and_moves_only_what_must_move() {
    let mut graph = Graph::default();
    let x = input(&mut graph, "x");
    let a = graph.add_node("a", Unary::Relu, &[x]);
    let b = graph.add_node("b", Unary::Abs, &[x]);
    graph.add_node("c", Binary::Add, &[a, b]);
    graph.add_node("d", Unary::Neg, &[x]);
    graph.sort().unwrap();
    assert_eq!(node_names(&graph), ["a", "b", "c", "d"]);
    graph.nodes.swap(0, 2);
    graph.sort().unwrap();
    assert_eq!(node_names(&graph), ["b", "a", "c", "d"]);
}

#[test]
fn sorting_follows_reads_from_subgraphs() {
    let mut graph = Graph::default();
    let condition = graph.add_input("condition", DType::Bool, vec![]);
    let x = input(&mut graph, "x");
    let choice = If {
        then_branch: branch("late"),
        else_branch: branch("x"),
    };
    graph.add_node("choice", Op::If(choice), &[condition]);
    graph.add_node("late", Unary::Relu, &[x]);
    graph.sort().unwrap();
    assert_eq!(node_names(&graph), ["late", "choice"]);
}

#[test]
fn cycles_are_named() {
    let mut graph = Graph::default();
    let x = input(&mut graph, "x");
    let a = graph.add_node("a", Binary::Add, &[x, x]);
    let b = graph.add_node("b", Unary::Relu, &[a]);
    graph.nodes[0].inputs[1] = Some(b);
    let nodes = graph.nodes.clone();
    assert_eq!(
        graph.sort(),
        Err(GraphError::Cycle {
            node: "`a` (Add)".to_owned()
        })
    );
    assert_eq!(
        graph.nodes, nodes,
        "a graph that cannot be sorted keeps its nodes"
    );
}

#[test]
fn two_producers_do_not_disturb_sorting() {
    let mut graph = Graph::default();
    let x = input(&mut graph, "x");
    let a = graph.add_node("a", Unary::Relu, &[x]);
    graph
        .nodes
        .push(Node::new("b", Op::from(Unary::Abs), &[x], &[a, a]));
    graph.add_node("c", Unary::Neg, &[a]);
    graph.sort().unwrap();
    assert_eq!(node_names(&graph), ["a", "b", "c"]);
}

#[test]
fn unused_values_go_and_ids_follow() {
    let mut graph = Graph::default();
    graph.add_constant("unused", Tensor::scalar(1.0f32));
    let condition = graph.add_input("condition", DType::Bool, vec![]);
    graph.add_constant("captured", Tensor::scalar(2.0f32));
    let choice = If {
        then_branch: branch("captured"),
        else_branch: branch("captured"),
    };
    let choice = graph.add_node("choice", Op::If(choice), &[condition]);
    graph.outputs.push(choice);
    graph.drop_unused_values();
    let names: Vec<&str> = graph.values.iter().map(|value| value.name.as_str()).collect();
    assert_eq!(names, ["condition", "captured", "choice"]);
    assert_eq!(graph.value(graph.outputs[0]).name, "choice");
    assert_eq!(graph.nodes[0].inputs, [Some(graph.inputs[0])]);
}

#[test]
fn captured_names_leave_out_what_is_defined_inside() {
    let inner = branch("outermost");
    let mut middle = Graph::default();
    let condition = middle.add_value(Value {
        name: "condition".to_owned(),
        ..Value::default()
    });
    let own = middle.add_constant("own", Tensor::scalar(1.0f32));
    middle.add_node("read_own", Unary::Abs, &[own]);
    let choice = If {
        then_branch: inner,
        else_branch: branch("own"),
    };
    middle.add_node("choice", Op::If(choice), &[condition]);
    assert_eq!(middle.captured_names(), ["condition", "outermost"]);
}

#[test]
fn a_constant_that_callers_may_override_is_none() {
    let mut graph = Graph::default();
    let fixed = graph.add_constant("fixed", Tensor::scalar(1.0f32));
    let default = graph.add_constant("default", Tensor::scalar(1.0f32));
    graph.inputs.push(default);
    assert!(graph.constant(fixed).is_some());
    assert!(graph.constant(default).is_none());
}

#[test]
fn names_are_made_unique() {
    let mut graph = Graph::default();
    for expected in ["x", "x_1", "x_2"] {
        let id = graph.add_value(Value {
            name: "x".to_owned(),
            ..Value::default()
        });
        assert_eq!(graph.value(id).name, expected);
    }
    let unnamed = graph.add_value(Value::default());
    assert_eq!(graph.value(unnamed).name, "value_1");
}
