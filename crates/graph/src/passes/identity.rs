//! Removal of nodes that return their input.

use std::collections::{HashMap, HashSet};

use super::{NotApplied, Outcome, Reason};
use crate::ops::{Reshape, Transpose};
use crate::{Dim, Graph, Node, Op, ValueId};

/// Lets the readers of each node that returns its first input unchanged read that input.
///
/// What a node does must be plain from constants and from the types of values, so run shape inference first. A node
/// stays where the interface of the graph needs both of its names.
pub fn eliminate_identity(graph: &Graph) -> Outcome {
    let mut outcome = Outcome::new(graph);
    let mut roots: HashMap<ValueId, ValueId> = HashMap::new();
    let outputs: HashSet<ValueId> = graph.outputs.iter().copied().collect();
    let mut named: HashSet<ValueId> = outputs.iter().chain(&graph.inputs).copied().collect();
    for (id, node) in graph
        .node_ids()
        .filter(|(_, node)| returns_its_input(graph, node))
    {
        let (Some(input), Some(output)) = (node.input(0), node.output(0)) else {
            continue;
        };
        let root = roots.get(&input).copied().unwrap_or(input);
        let mut named_already = || graph.value(root).initializer.is_some() || !named.insert(root);
        if outputs.contains(&output) && named_already() {
            outcome.not_applied.push(NotApplied {
                node: graph.describe(node),
                reason: Reason::NamesBothEnds,
            });
            continue;
        }
        roots.insert(output, root);
        outcome.patch.replace_uses(output, root);
        outcome.patch.remove_node(id);
        outcome.applied += 1;
    }
    outcome
}

fn returns_its_input(graph: &Graph, node: &Node) -> bool {
    match &node.op {
        Op::Dropout(_) => is_inference_dropout(graph, node),
        // More outputs than the first would be lost.
        _ if node.outputs.iter().skip(1).any(Option::is_some) => false,
        Op::Unary(crate::ops::Unary::Identity) => true,
        Op::Variadic(_) | Op::Concat(_) => node.inputs.len() == 1,
        Op::Cast(cast) => input_type(graph, node, 0).is_some_and(|dtype| dtype == cast.to),
        Op::CastLike(_) => match (input_type(graph, node, 0), input_type(graph, node, 1)) {
            (Some(from), Some(to)) => from == to,
            _ => false,
        },
        Op::Transpose(transpose) => keeps_order(graph, node, transpose),
        Op::Pad(_) => integers(graph, node, 1).is_some_and(|pads| pads.iter().all(|&pad| pad == 0)),
        Op::Tile(_) => integers(graph, node, 1).is_some_and(|repeats| repeats.iter().all(|&n| n == 1)),
        Op::Expand(_) => match (integers(graph, node, 1), input_shape(graph, node)) {
            (Some(to), Some(shape)) => to.len() <= shape.len() && to.iter().all(|&size| size == 1),
            _ => false,
        },
        Op::Flatten(flatten) => {
            flatten.axis == 1 && input_shape(graph, node).is_some_and(|shape| shape.len() == 2)
        }
        Op::Reshape(reshape) => keeps_shape(graph, node, reshape),
        Op::Slice(_) => takes_all(graph, node).unwrap_or(false),
        _ => false,
    }
}

fn is_inference_dropout(graph: &Graph, node: &Node) -> bool {
    let inference = match node.input(2) {
        None => true,
        Some(id) => graph
            .constant(id)
            .and_then(|mode| mode.to_i64().ok())
            .is_some_and(|mode| mode == [0]),
    };
    inference && node.output(1).is_none()
}

fn keeps_order(graph: &Graph, node: &Node, transpose: &Transpose) -> bool {
    match &transpose.perm {
        Some(perm) => perm
            .iter()
            .enumerate()
            .all(|(axis, &from)| i64::try_from(axis) == Ok(from)),
        None => input_shape(graph, node).is_some_and(|shape| shape.len() < 2),
    }
}

/// True when the target shape repeats the input's: equal numbers, 0 for "as it was", and at most one -1.
fn keeps_shape(graph: &Graph, node: &Node, reshape: &Reshape) -> bool {
    let (Some(target), Some(shape)) = (integers(graph, node, 1), input_shape(graph, node)) else {
        return false;
    };
    let same = |(&to, from): (&i64, &Dim)| match to {
        0 => !reshape.allowzero,
        -1 => true,
        size => from.known().is_some_and(|from| i64::try_from(from) == Ok(size)),
    };
    let open = target.iter().filter(|&&size| size == -1).count();
    let empty = shape.contains(&Dim::Known(0));
    target.len() == shape.len() && open <= 1 && !empty && target.iter().zip(shape).all(same)
}

/// True when a Slice goes from the start to the end of each of its axes; `None` when that is not known.
fn takes_all(graph: &Graph, node: &Node) -> Option<bool> {
    const OPEN_END: i64 = i32::MAX as i64;
    let (starts, ends) = (integers(graph, node, 1)?, integers(graph, node, 2)?);
    let shape = input_shape(graph, node)?;
    let axes = match node.input(3) {
        Some(_) => integers(graph, node, 3)?,
        None => (0..).take(starts.len()).collect(),
    };
    let steps = match node.input(4) {
        Some(_) => integers(graph, node, 4)?,
        None => vec![1; starts.len()],
    };
    let whole = starts
        .iter()
        .zip(&ends)
        .zip(&axes)
        .all(|((&start, &end), &axis)| {
            let axis = if axis < 0 { axis + shape.len() as i64 } else { axis };
            let size = usize::try_from(axis)
                .ok()
                .and_then(|axis| shape.get(axis)?.known());
            let to_end =
                end >= OPEN_END || size.is_some_and(|size| i64::try_from(size).is_ok_and(|size| end >= size));
            start == 0 && to_end
        });
    Some(
        whole
            && ends.len() == starts.len()
            && axes.len() == starts.len()
            && steps.iter().all(|&step| step == 1),
    )
}

fn integers(graph: &Graph, node: &Node, position: usize) -> Option<Vec<i64>> {
    graph.constant_input(node, position)?.to_i64().ok()
}

fn input_shape<'g>(graph: &'g Graph, node: &Node) -> Option<&'g [Dim]> {
    graph.value(node.input(0)?).ty.shape()
}

fn input_type(graph: &Graph, node: &Node, position: usize) -> Option<bantam_tensor::DType> {
    graph.value(node.input(position)?).ty.dtype()
}

#[cfg(test)]
mod tests;
