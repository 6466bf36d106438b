//! Removal of nodes whose outputs nobody reads.

use super::Outcome;
use crate::{Graph, NodeId, Op};

/// Removes every node from which no graph output can be reached. Ops that Bantam does not know stay: they may do
/// more than compute.
pub fn eliminate_dead_nodes(graph: &Graph) -> Outcome {
    let mut outcome = Outcome::new(graph);
    let alive = alive_nodes(graph);
    for (id, _) in graph.node_ids().filter(|(id, _)| !alive[id.index()]) {
        outcome.patch.remove_node(id);
        outcome.applied += 1;
    }
    outcome
}

fn alive_nodes(graph: &Graph) -> Vec<bool> {
    let (producers, names) = (graph.producers(), graph.names());
    let mut alive = vec![false; graph.nodes.len()];
    let unknown = graph
        .node_ids()
        .filter(|(_, node)| matches!(node.op, Op::Custom(_)));
    let mut pending: Vec<NodeId> = unknown.map(|(id, _)| id).collect();
    pending.extend(
        graph
            .outputs
            .iter()
            .filter_map(|output| producers[output.index()]),
    );
    while let Some(id) = pending.pop() {
        if std::mem::replace(&mut alive[id.index()], true) {
            continue;
        }
        let node = graph.node(id);
        pending.extend(
            node.inputs
                .iter()
                .flatten()
                .filter_map(|input| producers[input.index()]),
        );
        let captured = node.op.subgraphs().into_iter().flat_map(Graph::captured_names);
        pending.extend(captured.filter_map(|name| producers[names.get(name.as_str())?.index()]));
    }
    alive
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Custom, Unary};
    use crate::passes::{ELIMINATE_DEAD_NODES, run_passes};
    use crate::{Attributes, Dim};
    use bantam_tensor::DType;

    #[test]
    fn chains_that_reach_no_output_go_and_unknown_ops_stay() {
        let mut graph = Graph::default();
        let x = graph.add_input("x", DType::F32, vec![Dim::Known(2)]);
        let y = graph.add_node("y", Unary::Relu, &[x]);
        let dead = graph.add_node("dead", Unary::Abs, &[y]);
        graph.add_node("deader", Unary::Neg, &[dead]);
        let read_by_unknown = graph.add_node("read", Unary::Exp, &[x]);
        graph.add_node(
            "print",
            Op::Custom(Custom::new("vendor", "Print", Attributes::new())),
            &[read_by_unknown],
        );
        graph.outputs.push(y);
        let report = run_passes(&mut graph, &[ELIMINATE_DEAD_NODES]).unwrap().remove(0);
        assert_eq!((report.applied, report.rounds), (2, 2));
        let left: Vec<&str> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(left, ["y", "read", "print"]);
    }
}
