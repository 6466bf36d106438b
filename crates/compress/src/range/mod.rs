//! Range methods: from what was observed of a value to the interval that its codes cover.
//!
//! To add one: a file with an `impl RangeMethod`, and a line in [`RANGES`].

mod aciq;
mod entropy;
mod min_max;
mod mse;
mod octav;
mod percentile;

use bantam_kernels::histogram::weighted_squared_error;
use bantam_kernels::quantize::Grid;
use bantam_tensor::NumberFormat;

use crate::stats::{Observed, Stat};

/// What a range is for.
#[derive(Clone, Copy, Debug)]
pub struct RangeGoal {
    /// Format of the codes.
    pub format: &'static dyn NumberFormat,
    /// Zero point fixed to the middle.
    pub symmetric: bool,
}

impl RangeGoal {
    /// Squared error of some values with their counts when they are rounded to codes.
    pub(crate) fn squared_error(
        &self,
        values: &[f32],
        counts: &[f32],
        (scale, zero_point): (f32, i32),
    ) -> f64 {
        let grid = Grid {
            scale,
            zero_point,
            min: self.format.min_code(),
            max: self.format.max_code(),
        };
        weighted_squared_error(values, counts, &grid)
    }

    /// Number of steps between the lowest and the highest code.
    fn steps(&self) -> f64 {
        f64::from(self.format.max_code() - self.format.min_code())
    }
}

/// A way to choose the interval that codes cover.
pub trait RangeMethod: Sync {
    /// The name that users write.
    fn name(&self) -> &'static str;
    /// One line for lists.
    fn summary(&self) -> &'static str;
    /// What it must know of each value.
    fn stat(&self) -> Stat;
    /// The interval.
    fn range(&self, observed: &Observed, goal: RangeGoal) -> (f32, f32);
}

/// Every range method.
pub static RANGES: &[&dyn RangeMethod] = &[
    &min_max::MinMaxRange,
    &min_max::MovingAverageRange,
    &percentile::PercentileRange,
    &mse::MseRange,
    &entropy::EntropyRange,
    &aciq::AciqRange,
    &octav::OctavRange,
];

/// The range method with this name.
pub fn range_by_name(name: &str) -> Option<&'static dyn RangeMethod> {
    RANGES.iter().copied().find(|method| method.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bantam_tensor::{QParams, format_by_name};

    /// Roughly normal numbers with one far outlier.
    fn sample() -> Vec<f32> {
        let mut state = 1u64;
        let mut uniform = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 24) as f32
        };
        let mut values: Vec<f32> = (0..200_000)
            .map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0)
            .collect();
        values[123] = 40.0;
        values
    }

    fn observed(stat: Stat, values: &[f32]) -> Observed {
        let mut observed = Observed::new(stat);
        observed.add(values, &[values.len()]);
        observed
    }

    fn quantization_error(values: &[f32], format: &dyn NumberFormat, range: (f32, f32)) -> f64 {
        let (scale, zero_point) = QParams::for_range(format, false, range.0, range.1);
        let error = |&x: &f32| {
            let code = (x / scale).round_ties_even() + zero_point as f32;
            let code = code.clamp(format.min_code() as f32, format.max_code() as f32);
            f64::from((code - zero_point as f32) * scale - x).powi(2)
        };
        values.iter().map(error).sum::<f64>() / values.len() as f64
    }

    #[test]
    fn ranges_hold_zero_and_lie_within_the_data() {
        let values = sample();
        for method in RANGES {
            for (format, symmetric) in [("uint8", false), ("int8", true), ("int4", true)] {
                let goal = RangeGoal {
                    format: format_by_name(format).unwrap(),
                    symmetric,
                };
                let (low, high) = method.range(&observed(method.stat(), &values), goal);
                assert!(
                    low < 0.0 && high > 0.0 && high <= 40.0,
                    "{} {format}: {low}..{high}",
                    method.name()
                );
            }
        }
    }

    #[test]
    fn clipping_methods_beat_the_full_range_at_four_bits() {
        let values = sample();
        let format = format_by_name("uint4").unwrap();
        let goal = RangeGoal {
            format,
            symmetric: false,
        };
        let full = quantization_error(&values, format, (-6.0, 40.0));
        for name in ["percentile", "mse", "aciq", "entropy", "octav"] {
            let method = range_by_name(name).unwrap();
            let range = method.range(&observed(method.stat(), &values), goal);
            let error = quantization_error(&values, format, range);
            assert!(
                error < full / 2.0,
                "{name}: {range:?} gives {error}, the full range {full}"
            );
        }
    }

    #[test]
    fn the_mse_method_is_near_the_best_of_a_fine_search() {
        let values = sample();
        let format = format_by_name("uint4").unwrap();
        let method = range_by_name("mse").unwrap();
        let range = method.range(
            &observed(Stat::Histogram, &values),
            RangeGoal {
                format,
                symmetric: false,
            },
        );
        let best = (1..400)
            .map(|step| step as f32 * 0.1)
            .map(|high| quantization_error(&values, format, ((-high).max(-6.0), high)))
            .fold(f64::INFINITY, f64::min);
        assert!(quantization_error(&values, format, range) < best * 1.1);
    }

    #[test]
    fn constant_and_empty_values_have_a_range() {
        for method in RANGES {
            for values in [&[0.0f32; 4][..], &[2.0; 4], &[-3.0; 4], &[]] {
                let goal = RangeGoal {
                    format: format_by_name("uint8").unwrap(),
                    symmetric: false,
                };
                let (low, high) = method.range(&observed(method.stat(), values), goal);
                let (scale, _) = QParams::for_range(goal.format, false, low, high);
                assert!(
                    scale > 0.0 && scale.is_finite(),
                    "{} of {values:?}",
                    method.name()
                );
            }
        }
    }
}
