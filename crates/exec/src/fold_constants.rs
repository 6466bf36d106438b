//! Nodes whose inputs are all constants run once, when the graph is compiled.

use std::collections::HashSet;

use bantam_graph::{Graph, Node, NodeId, Op};
use bantam_tensor::Tensor;

use crate::Context;
use crate::inputs::{Argument, Inputs};

/// Bytes of all results that are kept in place of nodes at most, beside twice those of all constants (weights of 16 bits
/// become 32): a few numbers of a file can ask for any size.
const MOST: usize = 64 << 20;

/// Replaces the nodes that `wanted` picks, and whose inputs are all constants, by their results.
pub(crate) fn fold(graph: &mut Graph, wanted: impl Fn(&Op) -> bool) {
    let context = Context::default();
    let mut folded = HashSet::new();
    let stored = graph.values.iter().filter_map(|value| value.initializer.as_ref());
    let stored: usize = stored.map(|tensor| tensor.as_bytes().len()).sum();
    let mut left = MOST.saturating_add(stored.saturating_mul(2));
    for index in 0..graph.nodes.len() {
        let id = NodeId::new(index);
        let node = graph.node(id);
        if !wanted(&node.op) || !is_constant(graph, node) {
            continue;
        }
        let Some(rest) = bytes(graph, node).and_then(|bytes| left.checked_sub(bytes)) else {
            log::debug!(
                "fold-constants: the result of {} may be too large",
                graph.describe(node)
            );
            continue;
        };
        // What fails here fails again, with the node's name, when the program runs.
        let Some(results) = results(graph, node, &context) else {
            continue;
        };
        left = rest;
        let outputs = node.outputs.clone();
        for (output, result) in outputs.into_iter().zip(results) {
            if let Some(output) = output {
                graph.value_mut(output).initializer = result;
            }
        }
        folded.insert(id);
    }
    let mut index = 0..;
    graph.nodes.retain(|_| {
        !index
            .next()
            .is_some_and(|index| folded.contains(&NodeId::new(index)))
    });
}

/// Replaces DequantizeLinear of constants by the numbers that these codes stand for, and puts those numbers into them that were kept beside the
/// codes.
pub fn fold_dequantized(graph: &mut Graph) {
    fold(graph, |op| {
        matches!(
            op,
            Op::DequantizeLinear(_)
                | Op::MsDequantizeLinear(_)
                | Op::ScatterElements(_)
                | Op::Reshape(_)
                | Op::Cast(_)
                | Op::CumSum(_)
        )
    });
}

/// Whether a node gives the same whenever it runs.
fn is_constant(graph: &Graph, node: &Node) -> bool {
    let known = |index: usize| node.input(index).is_none() || graph.constant_input(node, index).is_some();
    let plain = !matches!(node.op, Op::Custom(_) | Op::Dropout(_)) && node.op.subgraphs().is_empty();
    plain
        && node.extra.is_empty()
        && node.inputs.iter().any(Option::is_some)
        && (0..node.inputs.len()).all(known)
}

/// Bytes that a node gives, if they are known. Dequantized constants, which are as many as the file holds, do not count.
fn bytes(graph: &Graph, node: &Node) -> Option<usize> {
    if matches!(node.op, Op::DequantizeLinear(_) | Op::MsDequantizeLinear(_)) {
        return Some(0);
    }
    let of_output = |output: &bantam_graph::ValueId| {
        let ty = &graph.value(*output).ty;
        let shape = ty.static_shape()?;
        let elements = shape
            .iter()
            .try_fold(1usize, |count, size| count.checked_mul(*size))?;
        ty.dtype()?.bytes_for(elements)
    };
    let mut outputs = node.outputs.iter().flatten().map(of_output);
    outputs.try_fold(0usize, |sum, bytes| sum.checked_add(bytes?))
}

fn results(graph: &Graph, node: &Node, context: &Context) -> Option<Vec<Option<Tensor>>> {
    let arguments =
        (0..node.inputs.len()).map(|index| graph.constant_input(node, index).map(Argument::Shared));
    let mut inputs = Inputs::new(arguments.collect());
    let results = crate::ops::evaluate(&node.op, &mut inputs, node.outputs.len(), context).ok()?;
    let complete = node
        .outputs
        .iter()
        .zip(&results)
        .all(|(output, result)| output.is_none() || result.is_some());
    (complete && results.len() >= node.outputs.len()).then_some(results)
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::{Binary, DequantizeLinear, Expand, Unary};
    use bantam_tensor::DType;

    use super::*;

    #[test]
    fn chains_of_constants_become_constants() {
        let mut graph = Graph::default();
        let x = graph.add_input("x", DType::F32, vec![2.into()]);
        let two = graph.add_constant("two", Tensor::from_vec1(&[2f32, 2.0]));
        let negative = graph.add_node("negative", Unary::Neg, &[two]);
        let four = graph.add_node("four", Binary::Mul, &[negative, negative]);
        let y = graph.add_node("y", Binary::Add, &[x, four]);
        graph.outputs.push(y);
        bantam_graph::infer_shapes(&mut graph, &Default::default()).unwrap();
        fold(&mut graph, |_| true);
        assert_eq!(graph.nodes.len(), 1);
        assert_eq!(graph.constant(four).unwrap().to_f32().unwrap(), [4.0, 4.0]);
    }

    #[test]
    fn what_grows_or_is_not_wanted_stays() {
        let mut graph = Graph::default();
        let one = graph.add_constant("one", Tensor::scalar(1f32));
        let shape = graph.add_constant("shape", Tensor::from_vec1(&[1i64 << 12, 1 << 13]));
        let large = graph.add_node("large", Expand {}, &[one, shape]);
        let half = graph.add_constant("half", Tensor::from_vec1(&[10i64 << 20]));
        let halves = ["a", "b"].map(|name| graph.add_node(name, Expand {}, &[one, half]));
        let dequantize = DequantizeLinear {
            axis: 1,
            block_size: 0,
            output_dtype: None,
        };
        let codes = graph.add_constant("codes", Tensor::from_vec1(&[3u8]));
        let real = graph.add_node("real", dequantize, &[codes, one]);
        graph.outputs = vec![large, halves[0], halves[1], real];
        bantam_graph::infer_shapes(&mut graph, &Default::default()).unwrap();
        fold(&mut graph, |op| !matches!(op, Op::DequantizeLinear(_)));
        // The second of two large ones is one too many.
        let left = |graph: &Graph| {
            graph
                .nodes
                .iter()
                .map(|node| node.name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(left(&graph), ["large", "b", "real"]);
        fold(&mut graph, |op| matches!(op, Op::DequantizeLinear(_)));
        assert_eq!(graph.constant(real).unwrap().to_f32().unwrap(), [3.0]);
        assert_eq!(left(&graph), ["large", "b"]);
    }
}
