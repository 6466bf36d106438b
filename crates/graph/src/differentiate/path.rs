//! Which nodes lie between the loss and what it is differentiated with respect to.

use bantam_tensor::DType;

use super::rules::{Rule, rule};
use crate::{Graph, Node, ValueId, ValueType};

/// What lies on a path from `wrt` to the loss.
pub(super) struct Path {
    /// By value: its gradient is needed.
    pub(super) values: Vec<bool>,
    /// By node: the gradient passes it.
    pub(super) nodes: Vec<bool>,
}

impl Path {
    pub(super) fn new(graph: &Graph, loss: ValueId, wrt: &[ValueId]) -> Path {
        let reads: Vec<Vec<ValueId>> = graph.nodes.iter().map(|node| reads(graph, node)).collect();
        let depends = depends(graph, wrt, &reads);
        let mut values = vec![false; graph.values.len()];
        let mut nodes = vec![false; graph.nodes.len()];
        values[loss.index()] = depends[loss.index()];
        for (index, node) in graph.nodes.iter().enumerate().rev() {
            let reaches = node.outputs.iter().flatten().any(|output| values[output.index()]);
            let on_the_way: Vec<ValueId> = reads[index]
                .iter()
                .copied()
                .filter(|input| depends[input.index()])
                .collect();
            if reaches && !on_the_way.is_empty() && !matches!(rule(&node.op), Rule::Stops) {
                nodes[index] = true;
                on_the_way.iter().for_each(|input| values[input.index()] = true);
            }
        }
        Path { values, nodes }
    }
}

/// All values that a node reads, also from inside its subgraphs.
fn reads(graph: &Graph, node: &Node) -> Vec<ValueId> {
    let captured = node.op.subgraphs().into_iter().flat_map(Graph::captured_names);
    let captured = captured.filter_map(|name| graph.value_by_name(&name));
    node.inputs.iter().flatten().copied().chain(captured).collect()
}

/// The values that change continuously with one of `wrt`.
fn depends(graph: &Graph, wrt: &[ValueId], reads: &[Vec<ValueId>]) -> Vec<bool> {
    let mut depends = vec![false; graph.values.len()];
    wrt.iter().for_each(|id| depends[id.index()] = true);
    for (node, reads) in graph.nodes.iter().zip(reads) {
        let reached = reads.iter().any(|input| depends[input.index()]);
        if reached && !matches!(rule(&node.op), Rule::Stops) {
            let outputs = node.outputs.iter().flatten();
            outputs
                .filter(|output| may_be_float(&graph.value(**output).ty))
                .for_each(|output| depends[output.index()] = true);
        }
    }
    depends
}

/// Only floats have gradients; what is not a tensor may hold some.
fn may_be_float(ty: &ValueType) -> bool {
    ty.dtype().is_none_or(DType::is_float)
}
