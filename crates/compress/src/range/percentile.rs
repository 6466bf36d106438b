//! All but the most extreme elements.

use super::{RangeGoal, RangeMethod};
use crate::stats::{Histogram, Observed, Stat};

/// Leaves out one element in 100,000 on either side (Wu et al. 2020, "Integer quantization for deep learning
/// inference", section 5, with 99.999%).
#[derive(Debug)]
pub(super) struct PercentileRange;

const OUTSIDE: f64 = 1e-5;

impl RangeMethod for PercentileRange {
    fn name(&self) -> &'static str {
        "percentile"
    }
    fn summary(&self) -> &'static str {
        "clips one element in 100,000 on either side"
    }
    fn stat(&self) -> Stat {
        Stat::Histogram
    }
    fn range(&self, observed: &Observed, _: RangeGoal) -> (f32, f32) {
        let Observed::Histogram(histogram) = observed else {
            return observed.bounds();
        };
        let (low, high) = histogram.bounds();
        (
            quantile(histogram, false).clamp(low, high),
            quantile(histogram, true).clamp(low, high),
        )
    }
}

/// The outer edge of the first bin, seen from one end, that more than the allowed share of elements reaches.
fn quantile(histogram: &Histogram, from_above: bool) -> f32 {
    let allowed = (histogram.total() as f64 * OUTSIDE).floor() as u64;
    let mut bins: Vec<(f64, u64)> = histogram.bins().collect();
    bins.push((0.0, histogram.zeros()));
    bins.sort_by(|a, b| a.0.total_cmp(&b.0));
    if from_above {
        bins.reverse();
    }
    let mut outside = 0;
    for (centre, count) in bins {
        outside += count;
        if outside > allowed {
            let edge = if centre == 0.0 {
                0.0
            } else {
                histogram.width() / 2.0
            };
            return (if from_above { centre + edge } else { centre - edge }) as f32;
        }
    }
    0.0
}
