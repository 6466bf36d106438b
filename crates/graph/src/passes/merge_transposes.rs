//! One Transpose in place of two.

use super::Outcome;
use crate::ops::Transpose;
use crate::{Graph, Node, Op};

/// Lets a Transpose of a Transpose read what the first one reads, with both orders in one. The first one stays if others
/// read it too, and goes as a dead node if not.
pub fn merge_transposes(graph: &Graph) -> Outcome {
    let mut outcome = Outcome::new(graph);
    let producers = graph.producers();
    for (id, node) in graph.node_ids() {
        let Some(second) = order(node) else { continue };
        let producer = node.input(0).and_then(|value| producers[value.index()]);
        let Some((first, source)) = producer.and_then(|id| {
            let producer = graph.node(id);
            Some((order(producer)?, producer.input(0)?))
        }) else {
            continue;
        };
        let Some(perm) = both(first, second) else { continue };
        outcome.patch.set_op(id, Transpose { perm: Some(perm) }.into());
        outcome.patch.set_input(id, 0, Some(source));
        outcome.applied += 1;
    }
    outcome
}

fn order(node: &Node) -> Option<&[i64]> {
    match &node.op {
        Op::Transpose(op) if node.extra.is_empty() => op.perm.as_deref(),
        _ => None,
    }
}

/// The order that is `first` and then `second`; none where they do not fit together.
fn both(first: &[i64], second: &[i64]) -> Option<Vec<i64>> {
    let axis = |&axis: &i64| first.get(usize::try_from(axis).ok()?).copied();
    (first.len() == second.len()).then(|| second.iter().map(axis).collect())?
}

#[cfg(test)]
mod tests {
    use bantam_tensor::DType;

    use super::*;
    use crate::ops::Unary;
    use crate::passes::{ELIMINATE_DEAD_NODES, ELIMINATE_IDENTITY, MERGE_TRANSPOSES, run_passes};

    fn graph(second: &[i64]) -> Graph {
        let mut graph = Graph::default();
        let x = graph.add_input("x", DType::F32, vec![2.into(), 3.into(), 4.into()]);
        let transpose = |perm: &[i64]| Transpose {
            perm: Some(perm.to_vec()),
        };
        let a = graph.add_node("a", transpose(&[1, 2, 0]), &[x]);
        let b = graph.add_node("b", transpose(second), &[a]);
        let y = graph.add_node("y", Unary::Relu, &[b]);
        graph.outputs.push(y);
        let passes = [MERGE_TRANSPOSES, ELIMINATE_IDENTITY, ELIMINATE_DEAD_NODES];
        run_passes(&mut graph, &passes).unwrap();
        graph
    }

    #[test]
    fn two_become_one() {
        let graph = graph(&[0, 2, 1]);
        let [transpose, _] = graph.nodes.as_slice() else {
            panic!("{} nodes", graph.nodes.len())
        };
        assert_eq!(order(transpose), Some(&[1, 0, 2][..]));
    }

    #[test]
    fn opposite_ones_cancel() {
        let graph = graph(&[2, 0, 1]);
        assert_eq!(graph.nodes.len(), 1);
        assert_eq!(graph.nodes[0].inputs, [graph.value_by_name("x")]);
    }
}
