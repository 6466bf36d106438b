//! A histogram that streams, merges exactly and needs no range beforehand.

use bantam_kernels::histogram::count_bins;
use rayon::prelude::*;

use super::min_max::MinMax;

/// Most bins that a histogram has; the range takes at least half of them.
const BINS: i64 = 4096;
/// log2 of the smallest bin width: its inverse is a number of f32, so that scaling by it is exact.
const SMALLEST_EXPONENT: i32 = -126;
/// Elements that one task counts.
const CHUNK: usize = 1 << 17;

/// Counts of elements in bins of one width, a power of two; bin `k` holds `k * width <= x < (k + 1) * width`.
///
/// When elements fall outside, the width doubles and neighbours are added up. Because bins are aligned to zero, the
/// result depends on the elements alone, not on their order or on how they were split over tasks and machines. Exact
/// zeros, of which ReLU makes many, are counted apart.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    min_max: MinMax,
    /// log2 of the bin width; meaningless while `counts` is empty.
    exponent: i32,
    /// Index of the bin of `counts[0]`.
    first: i64,
    counts: Vec<u64>,
    zeros: u64,
}

impl Histogram {
    /// Adds elements; those that are not finite are left out and noted.
    pub fn add(&mut self, values: &[f32]) {
        let mut min_max = MinMax::default();
        min_max.add(values);
        self.min_max.merge(&min_max);
        let (low, high) = min_max.bounds();
        self.widen(low, high);
        if values.len() <= CHUNK {
            return self.zeros += self.count(values);
        }
        let empty = Histogram {
            counts: vec![0; self.counts.len()],
            ..self.clone()
        };
        let parts = values.par_chunks(CHUNK).map(|chunk| {
            let mut part = empty.clone();
            let zeros = part.count(chunk);
            (part.counts, zeros)
        });
        for (counts, zeros) in parts.collect::<Vec<_>>() {
            self.counts
                .iter_mut()
                .zip(counts)
                .for_each(|(sum, count)| *sum += count);
            self.zeros += zeros;
        }
    }

    /// Counts elements that the bins cover; gives the number of zeros.
    fn count(&mut self, values: &[f32]) -> u64 {
        let scale = 2f32.powi(-self.exponent);
        count_bins(values, scale, self.first as i32, &mut self.counts)
    }

    /// Adds the elements of another histogram.
    pub fn merge(&mut self, other: &Histogram) {
        let (low, high) = other.min_max.bounds();
        self.min_max.merge(&other.min_max);
        self.widen(low, high);
        let mut other = other.clone();
        while other.exponent < self.exponent && !other.counts.is_empty() {
            other.double_width();
        }
        for (index, count) in other.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            self.counts[(other.first + index as i64 - self.first) as usize] += count;
        }
        self.zeros += other.zeros;
    }

    /// Smallest and largest element.
    pub fn bounds(&self) -> (f32, f32) {
        self.min_max.bounds()
    }

    /// True when an element was infinite or no number.
    pub fn has_non_finite(&self) -> bool {
        self.min_max.non_finite
    }

    /// Number of finite elements.
    pub fn total(&self) -> u64 {
        self.zeros + self.counts.iter().sum::<u64>()
    }

    /// Number of elements that are exactly zero.
    pub fn zeros(&self) -> u64 {
        self.zeros
    }

    /// Width of a bin.
    pub fn width(&self) -> f64 {
        2f64.powi(self.exponent)
    }

    /// Centre and count of each bin that holds something, in ascending order; zeros, which are in no bin, left out.
    pub fn bins(&self) -> impl Iterator<Item = (f64, u64)> {
        let centre = move |index: usize| (self.first as f64 + index as f64 + 0.5) * self.width();
        self.counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(move |(i, &count)| (centre(i), count))
    }

    /// Makes the bins cover `[low, high]` and zero, at the smallest width that does it.
    fn widen(&mut self, low: f32, high: f32) {
        let (low, high) = (f64::from(low).min(0.0), f64::from(high).max(0.0));
        if self.counts.is_empty() {
            let span = (high - low).max(f64::from(f32::MIN_POSITIVE));
            let exponent = (span / BINS as f64).log2().floor() as i32;
            self.exponent = exponent.max(SMALLEST_EXPONENT);
            self.first = (low / self.width()).floor() as i64;
            self.counts = vec![0];
        }
        loop {
            let last = self.first + self.counts.len() as i64 - 1;
            let from = self.first.min((low / self.width()).floor() as i64);
            let to = last.max((high / self.width()).floor() as i64);
            if to - from < BINS {
                let mut counts = vec![0; (to - from + 1) as usize];
                let offset = (self.first - from) as usize;
                counts[offset..offset + self.counts.len()].copy_from_slice(&self.counts);
                (self.first, self.counts) = (from, counts);
                return;
            }
            self.double_width();
        }
    }

    fn double_width(&mut self) {
        let last = self.first + self.counts.len() as i64 - 1;
        let first = self.first.div_euclid(2);
        let mut counts = vec![0; (last.div_euclid(2) - first + 1) as usize];
        for (index, count) in self.counts.iter().enumerate() {
            counts[((self.first + index as i64).div_euclid(2) - first) as usize] += count;
        }
        (self.exponent, self.first, self.counts) = (self.exponent + 1, first, counts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(count: usize, spread: f32) -> Vec<f32> {
        (0..count)
            .map(|i| ((i as f32 * 0.754_877_7).fract() - 0.3) * spread)
            .collect()
    }

    fn contents(histogram: &Histogram) -> Vec<(f64, u64)> {
        histogram.bins().collect()
    }

    #[test]
    fn order_and_splitting_do_not_matter() {
        let (small, large) = (sample(5000, 0.01), sample(7000, 300.0));
        let mut ascending = Histogram::default();
        ascending.add(&small);
        ascending.add(&large);
        let mut descending = Histogram::default();
        descending.add(&large);
        descending.add(&small);
        let (mut merged, mut other) = (Histogram::default(), Histogram::default());
        merged.add(&small);
        other.add(&large);
        merged.merge(&other);
        assert_eq!(contents(&ascending), contents(&descending));
        assert_eq!(contents(&ascending), contents(&merged));
        assert_eq!(ascending.total(), 12000);
    }

    #[test]
    fn the_range_takes_at_least_half_of_the_bins() {
        for spread in [1e-30f32, 0.7, 1.0, 5.0, 1e30] {
            let mut histogram = Histogram::default();
            histogram.add(&sample(100_000, spread));
            let (low, high) = histogram.bounds();
            let bins = (f64::from(high) - f64::from(low)) / histogram.width();
            assert!(
                (BINS as f64 / 2.0 - 1.0..=BINS as f64).contains(&bins),
                "spread {spread}: {bins} bins"
            );
        }
    }

    #[test]
    fn extreme_values_are_counted() {
        let mut histogram = Histogram::default();
        histogram.add(&[
            f32::MAX,
            f32::MIN,
            f32::MIN_POSITIVE,
            1e-45,
            0.0,
            -0.0,
            f32::NAN,
            f32::INFINITY,
        ]);
        assert_eq!(
            (histogram.total(), histogram.zeros(), histogram.has_non_finite()),
            (6, 2, true)
        );
        let mut empty = Histogram::default();
        empty.add(&[]);
        empty.add(&[0.0; 10]);
        assert_eq!((empty.total(), empty.bounds()), (10, (0.0, 0.0)));
    }
}
