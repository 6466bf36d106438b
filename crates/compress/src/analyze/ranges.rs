//! The ranges of a layer's channels, for people to look at.

use serde::Serialize;

use super::Analysis;
use super::causes::largest_and_median;
use crate::prune::Weight;
use crate::stats::{Observed, Stats};

/// A channel with so many times the median's largest magnitude is an outlier.
pub(super) const OUTLIER: f32 = 8.0;

/// Smallest and largest numbers by channel.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Ranges {
    /// Of the weight, by output channel.
    pub weight: Vec<[f32; 2]>,
    /// Of the input, by channel; empty where these are not observed.
    pub input: Vec<[f32; 2]>,
    /// Output channels whose weights are outliers: they reach eight times as far as those of the median channel.
    pub weight_outliers: Vec<usize>,
    /// Input channels that are outliers in the same sense.
    pub input_outliers: Vec<usize>,
}

impl Ranges {
    pub(super) fn of(analysis: &Analysis, weight: &Weight, stats: &Stats) -> Ranges {
        let of_weight = rows(analysis, weight).unwrap_or_default();
        let of_input = match stats.get(weight.input, analysis.peaks(weight)) {
            Some(Observed::Peaks(peaks)) => peaks.bounds().to_vec(),
            _ => Vec::new(),
        };
        Ranges {
            weight_outliers: outliers(&of_weight),
            input_outliers: outliers(&of_input),
            weight: of_weight,
            input: of_input,
        }
    }
}

/// The bounds of each output channel's weights.
pub(super) fn rows(analysis: &Analysis, weight: &Weight) -> Option<Vec<[f32; 2]>> {
    let values = analysis.observed().constant(weight.value)?.to_f32().ok()?;
    let bounds = |row: &[f32]| {
        let start = [f32::INFINITY, f32::NEG_INFINITY];
        row.iter()
            .fold(start, |[low, high], x| [low.min(*x), high.max(*x)])
    };
    let rows = weight.by_rows(values);
    Some(rows.chunks_exact(weight.depth.max(1)).map(bounds).collect())
}

/// How far each channel reaches from zero.
pub(super) fn reaches(ranges: &[[f32; 2]]) -> Vec<f32> {
    ranges.iter().map(|[low, high]| high.max(-low).max(0.0)).collect()
}

fn outliers(ranges: &[[f32; 2]]) -> Vec<usize> {
    let reaches = reaches(ranges);
    let Some((_, median)) = largest_and_median(&reaches) else {
        return Vec::new();
    };
    let far = |(_, reach): &(usize, &f32)| **reach > OUTLIER * median;
    reaches
        .iter()
        .enumerate()
        .filter(far)
        .map(|(channel, _)| channel)
        .collect()
}
