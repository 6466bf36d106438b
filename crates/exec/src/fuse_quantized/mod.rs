//! Integer execution of quantized graphs: float operators between DequantizeLinear and QuantizeLinear become one operator
//! on codes.
//!
//! The patterns are those of ONNX Runtime, and so are the operators on codes (QLinearConv, QGemm, ...), so that a graph
//! gives the same codes here and there. What no pattern covers stays as it is; constants that are still dequantized
//! are dequantized once.

mod bias;
mod rules;
mod search;

use std::borrow::Cow;
use std::collections::HashSet;

use bantam_graph::{Graph, Node, NodeId, Op, ValueId};
use bantam_tensor::Tensor;

use crate::Context;
use crate::inputs::{Argument, Inputs};
use search::Search;

/// An input of a new node.
enum Source {
    Value(ValueId),
    Constant(Tensor),
    Absent,
}

/// An operator on codes that computes what node `last` of a pattern did.
struct Replacement {
    last: NodeId,
    name: String,
    op: Op,
    inputs: Vec<Source>,
}

/// The graph with operators on codes, values keeping their ids. Values that are observed stay.
pub(crate) fn fuse<'g>(graph: &'g Graph, observed: &HashSet<ValueId>) -> Cow<'g, Graph> {
    if !graph.nodes.iter().any(|node| matches!(node.op, Op::DequantizeLinear(_))) {
        return Cow::Borrowed(graph);
    }
    let search = Search::new(graph, observed);
    let mut fused = graph.clone();
    for (id, node) in graph.node_ids().filter(|(_, node)| node.extra.is_empty()) {
        if let Some(replacement) = rules::replacement(&search, id, node) {
            replace(&mut fused, replacement);
        }
    }
    remove_unread(&mut fused, observed);
    fold_constants(&mut fused);
    Cow::Owned(fused)
}

fn replace(graph: &mut Graph, replacement: Replacement) {
    let inputs: Vec<Option<ValueId>> = (replacement.inputs.into_iter())
        .map(|source| match source {
            Source::Value(id) => Some(id),
            Source::Constant(tensor) => Some(graph.add_constant(&format!("{}_constant", replacement.name), tensor)),
            Source::Absent => None,
        })
        .collect();
    let last = &mut graph.nodes[replacement.last.index()];
    let outputs = std::mem::take(&mut last.outputs);
    *last = Node { inputs, outputs, ..Node::new(replacement.name, replacement.op, &[], &[]) };
}

/// Removes nodes whose outputs nobody reads.
fn remove_unread(graph: &mut Graph, observed: &HashSet<ValueId>) {
    let names = graph.names();
    let mut read: HashSet<ValueId> = graph.outputs.iter().chain(observed).copied().collect();
    let mut keep = vec![true; graph.nodes.len()];
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        keep[index] = node.outputs.iter().flatten().any(|output| read.contains(output));
        if keep[index] {
            read.extend(node.inputs.iter().flatten());
            let captured = node.op.subgraphs().into_iter().flat_map(Graph::captured_names);
            read.extend(captured.filter_map(|name| names.get(name.as_str()).copied()));
        }
    }
    let mut keep = keep.into_iter();
    graph.nodes.retain(|_| keep.next().unwrap_or(true));
}

/// Dequantizes constants.
fn fold_constants(graph: &mut Graph) {
    let context = Context::default();
    let mut folded = Vec::new();
    for node in &graph.nodes {
        let arguments: Vec<Option<&Tensor>> = (0..node.inputs.len()).map(|i| graph.constant_input(node, i)).collect();
        let (Op::DequantizeLinear(op), Some(output)) = (&node.op, node.output(0)) else { continue };
        let constant = arguments.iter().zip(&node.inputs).all(|(argument, input)| argument.is_some() || input.is_none());
        if !constant || !node.extra.is_empty() {
            continue;
        }
        let inputs = Inputs::new(arguments.into_iter().map(|argument| argument.map(Argument::Shared)).collect());
        // What fails here fails again, with the node's name, when the program runs.
        if let Ok(reals) = crate::ops::dequantize(op, &inputs, &context) {
            folded.push((output, reals));
        }
    }
    for (output, reals) in folded {
        graph.value_mut(output).initializer = Some(reals);
        graph.nodes.retain(|node| node.output(0) != Some(output));
    }
}
