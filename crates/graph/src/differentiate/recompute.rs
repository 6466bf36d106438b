//! Less memory for more work: values of the forward pass that the backward pass reads are computed again there instead of
//! being kept (Chen et al. 2016, "Training deep nets with sublinear memory cost").

use std::collections::{HashMap, HashSet};

use crate::{Dim, Graph, Node, ValueId};

/// A training step under a limit of memory.
#[derive(Clone, Debug)]
pub struct Recomputation {
    /// The step.
    pub graph: Graph,
    /// Parts of the forward pass, all but the last of which run twice; 1 if nothing does.
    pub segments: usize,
    /// What [`peak_bytes`] says of it.
    pub peak: u64,
}

/// Nothing fits the limit.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "a training step needs at least {least} bytes, more than the limit of {limit} bytes\nhint: use a smaller batch, or a limit of that size"
)]
pub struct MemoryLimitError {
    /// Bytes with the best division.
    pub least: u64,
    /// What was allowed.
    pub limit: u64,
}

/// Bytes of all values that exist at once when the nodes run in order and values go after their last use; scratch memory of
/// kernels is not counted, nor what runs in place. `None` where sizes are not known.
pub fn peak_bytes(graph: &Graph) -> Option<u64> {
    let bytes: Vec<u64> = (0..graph.values.len())
        .map(|index| bytes_of(graph, ValueId::new(index)))
        .collect::<Option<_>>()?;
    let mut last = vec![0; graph.values.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        let values = node.inputs.iter().chain(&node.outputs).flatten();
        values.for_each(|value| last[value.index()] = index);
    }
    let kept = |value: &ValueId| graph.value(*value).initializer.is_some();
    let whole: HashSet<ValueId> = graph.outputs.iter().chain(&graph.inputs).copied().collect();
    let constants = (0..graph.values.len()).map(ValueId::new).filter(kept);
    let mut live: u64 = (graph.inputs.iter().copied().chain(constants))
        .collect::<HashSet<_>>()
        .iter()
        .map(|value| bytes[value.index()])
        .sum();
    let mut peak = live;
    for (index, node) in graph.nodes.iter().enumerate() {
        live += node
            .outputs
            .iter()
            .flatten()
            .map(|value| bytes[value.index()])
            .sum::<u64>();
        peak = peak.max(live);
        let read: HashSet<ValueId> = node
            .inputs
            .iter()
            .chain(&node.outputs)
            .flatten()
            .copied()
            .collect();
        let dead = read
            .iter()
            .filter(|value| last[value.index()] == index && !kept(value) && !whole.contains(value));
        live -= dead.map(|value| bytes[value.index()]).sum::<u64>();
    }
    Some(peak)
}

fn bytes_of(graph: &Graph, value: ValueId) -> Option<u64> {
    let value = graph.value(value);
    if let Some(constant) = &value.initializer {
        return Some(constant.as_bytes().len() as u64);
    }
    let Some(dims) = value.ty.shape() else {
        // Nobody computes it.
        return Some(0);
    };
    let sizes = dims.iter().map(Dim::known);
    let elements = sizes
        .into_iter()
        .try_fold(1usize, |count, size| count.checked_mul(size?))?;
    value.ty.dtype()?.bytes_for(elements).map(|bytes| bytes as u64)
}

/// Divides the first `forward` nodes of a training step into as few segments as keep [`peak_bytes`] within `limit`.
///
/// # Errors
/// When no division does, or when sizes are not known (then `least` is 0).
pub fn recompute(step: &Graph, forward: usize, limit: u64) -> Result<Recomputation, MemoryLimitError> {
    let mut least = 0;
    let mut segments = 1;
    while segments <= forward.max(1) {
        let graph = divided(step, forward, segments);
        let Some(peak) = peak_bytes(&graph) else { break };
        if peak <= limit {
            return Ok(Recomputation {
                graph,
                segments,
                peak,
            });
        }
        least = if segments == 1 { peak } else { peak.min(least) };
        segments += segments.div_ceil(4);
    }
    Err(MemoryLimitError { least, limit })
}

