//! Gradients of graphs of several nodes.

use bantam_graph::ops::*;
use bantam_graph::{Dim, Graph, Value, ValueId, differentiate, infer_shapes};
use bantam_tensor::{DType, Tensor};

use crate::check::{Random, Runner, add_to_loss, check_graph, drawn};

/// A graph with inputs `x`, `[batch, 3]`, and `w`, `[3, 3]`.
struct Net {
    graph: Graph,
    x: ValueId,
    w: ValueId,
}

impl Net {
    fn new() -> Net {
        let mut graph = Graph::default();
        let x = graph.add_input("x", DType::F64, vec![Dim::Symbol("batch".into()), Dim::Known(3)]);
        let w = graph.add_input("w", DType::F64, vec![Dim::Known(3), Dim::Known(3)]);
        Net { graph, x, w }
    }

    fn add(&mut self, op: impl Into<bantam_graph::Op>, inputs: &[ValueId]) -> ValueId {
        self.graph.add_node("node", op, inputs)
    }

    fn loss(&mut self, value: ValueId) -> ValueId {
        add_to_loss(&mut self.graph, None, value, &[4, 3], &mut Random::new("loss"))
    }

    fn check(&self, loss: ValueId) {
        let given = [
            ("x".to_owned(), drawn(&[4, 3], -1.0, 1.0)),
            ("w".to_owned(), drawn(&[3, 3], -1.0, 1.0)),
        ];
        check_graph(&self.graph, loss, &[self.x, self.w], &given).unwrap();
    }
}

#[test]
fn weights_that_are_shared_get_the_sum() {
    let mut net = Net::new();
    let (x, w) = (net.x, net.w);
    let once = net.add(MatMul {}, &[x, w]);
    let bent = net.add(Unary::Tanh, &[once]);
    let twice = net.add(MatMul {}, &[bent, w]);
    let third = net.add(MatMul {}, &[twice, w]);
    let loss = net.loss(third);
    net.check(loss);
}

#[test]
fn residuals_and_values_used_twice() {
    let mut net = Net::new();
    let (x, w) = (net.x, net.w);
    let branch = net.add(MatMul {}, &[x, w]);
    let sum = net.add(Binary::Add, &[x, branch]);
    let square = net.add(Binary::Mul, &[sum, sum]);
    let all = net.add(Variadic::Sum, &[square, x, sum]);
    let loss = net.loss(all);
    net.check(loss);
}

