//! What the loss changes by when a weight goes, from its gradients.

use super::{Criterion, Evidence, Needs, PruneError};

/// The square of what the loss of a batch changes by, to first order, summed over batches (Molchanov et al. 2019, equation 8).
pub(super) static TAYLOR: Gradient = Gradient {
    name: "taylor",
    summary: "the square of gradient times weight, summed over batches of 32 (Molchanov et al. 2019)",
    batch: 32,
    squares: true,
    finish: |sum, weight| sum * weight * weight,
};

/// What the loss of all samples changes by, to first order (Lee et al. 2019, equation 5).
pub(super) static SNIP: Gradient = Gradient {
    name: "snip",
    summary: "the size of gradient times weight, the gradient being that of all samples (Lee et al. 2019)",
    batch: 32,
    squares: false,
    finish: |sum, weight| (sum * weight).abs(),
};

/// What the loss changes by, to second order, with the diagonal of the empirical Fisher matrix for its curvature (Theis et
/// al. 2018, equation 5): the squares of the gradients of single samples.
pub(super) static FISHER: Gradient = Gradient {
    name: "fisher",
    summary: "half the square of the weight times the mean squared gradient of single samples (Theis et al. 2018)",
    batch: 1,
    squares: true,
    finish: |sum, weight| sum * weight * weight / 2.0,
};

/// Sums over batches of gradients or of their squares, put together with the weights.
pub(super) struct Gradient {
    name: &'static str,
    summary: &'static str,
    /// Samples whose mean gradient is taken.
    batch: usize,
    /// Squares are summed.
    squares: bool,
    /// From the mean over batches, and the weight.
    finish: fn(f64, f64) -> f64,
}

impl Criterion for Gradient {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn needs(&self) -> Needs {
        Needs::Gradients
    }

    fn saliency(&self, evidence: &Evidence<'_>) -> Result<Vec<Vec<f32>>, PruneError> {
        let values = evidence.values()?;
        let mut sums: Vec<Vec<f64>> = values.iter().map(|values| vec![0.0; values.len()]).collect();
        let mut batches = 0;
        evidence.gradients(self.name, self.batch, &mut |gradients| {
            batches += 1;
            for (sum, gradient) in sums.iter_mut().flatten().zip(gradients.iter().flatten()) {
                let gradient = f64::from(*gradient);
                *sum += if self.squares {
                    gradient * gradient
                } else {
                    gradient
                };
            }
        })?;
        let count = f64::from(batches.max(1));
        let finish = |(sum, weight): (&f64, &f32)| (self.finish)(sum / count, f64::from(*weight)) as f32;
        let of_weight =
            |(sums, values): (&Vec<f64>, &Vec<f32>)| sums.iter().zip(values).map(finish).collect();
        Ok(sums.iter().zip(&values).map(of_weight).collect())
    }
}
