//! Which nodes run in one step: convolutions with the addition of a residual and the clamp that follow them, products
//! with their bias and activation.
//!
//! A chain is Conv, then optionally Add, then optionally Relu, a Clip by constants or a smooth activation. Values inside of a chain must have
//! one reader only, and nobody may look at them.

use std::collections::{HashMap, HashSet};

use bantam_graph::ops::{Binary, GeluApproximation, Unary};
use bantam_graph::{Graph, Node, NodeId, Op, ValueId};
use bantam_kernels::elementwise::activation;
use bantam_tensor::{DType, Tensor};

use crate::operator::{Operator, Site};
use crate::ops::convolution::{Activation, Following, prepare};
use crate::ops::packed_product;
use crate::step::Step;

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
    following: Following,
}

/// Finds the chains of a graph, keeping values that are observed.
pub(crate) fn find(graph: &Graph, observed: &HashSet<ValueId>) -> Fusions {
    let search = Search {
        graph,
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
    consumers: Vec<Vec<(NodeId, usize)>>,
    observed: &'g HashSet<ValueId>,
}

impl Search<'_> {
    /// The longest chain from a Conv; only the Conv itself if nothing can be joined. `taken` nodes are left alone.
    fn chain(&self, conv: NodeId, taken: impl Fn(NodeId) -> bool) -> Chain {
        let mut chain = Chain {
            nodes: vec![conv],
            addend: None,
            following: Following::NOTHING,
        };
        let reader = |chain: &Chain| {
            let last = chain.nodes.last().copied()?;
            self.only_reader(last).filter(|(reader, _)| !taken(*reader))
        };
        if let Some((add, position)) = reader(&chain)
            && let Some(addend) = self.addend(self.graph.node(add), position)
        {
            chain.nodes.push(add);
            chain.addend = Some(addend);
        }
        if let Some((clamp, 0)) = reader(&chain)
            && let Some(following) = self.clamp(self.graph.node(clamp))
        {
            chain.nodes.push(clamp);
            chain.following = following;
        } else if let Some((nodes, activation)) = self.activation(&chain)
            && nodes.iter().all(|node| !taken(*node))
        {
            chain.nodes.extend(nodes);
            chain.following.activation = Some(activation);
        }
        chain
    }

    /// A product with a constant matrix, the constant row that is added to it, and an activation.
    fn product(&self, product: NodeId, taken: impl Fn(NodeId) -> bool) -> Chain {
        let mut chain = Chain {
            nodes: vec![product],
            addend: None,
            following: Following::NOTHING,
        };
        let matrix = self.graph.constant_input(self.graph.node(product), 1);
        let Some(&[_, columns]) = matrix
            .filter(|matrix| matrix.dtype() == DType::F32 && !matrix.is_empty())
            .map(Tensor::shape)
        else {
            return chain;
        };
        if let Some((add, position)) = self.only_reader(product).filter(|(add, _)| !taken(*add)) {
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
        if let Some((nodes, activation)) = self.activation(&chain)
            && nodes.iter().all(|node| !taken(*node))
        {
            chain.nodes.extend(nodes);
            chain.following.activation = Some(activation);
        }
        chain
    }

    /// The activation that follows a chain, if its weights and so its results are `f32`.
    fn activation(&self, chain: &Chain) -> Option<(Vec<NodeId>, Activation)> {
        let conv = self.graph.node(*chain.nodes.first()?);
        self.graph
            .constant_input(conv, 1)
            .filter(|weights| weights.dtype() == DType::F32)?;
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
        let [Some(value)] = *self.graph.node(node).outputs.as_slice() else {
            return None;
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
mod tests {
    use bantam_graph::ops::{AutoPad, Clip, Conv};

    use super::*;
    use crate::{CompileOptions, Taps, compile};

    fn conv() -> Conv {
        Conv {
            auto_pad: AutoPad::NotSet,
            dilations: Vec::new(),
            group: 1,
            kernel_shape: Vec::new(),
            pads: Vec::new(),
            strides: Vec::new(),
        }
    }

    /// x -> Conv -> Add(Conv(x)) -> Relu -> Clip, with the names of its values.
    fn residual_block() -> (Graph, HashMap<&'static str, ValueId>) {
        let mut graph = Graph::default();
        let x = graph.add_input("x", DType::F32, vec![1.into(), 1.into(), 4.into()]);
        let weights = |value: f32| Tensor::from_slice(&[1, 1, 1], &[value]).unwrap();
        let (double, negate) = (
            graph.add_constant("w", weights(2.0)),
            graph.add_constant("v", weights(-1.0)),
        );
        let first = graph.add_node("first", conv(), &[x, double]);
        let second = graph.add_node("second", conv(), &[x, negate]);
        let sum = graph.add_node("sum", Binary::Add, &[first, second]);
        let relu = graph.add_node("relu", Unary::Relu, &[sum]);
        let bounds = [1.5f32, 2.5].map(|bound| graph.add_constant("bound", Tensor::scalar(bound)));
        let third = graph.add_node("third", conv(), &[relu, double]);
        let clip = graph.add_node("clip", Clip {}, &[third, bounds[0], bounds[1]]);
        graph.outputs.push(clip);
        let names = [
            ("first", first),
            ("second", second),
            ("sum", sum),
            ("relu", relu),
            ("clip", clip),
        ];
        (graph, names.into_iter().collect())
    }

    fn run(graph: &Graph, observed: &[ValueId]) -> (usize, Vec<f32>, Vec<Vec<f32>>) {
        let options = CompileOptions {
            observed: observed.iter().copied().collect(),
            ..CompileOptions::default()
        };
        let program = compile(graph, &options).unwrap();
        let x = Tensor::from_slice(&[1, 1, 4], &[-1f32, 0.5, 1.0, 3.0]).unwrap();
        let mut seen = vec![Vec::new(); observed.len()];
        let mut taps = Taps::none();
        for (value, seen) in observed.iter().zip(&mut seen) {
            taps.add(*value, |tensor| *seen = tensor.to_f32().unwrap());
        }
        let y = program.run(&[("x", x)], &mut taps).unwrap();
        drop(taps);
        // Those at the edges of regions with another layout do not count.
        let steps = program.steps();
        let steps = steps.iter().filter(|step| !step.node.contains("(Transpose)"));
        (steps.count(), y[0].to_f32().unwrap(), seen)
    }

    #[test]
    fn chains_run_in_one_step() {
        let (graph, names) = residual_block();
        let expected = vec![1.5, 1.5, 2.0, 2.5];
        // first; second + sum + relu; third + clip
        assert_eq!(run(&graph, &[]), (3, expected.clone(), vec![]));
        for (name, steps, values) in [
            ("first", 3, [-2.0, 1.0, 2.0, 6.0]),
            ("second", 3, [1.0, -0.5, -1.0, -3.0]),
            ("sum", 4, [-1.0, 0.5, 1.0, 3.0]),
            ("relu", 3, [0.0, 0.5, 1.0, 3.0]),
        ] {
            let (got_steps, y, seen) = run(&graph, &[names[name]]);
            assert_eq!((y, seen), (expected.clone(), vec![values.to_vec()]), "{name}");
            assert_eq!(got_steps, steps, "{name}");
        }
    }

    #[test]
    fn values_with_other_readers_are_kept() {
        let (mut graph, names) = residual_block();
        graph.outputs.push(names["sum"]);
        assert_eq!(run(&graph, &[]).0, 4, "the sum is an output");
        let (mut graph, names) = residual_block();
        let other = graph.add_node("other", Unary::Neg, &[names["second"]]);
        graph.outputs.push(other);
        let steps = run(&graph, &[]).0;
        assert_eq!(steps, 4, "first + sum + relu; second; third + clip; other");
    }

    #[test]
    fn addends_that_are_broadcast_are_added_apart() {
        let mut graph = Graph::default();
        let x = graph.add_input("x", DType::F32, vec![1.into(), 1.into(), 4.into()]);
        let other = graph.add_input("other", DType::F32, vec![]);
        graph.value_mut(other).ty = Default::default();
        let weights = graph.add_constant("w", Tensor::from_slice(&[1, 1, 1], &[2f32]).unwrap());
        let y = graph.add_node("y", conv(), &[x, weights]);
        let sum = graph.add_node("sum", Binary::Add, &[other, y]);
        let relu = graph.add_node("relu", Unary::Relu, &[sum]);
        graph.outputs.push(relu);
        let program = compile(&graph, &CompileOptions::default()).unwrap();
        let x = Tensor::from_slice(&[1, 1, 4], &[-1f32, 0.5, 1.0, 3.0]).unwrap();
        let other = Tensor::from_slice(&[2, 1, 1, 1], &[-4f32, 1.0]).unwrap();
        let y = program
            .run(&[("x", x), ("other", other)], &mut Taps::none())
            .unwrap();
        assert_eq!(y[0].shape(), [2, 1, 1, 4]);
        assert_eq!(y[0].to_f32().unwrap(), [0.0, 0.0, 0.0, 2.0, 0.0, 2.0, 3.0, 7.0]);
    }
}
