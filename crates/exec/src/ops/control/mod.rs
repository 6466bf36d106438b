//! If, Loop and Scan: operators that run graphs.

mod branch;
mod repeat;
mod scan;
mod slices;
mod subgraph;

pub(super) use branch::prepare as branch;
pub(super) use repeat::prepare as repeat;
pub(super) use scan::prepare as scan;

#[cfg(test)]
mod tests {
    use bantam_graph::ops::{Binary, If, Loop, Unary};
    use bantam_graph::{Dim, Graph, Node, Value, ValueId};
    use bantam_tensor::{DType, Tensor};

    use crate::{CompileOptions, OpError, RunError, Taps, compile};

    fn outer_value(graph: &mut Graph, name: &str) -> ValueId {
        graph.add_value(Value {
            name: name.to_owned(),
            ..Value::default()
        })
    }

    /// A loop body that adds `x` of two graphs further out, and collects what it has.
    fn adding_body() -> Graph {
        let mut body = Graph::default();
        body.add_input("iteration", DType::I64, vec![]);
        let condition = body.add_input("condition", DType::Bool, vec![]);
        let carried = body.add_input("carried", DType::F32, vec![Dim::Unknown]);
        let x = outer_value(&mut body, "x");
        let proceed = body.add_node("proceed", Unary::Identity, &[condition]);
        let sum = body.add_node("sum", Binary::Add, &[carried, x]);
        let collected = body.add_node("collected", Unary::Identity, &[sum]);
        body.value_mut(collected).ty = bantam_graph::ValueType::tensor(DType::F32, vec![Dim::Known(2)]);
        body.outputs = vec![proceed, sum, collected];
        body
    }

    /// `if condition { repeat trips times: v += x, from 1 } else { (x, [x]) }`.
    fn nested(trips: i64) -> Graph {
        let mut then = Graph::default();
        let trips = then.add_constant("trips", Tensor::scalar(trips));
        let start = then.add_constant("start", Tensor::from_vec1(&[1.0f32, 1.0]));
        let outputs = [outer_value(&mut then, "final"), outer_value(&mut then, "all")];
        let mut node = Node::new(
            "loop",
            Loop {
                body: Box::new(adding_body()),
            }
            .into(),
            &[],
            &outputs,
        );
        node.inputs = vec![Some(trips), None, Some(start)];
        then.nodes.push(node);
        then.outputs = outputs.to_vec();

        let mut otherwise = Graph::default();
        let x = outer_value(&mut otherwise, "x");
        let one = otherwise.add_node("one", Unary::Identity, &[x]);
        let two = otherwise.add_node("two", Unary::Neg, &[x]);
        otherwise.outputs = vec![one, two];

        let mut graph = Graph::default();
        let condition = graph.add_input("condition", DType::Bool, vec![]);
        graph.add_input("x", DType::F32, vec![Dim::Known(2)]);
        let outputs = [outer_value(&mut graph, "y"), outer_value(&mut graph, "z")];
        let branch = If {
            then_branch: Box::new(then),
            else_branch: Box::new(otherwise),
        };
        graph
            .nodes
            .push(Node::new("if", branch.into(), &[condition], &outputs));
        graph.outputs = outputs.to_vec();
        graph
    }

    fn run(graph: &Graph, condition: bool) -> Result<Vec<Tensor>, RunError> {
        let program = compile(graph, &CompileOptions::default()).unwrap();
        let condition = Tensor::from_bools(&[], &[condition]).unwrap();
        let x = Tensor::from_vec1(&[2.0f32, 3.0]);
        program.run(&[("condition", condition), ("x", x)], &mut Taps::none())
    }

    #[test]
    fn values_are_captured_over_two_levels() {
        let y = run(&nested(3), true).unwrap();
        assert_eq!(y[0].to_f32().unwrap(), [7.0, 10.0]);
        assert_eq!(y[1].shape(), [3, 2]);
        assert_eq!(y[1].to_f32().unwrap(), [3.0, 4.0, 5.0, 7.0, 7.0, 10.0]);
        let y = run(&nested(3), false).unwrap();
        assert_eq!(
            (y[0].to_f32().unwrap(), y[1].to_f32().unwrap()),
            (vec![2.0, 3.0], vec![-2.0, -3.0])
        );
    }

    #[test]
    fn no_iterations_give_empty_results() {
        let y = run(&nested(0), true).unwrap();
        assert_eq!(y[0].to_f32().unwrap(), [1.0, 1.0]);
        assert_eq!(y[1].shape(), [0, 2]);
    }

    #[test]
    fn bodies_that_do_not_fit_are_refused() {
        let mut graph = nested(1);
        let Some(then) = graph.nodes[0].op.subgraphs_mut().into_iter().next() else {
            panic!("a branch")
        };
        then.nodes[0].op.subgraphs_mut()[0].outputs.truncate(1);
        assert!(compile(&graph, &CompileOptions::default()).is_err());
    }

    #[test]
    fn errors_inside_name_the_inner_node() {
        let mut graph = nested(2);
        let then = graph.nodes[0].op.subgraphs_mut().swap_remove(0);
        let start = then.value_by_name("start").unwrap();
        then.value_mut(start).initializer = Some(Tensor::from_vec1(&[1.0f32, 1.0, 1.0]));
        let error = run(&graph, true).unwrap_err();
        assert!(
            matches!(
                &error,
                RunError::Node {
                    source: OpError::Subgraph(_),
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(error.to_string().contains("`sum` (Add)"), "{error}");
    }
}
