//! Which nodes run in one step: convolutions with the addition of a residual and the clamp that follow them, products
//! with their bias and activation, products of codes with the scales that make them reals, and what training runs together.
//!
//! A chain is Conv, then optionally Add, then optionally Relu, a Clip by constants or a smooth activation. Values inside of a chain must have
//! one reader only, and nobody may look at them.

mod scaled;
mod training;

use std::collections::{HashMap, HashSet};

use bantam_graph::ops::{Binary, GeluApproximation, Unary};
use bantam_graph::{Graph, Node, NodeId, Op, ValueId};
use bantam_kernels::elementwise::activation;
use bantam_tensor::{DType, Tensor};

use crate::operator::{Operator, Site};
use crate::ops::convolution::{Activation, Following, prepare};
use crate::ops::normalization::channels_last::Counts;
use crate::ops::packed_product;
use crate::step::Step;
use scaled::Scales;

/// The chains of a graph.
#[derive(Debug, Default)]
pub(crate) struct Fusions {
    /// By the last node of each.
    chains: HashMap<NodeId, Chain>,
    /// The other nodes of all chains.
    absorbed: HashSet<NodeId>,
}

#[derive(Clone, Debug)]
struct Chain {
    /// In order; the first is the Conv or MatMul.
    nodes: Vec<NodeId>,
    /// What is added: to a product, a constant row.
    addend: Option<ValueId>,
    /// What the sums of a product of codes are multiplied with.
    scales: Option<Scales>,
    following: Following,
    /// Which of the gradients that arrive at a normalization count, and the value that tells.
    counts: Option<(Counts, ValueId)>,
}

impl Chain {
    fn new(first: NodeId) -> Chain {
        Chain {
            nodes: vec![first],
            addend: None,
            scales: None,
            following: Following::NOTHING,
            counts: None,
        }
    }
}

/// Finds the chains of a graph, keeping values that are observed.
pub(crate) fn find(graph: &Graph, channels_last: &HashSet<NodeId>, observed: &HashSet<ValueId>) -> Fusions {
    let search = Search {
        graph,
        producers: graph.producers(),
        consumers: graph.consumers(),
        observed,
    };
    let mut fusions = Fusions::default();
    // From the end, so that of two convolutions that are added the later one takes the other's result.
    for (id, node) in graph.node_ids().collect::<Vec<_>>().into_iter().rev() {
        let taken = |node| fusions.absorbed.contains(&node) || fusions.chains.contains_key(&node);
        let chain = match node.op {
            Op::Conv(_) if node.extra.is_empty() => search.chain(id, taken),
            Op::MatMul(_) if node.extra.is_empty() => search.product(id, taken),
            Op::MatMulInteger(_) if node.extra.is_empty() => match search.scaled_product(id, taken) {
                Some(chain) => chain,
                None => {
                    search.explain(id, id);
                    continue;
                }
            },
            _ if channels_last.contains(&id) && node.extra.is_empty() => search.training(id, taken),
            _ => continue,
        };
        let Some((&last, others)) = chain.nodes.split_last() else {
            continue;
        };
        if chain.following.is_nothing() {
            search.explain(id, last);
        }
        if !others.is_empty() {
            fusions.absorbed.extend(others);
            fusions.chains.insert(last, chain);
        }
    }
    fusions
}

impl Fusions {
    /// True for nodes that run in the step of a later node.
    pub(crate) fn absorbs(&self, node: NodeId) -> bool {
        self.absorbed.contains(&node)
    }

    /// The step of the chain whose last node this is.
    pub(crate) fn step(&self, graph: &Graph, channels_last: &HashSet<NodeId>, last: NodeId) -> Option<Step> {
        let chain = self.chains.get(&last)?;
        let first = *chain.nodes.first()?;
        let node = graph.node(first);
        let names: Vec<String> = chain
            .nodes
            .iter()
            .map(|&id| graph.describe(graph.node(id)))
            .collect();
        let outputs = graph.node(last).outputs.clone();
        if channels_last.contains(&first)
            && let Some(step) = training::step(graph, node, chain, names.join(" + "), &outputs)
        {
            return Some(step);
        }
        if let Some(scales) = chain.scales {
            let (operator, inputs) = scaled::prepare(graph, node, chain, scales)?;
            return Some(Step::new(names.join(" + "), operator, inputs, outputs));
        }
        let Op::Conv(conv) = &node.op else {
            let bias = chain.addend.and_then(|id| graph.constant(id));
            let matrix = graph.constant_input(node, 1)?;
            let operator = packed_product::prepare(matrix, bias, chain.following.activation)?;
            let inputs = vec![node.input(0), node.input(1), chain.addend];
            return Some(Step::new(names.join(" + "), operator, inputs, outputs));
        };
        let operator: Box<dyn Operator> = prepare(
            &Site {
                graph,
                node,
                channels_last: channels_last.contains(&first),
            },
            conv,
            chain.following,
        );
        let inputs = vec![node.input(0), node.input(1), node.input(2), chain.addend];
        Some(Step::new(names.join(" + "), operator, inputs, outputs))
    }
}

