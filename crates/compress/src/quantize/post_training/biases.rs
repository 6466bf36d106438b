//! Biases of products.

use bantam_graph::ops::Binary;
use bantam_graph::{Node, Op, ValueId};
use bantam_tensor::{FormatKind, QParams};

use super::Planner;
use crate::plan::{Action, Decision, Site};
use crate::quantize::QuantizeError;
use crate::quantize::bias_correction::correction;
use crate::quantize::products::ProductInputs;
use crate::quantize::weights::{bias_params, finite_values};

impl<'a> Planner<'a> {
    /// The Add after a MatMul that only adds a constant row, and where the row is: ONNX Runtime merges the two where
    /// shapes are known, and then multiplies in float unless the row is quantized.
    pub(super) fn added_bias(&self, node: &Node) -> Option<(&'a Node, usize)> {
        let output = node.output(0).filter(|_| matches!(node.op, Op::MatMul(_)))?;
        let [(reader, position)] = self.consumers[output.index()][..] else {
            return None;
        };
        let graph = self.graph;
        let add = graph.node(reader);
        let is_add = add.op == Op::Binary(Binary::Add) && !graph.outputs.contains(&output);
        (is_add && position < 2).then(|| (add, 1 - position))
    }

    /// The correction of a bias that only this node reads.
    pub(super) fn corrected_bias(
        &self,
        node: &Node,
        inputs: &ProductInputs,
        params: &QParams,
    ) -> Option<Decision> {
        let bias = node.input(inputs.bias.filter(|_| self.settings.bias_correction)?)?;
        let tensor = self.graph.constant(bias).filter(|tensor| tensor.rank() == 1)?;
        let by = correction(
            self.graph,
            node,
            inputs,
            (self.settings.weights.name(), params),
            self.stats,
        )?;
        if self.consumers[bias.index()].len() != 1 || by.len() != tensor.len() {
            return None;
        }
        let why = "takes back the mean of what quantized weights add".to_owned();
        Some(Decision {
            site: Site::Value(self.name(bias)),
            action: Action::ShiftConstant(by),
            why,
            sqnr_db: None,
        })
    }

    pub(super) fn bias_decision(
        &mut self,
        node: &Node,
        position: usize,
        bias: ValueId,
        input_scale: f32,
        weight: &mut QParams,
    ) -> Result<Option<Decision>, QuantizeError> {
        // Sums of floats are floats.
        let formats = [self.settings.weights, self.settings.activations];
        if formats.iter().any(|format| format.kind() != FormatKind::Integer) {
            return Ok(None);
        }
        let Some(tensor) = self.graph.constant(bias).filter(|tensor| tensor.rank() == 1) else {
            return Ok(None);
        };
        let values = finite_values(self.graph, node, &self.name(bias), tensor)?;
        if weight.scale.len() > 1 && weight.scale.len() != values.len() {
            return Ok(None);
        }
        let params = bias_params(input_scale, weight, &values, self.settings.target.scales);
        let why = "scale of the input times scale of the weight, so that it adds to the sums".to_owned();
        Ok(Some(
            self.constant_decision(node, position, bias, "int32", params, why),
        ))
    }
}
