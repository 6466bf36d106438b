//! SignRound for groups.

use bantam_tensor::formats::blocks::{GroupGrid, IntegerGroups};

use super::rounded::{GroupRows, RoundedRow};
use super::{GroupAlgorithm, Needs};
use crate::quantize::layerwise::{Metric, Ranges, SIGN_ROUND_STEPS, Signed, Slope, Span, sign_round};

/// Roundings and ranges moved by the signs of their gradients (Cheng et al. 2023), towards the weights that make up for what
/// earlier products changed.
pub(super) struct SignRound;

/// Share of the mean that is added to the diagonal of second moments.
const DAMPING: f64 = 0.01;

impl GroupAlgorithm for SignRound {
    fn name(&self) -> &'static str {
        "signround"
    }

    fn summary(&self) -> &'static str {
        "moves roundings and ranges of groups against the signs of their gradients (Cheng et al. 2023)"
    }

    fn needs(&self) -> Needs {
        Needs::FloatInputs
    }

    fn takes_tables(&self) -> bool {
        false
    }

    fn round(&self, job: &GroupRows<'_>) -> Option<Vec<RoundedRow>> {
        let (moments, format) = (job.moments?, job.format.integers()?);
        let metric = Metric::of(moments, DAMPING)?;
        let targets = moments.targets(job.rows, DAMPING);
        let rows = || targets.chunks_exact(job.depth);
        let ranges = rows().map(|row| GroupRanges::of(row, format, &metric.order));
        let ranges: Vec<GroupRanges<'_>> = ranges.collect();
        let ordered: Vec<Vec<f32>> = rows().map(|row| metric.ordered(row)).collect();
        let signed = sign_round(&metric, &ordered, &ranges, SIGN_ROUND_STEPS);
        let row = |(signed, ranges): (Signed, &GroupRanges<'_>)| {
            let factors = signed.factors.iter().enumerate();
            RoundedRow {
                levels: metric.restored(&signed.levels),
                grids: factors
                    .map(|(group, factors)| ranges.grid(group, *factors))
                    .collect(),
            }
        };
        Some(signed.into_iter().zip(&ranges).map(row).collect())
    }
}

/// The ranges of the groups of a row, each with zero in it.
struct GroupRanges<'a> {
    format: &'a IntegerGroups,
    ends: Vec<[f32; 2]>,
    /// The weight at each place in the order of rounding.
    order: &'a [usize],
}

impl GroupRanges<'_> {
    fn of<'a>(row: &[f32], format: &'a IntegerGroups, order: &'a [usize]) -> GroupRanges<'a> {
        let ends = |group: &[f32]| {
            let widened = |[low, high]: [f32; 2], x: &f32| [low.min(*x), high.max(*x)];
            group.iter().fold([0.0; 2], widened)
        };
        GroupRanges {
            format,
            ends: row.chunks(format.group_len()).map(ends).collect(),
            order,
        }
    }

    fn grid(&self, group: usize, [lower, upper]: [f32; 2]) -> GroupGrid {
        let [low, high] = self.ends[group];
        self.format.grid(low * lower, high * upper)
    }
}

impl Ranges for GroupRanges<'_> {
    fn groups(&self) -> usize {
        self.ends.len()
    }

    fn group(&self, place: usize) -> usize {
        self.order[place] / self.format.group_len()
    }

    fn span(&self, group: usize, factors: [f32; 2]) -> Span {
        let (min, max) = self.format.codes();
        let grid = self.grid(group, factors);
        Span {
            scale: grid.scale,
            zero_point: grid.zero_point,
            bounds: [min - grid.zero_point, max - grid.zero_point],
        }
    }

    fn slopes(&self, group: usize, [lower, upper]: [f32; 2]) -> [Slope; 2] {
        let (min, max) = self.format.codes();
        let [low, high] = self.ends[group];
        let (start, end) = (low * lower, high * upper);
        if !self.format.zero_point {
            // The larger end alone decides.
            let [of_low, of_high] = if end >= -start { [0.0, high] } else { [-low, 0.0] };
            return [of_low, of_high].map(|end| Slope {
                scale: end / max,
                zero_point: 0.0,
            });
        }
        let steps = max - min;
        let scale = ((end - start) / steps).max(f32::MIN_POSITIVE);
        // zero_point = -start / scale
        let slope = |of_scale: f32, of_start: f32| Slope {
            scale: of_scale,
            zero_point: -of_start / scale + start / (scale * scale) * of_scale,
        };
        [slope(-low / steps, low), slope(high / steps, 0.0)]
    }
}
