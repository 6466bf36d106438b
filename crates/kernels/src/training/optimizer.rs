//! Steps of optimizers, in place. Formulas are those of PyTorch's `torch.optim` (version 2).

use rayon::prelude::*;

use crate::chunks::GRAIN;
use crate::vectorize::vectorized;

/// Stochastic gradient descent with momentum (`torch.optim.SGD` without dampening):
/// `g = gradient + weight_decay * weight`, `velocity = momentum * velocity + g`, and
/// `weight -= learning_rate * velocity`, or with Nesterov `weight -= learning_rate * (g + momentum * velocity)`.
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

/// Adam (`torch.optim.Adam` and `AdamW`): `g = gradient + weight_decay * weight` (Adam), or
/// `weight *= 1 - learning_rate * weight_decay` and `g = gradient` (AdamW); then in step t
/// `mean = beta1 * mean + (1 - beta1) * g`, `square = beta2 * square + (1 - beta2) * g^2`, and
/// `weight -= learning_rate * (mean / (1 - beta1^t)) / (sqrt(square / (1 - beta2^t)) + epsilon)`.
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
                let rates = [self.learning_rate, self.momentum, self.weight_decay];
                sgd(weights, gradient, velocity, rates, self.nesterov);
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

/// `values *= factor`.
pub fn scale(values: &mut [f32], factor: f32) {
    values
        .par_chunks_mut(GRAIN)
        .for_each(|values| scale_part(values, factor));
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
    fn sgd(weights: &mut [f32], gradient: &[f32], velocity: &mut [f32], rates: [f32; 3], nesterov: bool) {
        let len = weights.len();
        let (gradient, velocity) = (&gradient[..len], &mut velocity[..len]);
        let [rate, momentum, decay] = rates;
        for i in 0..len {
            let gradient = gradient[i] + decay * weights[i];
            velocity[i] = momentum * velocity[i] + gradient;
            let step = if nesterov { gradient + momentum * velocity[i] } else { velocity[i] };
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

    fn scale_part(values: &mut [f32], factor: f32) {
        for value in values.iter_mut() {
            *value *= factor;
        }
    }

    fn average_part(average: &mut [f32], values: &[f32], decay: f32) {
        for (average, value) in average.iter_mut().zip(values) {
            *average = *average * decay + *value * (1.0 - decay);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv::tests::Random;

    /// More than one task, and a remainder.
    const COUNT: usize = GRAIN * 2 + 5;
    const STEPS: u64 = 4;

    fn close(got: &[f32], expected: &[f64], what: &str) {
        for (got, expected) in got.iter().zip(expected) {
            let error = (f64::from(*got) - expected).abs();
            assert!(
                error < 2e-6 * (1.0 + expected.abs()),
                "{what}: {got} for {expected}"
            );
        }
    }

    fn wide(values: &[f32]) -> Vec<f64> {
        values.iter().map(|&value| f64::from(value)).collect()
    }

    #[test]
    fn gradient_descent_is_that_of_the_formula() {
        for (momentum, weight_decay, nesterov) in [
            (0.0, 0.0, false),
            (0.9, 0.0, false),
            (0.9, 0.25, false),
            (0.9, 0.25, true),
        ] {
            let sgd = Sgd {
                learning_rate: 0.125,
                momentum,
                weight_decay,
                nesterov,
            };
            let mut random = Random(1);
            let (mut weights, mut velocity) = (random.values(COUNT), vec![0.0; COUNT]);
            let (mut exact, mut speed) = (wide(&weights), vec![0.0; COUNT]);
            for _ in 0..STEPS {
                let gradient = random.values(COUNT);
                sgd.step(&mut weights, &gradient, &mut velocity);
                for i in 0..COUNT {
                    let g = f64::from(gradient[i]) + f64::from(weight_decay) * exact[i];
                    speed[i] = f64::from(momentum) * speed[i] + g;
                    let step = if nesterov {
                        g + f64::from(momentum) * speed[i]
                    } else {
                        speed[i]
                    };
                    exact[i] -= 0.125 * step;
                }
            }
            close(&weights, &exact, "weights");
            close(&velocity, &speed, "velocity");
        }
    }

    #[test]
    fn adam_is_that_of_the_formula() {
        for (weight_decay, decoupled) in [(0.0, false), (0.25, false), (0.25, true)] {
            let adam = Adam {
                learning_rate: 0.01,
                beta1: 0.75,
                beta2: 0.875,
                epsilon: 1e-4,
                weight_decay,
                decoupled,
            };
            let (rate, decay) = (f64::from(adam.learning_rate), f64::from(weight_decay));
            let epsilon = f64::from(adam.epsilon);
            let mut random = Random(2);
            let mut weights = random.values(COUNT);
            let (mut mean, mut square) = (vec![0.0; COUNT], vec![0.0; COUNT]);
            let (mut exact, mut first, mut second) = (wide(&weights), vec![0.0; COUNT], vec![0.0; COUNT]);
            for step in 1..=STEPS {
                let gradient = random.values(COUNT);
                adam.step(step, &mut weights, &gradient, &mut mean, &mut square);
                let correction = |beta: f64| 1.0 - beta.powi(step as i32);
                for i in 0..COUNT {
                    let mut g = f64::from(gradient[i]);
                    match decoupled {
                        true => exact[i] *= 1.0 - rate * decay,
                        false => g += decay * exact[i],
                    }
                    first[i] = 0.75 * first[i] + 0.25 * g;
                    second[i] = 0.875 * second[i] + 0.125 * g * g;
                    let root = (second[i] / correction(0.875)).sqrt() + epsilon;
                    exact[i] -= rate * (first[i] / correction(0.75)) / root;
                }
            }
            close(&weights, &exact, "weights");
            close(&mean, &first, "mean");
            close(&square, &second, "square");
        }
    }

    #[test]
    fn sums_scales_and_averages_are_those_of_the_formula() {
        let values = Random(3).values(COUNT);
        let exact: f64 = wide(&values).iter().map(|value| value * value).sum();
        assert!((sum_of_squares(&values) - exact).abs() < 1e-12 * exact);
        let mut average = Random(4).values(COUNT);
        let expected: Vec<f64> = (average.iter().zip(&values))
            .map(|(&average, &value)| f64::from(average) * 0.75 + f64::from(value) * 0.25)
            .collect();
        moving_average(&mut average, &values, 0.75);
        close(&average, &expected, "average");
        let mut scaled = values.clone();
        scale(&mut scaled, -0.5);
        assert!(
            scaled
                .iter()
                .zip(&values)
                .all(|(scaled, value)| *scaled == value * -0.5)
        );
    }
}
