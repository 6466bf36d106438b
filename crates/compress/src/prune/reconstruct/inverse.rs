//! Inverses of second moments.

use bantam_kernels::cholesky::{cholesky, cholesky_solve};

use crate::quantize::layerwise::Moments;

/// What is added to the diagonal of second moments, as a share of its mean (as in Frantar and Alistarh 2023).
pub(super) const DAMPING: f64 = 0.01;
/// So often the damping is raised tenfold until the matrix can be factored.
const ATTEMPTS: usize = 8;

/// The inverse of damped second moments, `[depth, depth]`.
pub(crate) struct Inverse {
    depth: usize,
    pub(super) values: Vec<f64>,
}

impl Inverse {
    /// `None` if the moments are no finite numbers.
    pub(crate) fn of(moments: &Moments) -> Option<Inverse> {
        let depth = moments.depth;
        let factor = factored(&moments.second, depth, DAMPING)?;
        let mut values = vec![0.0; depth * depth];
        (0..depth).for_each(|index| values[index * depth + index] = 1.0);
        cholesky_solve(&factor, depth, &mut values);
        Some(Inverse { depth, values })
    }

    pub(crate) fn diagonal(&self) -> Vec<f64> {
        (0..self.depth)
            .map(|index| self.values[index * self.depth + index])
            .collect()
    }
}

/// Cholesky's factor of a symmetric matrix whose diagonal is raised by this share of its mean, or more where that must be.
pub(super) fn factored(matrix: &[f64], depth: usize, mut damping: f64) -> Option<Vec<f64>> {
    let mean = (0..depth).map(|index| matrix[index * depth + index]).sum::<f64>() / depth.max(1) as f64;
    if !mean.is_finite() {
        return None;
    }
    let unit = if mean > f64::MIN_POSITIVE { mean } else { 1.0 };
    for _ in 0..ATTEMPTS {
        let mut factor = matrix.to_vec();
        (0..depth).for_each(|index| factor[index * depth + index] += damping * unit);
        if cholesky(&mut factor, depth) {
            return Some(factor);
        }
        damping *= 10.0;
    }
    None
}
