//! SignRound (Cheng et al. 2023): each weight gets an offset of up to half a step before it is rounded, and each end of a range a factor
//! of at most 1; steps of equal length against the signs of their gradients move both. The error is that of the layer's outputs, a
//! quadratic form of its weights, so that a step sees all samples at once.

use rayon::prelude::*;

use super::rounding::{Metric, dot};

/// Steps where nothing else is asked for.
pub(in crate::quantize) const STEPS: usize = 200;
/// How far offsets and factors could move if all steps went one way: rates fall to nothing along a line.
const WAY: f32 = 0.5;
/// The smallest factor of a range.
const SMALLEST: f32 = 0.3;

/// The levels of a group: a scale times whole numbers less the zero point, between two bounds.
#[derive(Clone, Copy, Debug)]
pub(in crate::quantize) struct Span {
    pub(in crate::quantize) scale: f32,
    pub(in crate::quantize) zero_point: f32,
    /// Lowest and highest level, in units of the scale.
    pub(in crate::quantize) bounds: [f32; 2],
}

/// What the factors of a range move: slopes of the scale and of the zero point.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::quantize) struct Slope {
    pub(in crate::quantize) scale: f32,
    pub(in crate::quantize) zero_point: f32,
}

/// The ranges of the groups of a row.
pub(in crate::quantize) trait Ranges {
    /// Number of groups.
    fn groups(&self) -> usize;
    /// The group of the weight at this place in the order of rounding.
    fn group(&self, place: usize) -> usize;
    /// The levels of a group with these factors of the lower and the upper end of its range.
    fn span(&self, group: usize, factors: [f32; 2]) -> Span;
    /// What each factor moves there.
    fn slopes(&self, group: usize, factors: [f32; 2]) -> [Slope; 2];
}

/// A row in levels.
pub(in crate::quantize) struct Signed {
    /// In the order of rounding.
    pub(in crate::quantize) levels: Vec<f32>,
    /// Of each group.
    pub(in crate::quantize) factors: Vec<[f32; 2]>,
}

/// A weight that was rounded.
struct Level {
    level: f32,
    clipped: bool,
}

impl Span {
    fn round(&self, x: f32, offset: f32) -> Level {
        if self.scale <= 0.0 {
            let level = 0.0;
            return Level { level, clipped: true };
        }
        let level = (x / self.scale + offset + self.zero_point).round_ties_even() - self.zero_point;
        let [low, high] = self.bounds;
        Level {
            level: level.clamp(low, high),
            clipped: !(low..=high).contains(&level),
        }
    }
}

/// The rows of least error on the way of so many steps. Targets are in the order of the metric.
pub(in crate::quantize) fn sign_round<R: Ranges + Sync>(
    metric: &Metric,
    targets: &[Vec<f32>],
    ranges: &[R],
    steps: usize,
) -> Vec<Signed> {
    let mut rows: Vec<Row<'_, R>> = (targets.iter().zip(ranges))
        .map(|(target, ranges)| Row::new(target, ranges))
        .collect();
    let mut slopes = vec![0.0; metric.depth * rows.len()];
    for step in 0..=steps {
        let share = step as f32 / steps.max(1) as f32;
        let rate = 2.0 * WAY / steps.max(1) as f32 * (1.0 - share);
        let errors: Vec<f32> = rows.par_iter_mut().flat_map_iter(Row::errors).collect();
        metric.slopes(&errors, &mut slopes);
        let depth = metric.depth.max(1);
        let of_rows = errors.par_chunks(depth).zip(slopes.par_chunks(depth));
        (rows.par_iter_mut().zip(of_rows)).for_each(|(row, (errors, slopes))| {
            row.keep(dot(slopes, errors));
            row.step(slopes, rate);
        });
    }
    rows.into_iter().map(|row| row.best).collect()
}

/// A row on its way.
struct Row<'a, R> {
    target: &'a [f32],
    ranges: &'a R,
    offsets: Vec<f32>,
    factors: Vec<[f32; 2]>,
    spans: Vec<Span>,
    levels: Vec<Level>,
    least: f32,
    best: Signed,
}

impl<'a, R: Ranges> Row<'a, R> {
    fn new(target: &'a [f32], ranges: &'a R) -> Row<'a, R> {
        let factors = vec![[1.0; 2]; ranges.groups()];
        Row {
            target,
            ranges,
            offsets: vec![0.0; target.len()],
            spans: Vec::new(),
            levels: Vec::new(),
            least: f32::INFINITY,
            best: Signed {
                levels: vec![0.0; target.len()],
                factors: factors.clone(),
            },
            factors,
        }
    }

    /// Rounds the row; what that changes in it.
    fn errors(&mut self) -> Vec<f32> {
        let span = |(group, factors): (usize, &[f32; 2])| self.ranges.span(group, *factors);
        self.spans = self.factors.iter().enumerate().map(span).collect();
        let span = |place: usize| &self.spans[self.ranges.group(place)];
        let weights = self.target.iter().zip(&self.offsets).enumerate();
        let level = |(place, (x, offset)): (usize, (&f32, &f32))| span(place).round(*x, *offset);
        self.levels = weights.map(level).collect();
        let pairs = self.target.iter().zip(&self.levels).enumerate();
        pairs
            .map(|(place, (x, it))| it.level * span(place).scale - x)
            .collect()
    }

    /// Keeps the row as it is if its error is the least so far.
    fn keep(&mut self, error: f32) {
        if error < self.least {
            self.least = error;
            self.best = Signed {
                levels: self.levels.iter().map(|it| it.level).collect(),
                factors: self.factors.clone(),
            };
        }
    }

    /// Moves offsets and factors by the rate against their slopes.
    fn step(&mut self, slopes: &[f32], rate: f32) {
        let of_groups = group_slopes(self.target, &self.levels, slopes, (&self.spans, self.ranges));
        for ((offset, level), slope) in self.offsets.iter_mut().zip(&self.levels).zip(slopes) {
            if !level.clipped {
                *offset = (*offset - rate * sign(*slope)).clamp(-0.5, 0.5);
            }
        }
        for (group, factors) in self.factors.iter_mut().enumerate() {
            let moved = self.ranges.slopes(group, *factors);
            for (factor, slope) in factors.iter_mut().zip(moved) {
                let total =
                    of_groups[group].scale * slope.scale + of_groups[group].zero_point * slope.zero_point;
                *factor = (*factor - rate * sign(total)).clamp(SMALLEST, 1.0);
            }
        }
    }
}

/// Slopes of the error in the scale and the zero point of each group (straight through roundings).
fn group_slopes(
    target: &[f32],
    levels: &[Level],
    slopes: &[f32],
    (spans, ranges): (&[Span], &impl Ranges),
) -> Vec<Slope> {
    let mut sums = vec![Slope::default(); spans.len()];
    for (place, it) in levels.iter().enumerate() {
        let group = ranges.group(place);
        let scale = spans[group].scale;
        if it.clipped {
            sums[group].scale += slopes[place] * it.level;
            sums[group].zero_point -= slopes[place] * scale;
        } else {
            sums[group].scale += slopes[place] * (it.level - target[place] / scale);
        }
    }
    sums
}

/// -1, 0 or 1.
fn sign(x: f32) -> f32 {
    if x == 0.0 { 0.0 } else { x.signum() }
}