struct Search<'g> {
    graph: &'g Graph,
    producers: Vec<Option<NodeId>>,
    consumers: Vec<Vec<(NodeId, usize)>>,
    observed: &'g HashSet<ValueId>,
}

impl Search<'_> {
    /// The longest chain from a Conv; only the Conv itself if nothing can be joined. `taken` nodes are left alone.
    fn chain(&self, conv: NodeId, taken: impl Fn(NodeId) -> bool) -> Chain {
        let mut chain = Chain::new(conv);
        self.join_addend(&mut chain, &taken);
        if !self.join_clamp(&mut chain, &taken)
            && let Some((nodes, activation)) = self.activation(&chain)
            && nodes.iter().all(|node| !taken(*node))
        {
            chain.nodes.extend(nodes);
            chain.following.activation = Some(activation);
        }
        chain
    }

    /// The only reader of what a chain gives so far.
    fn reader(&self, chain: &Chain, taken: impl Fn(NodeId) -> bool) -> Option<(NodeId, usize)> {
        let last = chain.nodes.last().copied()?;
        self.only_reader(last).filter(|(reader, _)| !taken(*reader))
    }

    /// An addition behind a chain.
    fn join_addend(&self, chain: &mut Chain, taken: impl Fn(NodeId) -> bool) {
        if let Some((add, position)) = self.reader(chain, taken)
            && let Some(addend) = self.addend(self.graph.node(add), position)
        {
            chain.nodes.push(add);
            chain.addend = Some(addend);
        }
    }

    /// A clamp behind a chain; whether there is one.
    fn join_clamp(&self, chain: &mut Chain, taken: impl Fn(NodeId) -> bool) -> bool {
        if let Some((clamp, 0)) = self.reader(chain, taken)
            && let Some(following) = self.clamp(self.graph.node(clamp))
        {
            chain.nodes.push(clamp);
            chain.following = following;
            return true;
        }
        false
    }

    /// A product with a constant matrix, the constant row that is added to it, and an activation.
    fn product(&self, product: NodeId, taken: impl Fn(NodeId) -> bool) -> Chain {
        let mut chain = Chain::new(product);
        let matrix = self.graph.constant_input(self.graph.node(product), 1);
        let Some(&[_, columns]) = matrix
            .filter(|matrix| matrix.dtype() == DType::F32 && !matrix.is_empty())
            .map(Tensor::shape)
        else {
            return chain;
        };
        self.join_bias_and_activation(&mut chain, columns, taken);
        chain
    }

    /// What follows a product whose result has so many columns: the addition of a constant row, an activation.
    fn join_bias_and_activation(&self, chain: &mut Chain, columns: usize, taken: impl Fn(NodeId) -> bool) {
        let last = chain.nodes[chain.nodes.len() - 1];
        if let Some((add, position)) = self.only_reader(last).filter(|(add, _)| !taken(*add)) {
            let node = self.graph.node(add);
            let row = |tensor: &Tensor| tensor.dtype() == DType::F32 && tensor.shape() == [columns];
            let is_row = self
                .graph
                .constant_input(node, 1 - position.min(1))
                .is_some_and(row);
            if node.op == Op::Binary(Binary::Add) && is_row {
                chain.nodes.push(add);
                chain.addend = node.input(1 - position);
            }
        }
        if let Some((nodes, activation)) = self.activation(chain)
            && nodes.iter().all(|node| !taken(*node))
        {
            chain.nodes.extend(nodes);
            chain.following.activation = Some(activation);
        }
    }

    /// The activation that follows a chain, if its weights and so its results are `f32`.
    fn activation(&self, chain: &Chain) -> Option<(Vec<NodeId>, Activation)> {
        let first = self.graph.node(*chain.nodes.first()?);
        let weights = self.graph.constant_input(first, 1)?;
        if weights.dtype() != DType::F32 && chain.scales.is_none() {
            return None;
        }
        let last = *chain.nodes.last()?;
        if let Some((reader, 0)) = self.only_reader(last) {
            let (name, apply): (_, fn(&mut [f32])) = match &self.graph.node(reader).op {
                Op::Unary(Unary::Sigmoid) => ("sigmoid", activation::sigmoid::<f32>),
                Op::Unary(Unary::HardSwish) => ("hard swish", activation::hard_swish::<f32>),
                Op::Swish(op) if op.alpha == 1.0 => ("swish", swish),
                Op::Gelu(op) if op.approximate == GeluApproximation::None => {
                    ("gelu", activation::gelu::<f32>)
                }
                _ => return None,
            };
            return Some((vec![reader], Activation { name, apply }));
        }
        // x * sigmoid(x).
        let value = self.hidden_output(last)?;
        let &[(a, _), (b, _)] = self.consumers[value.index()].as_slice() else {
            return None;
        };
        let is_sigmoid = |id: NodeId| self.graph.node(id).op == Op::Unary(Unary::Sigmoid);
        let (sigmoid, product) = if is_sigmoid(a) { (a, b) } else { (b, a) };
        let gate = self.only_reader(sigmoid).filter(|_| is_sigmoid(sigmoid))?;
        let node = self.graph.node(product);
        let found = gate.0 == product && node.op == Op::Binary(Binary::Mul) && node.extra.is_empty();
        let apply = swish;
        found.then_some((vec![sigmoid, product], Activation { name: "swish", apply }))
    }

    /// Says why the step of `first` ends with `last`, without bounds or an activation.
    fn explain(&self, first: NodeId, last: NodeId) {
        let reason = match self.only_reader(last) {
            Some((reader, _)) => {
                let reader = self.graph.describe(self.graph.node(reader));
                format!("{reader} does not run in its step, or runs in another's")
            }
            None => {
                "its result is observed, an output of the graph, or read by more than one node".to_owned()
            }
        };
        let first = self.graph.describe(self.graph.node(first));
        log::debug!("fuse: nothing is joined to {first}: {reason}");
    }

    /// A node's only output, if nobody sees it but its readers.
    fn hidden_output(&self, node: NodeId) -> Option<ValueId> {
        let node = self.graph.node(node);
        let value = match *node.outputs.as_slice() {
            [Some(value)] => value,
            [Some(value), ..] if matches!(node.op, Op::BatchNormalizationTraining(_)) => value,
            _ => return None,
        };
        (!self.observed.contains(&value) && !self.graph.outputs.contains(&value)).then_some(value)
    }

    /// The only reader of a node's only output, if nobody else can see the value and all of the reader is understood.
    fn only_reader(&self, node: NodeId) -> Option<(NodeId, usize)> {
        let value = self.hidden_output(node)?;
        match self.consumers[value.index()].as_slice() {
            &[(reader, position)] if position != Graph::CAPTURED => self
                .graph
                .node(reader)
                .extra
                .is_empty()
                .then_some((reader, position)),
            _ => None,
        }
    }

    /// What an Add adds to its input at `position`, unless it is a constant or known to need broadcasting.
    fn addend(&self, add: &Node, position: usize) -> Option<ValueId> {
        let Op::Binary(Binary::Add) = add.op else {
            return None;
        };
        let (value, addend) = (add.input(position)?, add.input(1 - position)?);
        let shape = |id: ValueId| self.graph.value(id).ty.shape();
        let differ = shape(value)
            .zip(shape(addend))
            .is_some_and(|(a, b)| a.len() != b.len());
        (self.graph.value(addend).initializer.is_none() && !differ).then_some(addend)
    }

    /// The bounds that a Relu or a Clip by constants gives.
    fn clamp(&self, node: &Node) -> Option<Following> {
        let bound = |index: usize, default: f32| match node.input(index) {
            None => Some(default),
            Some(_) => {
                let values = self.graph.constant_input(node, index)?.to_f32().ok()?;
                if let [value] = values.as_slice() {
                    Some(*value)
                } else {
                    None
                }
            }
        };
        match node.op {
            Op::Unary(Unary::Relu) => Some(Following {
                low: 0.0,
                ..Following::NOTHING
            }),
            Op::Clip(_) => Some(Following {
                low: bound(1, f32::NEG_INFINITY)?,
                high: bound(2, f32::INFINITY)?,
                ..Following::NOTHING
            }),
            _ => None,
        }
    }
}

fn swish(y: &mut [f32]) {
    activation::swish(y, 1.0);
}

#[cfg(test)]
mod tests;
