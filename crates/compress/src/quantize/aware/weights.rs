//! Quantizers of weights.

use bantam_graph::ops::{Binary, FakeQuant, FakeSign, SignEstimator, Unary};
use bantam_graph::{Graph, Op, ValueId};
use bantam_tensor::Tensor;

use super::builder::{Builder, gradient_scale};
use super::grid::Grid;
use super::initialize::{WeightScales, usable, weight_channels, weight_scales};
use super::reductions::Channels;
use super::settings::{AwareSettings, ScaleTraining, WeightMapping};
use super::sites::WeightSite;
use crate::quantize::QuantizeError;
use crate::quantize::products::product_inputs;

/// Weights of signs are clipped at so many times their mean magnitude: nearly none are, but none can grow without end.
const SIGN_BOUND: f32 = 4.0;
/// Under so many times the mean magnitude a ternary weight is 0 (Li et al. 2016, equation 6).
const TERNARY_THRESHOLD: f32 = 0.7;

/// A quantizer that was added.
pub(super) struct WeightQuantizer {
    /// What the product is to read.
    pub(super) output: ValueId,
    /// Name of the node.
    pub(super) node: String,
    pub(super) axis: Option<usize>,
}

/// Adds the quantizer of a weight. `site` speaks of the graph of the builder.
///
/// # Errors
/// When the weight holds values that are not finite.
pub(super) fn add(
    builder: &mut Builder<'_>,
    site: &WeightSite,
    settings: &AwareSettings,
) -> Result<WeightQuantizer, QuantizeError> {
    let graph = builder.graph;
    let node = graph.node(site.node);
    let channel_axis = product_inputs(graph, node).map_or(0, |inputs| inputs.channel_axis);
    let mapping = if site.edge {
        WeightMapping::Uniform
    } else {
        settings.weight_mapping
    };
    let stem = graph.value(site.weight).name.clone();
    let (op, inputs, axis) = match mapping {
        WeightMapping::Uniform => {
            let scales = weight_scales(graph, node, site.weight, channel_axis, (settings, site.format))?;
            let axis = scales.axis;
            let (op, inputs) = uniform(builder, &stem, site.weight, &scales, settings.scales);
            (op, inputs, axis)
        }
        WeightMapping::Dorefa => {
            let (_, channels) = weight_channels(graph, node, site.weight, channel_axis, &settings.quantize)?;
            let (op, inputs) = dorefa(builder, &stem, site, &channels);
            (op, inputs, None)
        }
        WeightMapping::Binary | WeightMapping::Ternary => {
            let found = weight_channels(graph, node, site.weight, channel_axis, &settings.quantize)?;
            let axis = found.0;
            let (op, inputs) = levels(builder, &stem, site.weight, found, settings);
            (op, inputs, axis)
        }
    };
    let ty = graph.value(site.weight).ty.clone();
    let inputs = inputs.into_iter().map(Some).collect();
    let (output, node) = builder.node_with(&format!("{stem}_rounded"), op, inputs, ty);
    Ok(WeightQuantizer { output, node, axis })
}

/// Numbers as the parameters of a quantizer along this axis.
fn parameters(axis: Option<usize>, values: &[f32]) -> Tensor {
    match axis {
        None => Tensor::scalar(values[0]),
        Some(_) => Tensor::from_vec1(values),
    }
}

fn uniform(
    builder: &mut Builder<'_>,
    stem: &str,
    weight: ValueId,
    scales: &WeightScales,
    training: ScaleTraining,
) -> (Op, Vec<ValueId>) {
    let scale = builder.scale(stem, &parameters(scales.axis, &scales.scale), training);
    let zero_point = parameters(scales.axis, &scales.zero_point);
    let zero_point = builder.constant(&format!("{stem}_zero_point"), zero_point);
    let op = FakeQuant {
        axis: scales.axis.map(|axis| axis as i64),
        gradient_scale: gradient_scale(scales.elements, scales.grid.largest()),
        high: scales.grid.high,
        low: scales.grid.low,
    };
    (op.into(), vec![weight, scale, zero_point])
}

