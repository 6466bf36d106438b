//! A part of a graph.

use crate::{Graph, ValueId};

/// The nodes that compute `outputs` from `inputs` and constants, as a graph. Values keep their ids, names and types. Where an
/// output needs more than that, the part lacks its producer.
pub fn part(graph: &Graph, inputs: &[ValueId], outputs: &[ValueId]) -> Graph {
    let mut reads: Vec<Vec<ValueId>> = vec![Vec::new(); graph.nodes.len()];
    for (index, consumers) in graph.consumers().iter().enumerate() {
        for (node, _) in consumers {
            reads[node.index()].push(ValueId::new(index));
        }
    }
    let mut needed = vec![false; graph.values.len()];
    let need = |needed: &mut Vec<bool>, value: ValueId| needed[value.index()] = !inputs.contains(&value);
    outputs.iter().for_each(|value| need(&mut needed, *value));
    let mut kept = vec![false; graph.nodes.len()];
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        kept[index] = node.outputs.iter().flatten().any(|output| needed[output.index()]);
        if kept[index] {
            reads[index].iter().for_each(|value| need(&mut needed, *value));
        }
    }
    let mut kept = kept.into_iter();
    let mut part = graph.clone();
    part.nodes.retain(|_| kept.next().unwrap_or(false));
    part.inputs = inputs.to_vec();
    part.outputs = outputs.to_vec();
    part
}
