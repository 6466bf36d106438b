//! Scales of groups by the range of their weights, or by the error that they make.

use bantam_tensor::formats::blocks::GroupGrid;
use rayon::prelude::*;

use super::rounded::{GroupRows, RoundedRow};
use super::{GroupAlgorithm, GroupFormat, Needs};
use crate::quantize::layerwise::Moments;

/// Each weight to its nearest code, scales by the range of the group: the plain baseline.
pub(super) static NEAREST: Fit = Fit {
    name: "nearest",
    summary: "scales by the range of each group, nearest codes: the baseline",
    choice: Choice::Range,
};

/// As nearest, with the scale and zero point of least squared error, weights that meet large inputs counting more.
pub(super) static SEARCH: Fit = Fit {
    name: "search",
    summary: "scales and zero points of least error, weighted by the squares of inputs; nearest codes",
    choice: Choice::Error,
};

/// After the factors of [`super::awq`]: the scale and zero point with which a group changes the outputs least, nearest codes.
pub(super) static AWQ: Fit = Fit {
    name: "awq",
    summary: "moves scales to weights that meet large inputs, clips groups by the error of outputs (Lin et al. 2023)",
    choice: Choice::Outputs,
};

pub(super) struct Fit {
    name: &'static str,
    summary: &'static str,
    choice: Choice,
}

/// How the grid of a group is chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// By its range.
    Range,
    /// By the squared errors of weights.
    Error,
    /// By what these errors add up to in the outputs.
    Outputs,
}

/// Shares of a group's range that are tried.
const SHARES: std::ops::RangeInclusive<usize> = 24..=42;
/// The share that is the whole range.
const WHOLE: f32 = 40.0;

impl GroupAlgorithm for Fit {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn needs(&self) -> Needs {
        match self.choice {
            Choice::Range => Needs::Nothing,
            Choice::Error | Choice::Outputs => Needs::Inputs,
        }
    }

    fn smooths(&self) -> bool {
        self.choice == Choice::Outputs
    }

    fn is_plain(&self) -> bool {
        self.choice == Choice::Range
    }

    fn round(&self, job: &GroupRows<'_>) -> Option<Vec<RoundedRow>> {
        let importance = match self.choice {
            Choice::Range => Vec::new(),
            Choice::Error | Choice::Outputs => importance(job)?,
        };
        let row = |row: &[f32]| {
            let grids = match (self.choice, job.moments) {
                (Choice::Range, _) => ranged(row, job.format),
                (Choice::Outputs, Some(moments)) => clipped(row, &importance, moments, job.format),
                _ => searched(row, &importance, job.format),
            };
            RoundedRow::nearest(row, job.format, grids)
        };
        Some(job.rows.par_chunks_exact(job.depth).map(row).collect())
    }
}

/// How much each weight's squared error counts: the mean square of its input, and a little for inputs that never came. `None`
/// when one is no finite number.
pub(super) fn importance(job: &GroupRows<'_>) -> Option<Vec<f32>> {
    /// Share of the mean that is added.
    const FLOOR: f64 = 0.01;
    let diagonal = match job.moments {
        Some(moments) => moments.diagonal(),
        None => vec![1.0; job.depth],
    };
    let mean = diagonal.iter().sum::<f64>() / job.depth as f64;
    let unit = if mean > f64::MIN_POSITIVE { mean } else { 1.0 };
    let of = |square: &f64| (square / unit + FLOOR) as f32;
    mean.is_finite().then(|| diagonal.iter().map(of).collect())
}

/// The grid of each group's range.
pub(super) fn ranged(row: &[f32], format: &GroupFormat) -> Vec<GroupGrid> {
    let grid = |group: &[f32]| {
        let (low, high) = range(group);
        format.grid(low, high)
    };
    row.chunks(format.group_len()).map(grid).collect()
}

/// The grid of least weighted error of each group.
pub(super) fn searched(row: &[f32], importance: &[f32], format: &GroupFormat) -> Vec<GroupGrid> {
    let groups = row
        .chunks(format.group_len())
        .zip(importance.chunks(format.group_len()));
    groups
        .map(|(group, importance)| best_grid(group, importance, format))
        .collect()
}

fn best_grid(group: &[f32], importance: &[f32], format: &GroupFormat) -> GroupGrid {
    let grids = candidates(group, format).map(|grid| (weighted_error(group, importance, grid, format), grid));
    let best = grids.min_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or_else(|| format.grid(0.0, 0.0), |(_, grid)| grid)
}

fn weighted_error(group: &[f32], importance: &[f32], grid: GroupGrid, format: &GroupFormat) -> f64 {
    let squares = group.iter().zip(importance).map(|(x, importance)| {
        let error = x - format.level(grid, *x) * grid.scale;
        f64::from(importance * error * error)
    });
    squares.sum()
}

/// The grid of each group with which its nearest codes change the outputs least, all other groups as they are (Lin et al. 2023,
/// clipping), of those whose squared errors are least.
fn clipped(row: &[f32], importance: &[f32], moments: &Moments, format: &GroupFormat) -> Vec<GroupGrid> {
    /// Grids that are looked at closely.
    const CLOSE: usize = 12;
    let len = format.group_len();
    let groups = row.chunks(len).zip(importance.chunks(len)).enumerate();
    let best = |(index, (group, importance)): (usize, (&[f32], &[f32]))| {
        let error = |grid| weighted_error(group, importance, grid, format);
        let mut grids: Vec<(f64, GroupGrid)> = candidates(group, format)
            .map(|grid| (error(grid), grid))
            .collect();
        grids.sort_by(|a, b| a.0.total_cmp(&b.0));
        grids.truncate(CLOSE);
        let of_outputs = |grid: GroupGrid| {
            let errors: Vec<f64> = (group.iter())
                .map(|x| f64::from(x - format.level(grid, *x) * grid.scale))
                .collect();
            moments.squared(index * len, &errors)
        };
        let errors = grids.iter().map(|(_, grid)| (of_outputs(*grid), *grid));
        let best = errors.min_by(|a, b| a.0.total_cmp(&b.0));
        best.map_or_else(|| format.grid(0.0, 0.0), |(_, grid)| grid)
    };
    groups.map(best).collect()
}

/// Grids of shares of a group's range: of both ends alike, and where zero has a code of its own, of one end or the other.
pub(super) fn candidates<'a>(group: &[f32], format: &'a GroupFormat) -> impl Iterator<Item = GroupGrid> + 'a {
    let (low, high) = range(group);
    // Signed codes reach one further below zero: the larger end may lie there.
    let further = match format.codes() {
        (least, most) if !format.zero_point() && least < -most => -most / least,
        _ => 1.0,
    };
    let lows = move |share: f32| match format.zero_point() {
        true => SHARES.map(|share| share as f32 / WHOLE).collect::<Vec<f32>>(),
        false if further < 1.0 => vec![share, share * further],
        false => vec![share],
    };
    SHARES.flat_map(move |step| {
        let share = step as f32 / WHOLE;
        lows(share)
            .into_iter()
            .map(move |other| match format.zero_point() {
                true => format.grid(low * other, high * share),
                false => format.grid(low * other, high * other),
            })
    })
}

/// The smallest and the largest element, widened to hold zero.
fn range(group: &[f32]) -> (f32, f32) {
    group.iter().fold((0.0, 0.0), |(low, high): (f32, f32), &x| {
        (low.min(x), high.max(x))
    })
}
