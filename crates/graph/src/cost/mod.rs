//! What a graph costs: multiply-accumulates, element operations, parameters and bytes, for each node.
//!
//! Conventions:
//!
//! - **MACs** are the multiply-accumulates of convolutions, matrix products, recurrent cells and attention; a bias is
//!   not counted. Softmax inside attention and gates inside cells are not counted.
//! - **Operations** are counted for all other ops: one per output element of an element-wise op or normalization, one
//!   per element read of a reduction or pool. Ops that only move data have none.
//! - **Parameters** are the elements of constants that a node computes with: weights, biases and statistics, not the
//!   scales and zero points of quantization, nor shapes, indices and bounds. One constant that several nodes share
//!   counts once in the total.
//! - **Weight bytes** are the stored bytes of all constants that a node reads; **activation bytes** those of its other
//!   inputs and of its outputs.
//!
//! Types must have been inferred ([`crate::infer_shapes`]); numbers that depend on a size that is not known are `None`.
//! Subgraphs count once, as if a branch were taken once and a loop ran once.

mod macs;
mod parameters;

use std::collections::HashSet;

use serde::Serialize;

use crate::{Dim, Graph, Node, NodeId, ValueId, ValueType};

/// What one node costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeCost {
    /// Position of the node among the graph's.
    pub index: usize,
    /// Its name, which may be empty.
    pub name: String,
    /// Its op.
    pub op: String,
    /// Multiply-accumulates.
    pub macs: Option<u64>,
    /// Element operations.
    pub operations: Option<u64>,
    /// Elements of the constants that it computes with.
    pub parameters: u64,
    /// Bytes of the constants that it reads.
    pub weight_bytes: u64,
    /// Bytes of its other inputs.
    pub input_bytes: Option<u64>,
    /// Bytes of its outputs.
    pub output_bytes: Option<u64>,
}

/// What a graph costs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Each node, in order.
    pub nodes: Vec<NodeCost>,
    /// Multiply-accumulates of the nodes where they are known.
    pub macs: u64,
    /// Element operations of the nodes where they are known.
    pub operations: u64,
    /// Parameters, each constant once.
    pub parameters: u64,
    /// Bytes of all constants that are read, each once.
    pub weight_bytes: u64,
    /// Bytes written by all nodes, where they are known.
    pub activation_bytes: u64,
    /// How many nodes have numbers that depend on sizes that are not known.
    pub incomplete: usize,
}

/// Counts what a graph costs.
pub fn cost(graph: &Graph) -> Cost {
    let mut total = Cost::default();
    let mut seen = HashSet::new();
    for (id, node) in graph.node_ids() {
        let own = node_cost(graph, id, node);
        for (position, constant) in constants(graph, node) {
            let tensor_bytes = bytes_of(graph, constant).unwrap_or(0);
            if seen.insert((constant, false)) {
                total.weight_bytes = total.weight_bytes.saturating_add(tensor_bytes);
            }
            let counted = parameters::of_input(graph, node, position);
            if counted > 0 && seen.insert((constant, true)) {
                total.parameters = total.parameters.saturating_add(counted);
            }
        }
        total.add(own);
        node.op
            .subgraphs()
            .into_iter()
            .for_each(|subgraph| total.add_subgraph(cost(subgraph)));
    }
    total
}

impl Cost {
    fn add(&mut self, node: NodeCost) {
        self.macs = self.macs.saturating_add(node.macs.unwrap_or(0));
        self.operations = self.operations.saturating_add(node.operations.unwrap_or(0));
        self.activation_bytes = self
            .activation_bytes
            .saturating_add(node.output_bytes.unwrap_or(0));
        let complete = node.macs.is_some() && node.operations.is_some() && node.output_bytes.is_some();
        self.incomplete += usize::from(!complete);
        self.nodes.push(node);
    }

    fn add_subgraph(&mut self, inner: Cost) {
        self.macs = self.macs.saturating_add(inner.macs);
        self.operations = self.operations.saturating_add(inner.operations);
        self.parameters = self.parameters.saturating_add(inner.parameters);
        self.weight_bytes = self.weight_bytes.saturating_add(inner.weight_bytes);
        self.activation_bytes = self.activation_bytes.saturating_add(inner.activation_bytes);
        self.incomplete += inner.incomplete;
    }
}

fn node_cost(graph: &Graph, id: NodeId, node: &Node) -> NodeCost {
    let weights = constants(graph, node);
    let sum = |bytes: Vec<Option<u64>>| {
        bytes
            .into_iter()
            .try_fold(0u64, |total, bytes| total.checked_add(bytes?))
    };
    let inputs = node
        .inputs
        .iter()
        .flatten()
        .filter(|id| graph.constant(**id).is_none());
    let outputs = node.outputs.iter().flatten();
    let shapes = Shapes { graph, node };
    let macs = macs::macs(&shapes);
    NodeCost {
        index: id.index(),
        name: node.name.clone(),
        op: node.op.name().to_owned(),
        operations: macs::operations(&shapes),
        macs,
        parameters: weights
            .iter()
            .map(|(position, _)| parameters::of_input(graph, node, *position))
            .sum(),
        weight_bytes: weights.iter().filter_map(|(_, id)| bytes_of(graph, *id)).sum(),
        input_bytes: sum(inputs.map(|id| bytes_of(graph, *id)).collect()),
        output_bytes: sum(outputs.map(|id| bytes_of(graph, *id)).collect()),
    }
}

/// The constants that a node reads, with their positions.
fn constants(graph: &Graph, node: &Node) -> Vec<(usize, ValueId)> {
    let inputs = node
        .inputs
        .iter()
        .enumerate()
        .filter_map(|(position, id)| Some((position, (*id)?)));
    inputs.filter(|(_, id)| graph.constant(*id).is_some()).collect()
}

fn bytes_of(graph: &Graph, id: ValueId) -> Option<u64> {
    let value = graph.value(id);
    let (elements, dtype) = match &value.initializer {
        Some(tensor) => (tensor.len(), tensor.dtype()),
        None => (element_count(&value.ty)?, value.ty.dtype()?),
    };
    u64::try_from(dtype.bytes_for(elements)?).ok()
}

fn element_count(ty: &ValueType) -> Option<usize> {
    ty.shape()?
        .iter()
        .map(Dim::known)
        .try_fold(1usize, |product, size| product.checked_mul(size?))
}

/// Sizes of a node's inputs and outputs.
struct Shapes<'g> {
    graph: &'g Graph,
    node: &'g Node,
}

impl Shapes<'_> {
    fn input(&self, position: usize) -> Option<Vec<u64>> {
        self.sizes(self.node.input(position)?)
    }

    fn output(&self, position: usize) -> Option<Vec<u64>> {
        self.sizes(self.node.output(position)?)
    }

    fn sizes(&self, id: ValueId) -> Option<Vec<u64>> {
        let value = self.graph.value(id);
        let sizes = match &value.initializer {
            Some(tensor) => tensor.shape().to_vec(),
            None => value.ty.static_shape()?,
        };
        sizes.into_iter().map(|size| u64::try_from(size).ok()).collect()
    }
}

#[cfg(test)]
mod tests;
