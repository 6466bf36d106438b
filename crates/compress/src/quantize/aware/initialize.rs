//! Where scales start.

use bantam_graph::{Graph, Node, ValueId};
use bantam_tensor::{NumberFormat, QParams};
use rayon::prelude::*;

use super::grid::Grid;
use super::settings::{AwareSettings, InitialScale};
use crate::quantize::weights::{channels, finite_values};
use crate::quantize::{QuantizeError, QuantizeSettings};
use crate::range::RangeGoal;
use crate::stats::Observed;
use crate::target::ScaleForm;

/// Scales and levels of a weight.
#[derive(Clone, Debug)]
pub(super) struct WeightScales {
    /// Axis along which scales differ.
    pub(super) axis: Option<usize>,
    /// Codes; the zero point is that of the first channel.
    pub(super) grid: Grid,
    pub(super) scale: Vec<f32>,
    pub(super) zero_point: Vec<f32>,
    /// Elements that share a scale.
    pub(super) elements: usize,
}

/// The elements of a weight that share each scale, and the axis along which the scales lie.
pub(super) fn weight_channels(
    graph: &Graph,
    node: &Node,
    weight: ValueId,
    channel_axis: usize,
    settings: &QuantizeSettings,
) -> Result<(Option<usize>, Vec<Vec<f32>>), QuantizeError> {
    let value = graph.value(weight);
    let tensor = value.initializer.as_ref().expect("the caller found a constant");
    let values = finite_values(graph, node, &value.name, tensor)?;
    let axis = settings.has_channel_scales(node, tensor).then_some(channel_axis);
    Ok((axis, channels(&values, tensor.shape(), axis)))
}

