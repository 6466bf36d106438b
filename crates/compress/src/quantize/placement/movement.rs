//! Ops that move or join values.

use bantam_graph::ops::PadMode;
use bantam_graph::{Graph, Node, Op, ValueId};
use bantam_tensor::DType;

use super::Placer;
use crate::target::OpRole;

/// True for a Pad with a constant other than zero, or one that is not known.
pub(super) fn pads_with_value(graph: &Graph, node: &Node) -> bool {
    let is_constant = matches!(&node.op, Op::Pad(pad) if pad.mode == PadMode::Constant);
    let is_zero = || {
        let value = graph
            .constant_input(node, 2)
            .and_then(|value| value.to_f32().ok());
        value.is_some_and(|value| value == [0.0])
    };
    is_constant && node.input(2).is_some() && !is_zero()
}

impl Placer<'_> {
    /// Movement and joins, until nothing changes.
    pub(super) fn movement(&mut self) {
        let nodes = self.nodes(|role| matches!(role, OpRole::Movement | OpRole::Join));
        loop {
            let mut changed = false;
            for (_, node) in &nodes {
                changed |= self.share(node);
            }
            if !changed {
                break;
            }
        }
        for (id, node) in nodes {
            if self.carried(node).is_none() {
                self.kept[id.index()] = Some("what it moves is not quantized".to_owned());
            }
        }
    }

    /// The values that get scales with this node, inputs first, if it passes on codes.
    ///
    /// Scales spread in both directions, except into what a Split takes apart, whose parts are better off with
    /// scales of their own, and into a Concat of which only some inputs are quantized.
    fn carried(&self, node: &Node) -> Option<Vec<ValueId>> {
        let joins = node.op.name() == "Concat";
        let mut moved: Vec<ValueId> = self.activations(node);
        if !joins {
            moved.truncate(1);
        }
        let count = if node.op.name() == "Split" { usize::MAX } else { 1 };
        let outputs: Vec<ValueId> = node.outputs.iter().flatten().copied().take(count).collect();
        let needed = |values: &[ValueId]| values.iter().all(|id| self.needed[id.index()]);
        let wanted = needed(&moved) || (count == 1 && needed(&outputs));
        let all_floats = moved
            .iter()
            .all(|id| self.graph.value(*id).ty.dtype().is_none_or(|d| d == DType::F32));
        let all_computed = !joins || moved.len() == node.inputs.len();
        let usable = wanted && all_floats && all_computed && !moved.is_empty() && !self.is_padding(moved[0]);
        usable.then(|| moved.into_iter().chain(outputs).collect())
    }

    /// True for the result of a Pad that stays in float; its padding may be infinite.
    fn is_padding(&self, value: ValueId) -> bool {
        self.producers[value.index()].is_some_and(|producer| {
            matches!(self.graph.node(producer).op, Op::Pad(_)) && self.kept[producer.index()].is_some()
        })
    }

    /// Gives scales to the values around one node that moves data; true when something is new.
    fn share(&mut self, node: &Node) -> bool {
        let Some(values) = self.carried(node) else {
            return false;
        };
        let own_scales = self.target.role(&node.op) == OpRole::Join;
        let mut changed = false;
        for id in &values {
            changed |= !std::mem::replace(&mut self.needed[id.index()], true);
            let (a, b) = (self.root(values[0].index()), self.root(id.index()));
            if !own_scales && a != b {
                changed = true;
                self.parent[b] = a;
            }
        }
        changed
    }
}
