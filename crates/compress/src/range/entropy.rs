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
    let sums = Sums::of(magnitudes);
    let candidates = (levels..=magnitudes.len())
        .step_by(STRIDE)
        .chain([magnitudes.len()]);
    let scored = candidates.map(|bins| (sums.divergence(bins, levels), bins));
    // Of equal ones the widest: nothing speaks for clipping then.
    scored
        .min_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)))
        .map_or(magnitudes.len(), |(_, bins)| bins)
}

/// Sums over all bins below an index, from which the sums over any run of bins follow.
struct Sums {
    /// Of the counts `c`.
    mass: Vec<f64>,
    /// Of `c ln c`.
    entropy: Vec<f64>,
    /// Bins that hold something.
    filled: Vec<f64>,
}

/// What stands for the probability of a bin that only clipping fills; it keeps the divergence finite.
const FLOOR: f64 = 1e-9;

impl Sums {
    fn of(counts: &[f64]) -> Sums {
        let running = |term: fn(f64) -> f64| {
            let mut sum = 0.0;
            let sums = counts.iter().map(|&count| {
                sum += term(count);
                sum
            });
            [0.0].into_iter().chain(sums.collect::<Vec<_>>()).collect()
        };
        Sums {
            mass: running(|count| count),
            entropy: running(times_logarithm),
            filled: running(|count| f64::from(count > 0.0)),
        }
    }

    /// Divergence of the distribution clipped to `bins` bins, `p`, from its form in `levels` levels, `q`: the sum of
    /// `p ln(p / q)`. What is clipped joins the last bin of `p`, not of `q`.
    fn divergence(&self, bins: usize, levels: usize) -> f64 {
        let total = self.mass[self.mass.len() - 1];
        let inside = self.mass[bins];
        if inside <= 0.0 {
            return f64::INFINITY;
        }
        let last = inside - self.mass[bins - 1];
        let outliers = total - inside;
        let mut sum = times_logarithm(last + outliers) - times_logarithm(last);
        if last == 0.0 {
            sum -= outliers * FLOOR.ln();
        }
        for level in 0..levels {
            let (from, to) = (level * bins / levels, (level + 1) * bins / levels);
            let (mass, filled) = (
                self.mass[to] - self.mass[from],
                self.filled[to] - self.filled[from],
            );
            if mass > 0.0 {
                let clipped = if to == bins && last > 0.0 { outliers } else { 0.0 };
                let mean = mass / filled / inside;
                sum += self.entropy[to] - self.entropy[from] - (mass + clipped) * mean.ln();
            }
        }
        sum / total - total.ln()
    }
}

/// `x ln x`, 0 at 0.
fn times_logarithm(x: f64) -> f64 {
    if x > 0.0 { x * x.ln() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum as it is defined.
    fn defined(counts: &[f64], bins: usize, levels: usize) -> f64 {
        let total: f64 = counts.iter().sum();
        let inside: f64 = counts[..bins].iter().sum();
        let mut sum = 0.0;
        for level in 0..levels {
            let range = level * bins / levels..(level + 1) * bins / levels;
            let filled = counts[range.clone()].iter().filter(|count| **count > 0.0).count();
            let mean = counts[range.clone()].iter().sum::<f64>() / filled as f64 / inside;
            for index in range {
                let outliers = if index == bins - 1 { total - inside } else { 0.0 };
                let p = (counts[index] + outliers) / total;
                let q = if counts[index] > 0.0 { mean } else { FLOOR };
                sum += if p > 0.0 { p * (p / q).ln() } else { 0.0 };
            }
        }
        sum
    }

    #[test]
    fn running_sums_give_the_divergence() {
        let counts: Vec<f64> = (0..200).map(|i| f64::from((i * i * 31) % 17)).collect();
        for bins in [16, 17, 100, 150, 199, 200] {
            let (got, expected) = (Sums::of(&counts).divergence(bins, 16), defined(&counts, bins, 16));
            assert!((got - expected).abs() < 1e-9, "{bins} bins: {got}, {expected}");
        }
    }
}