/// The step with its forward pass in so many segments.
fn divided(step: &Graph, forward: usize, segments: usize) -> Graph {
    let mut graph = step.clone();
    let ends = ends(step, forward, segments);
    let mut start = 0;
    // Insertions stand before backward nodes, from the end: the last segment is read first.
    let mut inserted: Vec<(usize, Vec<Node>)> = Vec::new();
    for &end in &ends[..ends.len().saturating_sub(1)] {
        inserted.extend(again(&mut graph, forward, start..end));
        start = end;
    }
    inserted.sort_by_key(|(at, _)| *at);
    for (at, nodes) in inserted.into_iter().rev() {
        graph.nodes.splice(at..at, nodes);
    }
    graph
}

/// Where segments of about equal bytes end.
fn ends(step: &Graph, forward: usize, segments: usize) -> Vec<usize> {
    let of_node = |node: &Node| -> u64 {
        let outputs = node.outputs.iter().flatten();
        outputs.map(|value| bytes_of(step, *value).unwrap_or(0)).sum()
    };
    let total: u64 = step.nodes[..forward].iter().map(of_node).sum();
    let mut ends = Vec::new();
    let mut sum = 0;
    for (index, node) in step.nodes[..forward].iter().enumerate() {
        sum += of_node(node);
        if sum.saturating_mul(segments as u64) >= total.saturating_mul(ends.len() as u64 + 1) {
            ends.push(index + 1);
        }
    }
    ends
}

/// Makes backward nodes read copies of what a segment gives; the nodes that compute these, and the node that they stand before.
fn again(graph: &mut Graph, forward: usize, segment: std::ops::Range<usize>) -> Option<(usize, Vec<Node>)> {
    let made: HashSet<ValueId> = graph.nodes[segment.clone()]
        .iter()
        .flat_map(|node| node.outputs.iter().flatten().copied())
        .collect();
    // What later segments read is kept anyway.
    let later = graph.nodes[segment.end..forward]
        .iter()
        .flat_map(|node| node.inputs.iter().flatten());
    let kept: HashSet<ValueId> = later.chain(&graph.outputs).copied().collect();
    let copied = |value: &ValueId| made.contains(value) && !kept.contains(value);
    let backward = forward..graph.nodes.len();
    let first = backward
        .clone()
        .find(|&index| graph.nodes[index].inputs.iter().flatten().any(copied))?;
    let mut wanted: HashSet<ValueId> = graph.nodes[backward.clone()]
        .iter()
        .flat_map(|node| node.inputs.iter().flatten().copied().filter(copied))
        .collect();
    let mut needed = Vec::new();
    for index in segment.rev() {
        let node = &graph.nodes[index];
        if node
            .outputs
            .iter()
            .flatten()
            .any(|output| wanted.contains(output))
        {
            wanted.extend(node.inputs.iter().flatten().copied().filter(copied));
            needed.push(index);
        }
    }
    let mut copies: HashMap<ValueId, ValueId> = HashMap::new();
    let mut nodes = Vec::new();
    for index in needed.into_iter().rev() {
        let mut node = graph.nodes[index].clone();
        rename(&mut node, &copies);
        for output in node.outputs.iter_mut() {
            *output = output.filter(|output| wanted.contains(output)).map(|output| {
                let mut value = graph.value(output).clone();
                value.name = format!("{}_again", value.name);
                let copy = graph.add_value(value);
                copies.insert(output, copy);
                copy
            });
        }
        nodes.push(node);
    }
    graph.nodes[backward]
        .iter_mut()
        .for_each(|node| rename(node, &copies));
    Some((first, nodes))
}

fn rename(node: &mut Node, copies: &HashMap<ValueId, ValueId>) {
    for input in node.inputs.iter_mut().flatten() {
        *input = copies.get(input).copied().unwrap_or(*input);
    }
}
