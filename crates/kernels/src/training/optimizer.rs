//! Steps of optimizers, in place. Formulas are those of PyTorch's `torch.optim` (version 2).

use rayon::prelude::*;

use crate::chunks::GRAIN;
use crate::vectorize::vectorized;

/// Stochastic gradient descent with momentum (`torch.optim.SGD`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Size of a step.
    pub learning_rate: f32,
    /// Share of the last step's velocity that stays.
    pub momentum: f32,
    /// Share of the weight that is added to its gradient.
    pub weight_decay: f32,
    /// Looks ahead by one more momentum.
    pub nesterov: bool,
}

/// Adam (`torch.optim.Adam` and `AdamW`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Size of a step.
    pub learning_rate: f32,
    /// Share of the mean gradient that stays.
    pub beta1: f32,
    /// Share of the mean square that stays.
    pub beta2: f32,
    /// Added to the root of the mean square.
    pub epsilon: f32,
    /// Share of the weight that is taken off in a step, times the learning rate if `decoupled`.
    pub weight_decay: f32,
    /// AdamW: decay does not go through the means.
    pub decoupled: bool,
}

impl Sgd {
    /// One step. `velocity` is all zeros before the first.
    ///
    /// # Panics
    /// When the slices differ in length.
    pub fn step(&self, weights: &mut [f32], gradient: &[f32], velocity: &mut [f32]) {
        assert!(
            weights.len() == gradient.len() && weights.len() == velocity.len(),
            "as many gradients as weights"
        );
        let parts = weights.par_chunks_mut(GRAIN).zip(velocity.par_chunks_mut(GRAIN));
        parts
            .zip(gradient.par_chunks(GRAIN))
            .for_each(|((weights, velocity), gradient)| {
                let share = if self.nesterov { self.momentum } else { 0.0 };
                let own = if self.nesterov { 1.0 } else { 0.0 };
                sgd(
                    weights,
                    gradient,
                    velocity,
                    self.learning_rate,
                    self.momentum,
                    self.weight_decay,
                    share,
                    own,
                );
            });
    }
}

impl Adam {
    /// Step number `step`, the first being 1. `mean` and `square` are all zeros before.
    ///
    /// # Panics
    /// When the slices differ in length.
    pub fn step(
        &self,
        step: u64,
        weights: &mut [f32],
        gradient: &[f32],
        mean: &mut [f32],
        square: &mut [f32],
    ) {
        let len = weights.len();
        assert!(
            len == gradient.len() && len == mean.len() && len == square.len(),
            "as many gradients as weights"
        );
        let correction = |beta: f32| 1.0 - f64::from(beta).powf(step as f64);
        let rate = (f64::from(self.learning_rate) / correction(self.beta1)) as f32;
        let root = (1.0 / correction(self.beta2).sqrt()) as f32;
        let (coupled, keep) = match self.decoupled {
            true => (0.0, 1.0 - self.learning_rate * self.weight_decay),
            false => (self.weight_decay, 1.0),
        };
        let parts = weights.par_chunks_mut(GRAIN).zip(gradient.par_chunks(GRAIN));
        let means = mean.par_chunks_mut(GRAIN).zip(square.par_chunks_mut(GRAIN));
        parts
            .zip(means)
            .for_each(|((weights, gradient), (mean, square))| {
                let rates = [rate, root, self.epsilon, coupled, keep];
                adam(weights, gradient, mean, square, [self.beta1, self.beta2], rates);
            });
    }
}

/// The sum of the squares; in `f64` across fixed pieces, so that it does not depend on threads.
pub fn sum_of_squares(values: &[f32]) -> f64 {
    let parts: Vec<f64> = values.par_chunks(GRAIN).map(squares).collect();
    parts.iter().sum()
}

/// `average = average * decay + values * (1 - decay)`.
///
/// # Panics
/// When the slices differ in length.
pub fn moving_average(average: &mut [f32], values: &[f32], decay: f32) {
    assert_eq!(average.len(), values.len(), "as many values as averages");
    let parts = average.par_chunks_mut(GRAIN).zip(values.par_chunks(GRAIN));
    parts.for_each(|(average, values)| average_part(average, values, decay));
}

vectorized! {
    fn sgd(
        weights: &mut [f32],
        gradient: &[f32],
        velocity: &mut [f32],
        rate: f32,
        momentum: f32,
        decay: f32,
        share: f32,
        own: f32,
    ) {
        let len = weights.len();
        let (gradient, velocity) = (&gradient[..len], &mut velocity[..len]);
        for i in 0..len {
            let gradient = gradient[i] + decay * weights[i];
            velocity[i] = momentum * velocity[i] + gradient;
            // With Nesterov: gradient + momentum * velocity.
            let step = if own > 0.0 { gradient + share * velocity[i] } else { velocity[i] };
            weights[i] -= rate * step;
        }
    }

    fn adam(
        weights: &mut [f32],
        gradient: &[f32],
        mean: &mut [f32],
        square: &mut [f32],
        betas: [f32; 2],
        rates: [f32; 5],
    ) {
        let len = weights.len();
        let (gradient, mean, square) = (&gradient[..len], &mut mean[..len], &mut square[..len]);
        let ([beta1, beta2], [rate, root, epsilon, coupled, keep]) = (betas, rates);
        for i in 0..len {
            let gradient = gradient[i] + coupled * weights[i];
            mean[i] = beta1 * mean[i] + (1.0 - beta1) * gradient;
            square[i] = beta2 * square[i] + (1.0 - beta2) * gradient * gradient;
            weights[i] = keep * weights[i] - rate * mean[i] / (square[i].sqrt() * root + epsilon);
        }
    }

    fn squares(values: &[f32]) -> f64 {
        let mut sums = [0f64; 8];
        for values in values.chunks(8) {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += f64::from(*value) * f64::from(*value);
            }
        }
        sums.iter().sum()
    }

    fn average_part(average: &mut [f32], values: &[f32], decay: f32) {
        for (average, value) in average.iter_mut().zip(values) {
            *average = *average * decay + *value * (1.0 - decay);
        }
    }
}
