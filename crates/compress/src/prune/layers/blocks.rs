//! Residual blocks: sums of a value and of what is computed from it.

use bantam_graph::ops::{Binary, Variadic};
use bantam_graph::{Graph, NodeId, Op, ValueId};

/// A sum without which the graph goes on with one of its operands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The node that sums.
    pub sum: NodeId,
    /// Its output.
    pub output: ValueId,
    /// The operand that stays.
    pub skip: ValueId,
    /// The operand that is computed from the other.
    pub branch: ValueId,
}

/// The blocks of a graph, in its order. Types must have been inferred.
pub fn residual_blocks(graph: &Graph) -> Vec<Block> {
    let producers = graph.producers();
    graph
        .node_ids()
        .filter_map(|(id, _)| block(graph, id, &producers))
        .collect()
}

fn block(graph: &Graph, id: NodeId, producers: &[Option<NodeId>]) -> Option<Block> {
    let node = graph.node(id);
    if !matches!(node.op, Op::Binary(Binary::Add) | Op::Variadic(Variadic::Sum)) || node.inputs.len() != 2 {
        return None;
    }
    let (a, b, output) = (node.input(0)?, node.input(1)?, node.output(0)?);
    let (skip, branch) = if depends(graph, b, a, producers) {
        (a, b)
    } else if depends(graph, a, b, producers) {
        (b, a)
    } else {
        return None;
    };
    let shape = |value: ValueId| graph.value(value).ty.shape();
    (shape(skip)? == shape(output)? && shape(branch)? == shape(output)?).then_some(Block {
        sum: id,
        output,
        skip,
        branch,
    })
}

/// Whether a value is computed from another one.
fn depends(graph: &Graph, value: ValueId, from: ValueId, producers: &[Option<NodeId>]) -> bool {
    let earliest = producers[from.index()];
    let mut seen = vec![false; graph.values.len()];
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        if value == from {
            return true;
        }
        if std::mem::replace(&mut seen[value.index()], true) {
            continue;
        }
        // What lies before the value in question cannot depend on it.
        if let Some(node) = producers[value.index()].filter(|node| earliest.is_none_or(|first| *node > first))
        {
            open.extend(graph.node(node).inputs.iter().flatten());
        }
    }
    false
}
