//! What a user can ask of quantization.

use bantam_graph::{Graph, Node};
use bantam_tensor::{FormatKind, Granularity, NumberFormat, Tensor, format_by_name};

use super::QuantizeError;

use crate::range::{RangeMethod, range_by_name};
use crate::select::{Selector, SelectorError, kept_by_user};
use crate::target::Target;

/// Settings of a quantization; [`QuantizeSettings::for_target`] gives the defaults.
#[derive(Clone)]
pub struct QuantizeSettings {
    /// The runtime that the result is for.
    pub target: &'static Target,
    /// Number format of activations.
    pub activations: &'static dyn NumberFormat,
    /// Zero points of activations fixed to the middle.
    pub symmetric_activations: bool,
    /// Number format of weights.
    pub weights: &'static dyn NumberFormat,
    /// Zero points of weights fixed to the middle.
    pub symmetric_weights: bool,
    /// Which weights share a scale: [`Granularity::Tensor`] or [`Granularity::Channel`].
    pub granularity: Granularity,
    /// Range method of activations.
    pub range: &'static dyn RangeMethod,
    /// Range method of weights.
    pub weight_range: &'static dyn RangeMethod,
    /// Correct biases for the mean of what the quantization of weights changes.
    pub bias_correction: bool,
    /// Only these nodes are quantized; empty means all.
    pub include: Vec<Selector>,
    /// These nodes stay in float.
    pub exclude: Vec<Selector>,
}

impl QuantizeSettings {
    /// The defaults that are fast on a target.
    pub fn for_target(target: &'static Target) -> QuantizeSettings {
        let format = |name| format_by_name(name).expect("a test checks the tables of targets");
        QuantizeSettings {
            target,
            activations: format(target.activations.format),
            symmetric_activations: target.activations.symmetric,
            weights: format(target.weights.format),
            symmetric_weights: target.weights.symmetric,
            granularity: Granularity::Channel,
            range: range_by_name("minmax").expect("listed"),
            weight_range: range_by_name("minmax").expect("listed"),
            bias_correction: true,
            include: Vec::new(),
            exclude: Vec::new(),
        }
    }

    /// Refuses ranges that floats have no use for.
    pub(crate) fn check_ranges(&self) -> Result<(), QuantizeError> {
        for (format, range) in [(self.activations, self.range), (self.weights, self.weight_range)] {
            let (range, format) = match (format.kind(), range.name()) {
                (FormatKind::Integer, _) | (_, "minmax" | "moving-average" | "percentile") => continue,
                (_, range) => (range, format.name()),
            };
            return Err(QuantizeError::RangeOfFloats { range, format });
        }
        Ok(())
    }

    /// Whether the weight of a node has a scale for each channel.
    pub(crate) fn has_channel_scales(&self, node: &Node, weight: &Tensor) -> bool {
        let one_scale = self.target.one_scale_weights.contains(&node.op.name());
        self.granularity != Granularity::Tensor && weight.rank() > 0 && !one_scale
    }

    /// For each node, why the user's selectors keep it in float, if they do.
    pub(crate) fn kept_by_user(&self, graph: &Graph) -> Result<Vec<Option<&'static str>>, SelectorError> {
        kept_by_user(graph, &self.include, &self.exclude)
    }
}
