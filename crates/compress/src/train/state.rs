//! What training has come to.

use bantam_kernels::training::optimizer::{moving_average, scale, sum_of_squares};
use bantam_tensor::Tensor;

use super::{Parameter, TrainError, TrainSettings};

/// Weights and what the optimizer remembers.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// One for each parameter.
    pub(super) weights: Vec<Tensor>,
    /// For each parameter, the optimizer's lists.
    pub(super) memory: Vec<Vec<Vec<f32>>>,
    /// Moving averages of the weights.
    pub(super) averages: Option<Vec<Tensor>>,
    /// Running means and variances.
    pub(super) statistics: Vec<Tensor>,
}

impl State {
    pub(super) fn new(parameters: &[Parameter], statistics: Vec<Tensor>, settings: &TrainSettings) -> State {
        let weights: Vec<Tensor> = parameters
            .iter()
            .map(|parameter| parameter.tensor.clone())
            .collect();
        let memory = |weights: &Tensor| vec![vec![0.0; weights.len()]; settings.optimizer.memories()];
        State {
            memory: weights.iter().map(memory).collect(),
            averages: settings.ema.map(|_| weights.clone()),
            weights,
            statistics,
        }
    }

    /// The weights that are the result.
    pub(super) fn best_weights(&self) -> &[Tensor] {
        self.averages.as_deref().unwrap_or(&self.weights)
    }

    /// The same with the weights that are the result.
    pub(super) fn deployed(&self) -> State {
        self.with_weights(self.best_weights().to_vec())
    }

    /// What a step needs, with other weights.
    pub(super) fn with_weights(&self, weights: Vec<Tensor>) -> State {
        State {
            weights,
            memory: Vec::new(),
            averages: None,
            statistics: self.statistics.clone(),
        }
    }

    /// Moves all weights by gradients, which are clipped first; gives their length before. `step` counts from 1.
    pub(super) fn update(
        &mut self,
        step: u64,
        learning_rate: f32,
        parameters: &[Parameter],
        mut gradients: Vec<Tensor>,
        settings: &TrainSettings,
    ) -> Result<f32, TrainError> {
        let mut squares = 0.0;
        for gradient in &gradients {
            squares += sum_of_squares(&gradient.values::<f32>()?);
        }
        let norm = squares.sqrt();
        if let Some(longest) = settings.clip_norm.filter(|longest| norm > f64::from(*longest)) {
            let factor = (f64::from(longest) / norm) as f32;
            for gradient in &mut gradients {
                scale(gradient.values_mut::<f32>()?, factor);
            }
        }
        for (index, parameter) in parameters.iter().enumerate() {
            let decay = if parameter.decays {
                settings.weight_decay
            } else {
                0.0
            };
            let rates = [learning_rate * parameter.learning_rate_factor, decay];
            let gradient = gradients[index].values::<f32>()?;
            let weights = self.weights[index].values_mut::<f32>()?;
            settings
                .optimizer
                .step(step, rates, weights, &gradient, &mut self.memory[index]);
            if let Some(bound) = parameter.lower_bound {
                weights.iter_mut().for_each(|weight| *weight = weight.max(bound));
            }
        }
        if let (Some(averages), Some(decay)) = (&mut self.averages, settings.ema) {
            // Early averages forget faster (as in Tarvainen and Valpola 2017's code).
            let decay = decay.min(step as f32 / (step as f32 + 9.0));
            for (average, weights) in averages.iter_mut().zip(&self.weights) {
                moving_average(average.values_mut::<f32>()?, &weights.values::<f32>()?, decay);
            }
        }
        Ok(norm as f32)
    }
}
