//! The inverse of the empirical Fisher matrix, block by block.

use bantam_kernels::cholesky::{cholesky, cholesky_solve};
use rayon::prelude::*;

use super::{Criterion, Evidence, Needs, PruneError};

/// `w^2 / (2 [F^-1]_ii)` with `F` the mean of `g g^T` over the gradients `g` of single samples, in blocks on the diagonal (Singh and
/// Alistarh 2020, equations 6 and 10). The blocks are summed and inverted at the end, which gives what their recursion gives.
pub(super) struct WoodFisher;

/// Weights of a block, neighbours in the order of the tensor.
const BLOCK: usize = 50;
/// What is added to the diagonal of a block, as a share of its mean.
const DAMPING: f64 = 1e-2;

impl Criterion for WoodFisher {
    fn name(&self) -> &'static str {
        "woodfisher"
    }

    fn summary(&self) -> &'static str {
        "what the loss changes by when the weight goes and its neighbours make up for it, by the empirical Fisher matrix \
         (Singh and Alistarh 2020)"
    }

    fn needs(&self) -> Needs {
        Needs::Gradients
    }

    fn saliency(&self, evidence: &Evidence<'_>) -> Result<Vec<Vec<f32>>, PruneError> {
        let values = evidence.values()?;
        let mut blocks: Vec<Vec<Block>> = values.iter().map(|values| blocks_of(values.len())).collect();
        let mut count = 0;
        evidence.gradients(self.name(), 1, &mut |gradients| {
            count += 1;
            for (blocks, gradient) in blocks.iter_mut().zip(gradients) {
                let pairs = blocks.par_iter_mut().zip(gradient.par_chunks(BLOCK));
                pairs.for_each(|(block, gradient)| block.add(gradient));
            }
        })?;
        let of_weight = |(blocks, values): (&Vec<Block>, &Vec<f32>)| {
            let scored = blocks.par_iter().zip(values.par_chunks(BLOCK));
            scored
                .flat_map_iter(|(block, values)| block.saliency(values, count))
                .collect()
        };
        Ok(blocks.iter().zip(&values).map(of_weight).collect())
    }
}

fn blocks_of(count: usize) -> Vec<Block> {
    let sizes = (0..count).step_by(BLOCK).map(|start| BLOCK.min(count - start));
    sizes
        .map(|size| Block {
            size,
            sums: vec![0.0; size * size],
        })
        .collect()
}

/// The sum of `g g^T` over neighbouring weights.
struct Block {
    size: usize,
    sums: Vec<f32>,
}

impl Block {
    fn add(&mut self, gradient: &[f32]) {
        for (row, left) in self.sums.chunks_exact_mut(self.size).zip(gradient) {
            row.iter_mut()
                .zip(gradient)
                .for_each(|(sum, right)| *sum += left * right);
        }
    }

    fn saliency(&self, values: &[f32], count: usize) -> Vec<f32> {
        let size = self.size;
        let mut matrix: Vec<f64> = self
            .sums
            .iter()
            .map(|sum| f64::from(*sum) / count.max(1) as f64)
            .collect();
        let mean = (0..size).map(|index| matrix[index * size + index]).sum::<f64>() / size as f64;
        // Weights that no gradient reaches do not matter.
        if mean <= f64::MIN_POSITIVE {
            return vec![0.0; size];
        }
        (0..size).for_each(|index| matrix[index * size + index] += DAMPING * mean);
        if !cholesky(&mut matrix, size) {
            return vec![f32::NAN; size];
        }
        let mut inverse = vec![0.0; size * size];
        (0..size).for_each(|index| inverse[index * size + index] = 1.0);
        cholesky_solve(&matrix, size, &mut inverse);
        let of_element = |(index, value): (usize, &f32)| {
            (f64::from(*value).powi(2) / (2.0 * inverse[index * size + index])) as f32
        };
        values.iter().enumerate().map(of_element).collect()
    }
}
