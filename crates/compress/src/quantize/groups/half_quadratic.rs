//! HQQ: scales and zero points that fit most weights well and leave the outliers their error.

use bantam_tensor::formats::blocks::GroupGrid;
use rayon::prelude::*;

use super::fit::ranged;
use super::rounded::{GroupRows, RoundedRow};
use super::{GroupAlgorithm, GroupFormat, Needs};

/// Half-quadratic quantization (Badri and Shaji 2023): minimizes the sum of `|error|^p` with `p < 1` over scale and zero point
/// by taking outlying errors out in turn with fitting the rest by least squares. The zero point stays a whole number, as files
/// want it, so that the scale is fitted too.
pub(super) struct HalfQuadratic;

/// `p`.
const POWER: f32 = 0.7;
/// Turns of taking out and fitting.
const TURNS: usize = 20;
/// How strongly errors are taken out at first, in units of the scale, and what it is multiplied by each turn.
const BETA: (f32, f32) = (10.0, 1.01);

impl GroupAlgorithm for HalfQuadratic {
    fn name(&self) -> &'static str {
        "hqq"
    }

    fn summary(&self) -> &'static str {
        "scales and zero points that fit all weights but outliers; needs no data (Badri and Shaji 2023)"
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn round(&self, job: &GroupRows<'_>) -> Option<Vec<RoundedRow>> {
        let row = |row: &[f32]| {
            let starts = ranged(row, job.format);
            let groups = row.chunks(job.format.group_len()).zip(starts);
            let grids = groups
                .map(|(group, start)| fitted(group, start, job.format))
                .collect();
            RoundedRow::nearest(row, job.format, grids)
        };
        Some(job.rows.par_chunks_exact(job.depth).map(row).collect())
    }
}

/// The grid of least squared error among those that the turns go through: they may end where outliers are lost.
fn fitted(group: &[f32], start: GroupGrid, format: &GroupFormat) -> GroupGrid {
    let mut best = (loss(group, start, format), start);
    let mut grid = best.1;
    let mut beta = BETA.0;
    for _ in 0..TURNS {
        if grid.scale <= 0.0 {
            break;
        }
        grid = refitted(group, grid, beta, format);
        beta *= BETA.1;
        let loss = loss(group, grid, format);
        if loss < best.0 {
            best = (loss, grid);
        }
    }
    best.1
}

/// Sum of squared errors.
fn loss(group: &[f32], grid: GroupGrid, format: &GroupFormat) -> f64 {
    let error = |x: &f32| (x - format.level(grid, *x) * grid.scale).abs();
    group.iter().map(|x| f64::from(error(x)).powi(2)).sum()
}

/// Takes the outlying part out of the errors (the generalized soft threshold, equation 4) and fits scale and zero point to what is left.
fn refitted(group: &[f32], grid: GroupGrid, beta: f32, format: &GroupFormat) -> GroupGrid {
    let scale = grid.scale;
    let levels: Vec<f32> = group.iter().map(|x| format.level(grid, *x)).collect();
    let rest = |(x, level): (&f32, &f32)| {
        let error = x / scale - level;
        let left = error.abs() - error.abs().powf(POWER - 1.0) / beta;
        // What the threshold keeps of the error is the outlying part.
        let outlying = if left > 0.0 { left.copysign(error) } else { 0.0 };
        x / scale - outlying
    };
    let rest: Vec<f32> = group.iter().zip(&levels).map(rest).collect();
    let count = group.len() as f32;
    let shift = match format.zero_point() {
        true => (levels.iter().zip(&rest).map(|(level, x)| level - x).sum::<f32>() / count).round_ties_even(),
        false => 0.0,
    };
    let products: f32 = levels
        .iter()
        .zip(&rest)
        .map(|(level, x)| (level - shift) * x)
        .sum();
    let squares: f32 = levels.iter().map(|level| (level - shift) * (level - shift)).sum();
    let factor = if squares > 0.0 { products / squares } else { 1.0 };
    let (min, max) = format.codes();
    GroupGrid {
        scale: format.stored_scale(scale * factor.clamp(0.5, 2.0)),
        zero_point: (grid.zero_point + shift).clamp(min, max),
    }
}
