//! GPTQ in groups, and what it becomes when scales and earlier errors are solved for too.

use bantam_tensor::formats::blocks::GroupGrid;
use rayon::prelude::*;

use super::fit::{importance, ranged, searched};
use super::rounded::{GroupRows, Grouped, RoundedRow};
use super::{GroupAlgorithm, GroupFormat, Needs};
use crate::quantize::layerwise::{Metric, Rounded, dot};

/// Rounds weight after weight, each making up for the errors before it (Frantar et al. 2023), those with the largest inputs
/// first; scales by the range of each group beforehand.
pub(super) static GPTQ: Solver = Solver {
    name: "gptq",
    summary: "rounds weights one after another, each making up for the errors before it (Frantar et al. 2023)",
    least_squares: false,
};

/// As GPTQ, and: weights first move to where they make up for what earlier products changed; scales and zero points are searched, then codes and
/// scales change in turn for as long as the error of the outputs shrinks.
pub(super) static LEAST_SQUARES: Solver = Solver {
    name: "least-squares",
    summary: "as gptq; also makes up for earlier products, chooses scales by the error of outputs, improves codes and scales in turn",
    least_squares: true,
};

pub(super) struct Solver {
    name: &'static str,
    summary: &'static str,
    least_squares: bool,
}

/// Share of the mean that is added to the diagonal of second moments.
const DAMPING: f64 = 0.01;
/// Rounds of changing codes and scales in turn.
const ROUNDS: usize = 8;

impl GroupAlgorithm for Solver {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn needs(&self) -> Needs {
        match self.least_squares {
            true => Needs::FloatInputs,
            false => Needs::Inputs,
        }
    }

    fn round(&self, job: &GroupRows<'_>) -> Option<Vec<RoundedRow>> {
        let moments = job.moments?;
        let metric = Metric::of(moments, DAMPING)?;
        let importance = importance(job)?;
        let targets = match self.least_squares {
            true => moments.targets(job.rows, DAMPING),
            false => job.rows.to_vec(),
        };
        let row = |row: &[f32]| {
            let grids = match self.least_squares {
                true => searched(row, &importance, job.format),
                false => ranged(row, job.format),
            };
            self.row(&metric, row, grids, job.format)
        };
        Some(targets.par_chunks_exact(job.depth).map(row).collect())
    }
}

impl Solver {
    fn row(&self, metric: &Metric, row: &[f32], grids: Vec<GroupGrid>, format: &GroupFormat) -> RoundedRow {
        let target = metric.ordered(row);
        let mut to = Grouped {
            format,
            grids,
            order: &metric.order,
        };
        let mut rounded = metric.round(&target, &to);
        if self.least_squares {
            for _ in 0..ROUNDS {
                let changed = metric.sweep(&target, &to, &mut rounded);
                let rescaled = rescale(metric, &target, &mut to, &rounded);
                if !changed && !rescaled {
                    break;
                }
            }
        }
        RoundedRow {
            levels: metric.restored(&rounded.levels),
            grids: to.grids,
        }
    }
}

/// Gives each group in turn the scale of least error, with all codes and other scales as they are; whether one changed.
fn rescale(metric: &Metric, target: &[f32], to: &mut Grouped<'_>, rounded: &Rounded) -> bool {
    let mut slopes = metric.times(&Metric::errors(target, to, rounded));
    let mut changed = false;
    for group in 0..to.grids.len() {
        let level = |(place, level): (usize, &f32)| if to.group(place) == group { *level } else { 0.0 };
        let levels: Vec<f32> = rounded.levels.iter().enumerate().map(level).collect();
        let weighted = metric.times(&levels);
        let curvature = dot(&weighted, &levels);
        let before = to.grids[group].scale;
        let best = before + dot(&levels, &slopes) / curvature;
        let scale = to.format.stored_scale(best);
        let step = scale - before;
        let gain = step * (2.0 * dot(&levels, &slopes) - step * curvature);
        if best.is_finite() && scale > 0.0 && step != 0.0 && gain > 0.0 {
            to.grids[group].scale = scale;
            slopes
                .iter_mut()
                .zip(&weighted)
                .for_each(|(slope, by)| *slope -= step * by);
            changed = true;
        }
    }
    changed
}
