//! Scales of constants.

use bantam_graph::{Graph, Node, ValueId};
use bantam_tensor::{QParams, Tensor};

use super::{QuantizeError, QuantizeSettings};
use crate::range::RangeGoal;
use crate::stats::Observed;
use crate::target::ScaleForm;

/// Scales of a weight whose output channels lie along `channel_axis`.
///
/// # Errors
/// When the weight holds values that are not finite.
pub(super) fn weight_params(
    graph: &Graph,
    node: &Node,
    weight: ValueId,
    channel_axis: usize,
    settings: &QuantizeSettings,
) -> Result<QParams, QuantizeError> {
    let name = &graph.value(weight).name;
    let tensor = graph
        .value(weight)
        .initializer
        .as_ref()
        .expect("the caller found a constant");
    let values = finite_values(graph, node, name, tensor)?;
    let axis = settings.has_channel_scales(node, tensor).then_some(channel_axis);
    let goal = RangeGoal {
        format: settings.weights,
        symmetric: settings.symmetric_weights,
    };
    let mut params = QParams {
        dtype: settings.weights.storage(),
        axis,
        group: None,
        scale: Vec::new(),
        zero_point: Vec::new(),
    };
    for channel in channels(&values, tensor.shape(), axis) {
        let mut observed = Observed::new(settings.weight_range.stat());
        observed.add(&channel, &[channel.len()]);
        let range = settings.weight_range.range(&observed, goal);
        let counts = vec![1.0; channel.len()];
        let error = |scale, zero_point| goal.squared_error(&channel, &counts, (scale, zero_point));
        let form = settings.target.scales;
        let (scale, zero_point) = form.params(goal.format, goal.symmetric, range, Some(&error));
        params.scale.push(scale);
        params.zero_point.push(zero_point);
    }
    Ok(params)
}

/// The values of a constant, all finite.
pub(super) fn finite_values(
    graph: &Graph,
    node: &Node,
    name: &str,
    tensor: &Tensor,
) -> Result<Vec<f32>, QuantizeError> {
    let values = tensor.to_f32().unwrap_or_default();
    let count = values.iter().filter(|x| !x.is_finite()).count();
    if count > 0 {
        return Err(QuantizeError::NonFiniteWeight {
            name: name.to_owned(),
            node: graph.describe(node),
            count,
        });
    }
    Ok(values)
}

/// The values that share each scale.
pub(super) fn channels(values: &[f32], shape: &[usize], axis: Option<usize>) -> Vec<Vec<f32>> {
    let Some(axis) = axis else {
        return vec![values.to_vec()];
    };
    let inner: usize = shape[axis + 1..].iter().product();
    let count = shape[axis];
    let mut channels = vec![Vec::with_capacity(values.len() / count.max(1)); count];
    for (index, run) in values.chunks(inner.max(1)).enumerate() {
        channels[index % count].extend_from_slice(run);
    }
    channels
}

/// Widens the scales of a weight where the bias would not fit into 32 bits with them, and gives the bias's scales.
pub(super) fn bias_params(input_scale: f32, weight: &mut QParams, bias: &[f32], form: ScaleForm) -> QParams {
    // Half of the range, so that sums of products still fit beside it.
    const LARGEST: f64 = (i32::MAX / 2) as f64;
    let channels = bias.len();
    for (channel, &b) in bias.iter().enumerate() {
        let index = if weight.scale.len() == 1 { 0 } else { channel };
        let smallest = f64::from(b.abs()) / LARGEST / f64::from(input_scale);
        if smallest as f32 > weight.scale[index] {
            weight.scale[index] = form.at_least(smallest as f32);
        }
    }
    let of_channel = |channel| {
        if weight.scale.len() == 1 {
            weight.scale[0]
        } else {
            weight.scale[channel]
        }
    };
    let per_channel = weight.scale.len() > 1;
    let count = if per_channel { channels } else { 1 };
    QParams {
        dtype: bantam_tensor::DType::I32,
        axis: per_channel.then_some(0),
        group: None,
        scale: (0..count)
            .map(|channel| input_scale * of_channel(channel))
            .collect(),
        zero_point: vec![0; count],
    }
}
