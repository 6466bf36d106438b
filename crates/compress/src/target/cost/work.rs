//! What each node of a graph has to do.

use std::collections::HashMap;

use bantam_graph::{Graph, Node, NodeId, ValueId, cost};
use serde::Serialize;

use crate::target::{OpRole, Target};

/// A node, or a product with the activation function behind it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Work {
    /// Its name, or that of its first output.
    pub node: String,
    /// Operations of products: two for each multiply-accumulate.
    pub operations: f64,
    /// Elements that products give: those of few operations each, as depthwise convolutions, take their time to begin and to end a sum.
    pub sums: f64,
    /// Elements that other ops compute.
    pub elements: f64,
    /// Bits of the widest factor; 32 for floats.
    pub bits: u32,
    /// Bytes of constants.
    pub constant_bytes: f64,
    /// Bytes that are read and written besides.
    pub data_bytes: f64,
}

/// The nodes of a graph that take time: what only renames elements or is part of another kernel is left out, and what lies between
/// QuantizeLinear and DequantizeLinear counts as codes. Types must have been inferred for one batch; nodes of unknown sizes count as nothing.
pub fn work(graph: &Graph, target: &Target) -> Vec<Work> {
    let costs = cost(graph);
    let codes = Codes::new(graph, target);
    let mut nodes = Vec::new();
    for (id, node) in graph.node_ids() {
        if codes.is_free(node) {
            continue;
        }
        let counted = &costs.nodes[id.index()];
        let macs = counted.macs.unwrap_or(0);
        let factors = node.inputs.iter().take(2).flatten();
        let constants = node
            .inputs
            .iter()
            .flatten()
            .filter(|value| codes.is_constant(**value));
        let data = node
            .inputs
            .iter()
            .flatten()
            .filter(|value| !codes.is_constant(**value));
        let read: f64 = data.map(|value| codes.bytes(*value)).sum();
        let written: f64 = node
            .outputs
            .iter()
            .flatten()
            .map(|value| codes.written(*value))
            .sum();
        nodes.push(Work {
            node: match node.name.is_empty() {
                false => node.name.clone(),
                true => node
                    .output(0)
                    .map_or_else(String::new, |output| graph.value(output).name.clone()),
            },
            operations: 2.0 * macs as f64,
            sums: match (macs, node.output(0)) {
                (1.., Some(output)) => codes.elements(output),
                _ => 0.0,
            },
            elements: counted.operations.unwrap_or(0) as f64,
            bits: factors.map(|value| codes.bits(*value)).max().unwrap_or(32),
            constant_bytes: constants.map(|value| codes.bytes(*value)).sum(),
            data_bytes: read + written,
        });
    }
    nodes
}

/// What stands for the values of a graph with QuantizeLinear and DequantizeLinear.
struct Codes<'a> {
    graph: &'a Graph,
    target: &'a Target,
    producers: Vec<Option<NodeId>>,
    consumers: Vec<Vec<(NodeId, usize)>>,
    /// Of values behind DequantizeLinear, what it reads.
    stored: HashMap<ValueId, ValueId>,
}

impl<'a> Codes<'a> {
    fn new(graph: &'a Graph, target: &'a Target) -> Codes<'a> {
        let dequantized = |node: &Node| match node.op.name() {
            "DequantizeLinear" => Some((node.output(0)?, node.input(0)?)),
            _ => None,
        };
        Codes {
            graph,
            target,
            producers: graph.producers(),
            consumers: graph.consumers(),
            stored: graph.nodes.iter().filter_map(dequantized).collect(),
        }
    }

    fn is_constant(&self, value: ValueId) -> bool {
        let stored = self.stored.get(&value).unwrap_or(&value);
        self.graph.value(*stored).initializer.is_some()
    }

    /// Bits of an element as it is stored.
    fn bits(&self, value: ValueId) -> u32 {
        let stored = self.stored.get(&value).unwrap_or(&value);
        let found = self.graph.value(*stored);
        let dtype = found
            .initializer
            .as_ref()
            .map(bantam_tensor::Tensor::dtype)
            .or(found.ty.dtype());
        dtype.map_or(32, |dtype| dtype.bits() as u32)
    }

    fn bytes(&self, value: ValueId) -> f64 {
        self.elements(value) * f64::from(self.bits(value)) / 8.0
    }

    fn elements(&self, value: ValueId) -> f64 {
        let found = self.graph.value(value);
        let shape = match &found.initializer {
            Some(tensor) => Some(tensor.shape().to_vec()),
            None => found.ty.static_shape(),
        };
        shape.map_or(0.0, |shape| shape.iter().map(|size| *size as f64).product())
    }

    /// Bytes that are written for a value: of codes where nothing but QuantizeLinear reads it, also behind an activation function.
    fn written(&self, value: ValueId) -> f64 {
        let mut last = value;
        while let Some(next) = self.fused_behind(last) {
            last = next;
        }
        let quantized = |(reader, _): &(NodeId, usize)| {
            let node = self.graph.node(*reader);
            (node.op.name() == "QuantizeLinear")
                .then(|| node.output(0))
                .flatten()
        };
        let codes: Option<Vec<ValueId>> = self.consumers[last.index()].iter().map(quantized).collect();
        match codes.as_deref() {
            Some([codes, ..]) if !self.graph.outputs.contains(&last) => self.bytes(*codes),
            _ => self.bytes(value),
        }
    }

    /// The result of the activation function that is part of the kernel before it.
    fn fused_behind(&self, value: ValueId) -> Option<ValueId> {
        let [(reader, 0)] = self.consumers[value.index()][..] else {
            return None;
        };
        let node = self.graph.node(reader);
        self.is_fused(node).then(|| node.output(0)).flatten()
    }

    /// Whether a node is an activation function behind a kernel that nobody else reads.
    fn is_fused(&self, node: &Node) -> bool {
        if !["Relu", "Clip"].contains(&node.op.name()) {
            return false;
        }
        let Some(input) = node.input(0) else { return false };
        let producer = self.producers[input.index()].map(|id| self.target.role(&self.graph.node(id).op));
        let joins = matches!(producer, Some(OpRole::Product { .. } | OpRole::Arithmetic));
        joins && self.consumers[input.index()].len() == 1
    }

    /// Whether a node takes no time of its own.
    fn is_free(&self, node: &Node) -> bool {
        const NAMES: [&str; 8] = [
            "QuantizeLinear",
            "DequantizeLinear",
            "Identity",
            "Constant",
            "Reshape",
            "Flatten",
            "Squeeze",
            "Unsqueeze",
        ];
        let all_constant = node.inputs.iter().flatten().all(|value| self.is_constant(*value));
        NAMES.contains(&node.op.name()) || all_constant || self.is_fused(node)
    }
}
