//! The full range of the data, or of its average batch.

use super::{RangeGoal, RangeMethod};
use crate::stats::{Observed, Stat};

/// The smallest and the largest element.
#[derive(Debug)]
pub(super) struct MinMaxRange;

impl RangeMethod for MinMaxRange {
    fn name(&self) -> &'static str {
        "minmax"
    }
    fn summary(&self) -> &'static str {
        "smallest and largest element seen; nothing is clipped"
    }
    fn stat(&self) -> Stat {
        Stat::MinMax
    }
    fn range(&self, observed: &Observed, _: RangeGoal) -> (f32, f32) {
        observed.bounds()
    }
}

/// The average over batches (Jacob et al. 2018, section 3.1).
#[derive(Debug)]
pub(super) struct MovingAverageRange;

impl RangeMethod for MovingAverageRange {
    fn name(&self) -> &'static str {
        "moving-average"
    }
    fn summary(&self) -> &'static str {
        "exponential moving average of each batch's smallest and largest element"
    }
    fn stat(&self) -> Stat {
        Stat::MovingMinMax
    }
    fn range(&self, observed: &Observed, _: RangeGoal) -> (f32, f32) {
        observed.bounds()
    }
}
