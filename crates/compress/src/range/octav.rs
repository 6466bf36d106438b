//! The clipping scalar of least squared error, by Newton's method.

use bantam_tensor::QParams;

use super::{RangeGoal, RangeMethod};
use crate::stats::{Histogram, Observed, Stat};

/// Optimally clipped tensors and vectors (Sakr et al. 2022, section 3 and algorithm 1): the reach `s` of least expected squared error,
/// where a clipped element is wrong by `|x| - s`, and any other by what a step gives on average, `step^2 / 12`. Newton's method on that is
///
/// ```text
/// s <- E[|x| 1(|x| > s)] / (c E[1(0 < |x| <= s)] + E[1(|x| > s)])        c = (step / s)^2 / 12
/// ```
///
/// The paper counts `2^B` steps, so that `c` is `4^-B / 3`, or `4^-B / 12` for unsigned codes of data on one side of zero. Here the step is that of the
/// codes that are written, `s / (2^(B - 1) - 1)` and `s / (2^B - 1)`: with few bits that matters. Codes with a zero point have an end on
/// either side of zero. Both share the step, so that with the other end at `t` the numerator loses `c t E[1(0 < |x| <= s)]`; the ends are found in turn.
#[derive(Debug)]
pub(super) struct OctavRange;

/// How often both ends are found.
const ROUNDS: usize = 8;
/// Most steps of Newton's method.
const STEPS: usize = 100;
/// A reach that moves by no larger share has arrived.
const ENOUGH: f64 = 1e-6;

impl RangeMethod for OctavRange {
    fn name(&self) -> &'static str {
        "octav"
    }
    fn summary(&self) -> &'static str {
        "least expected squared error, by Newton's method (Sakr et al. 2022)"
    }
    fn stat(&self) -> Stat {
        Stat::Histogram
    }
    fn range(&self, observed: &Observed, goal: RangeGoal) -> (f32, f32) {
        let Observed::Histogram(histogram) = observed else {
            return observed.bounds();
        };
        let (below, above) = match goal.symmetric {
            true => one_reach(histogram, goal),
            false => two_ends(histogram, goal),
        };
        let (low, high) = histogram.bounds();
        (low.max(-below as f32), high.min(above as f32))
    }
}

/// The same reach on both sides of zero.
fn one_reach(histogram: &Histogram, goal: RangeGoal) -> (f64, f64) {
    let (step, _) = QParams::for_range(goal.format, true, -1.0, 1.0);
    let side = Side::of(histogram, |x| Some(x.abs()));
    let reach = side.reach(f64::from(step).powi(2) / 12.0, side.within(f64::INFINITY), 0.0);
    (reach, reach)
}

/// How far codes reach below and above zero.
fn two_ends(histogram: &Histogram, goal: RangeGoal) -> (f64, f64) {
    let below = Side::of(histogram, |x| (x < 0.0).then_some(-x));
    let above = Side::of(histogram, |x| (x > 0.0).then_some(x));
    let c = goal.steps().powi(-2) / 12.0;
    let (mut low, mut high) = (0.0, 0.0);
    for _ in 0..ROUNDS {
        high = above.reach(c, above.within(f64::INFINITY) + below.within(low), low);
        low = below.reach(c, below.within(f64::INFINITY) + above.within(high), high);
    }
    (low, high)
}

/// Elements on one side of zero: their magnitudes and how often they come.
struct Side {
    magnitudes: Vec<(f64, f64)>,
}

impl Side {
    fn of(histogram: &Histogram, magnitude: impl Fn(f64) -> Option<f64>) -> Side {
        let of_bin = |(x, count)| Some((magnitude(x)?, count as f64));
        Side {
            magnitudes: histogram.bins().filter_map(of_bin).collect(),
        }
    }

    /// How many are no larger.
    fn within(&self, reach: f64) -> f64 {
        let within = self.magnitudes.iter().filter(|(x, _)| *x <= reach);
        within.map(|(_, count)| count).sum()
    }