#[test]
fn only_what_lies_between_gets_nodes() {
    let mut net = Net::new();
    let (x, w) = (net.x, net.w);
    let first = net.add(MatMul {}, &[x, w]);
    let aside = net.add(Unary::Exp, &[first]);
    let second = net.add(Binary::Mul, &[first, first]);
    let loss = net.loss(second);
    net.graph.outputs = vec![aside];
    let before = net.graph.nodes.len();
    let gradient = differentiate(&net.graph, loss, &[second]).unwrap();
    // Of the sum, of the weighting, and of its batch, which may be one; the shape for that is taken early.
    let names = |graph: &Graph| {
        graph
            .nodes
            .iter()
            .map(|node| node.op.name().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(&gradient.graph)[before + 1..],
        ["Expand", "Mul", "SumTo"],
        "{}",
        gradient.graph
    );
    let none = differentiate(&net.graph, loss, &[aside]).unwrap();
    assert_eq!(none.gradients, [None]);
    assert_eq!(none.graph.nodes.len(), before);
}

/// Where only the size of a value is needed, the value itself is not kept: Shape stands right behind its producer.
#[test]
fn shapes_are_taken_early() {
    let mut net = Net::new();
    let (x, w) = (net.x, net.w);
    let product = net.add(MatMul {}, &[x, w]);
    let axes = net.graph.add_constant("axes", Tensor::from_vec1(&[1i64]));
    let mean = Reduce {
        kind: ReduceKind::Mean,
        keepdims: true,
        noop_with_empty_axes: false,
    };
    let mean = net.add(mean, &[product, axes]);
    let loss = net.loss(mean);
    let graph = differentiate(&net.graph, loss, &[x]).unwrap().graph;
    let readers: Vec<usize> = graph.consumers()[product.index()]
        .iter()
        .map(|(node, _)| node.index())
        .collect();
    assert_eq!(readers, [1, 2], "{graph}");
    net.check(loss);
}

#[test]
fn known_shapes_need_no_sums() {
    let mut graph = Graph::default();
    let dims = || vec![Dim::Symbol("batch".into()), Dim::Known(3)];
    let x = graph.add_input("x", DType::F32, dims());
    let y = graph.add_input("y", DType::F32, dims());
    let sum = graph.add_node("sum", Binary::Add, &[x, y]);
    let all = Reduce {
        kind: ReduceKind::Sum,
        keepdims: false,
        noop_with_empty_axes: false,
    };
    let loss = graph.add_node("loss", all, &[sum]);
    let graph = differentiate(&graph, loss, &[x, y]).unwrap().graph;
    assert!(
        graph.nodes.iter().all(|node| node.op.name() != "SumTo"),
        "{graph}"
    );
}

fn refusal(graph: &Graph, loss: ValueId, wrt: ValueId) -> String {
    differentiate(graph, loss, &[wrt]).unwrap_err().to_string()
}

#[test]
fn what_cannot_be_differentiated_is_named() {
    let mut net = Net::new();
    let (x, w) = (net.x, net.w);
    let product = net.add(MatMul {}, &[x, w]);
    let error = refusal(&net.graph, product, x);
    assert!(
        error.contains("not a float with one element") && error.contains("hint:"),
        "{error}"
    );
    let determinant = net.graph.add_node("det", Det {}, &[w]);
    let scaled = net.add(Binary::Mul, &[product, determinant]);
    let loss = net.loss(scaled);
    let error = refusal(&net.graph, loss, w);
    assert!(
        error.contains("`det` (Det)") && error.contains("hint:"),
        "{error}"
    );
    assert!(
        differentiate(&net.graph, loss, &[x]).is_ok(),
        "x does not need the gradient of Det"
    );
}

#[test]
fn control_flow_is_refused_where_the_gradient_has_to_pass() {
    let mut net = Net::new();
    let (x, w) = (net.x, net.w);
    let product = net.graph.add_node("product", MatMul {}, &[x, w]);
    let branch = || {
        let mut inner = Graph::default();
        let captured = inner.add_value(Value {
            name: "product".to_owned(),
            ..Value::default()
        });
        let result = inner.add_node("negated", Unary::Neg, &[captured]);
        inner.outputs.push(result);
        Box::new(inner)
    };
    let truth = net
        .graph
        .add_constant("truth", Tensor::from_bools(&[], &[true]).unwrap());
    let choice = If {
        else_branch: branch(),
        then_branch: branch(),
    };
    let chosen = net.graph.add_node("choice", choice, &[truth]);
    let loss = net.loss(chosen);
    let error = refusal(&net.graph, loss, w);
    assert!(
        error.contains("`choice` (If)") && error.contains("control flow"),
        "{error}"
    );
    // A loss that does not need it may stand beside it.
    let other = net.loss(product);
    assert!(differentiate(&net.graph, other, &[w]).is_ok());
}

#[test]
fn rounding_and_comparisons_stop_the_gradient() {
    let mut net = Net::new();
    let (x, w) = (net.x, net.w);
    let rounded = net.add(Unary::Round, &[w]);
    let product = net.add(MatMul {}, &[x, rounded]);
    let loss = net.loss(product);
    let gradients = differentiate(&net.graph, loss, &[x, w]).unwrap().gradients;
    assert!(gradients[0].is_some() && gradients[1].is_none());
}

#[test]
fn training_mode_moves_statistics_and_drops() {
    let mut graph = Graph::default();
    let x = graph.add_input("x", DType::F32, vec![Dim::Symbol("batch".into()), Dim::Known(2)]);
    let constant =
        |graph: &mut Graph, name: &str, value: f32| graph.add_constant(name, Tensor::from_vec1(&[value; 2]));
    let parameters = [("scale", 1.0), ("bias", 0.0), ("mean", 0.5), ("variance", 2.0)];
    let parameters = parameters.map(|(name, value)| constant(&mut graph, name, value));
    let op = BatchNormalization {
        epsilon: 0.0,
        momentum: 0.75,
        training_mode: false,
    };
    let normal = graph.add_node("bn", op, &[&[x][..], &parameters].concat());
    let dropped = graph.add_node("drop", Dropout { seed: None }, &[normal]);
    graph.outputs = vec![dropped];
    let training = bantam_graph::training_mode(&graph);
    let mut graph = training.graph;
    assert_eq!(
        training.running.iter().map(|pair| pair.0).collect::<Vec<_>>(),
        parameters[2..]
    );
    graph.outputs = vec![normal, dropped];
    graph.outputs.extend(training.running.iter().map(|pair| pair.1));
    bantam_graph::verify(&graph).unwrap();
    infer_shapes(&mut graph, &Default::default()).unwrap();
    let x = Tensor::from_slice(&[4, 2], &[1.0f32, 0.0, 3.0, 0.0, 1.0, 2.0, 3.0, 2.0]).unwrap();
    let run = |step: i64| {
        let given = [
            ("x".to_owned(), x.clone()),
            ("step".to_owned(), Tensor::scalar(step)),
        ];
        let outputs = Runner::new(&graph, &given).run().unwrap();
        outputs.iter().map(|y| y.to_f32().unwrap()).collect::<Vec<_>>()
    };
    let first = run(1);
    assert_eq!(first[0], [-1.0, -1.0, 1.0, -1.0, -1.0, 1.0, 1.0, 1.0]);
    // 0.75 of what was, 0.25 of the batch's mean 2 and 1, and of its variance 1.
    assert_eq!(first[2..], [vec![0.875, 0.625], vec![1.75, 1.75]]);
    for (dropped, x) in first[1].iter().zip(&first[0]) {
        assert!(*dropped == 0.0 || *dropped == 2.0 * x);
    }
    assert_eq!(run(1), first, "a step can be repeated");
    assert!((2..12).any(|step| run(step)[1] != first[1]), "steps differ");
}
