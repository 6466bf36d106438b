//! Optimizers: kinds and state. The arithmetic is `bantam_kernels::training::optimizer`.

use bantam_kernels::training::optimizer::{Adam, Sgd, sum_of_squares};
use serde::{Deserialize, Serialize};

/// How parameters move along their gradients.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Optimizer {
    /// Gradient descent with momentum.
    Sgd {
        /// Share of the velocity that stays.
        momentum: f32,
        /// Looks ahead (Nesterov 1983).
        nesterov: bool,
    },
    /// Adam (Kingma and Ba 2015), decay being part of the gradient.
    Adam {
        /// Share of the mean gradient that stays.
        beta1: f32,
        /// Share of the mean square that stays.
        beta2: f32,
    },
    /// Adam with decoupled decay (Loshchilov and Hutter 2019).
    Adamw {
        /// Share of the mean gradient that stays.
        beta1: f32,
        /// Share of the mean square that stays.
        beta2: f32,
    },
    /// AdamW whose steps are as long as a share of the weights (You et al. 2020, algorithm 2).
    Lamb {
        /// Share of the mean gradient that stays.
        beta1: f32,
        /// Share of the mean square that stays.
        beta2: f32,
    },
}

/// Added to roots of mean squares.
const EPSILON: f32 = 1e-8;

impl Default for Optimizer {
    fn default() -> Optimizer {
        Optimizer::Sgd {
            momentum: 0.9,
            nesterov: false,
        }
    }
}

impl Optimizer {
    /// Every kind, with its defaults, by the name that users write.
    pub const ALL: &[(&str, Optimizer)] = &[
        (
            "sgd",
            Optimizer::Sgd {
                momentum: 0.9,
                nesterov: false,
            },
        ),
        (
            "adam",
            Optimizer::Adam {
                beta1: 0.9,
                beta2: 0.999,
            },
        ),
        (
            "adamw",
            Optimizer::Adamw {
                beta1: 0.9,
                beta2: 0.999,
            },
        ),
        (
            "lamb",
            Optimizer::Lamb {
                beta1: 0.9,
                beta2: 0.999,
            },
        ),
    ];

    /// Lists of numbers, as long as a parameter, that it remembers.
    pub(super) fn memories(self) -> usize {
        match self {
            Optimizer::Sgd { .. } => 1,
            _ => 2,
        }
    }

    /// Moves one parameter. `step` counts from 1; `memory` has [`Optimizer::memories`] lists, zeros at first.
    pub(super) fn step(
        self,
        step: u64,
        [learning_rate, weight_decay]: [f32; 2],
        weights: &mut [f32],
        gradient: &[f32],
        memory: &mut [Vec<f32>],
    ) {
        match (self, memory) {
            (Optimizer::Sgd { momentum, nesterov }, [velocity]) => Sgd {
                learning_rate,
                momentum,
                weight_decay,
                nesterov,
            }
            .step(weights, gradient, velocity),
            (Optimizer::Adam { beta1, beta2 } | Optimizer::Adamw { beta1, beta2 }, [mean, square]) => Adam {
                learning_rate,
                beta1,
                beta2,
                epsilon: EPSILON,
                weight_decay,
                decoupled: matches!(self, Optimizer::Adamw { .. }),
            }
            .step(step, weights, gradient, mean, square),
            (Optimizer::Lamb { beta1, beta2 }, [mean, square]) => {
                lamb(
                    step,
                    [learning_rate, weight_decay],
                    [beta1, beta2],
                    weights,
                    gradient,
                    mean,
                    square,
                );
            }
            _ => unreachable!("as many lists as `memories` says"),
        }
    }
}

/// One step of LAMB: that of AdamW for a rate of 1, scaled by `|weights| / |step|`.
fn lamb(
    step: u64,
    [learning_rate, weight_decay]: [f32; 2],
    [beta1, beta2]: [f32; 2],
    weights: &mut [f32],
    gradient: &[f32],
    mean: &mut [f32],
    square: &mut [f32],
) {
    let mut moved = weights.to_vec();
    Adam {
        learning_rate: 1.0,
        beta1,
        beta2,
        epsilon: 1e-6,
        weight_decay,
        decoupled: true,
    }
    .step(step, &mut moved, gradient, mean, square);
    moved
        .iter_mut()
        .zip(weights.iter())
        .for_each(|(moved, weight)| *moved -= weight);
    let (size, length) = (sum_of_squares(weights).sqrt(), sum_of_squares(&moved).sqrt());
    let trust = match size > 0.0 && length > 0.0 {
        true => (size / length) as f32,
        false => 1.0,
    };
    let factor = learning_rate * trust;
    weights
        .iter_mut()
        .zip(&moved)
        .for_each(|(weight, moved)| *weight += factor * moved);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_optimizer_finds_the_bottom_of_a_bowl() {
        for &(name, optimizer) in Optimizer::ALL {
            let mut weights = vec![3.0f32, -2.0];
            let mut memory = vec![vec![0.0; 2]; optimizer.memories()];
            for step in 1..=400 {
                let gradient: Vec<f32> = weights.iter().map(|weight| 2.0 * (weight - 1.0)).collect();
                let rate = 0.1 / (1.0 + step as f32 / 40.0);
                optimizer.step(step, [rate, 0.0], &mut weights, &gradient, &mut memory);
            }
            assert!(
                weights.iter().all(|weight| (weight - 1.0).abs() < 0.05),
                "{name}: {weights:?}"
            );
        }
    }

    #[test]
    fn the_first_step_of_lamb_is_a_share_of_the_weights() {
        let optimizer = Optimizer::Lamb {
            beta1: 0.9,
            beta2: 0.999,
        };
        let (mut weights, mut memory) = (vec![3.0f32, 4.0], vec![vec![0.0; 2]; 2]);
        optimizer.step(1, [0.1, 0.0], &mut weights, &[1.0, -7.0], &mut memory);
        // Adam's first step is the gradient's sign, of length sqrt(2); the weights' length is 5.
        let expected = 0.1 * 5.0 / 2f32.sqrt();
        assert!((weights[0] - (3.0 - expected)).abs() < 1e-4 && (weights[1] - (4.0 + expected)).abs() < 1e-4);
    }
}