    /// The reach of least error, from zero, where so many elements are within the other end, at `other`, or anywhere on this side.
    fn reach(&self, c: f64, elements: f64, other: f64) -> f64 {
        let mut reach = 0.0;
        for _ in 0..STEPS {
            let beyond = self.magnitudes.iter().filter(|(x, _)| *x > reach);
            let (sum, count) = beyond.fold((0.0, 0.0), |(sum, all), (x, count)| {
                (sum + x * count, all + count)
            });
            let rounded = c * (elements - count);
            let next = (sum - rounded * other) / (rounded + count);
            // Of elements that are all alike, none lies beyond their own magnitude.
            if next.is_nan() || next <= 0.0 || (next - reach).abs() <= ENOUGH * reach {
                break;
            }
            reach = next;
        }
        reach
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bantam_tensor::{NumberFormat, SplitMix64, format_by_name, trained_format_by_name};

    /// Numbers of a standard normal (Box and Muller 1958) or Laplace distribution.
    fn drawn(laplace: bool, count: usize) -> Vec<f32> {
        let mut random = SplitMix64::new(5);
        let mut unit = || f64::from(random.unit()).max(1e-7);
        let mut number = || match laplace {
            true => unit().ln() - unit().ln(),
            false => (-2.0 * unit().ln()).sqrt() * (std::f64::consts::TAU * unit()).cos(),
        };
        (0..count).map(|_| number() as f32).collect()
    }

    fn found(values: &[f32], format: &'static dyn NumberFormat, symmetric: bool) -> (f32, f32) {
        let mut observed = Observed::new(Stat::Histogram);
        observed.add(values, &[values.len()]);
        OctavRange.range(&observed, RangeGoal { format, symmetric })
    }

    /// What codes of a range are wrong by, squared, each value on its own.
    fn error(values: &[f32], format: &dyn NumberFormat, symmetric: bool, (low, high): (f32, f32)) -> f64 {
        let (scale, zero_point) = QParams::for_range(format, symmetric, low, high);
        let (min, max) = (format.min_code() as f32, format.max_code() as f32);
        let of = |x: &f32| {
            let code = ((x / scale).round_ties_even() + zero_point as f32).clamp(min, max);
            f64::from((code - zero_point as f32) * scale - x).powi(2)
        };
        values.iter().map(of).sum::<f64>() / values.len() as f64
    }

    /// Analytic optima of 256 even steps (Banner et al. 2019, section 3): 3.92 deviations of a normal, 9.89 of a Laplace distribution.
    #[test]
    fn eight_bits_of_known_distributions() {
        let int8 = format_by_name("int8").unwrap();
        for (laplace, expected) in [(false, 3.92f32), (true, 9.89)] {
            let (low, high) = found(&drawn(laplace, 1_000_000), int8, true);
            assert!((high / expected - 1.0).abs() < 0.02, "{high}, not {expected}");
            assert_eq!(low, -high);
        }
    }

    #[test]
    fn near_the_best_of_all_reaches() {
        let one_sided = |values: Vec<f32>| values.into_iter().map(|x| x.max(0.0)).collect::<Vec<f32>>();
        let cases = [
            ("normal", drawn(false, 40_000)),
            ("Laplace", drawn(true, 40_000)),
            ("one side", one_sided(drawn(true, 40_000))),
            (
                "other side",
                one_sided(drawn(false, 40_000)).iter().map(|x| -x).collect(),
            ),
        ];
        for (name, values) in &cases {
            for (format, symmetric) in [
                ("int8", true),
                ("int4", true),
                ("int3", true),
                ("uint8", false),
                ("uint4", false),
                ("uint3", false),
            ] {
                // Signed codes reach one further below zero, which the method makes no use of.
                if symmetric && *name == "other side" {
                    continue;
                }
                let format = trained_format_by_name(format).unwrap();
                let (least, most) = values
                    .iter()
                    .fold((0f32, 0f32), |(low, high), x| (low.min(*x), high.max(*x)));
                let reaches = (1..=300).map(|step| step as f32 * 0.05);
                let best = reaches
                    .map(|reach| error(values, format, symmetric, (least.max(-reach), most.min(reach))))
                    .fold(f64::INFINITY, f64::min);
                let range = found(values, format, symmetric);
                let error = error(values, format, symmetric, range);
                assert!(
                    error < 1.05 * best,
                    "{name}, {}: {range:?} gives {error}, not {best}",
                    format.name()
                );
            }
        }
    }

    /// Sides that differ get ends that differ, near the best of all pairs.
    #[test]
    fn uneven_sides_have_ends_of_their_own() {
        let uint4 = format_by_name("uint4").unwrap();
        let values: Vec<f32> = (drawn(true, 40_000).iter())
            .map(|x| if *x < 0.0 { 0.2 * x } else { *x })
            .collect();
        let range = found(&values, uint4, false);
        let all = (1..60).flat_map(|low| (1..120).map(move |high| (low as f32 * -0.05, high as f32 * 0.1)));
        let best = all.map(|range| (error(&values, uint4, false, range), range));
        let best = best.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        let found = error(&values, uint4, false, range);
        assert!(found < 1.05 * best.0, "{range:?} gives {found}, {best:?}");
    }

    #[test]
    fn elements_that_are_alike_are_reached() {
        let uint4 = format_by_name("uint4").unwrap();
        let (_, high) = found(&[3.0; 50], uint4, false);
        assert!((high - 3.0).abs() < 0.01, "{high}");
        assert_eq!(found(&[], uint4, false), (0.0, 0.0));
    }
}
