//! What the loss changes by when a weight goes, by its curvature.

use bantam_kernels::softmax::{SoftmaxKind, softmax};
use bantam_tensor::{BatchSize, SplitMix64, Tensor};
use rayon::prelude::*;

use super::{Criterion, Evidence, Needs, PruneError};
use crate::prune::Calibration;
use crate::train::{Loss, Pullback, TrainError};

/// `h w^2 / 2` with `h` the diagonal of the Hessian (LeCun et al. 1990, equation 5) in the approximation of Gauss and Newton, as there:
/// `J^T B J` with the gradients `J` of scores and the Hessian `B` of the loss by scores, which no label enters. With `B = b b^T` and
/// random signs `r`, `h` is the mean of the squares of `J^T b r`, one draw for each sample.
pub(super) struct Obd;

/// Batches that are in flight at once. Fixed, so that memory does not depend on the number of threads.
const IN_FLIGHT: usize = 4;

impl Criterion for Obd {
    fn name(&self) -> &'static str {
        "obd"
    }

    fn summary(&self) -> &'static str {
        "half the square of the weight times the curvature of the loss by it, by Gauss and Newton (optimal brain damage, LeCun et al. 1990)"
    }

    fn needs(&self) -> Needs {
        Needs::Gradients
    }

    fn saliency(&self, evidence: &Evidence<'_>) -> Result<Vec<Vec<f32>>, PruneError> {
        let curvature = curvature(evidence, evidence.calibration(self.name())?)?;
        let of_weight = |(curvature, values): (&Vec<f64>, &Vec<f32>)| {
            let saliency = |(h, w): (&f64, &f32)| (h * f64::from(*w).powi(2) / 2.0) as f32;
            curvature.iter().zip(values).map(saliency).collect()
        };
        Ok(curvature.iter().zip(&evidence.values()?).map(of_weight).collect())
    }
}

/// The diagonal, for each weight.
fn curvature(evidence: &Evidence<'_>, calibration: &Calibration<'_>) -> Result<Vec<Vec<f64>>, PruneError> {
    let batch = match calibration.batch_size {
        BatchSize::Fixed(size) => size,
        BatchSize::AtMost(_) => 1,
    };
    let weights: Vec<_> = evidence.weights.iter().map(|weight| weight.value).collect();
    let pullback = Pullback::new(evidence.graph, &weights, calibration.loss, batch)?;
    let batches: Vec<&[usize]> = calibration.indices.chunks_exact(batch.max(1)).collect();
    let (samples, loss, seed) = (calibration.samples, calibration.loss, evidence.seed);
    let run = |number: usize, indices: &[usize]| -> Result<Vec<Vec<f32>>, PruneError> {
        let inputs = samples.batch(indices)?.inputs;
        let scores = pullback.scores(&inputs)?;
        let mut random = SplitMix64::new(seed.wrapping_add(number as u64));
        let factors = factors(&scores, loss, &mut random)?;
        let gradients = pullback.gradients(&inputs, factors)?;
        Ok(gradients.iter().map(Tensor::to_f32).collect::<Result<_, _>>()?)
    };
    let mut sums: Vec<Vec<f64>> = (evidence.weights.iter())
        .map(|weight| vec![0.0; weight.len()])
        .collect();
    for (group, some) in batches.chunks(IN_FLIGHT).enumerate() {
        let gradients: Vec<Vec<Vec<f32>>> = (some.par_iter().enumerate())
            .map(|(place, indices)| run(group * IN_FLIGHT + place, indices))
            .collect::<Result<_, _>>()?;
        for gradients in &gradients {
            (sums.iter_mut().flatten().zip(gradients.iter().flatten()))
                .for_each(|(sum, gradient)| *sum += f64::from(*gradient).powi(2));
        }
        let done = (group * IN_FLIGHT + some.len()) * batch;
        (calibration.progress)(Obd.name(), done, calibration.indices.len());
    }
    let count = batches.len().max(1) as f64;
    sums.iter_mut().flatten().for_each(|sum| *sum /= count);
    Ok(sums)
}

/// `b r`: random numbers whose products with each other have the Hessian of the mean loss by scores for their mean.
fn factors(scores: &Tensor, loss: Loss, random: &mut SplitMix64) -> Result<Tensor, PruneError> {
    let (values, shape) = (scores.to_f32()?, scores.shape());
    let mut sign = || if random.unit() < 0.5 { -1.0 } else { 1.0 };
    let axis = match loss {
        Loss::CrossEntropy => 1,
        _ => shape.len().saturating_sub(1),
    };
    let classes = shape.get(axis).copied().ok_or(TrainError::NoOutput)?;
    let mut factors = vec![0f32; values.len()];
    match loss {
        Loss::Mse => factors
            .iter_mut()
            .for_each(|factor| *factor = 2f32.sqrt() * sign()),
        Loss::BinaryCrossEntropy => {
            for (factor, score) in factors.iter_mut().zip(&values) {
                let share = 1.0 / (1.0 + (-score).exp());
                *factor = (share * (1.0 - share)).sqrt() * sign();
            }
        }
        Loss::CrossEntropy | Loss::NextToken => {
            let inner: usize = shape[axis + 1..].iter().product();
            let mut shares = vec![0f32; values.len()];
            softmax(SoftmaxKind::Softmax, &values, &mut shares, classes, inner);
            shares_to_factors(&shares, classes, inner, &mut sign, &mut factors);
        }
    }
    let terms = match loss {
        Loss::CrossEntropy | Loss::NextToken => values.len() / classes.max(1),
        _ => values.len(),
    };
    let scale = 1.0 / (terms.max(1) as f32).sqrt();
    factors.iter_mut().for_each(|factor| *factor *= scale);
    Ok(Tensor::from_slice(shape, &factors)?)
}

/// The Hessian of cross-entropy is `diag(p) - p p^T = b b^T` with `b = diag(sqrt p) - p sqrt(p)^T`.
fn shares_to_factors(
    shares: &[f32],
    classes: usize,
    inner: usize,
    sign: &mut dyn FnMut() -> f32,
    factors: &mut [f32],
) {
    let size = (classes * inner).max(1);
    for (shares, factors) in shares.chunks_exact(size).zip(factors.chunks_exact_mut(size)) {
        for place in 0..inner {
            let at = |class: usize| class * inner + place;
            for class in 0..classes {
                factors[at(class)] = shares[at(class)].sqrt() * sign();
            }
            let total: f32 = (0..classes).map(|class| factors[at(class)]).sum();
            (0..classes).for_each(|class| factors[at(class)] -= shares[at(class)] * total);
        }
    }
}
