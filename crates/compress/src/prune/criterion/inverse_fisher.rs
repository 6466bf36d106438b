//! The inverse of the empirical Fisher matrix, block by block.

use bantam_kernels::cholesky::{cholesky, cholesky_solve};
use rayon::prelude::*;

use super::{Criterion, Evidence, Needs, PruneError};

/// `w^2 / (2 [F^-1]_ii)` with `F` the mean of `g g^T` over the gradients `g` of single samples, in blocks on the diagonal (Singh and
/// Alistarh 2020, equations 6 and 10). The blocks are summed and inverted at the end, which gives what their recursion gives.
pub(super) struct WoodFisher;

/// Weights of a block, neighbours in the order of the tensor.
const BLOCK: usize = 50;
/// What is added to the diagonal, as a share of its mean over all weights: it holds where few samples have gradients.
const DAMPING: f64 = 1.0;

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
        let scale = 1.0 / f64::from(count.max(1));
        let damping = DAMPING * scale * mean_square(&blocks);
        let of_weight = |(blocks, values): (&Vec<Block>, &Vec<f32>)| {
            let scored = blocks.par_iter().zip(values.par_chunks(BLOCK));
            let saliency = scored.flat_map_iter(|(block, values)| block.saliency(values, scale, damping));
            saliency.collect()
        };
        Ok(blocks.iter().zip(&values).map(of_weight).collect())
    }
}

fn blocks_of(count: usize) -> Vec<Block> {
    let sizes = (0..count).step_by(BLOCK).map(|start| BLOCK.min(count - start));
    let empty = |size| Block {
        size,
        sums: vec![0.0; size * size],
    };
    sizes.map(empty).collect()
}

/// The mean over all weights of the sums' diagonals.
fn mean_square(blocks: &[Vec<Block>]) -> f64 {
    let diagonal = |block: &Block| {
        (0..block.size)
            .map(|i| f64::from(block.sums[i * block.size + i]))
            .sum::<f64>()
    };
    let count: usize = blocks.iter().flatten().map(|block| block.size).sum();
    blocks.iter().flatten().map(diagonal).sum::<f64>() / count.max(1) as f64
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

    /// `w^2 / (2 [F^-1]_ii)` with `F` the sums times `scale`, its diagonal raised by `damping`.
    fn saliency(&self, values: &[f32], scale: f64, damping: f64) -> Vec<f32> {
        let size = self.size;
        let mut matrix: Vec<f64> = self.sums.iter().map(|sum| f64::from(*sum) * scale).collect();
        // Where no gradient reaches anything, nothing matters.
        if damping <= f64::MIN_POSITIVE {
            return vec![0.0; size];
        }
        (0..size).for_each(|index| matrix[index * size + index] += damping);
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

#[cfg(test)]
mod tests {
    use bantam_tensor::SplitMix64;

    use super::*;

    /// The recursion of the paper (equation 10): `F^-1 -= F^-1 g g^T F^-1 / (N + g^T F^-1 g)`, from `F^-1 = I / damping`.
    #[test]
    fn the_inverse_is_that_of_the_recursion() {
        let (size, count, damping) = (6, 40, 0.05);
        let mut random = SplitMix64::new(4);
        let mut inverse = vec![0.0; size * size];
        (0..size).for_each(|index| inverse[index * size + index] = 1.0 / damping);
        let mut block = blocks_of(size).remove(0);
        for _ in 0..count {
            let shared = random.unit();
            let gradient: Vec<f32> = (0..size).map(|_| random.unit() - 0.5 + shared).collect();
            block.add(&gradient);
            let g: Vec<f64> = gradient.iter().copied().map(f64::from).collect();
            let times = |row: usize| (0..size).map(|k| inverse[row * size + k] * g[k]).sum::<f64>();
            let product: Vec<f64> = (0..size).map(times).collect();
            let below = f64::from(count) + g.iter().zip(&product).map(|(g, p)| g * p).sum::<f64>();
            (0..size * size).for_each(|at| inverse[at] -= product[at / size] * product[at % size] / below);
        }
        let values: Vec<f32> = (0..size).map(|index| index as f32 - 2.5).collect();
        let found = block.saliency(&values, 1.0 / f64::from(count), damping);
        for (index, (found, value)) in found.iter().zip(&values).enumerate() {
            let expected = f64::from(*value).powi(2) / (2.0 * inverse[index * size + index]);
            assert!(
                (f64::from(*found) / expected - 1.0).abs() < 1e-4,
                "{found} instead of {expected}"
            );
        }
    }
}
