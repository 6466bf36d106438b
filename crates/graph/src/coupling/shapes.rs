//! Values that only say what shapes others are to get.

use crate::ops::ReduceKind;
use crate::{Graph, Op};

/// By value: whether all that is computed from it are the shapes of Reshape nodes.
pub(super) fn shape_only(graph: &Graph) -> Vec<bool> {
    let consumers = graph.consumers();
    let mut only = vec![false; graph.values.len()];
    for node in graph.nodes.iter().rev() {
        for output in node.outputs.iter().flatten() {
            let is_read = |&(reader, position): &(crate::NodeId, usize)| {
                let reader = graph.node(reader);
                let passes_on = passes_on(&reader.op)
                    && reader.outputs.iter().flatten().all(|output| only[output.index()]);
                passes_on || (matches!(reader.op, Op::Reshape(_)) && position == 1)
            };
            only[output.index()] =
                !graph.outputs.contains(output) && consumers[output.index()].iter().all(is_read);
        }
    }
    only
}

/// Ops that make sizes of sizes.
fn passes_on(op: &Op) -> bool {
    match op {
        Op::Gather(_) | Op::Slice(_) | Op::Concat(_) | Op::Squeeze(_) | Op::Unsqueeze(_) | Op::Cast(_) => {
            true
        }
        Op::Unary(_) | Op::Binary(_) => true,
        Op::Reduce(op) => op.kind == ReduceKind::Prod,
        _ => false,
    }
}
