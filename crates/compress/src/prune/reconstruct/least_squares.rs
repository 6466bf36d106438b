//! The best weights for a mask.

use std::collections::BTreeMap;

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
    // Rows of which the same stays share their matrix, as all do where whole channels go.
    let mut alike: BTreeMap<&[bool], Vec<usize>> = BTreeMap::new();
    for (row, kept) in kept.chunks_exact(depth.max(1)).enumerate() {
        alike.entry(kept).or_default().push(row);
    }
    let alike: Vec<(&[bool], Vec<usize>)> = alike.into_iter().collect();
    let solve = |(kept, numbers): &(&[bool], Vec<usize>)| {
        let system = System::new(kept, moments, mean)?;
        let row = |&number: &usize| (number, system.solve(&rows[number * depth..][..depth]));
        Some(numbers.par_iter().map(row).collect::<Vec<_>>())
    };
    let parts: Option<Vec<Vec<(usize, Vec<f32>)>>> = alike.par_iter().map(solve).collect();
    let mut solved = vec![0.0; rows.len()];
    for (number, row) in parts?.into_iter().flatten() {
        solved[number * depth..][..depth].copy_from_slice(&row);
    }
    Some(solved)
}

/// The equations of rows of which the same stays.
struct System<'a> {
    moments: &'a Moments,
    /// What stays.
    support: Vec<usize>,
    /// Cholesky factor of their damped second moments.
    factor: Vec<f64>,
    /// What is added to the diagonal.
    damping: f64,
}

impl System<'_> {
    fn new<'a>(kept: &[bool], moments: &'a Moments, mean: f64) -> Option<System<'a>> {
        let support: Vec<usize> = (0..moments.depth).filter(|index| kept[*index]).collect();
        let size = support.len();
        let mut matrix = Vec::with_capacity(size * size);
        for row in &support {
            let row = &moments.second[row * moments.depth..][..moments.depth];
            matrix.extend(support.iter().map(|column| row[*column]));
        }
        // The factored matrix is damped by shares of its own mean.
        let own = (0..size).map(|index| matrix[index * size + index]).sum::<f64>() / size.max(1) as f64;
        let share = match own > f64::MIN_POSITIVE {
            true => DAMPING * mean / own,
            false => DAMPING,
        };
        let factor = match size {
            0 => Vec::new(),
            _ => factored(&matrix, size, share)?,
        };
        Some(System {
            moments,
            support,
            factor,
            damping: DAMPING * mean,
        })
    }

    fn solve(&self, row: &[f32]) -> Vec<f32> {
        let depth = self.moments.depth;
        let mut wanted = vec![0.0; depth];
        for (weight, products) in row.iter().zip(self.moments.cross.chunks_exact(depth)) {
            let weight = f64::from(*weight);
            wanted
                .iter_mut()
                .zip(products)
                .for_each(|(sum, product)| *sum += weight * product);
        }
        let mut right: Vec<f64> = (self.support.iter())
            .map(|index| wanted[*index] + self.damping * f64::from(row[*index]))
            .collect();
        if !right.is_empty() {
            cholesky_solve(&self.factor, right.len(), &mut right);
        }
        let mut solved = vec![0.0; depth];
        for (index, value) in self.support.iter().zip(right) {
            solved[*index] = value as f32;
        }
        solved
    }
}
