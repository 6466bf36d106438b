//! Masks chosen column after column, each making up for those before it.

use bantam_kernels::cholesky::cholesky;
use rayon::prelude::*;

use super::least_squares::solved;
use super::{Inverse, Reconstruction, Rows, Solved};
use crate::prune::Structure;
use crate::prune::structure::pattern_groups;

/// SparseGPT (Frantar and Alistarh 2023, algorithm 1), and then the best weights for the mask that it found.
pub(super) struct SparseGpt;

/// Columns among which weights are chosen at once.
const BLOCK: usize = 128;

impl Reconstruction for SparseGpt {
    fn name(&self) -> &'static str {
        "sparsegpt"
    }

    fn summary(&self) -> &'static str {
        "chooses masks column after column, later weights making up for earlier ones (Frantar and Alistarh 2023), then as least-squares"
    }

    fn chooses(&self) -> bool {
        true
    }

    fn solve(&self, job: &Rows<'_>) -> Option<Solved> {
        let kept = mask(job)?;
        let values = solved(job.values, &kept, job.moments)?;
        Some(Solved { values, kept })
    }
}

/// What the algorithm keeps: as many weights as the job's mask.
fn mask(job: &Rows<'_>) -> Option<Vec<bool>> {
    let depth = job.depth;
    let (order, blocks) = order_and_blocks(job);
    let inverse = Inverse::of(job.moments)?;
    let entry = |place: usize| inverse.values[order[place / depth] * depth + order[place % depth]];
    let mut lower: Vec<f64> = (0..depth * depth).map(entry).collect();
    if !cholesky(&mut lower, depth) {
        return None;
    }
    let upper = |row: usize, column: usize| lower[column * depth + row];
    // Rows of U with H^-1 = U^T U, in the order of the columns.
    let factor: Vec<f64> = (0..depth * depth)
        .map(|index| upper(index / depth, index % depth))
        .collect();
    let ordered = |row: &[f32]| {
        order
            .iter()
            .map(|index| f64::from(row[*index]))
            .collect::<Vec<f64>>()
    };
    let mut rows: Vec<Vec<f64>> = job.values.chunks_exact(depth).map(ordered).collect();
    let mut masks = vec![vec![true; depth]; rows.len()];
    let gone = job.kept.iter().filter(|kept| !**kept).count() as f64;
    let (mut wanted, mut done) = (0.0, 0);
    for block in blocks {
        wanted += gone * block.len() as f64 / depth as f64;
        let count = (wanted.round() as usize).saturating_sub(done);
        match job.structure {
            Structure::Pattern { kept, .. } => {
                choose_pattern(&rows, &factor, block.clone(), kept, &mut masks)
            }
            _ => done += choose(&rows, &factor, block.clone(), count, &mut masks),
        }
        let updated = rows.par_iter_mut().zip(&masks);
        updated.for_each(|(row, mask)| remove(row, mask, &factor, block.clone()));
    }
    let mut kept = vec![true; job.kept.len()];
    for (kept, mask) in kept.chunks_exact_mut(depth).zip(&masks) {
        order
            .iter()
            .zip(mask)
            .for_each(|(index, stays)| kept[*index] = *stays);
    }
    Some(kept)
}

/// The columns in the order in which they are gone through, and those that are chosen among at once.
fn order_and_blocks(job: &Rows<'_>) -> (Vec<usize>, Vec<std::ops::Range<usize>>) {
    let depth = job.depth;
    match job.structure {
        Structure::Pattern { of, .. } => {
            let (mut order, mut blocks) = (Vec::with_capacity(depth), Vec::new());
            for group in pattern_groups(depth, job.places, of) {
                let start = order.len();
                order.extend(group);
                blocks.push(start..order.len());
            }
            (order, blocks)
        }
        _ => {
            let starts = (0..depth).step_by(BLOCK);
            (
                (0..depth).collect(),
                starts.map(|start| start..(start + BLOCK).min(depth)).collect(),
            )
        }
    }
}

/// What the error of the outputs grows by when a weight goes and those behind it make up for it.
fn error(row: &[f64], factor: &[f64], column: usize) -> f64 {
    (row[column] / factor[column * row.len() + column]).powi(2)
}

/// Takes `count` weights of a block of columns away, of all rows; gives how many there were to take.
fn choose(
    rows: &[Vec<f64>],
    factor: &[f64],
    block: std::ops::Range<usize>,
    count: usize,
    masks: &mut [Vec<bool>],
) -> usize {
    let of_row = |(index, row): (usize, &Vec<f64>)| {
        let errors = block
            .clone()
            .map(|column| (error(row, factor, column), index, column));
        errors.collect::<Vec<_>>()
    };
    let mut errors: Vec<(f64, usize, usize)> = rows.iter().enumerate().flat_map(of_row).collect();
    errors.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let count = count.min(errors.len());
    errors[..count]
        .iter()
        .for_each(|(_, row, column)| masks[*row][*column] = false);
    count
}

/// Takes all but `kept` weights of a group of columns away, in each row.
fn choose_pattern(
    rows: &[Vec<f64>],
    factor: &[f64],
    group: std::ops::Range<usize>,
    kept: usize,
    masks: &mut [Vec<bool>],
) {
    let choose_in = |(row, mask): (&Vec<f64>, &mut Vec<bool>)| {
        let mut columns: Vec<usize> = group.clone().collect();
        columns.sort_by(|a, b| {
            error(row, factor, *b)
                .total_cmp(&error(row, factor, *a))
                .then(a.cmp(b))
        });
        columns.iter().skip(kept).for_each(|column| mask[*column] = false);
    };
    rows.par_iter().zip(masks).for_each(choose_in);
}

/// Removes what does not stay of a block of columns; weights behind each make up for it.
fn remove(row: &mut [f64], mask: &[bool], factor: &[f64], block: std::ops::Range<usize>) {
    let depth = row.len();
    for column in block {
        if mask[column] {
            continue;
        }
        let line = &factor[column * depth..][..depth];
        let error = row[column] / line[column];
        row[column..]
            .iter_mut()
            .zip(&line[column..])
            .for_each(|(weight, factor)| *weight -= error * factor);
        row[column] = 0.0;
    }
}
