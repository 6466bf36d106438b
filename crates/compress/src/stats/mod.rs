//! What is known of values from data: requests, accumulators, and one pass that serves all of them.

mod histogram;
mod means;
mod min_max;
mod observe;
mod peaks;

use serde::{Deserialize, Serialize};

pub use histogram::Histogram;
pub use means::Means;
pub use min_max::{MinMax, MovingMinMax};
pub use observe::{ObserveError, ObserveOptions, Stats, observe};
pub use peaks::Peaks;

/// What to find out about a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stat {
    /// Smallest and largest element of all samples.
    MinMax,
    /// Exponential moving average of each batch's smallest and largest element.
    MovingMinMax,
    /// How often each small interval of values occurs.
    Histogram,
    /// Mean for each index of axis 1 (channels of images).
    ChannelMeans,
    /// Mean for each index of the last axis (features).
    FeatureMeans,
    /// Mean of the squares for each index of the last axis.
    FeatureSquares,
    /// Largest magnitude for each index of axis 1.
    ChannelPeaks,
    /// Largest magnitude for each index of the last axis.
    FeaturePeaks,
}

impl Stat {
    /// Whether the answer depends on where the last axis is.
    fn needs_last_axis(self) -> bool {
        matches!(
            self,
            Stat::FeatureMeans | Stat::FeatureSquares | Stat::FeaturePeaks
        )
    }
}

/// A value and what to find out about it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// The value.
    pub value: bantam_graph::ValueId,
    /// What to find out.
    pub stat: Stat,
}

/// What was found out about one value.
#[derive(Clone, Debug)]
pub enum Observed {
    /// Answer to [`Stat::MinMax`].
    MinMax(MinMax),
    /// Answer to [`Stat::MovingMinMax`].
    MovingMinMax(MovingMinMax),
    /// Answer to [`Stat::Histogram`].
    Histogram(Histogram),
    /// Answer to [`Stat::ChannelMeans`], [`Stat::FeatureMeans`] and [`Stat::FeatureSquares`].
    Means(Means),
    /// Answer to [`Stat::ChannelPeaks`] and [`Stat::FeaturePeaks`].
    Peaks(Peaks),
}

impl Observed {
    /// Nothing observed yet.
    pub fn new(stat: Stat) -> Observed {
        match stat {
            Stat::MinMax => Observed::MinMax(MinMax::default()),
            Stat::MovingMinMax => Observed::MovingMinMax(MovingMinMax::default()),
            Stat::Histogram => Observed::Histogram(Histogram::default()),
            Stat::ChannelMeans => Observed::Means(Means::of_axis(1)),
            Stat::FeatureMeans => Observed::Means(Means::of_last_axis()),
            Stat::FeatureSquares => Observed::Means(Means::of_squares()),
            Stat::ChannelPeaks => Observed::Peaks(Peaks::of_axis(Some(1))),
            Stat::FeaturePeaks => Observed::Peaks(Peaks::of_axis(None)),
        }
    }

    /// Adds the elements of one batch, `values` being those of a tensor of this shape.
    pub fn add(&mut self, values: &[f32], shape: &[usize]) {
        match self {
            Observed::MinMax(min_max) => min_max.add(values),
            Observed::MovingMinMax(moving) => moving.add(values),
            Observed::Histogram(histogram) => histogram.add(values),
            Observed::Means(means) => means.add(values, shape),
            Observed::Peaks(peaks) => peaks.add(values, shape),
        }
    }

    /// As [`Observed::add`], of a tensor whose axis 1 was moved behind the others; not for answers about the last axis.
    pub(crate) fn add_channels_last(&mut self, values: &[f32], shape: &[usize]) {
        match self {
            Observed::Means(means) => means.add_channels_last(values, shape),
            Observed::Peaks(peaks) => peaks.add_channels_last(values, shape),
            other => other.add(values, shape),
        }
    }

    /// Adds what was found out from the next batch.
    ///
    /// # Panics
    /// When the two answer different requests.
    pub(crate) fn append(&mut self, next: &Observed) {
        match (self, next) {
            (Observed::MovingMinMax(average), Observed::MovingMinMax(batch)) => average.append(batch),
            (same, next) => same.merge(next),
        }
    }

    /// Adds what was found out about another value, for values that share a scale.
    ///
    /// # Panics
    /// When the two answer different requests.
    pub fn merge(&mut self, other: &Observed) {
        match (self, other) {
            (Observed::MinMax(a), Observed::MinMax(b)) => a.merge(b),
            (Observed::MovingMinMax(a), Observed::MovingMinMax(b)) => a.merge(b),
            (Observed::Histogram(a), Observed::Histogram(b)) => a.merge(b),
            (Observed::Means(a), Observed::Means(b)) => a.merge(b),
            (Observed::Peaks(a), Observed::Peaks(b)) => a.merge(b),
            _ => unreachable!("one step asks one stat of every value"),
        }
    }

    /// Smallest and largest finite element.
    pub fn bounds(&self) -> (f32, f32) {
        match self {
            Observed::MinMax(min_max) => min_max.bounds(),
            Observed::MovingMinMax(moving) => moving.bounds(),
            Observed::Histogram(histogram) => histogram.bounds(),
            Observed::Means(means) => means.bounds(),
            Observed::Peaks(peaks) => (0.0, peaks.peaks().iter().copied().fold(0.0, f32::max)),
        }
    }

    /// True when an element was infinite or no number.
    pub fn has_non_finite(&self) -> bool {
        match self {
            Observed::MinMax(min_max) => min_max.non_finite,
            Observed::MovingMinMax(moving) => moving.non_finite,
            Observed::Histogram(histogram) => histogram.has_non_finite(),
            Observed::Means(means) => means.means().iter().any(|mean| !mean.is_finite()),
            Observed::Peaks(peaks) => peaks.non_finite,
        }
    }
}
