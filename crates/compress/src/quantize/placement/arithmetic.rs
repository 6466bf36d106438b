//! Element-wise ops and pools.

use bantam_graph::ops::Binary;
use bantam_graph::{Node, NodeId, Op, ValueId};

use super::Placer;
use crate::target::{OpRole, ResidualAdd};

impl Placer<'_> {
    /// Sums and pools join the integer part of the network when every input comes from it, and where the target makes
    /// an integer kernel of each, when the result goes back into it.
    pub(super) fn arithmetic(&mut self) {
        let feeding = self.feeding_integers();
        let mut from_integers = vec![false; self.needed.len()];
        for (id, node) in self.graph.node_ids() {
            if self.kept[id.index()].is_some() {
                continue;
            }
            let inputs = self.activations(node);
            let all = !inputs.is_empty()
                && inputs
                    .iter()
                    .all(|value| self.needed[value.index()] || from_integers[value.index()]);
            let made = match self.target.role(&node.op) {
                OpRole::Product { .. } => true,
                OpRole::Arithmetic => {
                    let obstacle = self.arithmetic_obstacle(node, &inputs, all, &feeding);
                    if obstacle.is_none() {
                        self.place_arithmetic(node, &inputs);
                    }
                    self.kept[id.index()] = obstacle.map(str::to_owned);
                    obstacle.is_none()
                }
                OpRole::Movement | OpRole::Join | OpRole::Activation => all,
                OpRole::Float => false,
            };
            for output in node.outputs.iter().flatten() {
                from_integers[output.index()] = made;
            }
        }
    }

    /// Why an element-wise op or pool cannot run in integers, or gains nothing, if so.
    fn arithmetic_obstacle(
        &self,
        node: &Node,
        inputs: &[ValueId],
        from_integers: bool,
        feeding: &[bool],
    ) -> Option<&'static str> {
        let fed = node.output(0).is_some_and(|output| feeding[output.index()]);
        if inputs.len() < node.inputs.len() || inputs.is_empty() {
            Some("one of its inputs is constant")
        } else if !from_integers {
            Some("its inputs are computed in float")
        } else if self.target.residual_add == ResidualAdd::BothInputs && !fed {
            Some("its result is used in float only")
        } else {
            None
        }
    }

    /// For each value, whether an op that may run in integers reads it, possibly moved.
    fn feeding_integers(&self) -> Vec<bool> {
        let mut feeding = vec![false; self.needed.len()];
        let nodes: Vec<(NodeId, &Node)> = self.graph.node_ids().collect();
        for (id, node) in nodes.into_iter().rev() {
            let reads = self.kept[id.index()].is_none()
                && match self.target.role(&node.op) {
                    OpRole::Product { .. } => true,
                    OpRole::Float => false,
                    OpRole::Arithmetic if self.activations(node).len() < node.inputs.len() => false,
                    _ => node
                        .outputs
                        .iter()
                        .flatten()
                        .any(|output| feeding[output.index()]),
                };
            if reads {
                self.activations(node)
                    .iter()
                    .for_each(|value| feeding[value.index()] = true);
            }
        }
        feeding
    }

    fn place_arithmetic(&mut self, node: &Node, inputs: &[ValueId]) {
        let is_add = node.op == Op::Binary(Binary::Add);
        let fused = match self.target.residual_add {
            ResidualAdd::FusedIntoProduct if is_add => {
                inputs.iter().rposition(|v| self.is_product_read_once(*v))
            }
            _ => None,
        };
        for (position, value) in inputs.iter().enumerate() {
            if Some(position) != fused {
                self.needed[value.index()] = true;
            }
        }
        if self.target.residual_add == ResidualAdd::BothInputs
            && let Some(output) = self.fused_output(node)
        {
            self.needed[output.index()] = true;
        }
    }

    fn is_product_read_once(&self, value: ValueId) -> bool {
        let product = self.producers[value.index()].is_some_and(|producer| {
            self.kept[producer.index()].is_none()
                && matches!(
                    self.target.role(&self.graph.node(producer).op),
                    OpRole::Product { .. }
                )
        });
        product && self.consumers[value.index()].len() == 1
    }
}