/// First scales of a weight.
///
/// # Errors
/// When the weight holds values that are not finite.
pub(super) fn weight_scales(
    graph: &Graph,
    node: &Node,
    weight: ValueId,
    channel_axis: usize,
    (settings, format): (&AwareSettings, &'static dyn NumberFormat),
) -> Result<WeightScales, QuantizeError> {
    let quantize = &settings.quantize;
    let (axis, channels) = weight_channels(graph, node, weight, channel_axis, quantize)?;
    let of_channel = |values: &Vec<f32>| channel_scale(values, format, settings);
    let found: Vec<(f32, f32)> = channels.par_iter().map(of_channel).collect();
    let (scale, zero_point): (Vec<f32>, Vec<f32>) = found.into_iter().unzip();
    let grid = if quantize.symmetric_weights {
        Grid::symmetric(format)
    } else {
        Grid::full(format, zero_point.first().map_or(0, |zero| *zero as i32))
    };
    let elements = channels.first().map_or(1, Vec::len);
    Ok(WeightScales {
        axis,
        grid,
        scale,
        zero_point,
        elements,
    })
}

/// Scale and zero point of one channel.
fn channel_scale(values: &[f32], format: &'static dyn NumberFormat, settings: &AwareSettings) -> (f32, f32) {
    let quantize = &settings.quantize;
    let symmetric = quantize.symmetric_weights;
    let mut observed = Observed::new(quantize.weight_range.stat());
    observed.add(values, &[values.len()]);
    let (low, high) = quantize
        .weight_range
        .range(&observed, RangeGoal { format, symmetric });
    let form = quantize.target.scales;
    if !symmetric {
        let (scale, zero_point) = form.params(format, false, (low, high), None);
        return (scale, zero_point as f32);
    }
    let grid = Grid::symmetric(format);
    let mean = values.iter().map(|x| f64::from(x.abs())).sum::<f64>() / values.len().max(1) as f64;
    let scale = match settings.initial {
        InitialScale::Lsq => lsq_scale(mean as f32, grid.largest()),
        InitialScale::Range if quantize.weight_range.name() == "mse" => best_scale(values, &grid),
        InitialScale::Range => low.abs().max(high.abs()) / grid.largest(),
    };
    let scale = match form {
        ScaleForm::Any => usable(scale),
        ScaleForm::PowerOfTwo => best_power(values, &grid, form.at_least(usable(scale))),
    };
    (scale, grid.zero_point)
}

/// Powers of two below the one above what range methods give that are tried.
const FINER: i32 = 2;

/// Of a power of two and some below it the one with the least squared error over the values themselves.
fn best_power(values: &[f32], grid: &Grid, largest: f32) -> f32 {
    let powers = (0..=FINER).map(|finer| (largest * 2f32.powi(-finer)).max(f32::MIN_POSITIVE));
    let scored = powers.map(|scale| (squared_error(values, grid, scale), scale));
    let best = scored.min_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or(largest, |(_, scale)| scale)
}

fn squared_error(values: &[f32], grid: &Grid, scale: f32) -> f64 {
    let of = |x: &f32| f64::from(grid.round(*x, scale) - x).powi(2);
    values.iter().map(of).sum()
}

/// `2 mean|x| / sqrt(largest code)` (Esser et al. 2020, section 2.1).
pub(super) fn lsq_scale(mean_magnitude: f32, largest: f32) -> f32 {
    2.0 * mean_magnitude / largest.max(1.0).sqrt()
}

/// Scales that are tried between none and the full range.
const STEPS: usize = 128;

/// The scale with the least squared error over the values themselves.
fn best_scale(values: &[f32], grid: &Grid) -> f32 {
    let bound = values.iter().fold(0f32, |bound, x| bound.max(x.abs()));
    let scales = (1..=STEPS).map(|step| bound * step as f32 / STEPS as f32 / grid.largest());
    let scored = scales
        .filter(|scale| *scale >= f32::MIN_POSITIVE)
        .map(|scale| (squared_error(values, grid, scale), scale));
    scored
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map_or(1.0, |(_, scale)| scale)
}

/// The scale, or 1 for a channel without any element that is not zero.
pub(super) fn usable(scale: f32) -> f32 {
    if scale.is_finite() && scale >= f32::MIN_POSITIVE {
        scale
    } else {
        1.0
    }
}

/// First scale of an activation of this mean magnitude, where LSQ's formula holds: for codes from zero on, and for as many
/// on either side of it.
pub(super) fn lsq_activation(params: &mut QParams, mean_magnitude: f32, grid: &Grid, form: ScaleForm) {
    if grid.smallest() == 0.0 || grid.smallest().abs() >= grid.largest() {
        params.scale[0] = form.at_least(usable(lsq_scale(mean_magnitude, grid.largest())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::target_by_name;
    use bantam_tensor::trained_format_by_name;

    fn normal(count: usize) -> Vec<f32> {
        let mut state = 7u64;
        let mut uniform = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 24) as f32
        };
        (0..count)
            .map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0)
            .collect()
    }

    /// Optimal uniform quantizers of the normal distribution (Max 1960, table II): 4 levels 0.9957 apart, 16 levels
    /// 0.3352 apart; with 15 levels about 0.353.
    #[test]
    fn least_squares_finds_the_known_optimum() {
        let settings = AwareSettings::for_target(target_by_name("onnxruntime").unwrap());
        let values = normal(40_000);
        for (format, expected) in [("int2", 0.9957), ("int4", 0.353)] {
            let format = trained_format_by_name(format).unwrap();
            let (scale, _) = channel_scale(&values, format, &settings);
            assert!(
                (scale / expected - 1.0).abs() < 0.06,
                "{}: {scale}",
                format.name()
            );
        }
    }

    #[test]
    fn formula_of_lsq() {
        let mut settings = AwareSettings::for_target(target_by_name("onnxruntime").unwrap());
        settings.initial = InitialScale::Lsq;
        let format = trained_format_by_name("int3").unwrap();
        let (scale, zero_point) = channel_scale(&[1.0, -2.0, 3.0, -6.0], format, &settings);
        assert_eq!((scale, zero_point), (6.0 / 3f32.sqrt(), 0.0));
        assert_eq!(channel_scale(&[0.0; 4], format, &settings).0, 1.0);
    }
}
