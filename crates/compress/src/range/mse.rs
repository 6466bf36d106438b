//! The interval with the least mean squared error.

use bantam_tensor::QParams;

use super::{RangeGoal, RangeMethod};
use crate::stats::{Observed, Stat};

/// Shrinks the full range step by step and keeps the interval whose quantization error over the histogram is least;
/// for asymmetric codes the two ends are searched in turn.
#[derive(Debug)]
pub(super) struct MseRange;

/// Intervals tried for each end.
const STEPS: usize = 100;
/// How often both ends are searched.
const ROUNDS: usize = 2;
/// Smallest part of the full range that is tried.
const SMALLEST: f32 = 0.02;

impl RangeMethod for MseRange {
    fn name(&self) -> &'static str {
        "mse"
    }
    fn summary(&self) -> &'static str {
        "least mean squared error between the values and their codes"
    }
    fn stat(&self) -> Stat {
        Stat::Histogram
    }
    fn range(&self, observed: &Observed, goal: RangeGoal) -> (f32, f32) {
        let Observed::Histogram(histogram) = observed else {
            return observed.bounds();
        };
        let (centres, counts): (Vec<f32>, Vec<f32>) = histogram
            .bins()
            .map(|(x, count)| (x as f32, count as f32))
            .unzip();
        let error = |range: (f32, f32)| quantization_error(&centres, &counts, goal, range);
        let (low, high) = histogram.bounds();
        if goal.symmetric || low >= 0.0 || high <= 0.0 {
            return best(|part| (low * part, high * part), &error);
        }
        let mut range = (low, high);
        for _ in 0..ROUNDS {
            range = best(|part| (range.0, high * part), &error);
            range = best(|part| (low * part, range.1), &error);
        }
        range
    }
}

fn best(range: impl Fn(f32) -> (f32, f32), error: &impl Fn((f32, f32)) -> f64) -> (f32, f32) {
    let parts = (0..=STEPS).map(|step| SMALLEST + (1.0 - SMALLEST) * step as f32 / STEPS as f32);
    let scored = parts.map(|part| (error(range(part)), range(part)));
    scored
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map_or((0.0, 0.0), |(_, range)| range)
}

/// Sum of squared errors. Within a bin the elements are taken as evenly spread, so besides the error of the centre
/// only clipping matters; bins are much narrower than a code.
fn quantization_error(centres: &[f32], counts: &[f32], goal: RangeGoal, (low, high): (f32, f32)) -> f64 {
    let params = QParams::for_range(goal.format, goal.symmetric, low, high);
    goal.squared_error(centres, counts, params)
}
