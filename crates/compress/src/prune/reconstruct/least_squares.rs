//! The best weights for a mask.

use bantam_kernels::cholesky::cholesky_solve;
use rayon::prelude::*;

use super::inverse::factored;
use super::{Reconstruction, Rows, Solved};
use crate::quantize::layerwise::Moments;

/// Of each row the weights that stay are those that give the outputs of the network before pruning best, by least squares, from
/// the inputs that the pruned layers before give.
pub(super) struct LeastSquares;

/// What is added to the diagonal of second moments, as a share of its mean: it holds weights near where they were.
const DAMPING: f64 = 1e-3;

impl Reconstruction for LeastSquares {
    fn name(&self) -> &'static str {
        "least-squares"
    }

    fn summary(&self) -> &'static str {
        "the weights that stay become those that give the layer's outputs best, masks are those of the criterion"
    }

    fn chooses(&self) -> bool {
        false
    }

    fn solve(&self, job: &Rows<'_>) -> Option<Solved> {
        let values = solved(job.values, job.kept, job.moments)?;
        let kept = job.kept.to_vec();
        Some(Solved { values, kept })
    }
}

/// The rows with weights that minimize `|w y - v x|^2` over `v` that are zero where nothing stays, with `x` the inputs of the
/// pruned network and `y` those of the network before; `H = E[x x^T]` and `C = E[y x^T]` give
/// `v_S = (H_SS + d)^-1 ((w C)_S + d w_S)`.
pub(super) fn solved(rows: &[f32], kept: &[bool], moments: &Moments) -> Option<Vec<f32>> {
    let depth = moments.depth;
    let mean = moments.diagonal().iter().sum::<f64>() / depth.max(1) as f64;
    let pairs = rows.par_chunks_exact(depth).zip(kept.par_chunks_exact(depth));
    let solved: Option<Vec<Vec<f32>>> = pairs
        .map(|(row, kept)| solve_row(row, kept, moments, mean))
        .collect();
    Some(solved?.concat())
}

fn solve_row(row: &[f32], kept: &[bool], moments: &Moments, mean: f64) -> Option<Vec<f32>> {
    let depth = moments.depth;
    let support: Vec<usize> = (0..depth).filter(|index| kept[*index]).collect();
    let mut solved = vec![0.0; depth];
    let size = support.len();
    if size == 0 {
        return Some(solved);
    }
    let entry = |row: &usize, column: &usize| moments.second[row * depth + column];
    let mut matrix = Vec::with_capacity(size * size);
    support
        .iter()
        .for_each(|row| matrix.extend(support.iter().map(|column| entry(row, column))));
    // The factored matrix is damped by shares of its own mean.
    let own = (0..size).map(|index| matrix[index * size + index]).sum::<f64>() / size as f64;
    let damping = if own > f64::MIN_POSITIVE {
        DAMPING * mean / own
    } else {
        DAMPING
    };
    let factor = factored(&matrix, size, damping)?;
    let mut wanted = vec![0.0; depth];
    for (weight, products) in row.iter().zip(moments.cross.chunks_exact(depth)) {
        let weight = f64::from(*weight);
        wanted
            .iter_mut()
            .zip(products)
            .for_each(|(sum, product)| *sum += weight * product);
    }
    let mut right: Vec<f64> = support
        .iter()
        .map(|index| wanted[*index] + DAMPING * mean * f64::from(row[*index]))
        .collect();
    cholesky_solve(&factor, size, &mut right);
    support
        .iter()
        .zip(right)
        .for_each(|(index, value)| solved[*index] = value as f32);
    Some(solved)
}
