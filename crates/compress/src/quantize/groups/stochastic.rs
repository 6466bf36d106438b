//! Stochastic rounding for groups.

use bantam_tensor::SplitMix64;
use bantam_tensor::formats::blocks::GroupGrid;
use rayon::prelude::*;

use super::fit::ranged;
use super::low_rank::weighted;
use super::rounded::{GroupRows, RoundedRow};
use super::{GroupAlgorithm, GroupFormat, Needs};
use crate::quantize::layerwise::{DRAWS, Moments, dot};

/// Rounds each weight to the level above or below, to the one above with the probability of the fraction, so that no weight is wrong on
/// average (Gupta et al. 2015, section 3); scales by the range of each group. Of some draws of each row, that which changes its output least.
pub(super) struct Stochastic;

impl GroupAlgorithm for Stochastic {
    fn name(&self) -> &'static str {
        "stochastic"
    }

    fn summary(&self) -> &'static str {
        "rounds up or down at random, unbiased, and takes the best of some draws of each row; a baseline (Gupta et al. 2015)"
    }

    fn needs(&self) -> Needs {
        Needs::Inputs
    }

    fn round(&self, job: &GroupRows<'_>) -> Option<Vec<RoundedRow>> {
        let moments = job.moments?;
        if moments.diagonal().iter().any(|square| !square.is_finite()) {
            return None;
        }
        let rows = job.rows.chunks_exact(job.depth);
        // Seeds of neighbours are as good as any other.
        let random = (0..rows.len() as u64).map(|row| SplitMix64::new(job.seed.wrapping_add(row << 32)));
        let start = |(row, random): (&[f32], SplitMix64)| Row {
            grids: ranged(row, job.format),
            random,
            drawn: Vec::new(),
            best: (f32::INFINITY, Vec::new()),
        };
        let mut chosen: Vec<Row> = rows.zip(random).map(start).collect();
        for _ in 0..DRAWS {
            draw(&mut chosen, job, moments);
        }
        let rounded = |row: Row| RoundedRow {
            grids: row.grids,
            levels: row.best.1,
        };
        Some(chosen.into_iter().map(rounded).collect())
    }
}

/// A row on its way.
struct Row {
    grids: Vec<GroupGrid>,
    random: SplitMix64,
    /// Levels of the last draw.
    drawn: Vec<f32>,
    /// The levels of least error of the output so far, and that error.
    best: (f32, Vec<f32>),
}

/// Draws levels of all rows, and keeps those that are better than what was drawn before.
fn draw(rows: &mut [Row], job: &GroupRows<'_>, moments: &Moments) {
    let (depth, len) = (job.depth, job.format.group_len());
    let errors = rows.par_iter_mut().zip(job.rows.par_chunks_exact(depth));
    let errors = errors.flat_map_iter(|(row, x)| {
        row.drawn = drawn(x, &row.grids, job.format, &mut row.random);
        let values = (row.drawn.iter().enumerate()).map(|(at, level)| level * row.grids[at / len].scale);
        x.iter()
            .zip(values)
            .map(|(x, value)| x - value)
            .collect::<Vec<f32>>()
    });
    let errors: Vec<f32> = errors.collect();
    let weighted = weighted(&errors, moments);
    let by_row = weighted.chunks_exact(depth).zip(errors.chunks_exact(depth));
    for (row, (weighted, errors)) in rows.iter_mut().zip(by_row) {
        let error = dot(weighted, errors);
        if error < row.best.0 || row.best.1.is_empty() {
            row.best = (error, std::mem::take(&mut row.drawn));
        }
    }
}

/// A level above or below each weight.
fn drawn(row: &[f32], grids: &[GroupGrid], format: &GroupFormat, random: &mut SplitMix64) -> Vec<f32> {
    let level = |(index, x): (usize, &f32)| {
        let grid = grids[index / format.group_len()];
        let [below, above] = format.around(grid, *x);
        let share = random.unit() * (above - below);
        match x / grid.scale - below > share {
            true => above,
            false => below,
        }
    };
    row.iter().enumerate().map(level).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantize::groups::TableGroups;
    use bantam_tensor::formats::NF4;
    use bantam_tensor::formats::blocks::IntegerGroups;

    /// Over many draws, levels stand on average for the weights, even where they lie unevenly.
    #[test]
    fn no_weight_is_wrong_on_average() {
        const DRAWS: usize = 4000;
        let row: Vec<f32> = (0..40).map(|place| (place as f32 * 1.7).sin() * 0.4).collect();
        let formats: [GroupFormat; 3] = [
            IntegerGroups::new(3, 16, false, false).into(),
            IntegerGroups::new(2, 16, true, false).into(),
            TableGroups::new(&NF4, 16).into(),
        ];
        for format in &formats {
            let grids = ranged(&row, format);
            let mut random = SplitMix64::new(3);
            let mut sums = vec![0f64; row.len()];
            for _ in 0..DRAWS {
                for (sum, level) in sums.iter_mut().zip(drawn(&row, &grids, format, &mut random)) {
                    *sum += f64::from(level);
                }
            }
            for (index, (x, sum)) in row.iter().zip(sums).enumerate() {
                let grid = grids[index / 16];
                let [below, above] = format.around(grid, *x);
                let within = (x / grid.scale).clamp(below, above);
                // Five deviations of the mean of so many draws.
                let off = f64::from(within) - sum / DRAWS as f64;
                let far = 2.5 * f64::from(above - below) / (DRAWS as f64).sqrt() + 1e-6;
                assert!(off.abs() <= far, "{format:?}, {index}: {off}");
            }
        }
    }
}
