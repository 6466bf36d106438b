//! The interval that keeps most information.

use super::{RangeGoal, RangeMethod};
use crate::stats::{Observed, Stat};

/// Least Kullback-Leibler divergence between the distribution of magnitudes, clipped at a threshold, and the same in
/// as many levels as there are codes for one sign (Migacz 2017, "8-bit inference with TensorRT").
///
/// Exact zeros are represented without error whatever the range, so they take no part; otherwise the many zeros that
/// ReLU makes would drown the rest.
#[derive(Debug)]
pub(super) struct EntropyRange;

/// Bins that the magnitudes are counted in.
const BINS: usize = 2048;
/// Thresholds are tried at every so many bins.
const STRIDE: usize = 8;

impl RangeMethod for EntropyRange {
    fn name(&self) -> &'static str {
        "entropy"
    }
    fn summary(&self) -> &'static str {
        "least Kullback-Leibler divergence between the values and their codes"
    }
    fn stat(&self) -> Stat {
        Stat::Histogram
    }
    fn range(&self, observed: &Observed, goal: RangeGoal) -> (f32, f32) {
        let Observed::Histogram(histogram) = observed else {
            return observed.bounds();
        };
        let (low, high) = histogram.bounds();
        let largest = high.abs().max(low.abs());
        if largest == 0.0 {
            return (low, high);
        }
        let one_sided = !goal.symmetric && (low >= 0.0 || high <= 0.0);
        let levels = if one_sided {
            goal.steps() as usize
        } else {
            (goal.steps() / 2.0) as usize
        };
        let mut magnitudes = vec![0f64; BINS];
        for (x, count) in histogram.bins() {
            let bin = (x.abs() / f64::from(largest) * BINS as f64) as usize;
            magnitudes[bin.min(BINS - 1)] += count as f64;
        }
        let threshold = best_threshold(&magnitudes, levels.clamp(1, BINS)) as f32 / BINS as f32 * largest;
        (low.max(-threshold), high.min(threshold))
    }
}

/// Number of bins below the best threshold.
fn best_threshold(magnitudes: &[f64], levels: usize) -> usize {
    let candidates = (levels..=magnitudes.len())
        .step_by(STRIDE)
        .chain([magnitudes.len()]);
    let scored = candidates.map(|bins| (divergence(magnitudes, bins, levels), bins));
    // Of equal ones the widest: nothing speaks for clipping then.
    scored
        .min_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)))
        .map_or(magnitudes.len(), |(_, bins)| bins)
}

/// Divergence of the distribution clipped to `bins` bins from its form in `levels` levels.
fn divergence(magnitudes: &[f64], bins: usize, levels: usize) -> f64 {
    let outliers: f64 = magnitudes[bins..].iter().sum();
    let total: f64 = magnitudes.iter().sum();
    let inside = total - outliers;
    if inside <= 0.0 {
        return f64::INFINITY;
    }
    let mut sum = 0.0;
    for level in 0..levels {
        let range = level * bins / levels..((level + 1) * bins / levels).min(bins);
        let slice = &magnitudes[range.clone()];
        let filled = slice.iter().filter(|count| **count > 0.0).count();
        let mean = slice.iter().sum::<f64>() / filled.max(1) as f64 / inside;
        for (index, &count) in range.zip(slice) {
            let clipped = if index == bins - 1 {
                count + outliers
            } else {
                count
            };
            let p = clipped / total;
            if p > 0.0 {
                // A bin that only clipping fills has no counterpart; a small floor keeps the sum finite.
                let q = if count > 0.0 { mean } else { 1e-9 };
                sum += p * (p / q).ln();
            }
        }
    }
    sum
}