/// `tanh(w) / max|tanh(w)|` times the largest weight of the start, rounded (Zhou et al. 2016, equation 9; there the factor
/// is 1).
fn dorefa(
    builder: &mut Builder<'_>,
    stem: &str,
    site: &WeightSite,
    channels: &[Vec<f32>],
) -> (Op, Vec<ValueId>) {
    let all = channels.iter().flatten();
    let largest = usable(all.fold(0f32, |largest, weight| largest.max(weight.abs())));
    let grid = Grid::dorefa(site.format.bits());
    let name = |suffix: &str| format!("{stem}_{suffix}");
    let tanh = builder.node(&name("tanh"), Unary::Tanh, &[site.weight]);
    let rank = rank(builder.graph, site.weight);
    let of_tanh = Channels {
        stem: &name("tanh"),
        weight: tanh,
        axis: None,
        rank,
    };
    let bound = of_tanh.largest_magnitude(builder);
    let within_one = builder.node(&name("normalized"), Binary::Div, &[tanh, bound]);
    let factor = builder.number(&name("factor"), largest);
    let x = builder.node(&name("mapped"), Binary::Mul, &[within_one, factor]);
    let scale = builder.number(&name("scale"), largest / grid.largest());
    let zero_point = builder.number(&name("zero_point"), grid.zero_point);
    let op = FakeQuant {
        axis: None,
        gradient_scale: 0.0,
        high: grid.high,
        low: grid.low,
    };
    (op.into(), vec![x, scale, zero_point])
}

fn rank(graph: &Graph, weight: ValueId) -> usize {
    graph.value(weight).initializer.as_ref().map_or(0, Tensor::rank)
}

/// Two or three levels. Fixed scales follow the weights at each step, others are trained.
fn levels(
    builder: &mut Builder<'_>,
    stem: &str,
    weight: ValueId,
    (axis, channels): (Option<usize>, Vec<Vec<f32>>),
    settings: &AwareSettings,
) -> (Op, Vec<ValueId>) {
    let ternary = settings.weight_mapping == WeightMapping::Ternary;
    let factor = if ternary { TERNARY_THRESHOLD } else { 0.0 };
    let of_weight = Channels {
        stem,
        weight,
        axis,
        rank: rank(builder.graph, weight),
    };
    let fixed = settings.scales == ScaleTraining::Fixed;
    let scale = match (fixed, ternary) {
        (true, true) => of_weight.mean_above(builder, factor),
        (true, false) => of_weight.mean_magnitude(builder),
        (false, _) => {
            let scale: Vec<f32> = channels
                .iter()
                .map(|channel| level_scale(channel, factor))
                .collect();
            builder.scale(stem, &parameters(axis, &scale), settings.scales)
        }
    };
    let threshold = if ternary {
        of_weight.threshold(builder, factor, false)
    } else {
        builder.constant(
            &format!("{stem}_threshold"),
            parameters(axis, &vec![0.0; channels.len()]),
        )
    };
    let elements = channels.first().map_or(1, Vec::len);
    let op = FakeSign {
        axis: axis.map(|axis| axis as i64),
        bound: SIGN_BOUND,
        estimator: if ternary {
            SignEstimator::Identity
        } else {
            settings.weight_estimator
        },
        gradient_scale: if fixed { 0.0 } else { gradient_scale(elements, 1.0) },
    };
    (op.into(), vec![weight, scale, threshold])
}

/// The mean of the magnitudes above `factor` times their mean: the scale of least squared error.
fn level_scale(values: &[f32], factor: f32) -> f32 {
    let mean =
        |values: &[f32]| values.iter().map(|x| f64::from(x.abs())).sum::<f64>() / values.len().max(1) as f64;
    let threshold = f64::from(factor) * mean(values);
    let above: Vec<f32> = values
        .iter()
        .copied()
        .filter(|x| f64::from(x.abs()) > threshold)
        .collect();
    usable(mean(&above) as f32)
}
