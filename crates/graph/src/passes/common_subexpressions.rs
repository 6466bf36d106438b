//! One node in place of several that compute the same.

use std::collections::{HashMap, HashSet};

use bantam_tensor::DType;

use super::{NotApplied, Outcome, Reason};
use crate::{Graph, Node, NodeId, Op, ValueId};

/// Lets the readers of a node that computes what an earlier one does read the earlier one's outputs. Small constants that
/// are equal count as the same input.
pub fn eliminate_common_subexpressions(graph: &Graph) -> Outcome {
    let mut outcome = Outcome::new(graph);
    let outputs: HashSet<ValueId> = graph.outputs.iter().copied().collect();
    let constants = equal_constants(graph);
    // Values that earlier nodes of this pass took the place of.
    let mut stands_in: HashMap<ValueId, ValueId> = HashMap::new();
    let mut seen: HashMap<Key, Vec<NodeId>> = HashMap::new();
    for (id, node) in graph.node_ids().filter(|(_, node)| is_pure(node)) {
        let same = |value: &ValueId| stands_in.get(value).or_else(|| constants.get(value)).copied();
        let key: Key = (node.inputs.iter())
            .map(|input| input.map(|value| same(&value).unwrap_or(value)))
            .collect();
        let earlier = seen.entry(key).or_default();
        let equal = |other: &&NodeId| {
            let other = graph.node(**other);
            other.op == node.op && other.outputs.len() == node.outputs.len()
        };
        let Some(&first) = earlier.iter().find(equal) else {
            earlier.push(id);
            continue;
        };
        let pairs: Vec<(ValueId, ValueId)> = pairs(graph.node(first), node).collect();
        if let Some((value, _)) = pairs.iter().find(|(value, _)| outputs.contains(value)) {
            let value = graph.value(*value).name.clone();
            outcome.not_applied.push(NotApplied {
                node: graph.describe(node),
                reason: Reason::BothOutputs { value },
            });
            continue;
        }
        for (value, kept) in pairs {
            outcome.patch.replace_uses(value, kept);
            stands_in.insert(value, kept);
        }
        outcome.patch.remove_node(id);
        outcome.applied += 1;
    }
    outcome
}

/// Inputs of a node, equal ones with one id.
type Key = Vec<Option<ValueId>>;

/// Nodes that give the same whenever they read the same, and whose outputs are as complete as those of their kind.
fn is_pure(node: &Node) -> bool {
    let known = !matches!(node.op, Op::Custom(_) | Op::Dropout(_)) && node.op.subgraphs().is_empty();
    known && node.extra.is_empty() && node.outputs.iter().all(Option::is_some)
}

/// The outputs of a node, each with that of the node that stays.
fn pairs<'g>(kept: &'g Node, node: &'g Node) -> impl Iterator<Item = (ValueId, ValueId)> + 'g {
    let pairs = node.outputs.iter().zip(&kept.outputs);
    pairs.filter_map(|(value, kept)| Some(((*value)?, (*kept)?)))
}

/// Constants that are compared by what they hold, in bytes.
const SMALL: usize = 1 << 10;

/// For each small constant the first that is equal to it.
fn equal_constants(graph: &Graph) -> HashMap<ValueId, ValueId> {
    let mut firsts = HashMap::new();
    let mut equal = HashMap::new();
    for index in 0..graph.values.len() {
        let id = ValueId::new(index);
        if let Some(tensor) = graph.constant(id)
            && tensor.as_bytes().len() <= SMALL
            && tensor.dtype() != DType::String
        {
            let content = (tensor.dtype(), tensor.shape(), tensor.as_bytes());
            equal.insert(id, *firsts.entry(content).or_insert(id));
        }
    }
    equal
}

#[cfg(test)]
mod tests {
    use bantam_tensor::Tensor;

    use super::*;
    use crate::ops::{Binary, Unary};
    use crate::passes::{ELIMINATE_COMMON_SUBEXPRESSIONS, run_passes};

    #[test]
    fn chains_that_compute_the_same_are_computed_once() {
        let mut graph = Graph::default();
        let x = graph.add_input("x", DType::F32, vec![2.into()]);
        let chain = |graph: &mut Graph, factor: f32| {
            let factor = graph.add_constant("factor", Tensor::from_vec1(&[factor]));
            let scaled = graph.add_node("scaled", Binary::Mul, &[x, factor]);
            graph.add_node("exp", Unary::Exp, &[scaled])
        };
        let (a, b, c) = (
            chain(&mut graph, 2.0),
            chain(&mut graph, 2.0),
            chain(&mut graph, 3.0),
        );
        let sum = graph.add_node("sum", Binary::Add, &[a, b]);
        let all = graph.add_node("all", Binary::Add, &[sum, c]);
        graph.outputs.push(all);
        let report = run_passes(&mut graph, &[ELIMINATE_COMMON_SUBEXPRESSIONS])
            .unwrap()
            .remove(0);
        assert_eq!((report.applied, graph.nodes.len()), (2, 6));
        let sum = graph.nodes.iter().find(|node| node.name == "sum").unwrap();
        assert_eq!(sum.inputs[0], sum.inputs[1]);
    }

    #[test]
    fn two_outputs_keep_their_names() {
        let mut graph = Graph::default();
        let x = graph.add_input("x", DType::F32, vec![2.into()]);
        graph.outputs = ["a", "b"]
            .map(|name| graph.add_node(name, Unary::Exp, &[x]))
            .to_vec();
        let report = run_passes(&mut graph, &[ELIMINATE_COMMON_SUBEXPRESSIONS])
            .unwrap()
            .remove(0);
        assert_eq!(
            (report.applied, report.not_applied.len(), graph.nodes.len()),
            (0, 1, 2)
        );
    }
}
