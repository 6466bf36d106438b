//! Nodes whose inputs are all constants run once, when the graph is compiled.

use std::collections::{HashMap, HashSet};

use bantam_graph::ops::Binary;
use bantam_graph::{Graph, Node, NodeId, Op, ValueId};
use bantam_tensor::Tensor;

use crate::Context;
use crate::inputs::{Argument, Inputs};

/// Bytes of all results that are kept in place of nodes at most, beside eight times those of all constants (weights of 4 bits
/// become 32): a few numbers of a file can ask for any size.
const MOST: usize = 64 << 20;

/// Replaces the nodes that `wanted` picks, and whose inputs are all constants, by their results. Those that only replaced nodes read are let
/// go, but for what is `observed`.
pub(crate) fn fold(graph: &mut Graph, observed: &HashSet<ValueId>, wanted: impl Fn(&Op) -> bool) {
    let context = Context::default();
    let stored = graph.values.iter().filter_map(|value| value.initializer.as_ref());
    let stored: usize = stored.map(|tensor| tensor.as_bytes().len()).sum();
    let mut room = Room::new(graph, MOST.saturating_add(stored.saturating_mul(8)));
    for index in 0..graph.nodes.len() {
        let id = NodeId::new(index);
        let node = graph.node(id);
        if !wanted(&node.op) || !is_constant(graph, node) {
            continue;
        }
        let Some(bytes) = bytes(graph, node).filter(|bytes| *bytes <= room.left) else {
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
        room.take(id, bytes);
        let (inputs, outputs) = (node.inputs.clone(), node.outputs.clone());
        for (output, result) in outputs.into_iter().zip(results) {
            if let Some(output) = output {
                graph.value_mut(output).initializer = result;
            }
        }
        for input in inputs.into_iter().flatten() {
            if !observed.contains(&input) && room.give_back(graph, input) {
                graph.value_mut(input).initializer = None;
            }
        }
    }
    let mut index = 0..;
    graph.nodes.retain(|_| {
        !index
            .next()
            .is_some_and(|index| room.folded.contains_key(&NodeId::new(index)))
    });
}

/// What results may still take.
struct Room {
    left: usize,
    /// The nodes that were replaced, and the bytes of their results.
    folded: HashMap<NodeId, usize>,
    producers: Vec<Option<NodeId>>,
    consumers: Vec<Vec<(NodeId, usize)>>,
}

impl Room {
    fn new(graph: &Graph, left: usize) -> Room {
        Room {
            left,
            folded: HashMap::new(),
            producers: graph.producers(),
            consumers: graph.consumers(),
        }
    }

    fn take(&mut self, node: NodeId, bytes: usize) {
        self.left -= bytes;
        self.folded.insert(node, bytes);
    }

    /// Whether a value is a result that nobody reads any more; its bytes are then free.
    fn give_back(&mut self, graph: &Graph, value: ValueId) -> bool {
        let is_only = |maker: &NodeId| graph.node(*maker).outputs.len() == 1;
        let maker = self.producers[value.index()].filter(is_only);
        let Some(maker) = maker.filter(|maker| self.folded.contains_key(maker)) else {
            return false;
        };
        let readers = &self.consumers[value.index()];
        let unread = readers.iter().all(|(reader, _)| self.folded.contains_key(reader));
        let free = unread && !graph.outputs.contains(&value);
        if free {
            self.left += self.folded.insert(maker, 0).unwrap_or(0);
        }
        free
    }
}

/// Replaces DequantizeLinear of constants by the numbers that these codes stand for, also what is looked up in tables, and puts those numbers into
/// them that were kept beside the codes.
pub fn fold_dequantized(graph: &mut Graph) {
    fold(graph, &HashSet::new(), |op| {
        matches!(
            op,
            Op::DequantizeLinear(_)
                | Op::MsDequantizeLinear(_)
                | Op::ScatterElements(_)
                | Op::Reshape(_)
                | Op::Cast(_)
                | Op::CumSum(_)
                | Op::Gather(_)
                | Op::Binary(Binary::Mul)
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
    use bantam_graph::ops::{DequantizeLinear, Expand, Unary};
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
        fold(&mut graph, &HashSet::new(), |_| true);
        assert_eq!(graph.nodes.len(), 1);
        assert_eq!(graph.constant(four).unwrap().to_f32().unwrap(), [4.0, 4.0]);
        assert!(graph.constant(negative).is_none(), "nobody reads it");
    }

    /// What lies between is let go, so that a chain may be as long as it likes; what is observed stays.
    #[test]
    fn a_long_chain_takes_the_room_of_one_result() {
        let mut graph = Graph::default();
        let one = graph.add_constant("one", Tensor::scalar(1f32));
        let half = graph.add_constant("half", Tensor::from_vec1(&[7i64 << 20]));
        let first = graph.add_node("first", Expand {}, &[one, half]);
        let mut last = first;
        for index in 0..5 {
            last = graph.add_node(&format!("neg_{index}"), Unary::Neg, &[last]);
        }
        graph.outputs = vec![last];
        bantam_graph::infer_shapes(&mut graph, &Default::default()).unwrap();
        let mut observed = graph.clone();
        fold(&mut graph, &HashSet::new(), |_| true);
        assert!(graph.nodes.is_empty() && graph.constant(first).is_none());
        assert_eq!(graph.constant(last).unwrap().to_f32().unwrap()[..2], [-1.0, -1.0]);
        fold(&mut observed, &HashSet::from([first]), |_| true);
        assert!(observed.constant(first).is_some() && !observed.nodes.is_empty());
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
        fold(&mut graph, &HashSet::new(), |op| {
            !matches!(op, Op::DequantizeLinear(_))
        });
        // The second of two large ones is one too many.
        let left = |graph: &Graph| {
            graph
                .nodes
                .iter()
                .map(|node| node.name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(left(&graph), ["large", "b", "real"]);
        fold(&mut graph, &HashSet::new(), |op| {
            matches!(op, Op::DequantizeLinear(_))
        });
        assert_eq!(graph.constant(real).unwrap().to_f32().unwrap(), [3.0]);
        assert_eq!(left(&graph), ["large", "b"]);
    }
}
