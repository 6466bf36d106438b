//! What training runs in one step, with the channels last: batch normalization with the addition and the clamp that follow
//! it, their gradients, and the gradient of a convolution's input with what else arrives there.

use bantam_graph::ops::ActivationFunction;
use bantam_graph::{Graph, Node, NodeId, Op, ValueId};

use super::{Chain, Search};
use crate::operator::Operator;
use crate::ops::gradient::convolution::input_channels_last;
use crate::ops::normalization::channels_last::{self, Counts};
use crate::step::Step;

impl Search<'_> {
    /// The chain from a node; only the node itself if nothing can be joined.
    pub(super) fn training(&self, first: NodeId, taken: impl Fn(NodeId) -> bool) -> Chain {
        let mut chain = Chain::new(first);
        match self.graph.node(first).op {
            Op::ConvInputGradient(_) => self.join_addend(&mut chain, &taken),
            Op::BatchNormalization(_) | Op::BatchNormalizationTraining(_) => {
                self.join_addend(&mut chain, &taken);
                self.join_clamp(&mut chain, &taken);
                if !self.others_are_read_later(&chain) {
                    return Chain::new(first);
                }
            }
            Op::ActivationGradient(_) | Op::ClipGradient(_) => self.join_gradient(&mut chain, &taken),
            _ => {}
        }
        chain
    }

    /// Whether nobody reads the first node's other outputs before the last node runs.
    fn others_are_read_later(&self, chain: &Chain) -> bool {
        let (Some(first), Some(last)) = (chain.nodes.first(), chain.nodes.last()) else {
            return false;
        };
        let others = self.graph.node(*first).outputs.iter().skip(1).flatten();
        let mut readers = others.flat_map(|value| &self.consumers[value.index()]);
        readers.all(|(reader, _)| reader > last)
    }

    /// The gradient of a normalization behind that of the clamp which followed it.
    fn join_gradient(&self, chain: &mut Chain, taken: impl Fn(NodeId) -> bool) {
        let Some((reader, 0)) = self.reader(chain, taken) else {
            return;
        };
        let (clamp, gradient) = (self.graph.node(chain.nodes[0]), self.graph.node(reader));
        if !matches!(gradient.op, Op::BatchNormalizationGradient(_)) {
            return;
        }
        if let Some(counts) = self.counts(clamp, gradient) {
            chain.nodes.push(reader);
            chain.counts = Some(counts);
        }
    }

    /// What of the gradient counts before a normalization whose result, maybe after an addition, was clamped.
    fn counts(&self, clamp: &Node, gradient: &Node) -> Option<(Counts, ValueId)> {
        let bound = |index: usize, default: f32| match clamp.input(index) {
            None => Some(default),
            Some(_) => {
                let values = self.graph.constant_input(clamp, index)?.to_f32().ok()?;
                (values.len() == 1).then(|| values[0])
            }
        };
        let bounds = match &clamp.op {
            Op::ActivationGradient(op) if op.function == ActivationFunction::Relu => [0.0, f32::INFINITY],
            Op::ClipGradient(_) => [bound(2, f32::NEG_INFINITY)?, bound(3, f32::INFINITY)?],
            _ => return None,
        };
        let clamped = clamp.input(1)?;
        let producer = |value: ValueId| Some(self.graph.node(self.producers[value.index()]?));
        let normalization = producer(clamped).and_then(|clamp| producer(clamp.input(0)?));
        let bias = normalization.filter(|node| {
            matches!(node.op, Op::BatchNormalizationTraining(_)) && node.output(3) == gradient.input(3)
        });
        Some(match bias.and_then(|node| node.input(2)) {
            Some(bias) => (Counts::Result(bounds), bias),
            None => (Counts::Clamped(bounds), clamped),
        })
    }
}

/// The step of a chain that [`Search::training`] found.
pub(super) fn step(
    graph: &Graph,
    first: &Node,
    chain: &Chain,
    names: String,
    outputs: &[Option<ValueId>],
) -> Option<Step> {
    let mut inputs = first.inputs.clone();
    let mut outputs = outputs.to_vec();
    let bounds = [chain.following.low, chain.following.high];
    let operator: Box<dyn Operator> = match &first.op {
        Op::ConvInputGradient(op) => {
            inputs.resize(3, None);
            input_channels_last(op)
        }
        Op::BatchNormalization(op) => channels_last::inference(op, bounds),
        Op::BatchNormalizationTraining(op) => {
            outputs = first.outputs.clone();
            outputs[0] = graph.node(*chain.nodes.last()?).output(0);
            channels_last::training(op, bounds)
        }
        Op::ActivationGradient(_) | Op::ClipGradient(_) => {
            let gradient = graph.node(*chain.nodes.last()?);
            let Op::BatchNormalizationGradient(op) = &gradient.op else {
                return None;
            };
            let (counts, teller) = chain.counts?;
            inputs = gradient.inputs.clone();
            inputs[0] = first.input(0);
            inputs.push(Some(teller));
            return Some(Step::new(
                names,
                channels_last::gradient(op, counts),
                inputs,
                outputs,
            ));
        }
        _ => return None,
    };
    inputs.push(chain.addend);
    Some(Step::new(names, operator, inputs, outputs))
}
