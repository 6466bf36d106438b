//! Zeros in trained weights: kept, grown step by step, or moved while training.
//!
//! A mask says of each weight of a product whether it stays. Weights that do not are zero in every step, and
//! so are what the optimizer remembers of them and their moving averages; only [`SparseMethod::Feedback`]
//! lets them learn behind the mask until it is final.

mod budget;
mod choose;
mod grow;
mod layers;
mod masks;
mod regrow;
mod report;
mod schedule;
mod settings;
mod stored;

pub use masks::Masks;
pub use report::LayerSparsity;
pub use settings::{Amount, Criterion, Scope, SparseMethod, SparsitySchedule, SparsitySettings};

use bantam_graph::Graph;
use bantam_tensor::{SplitMix64, Tensor};

use super::state::State;
use super::{Parameter, TrainError};
use layers::Layer;
use schedule::Span;

/// Share of the running mean of squares that stays in a step.
const TAYLOR_DECAY: f32 = 0.98;

/// Masks while training.
pub(super) struct Sparse {
    settings: SparsitySettings,
    layers: Vec<Layer>,
    span: Span,
    seed: u64,
    /// The share of zeros before training.
    initial: f64,
    /// One for each layer; `true` where a weight stays.
    masks: Vec<Vec<bool>>,
    /// What criteria with a memory have gathered; empty for others.
    scores: Vec<Vec<f32>>,
    /// Whether weights behind masks learn.
    is_open: bool,
}

impl Sparse {
    /// The masks before the first of `steps` steps.
    ///
    /// # Errors
    /// When the settings make no sense or do not fit the weights.
    pub(super) fn new(
        graph: &Graph,
        parameters: &[Parameter],
        settings: &SparsitySettings,
        (steps, seed): (u64, u64),
    ) -> Result<Sparse, TrainError> {
        if let Some(problem) = settings.problem() {
            return Err(TrainError::Settings(problem));
        }
        let layers = layers::layers(graph, parameters, &settings.exclude)?;
        let values = layers
            .iter()
            .map(|layer| Ok(parameters[layer.parameter].tensor.to_f32()?));
        let values = values.collect::<Result<Vec<Vec<f32>>, TrainError>>()?;
        let nonzero = |values: &Vec<f32>| values.iter().map(|value| *value != 0.0).collect();
        let mut sparse = Sparse {
            settings: settings.clone(),
            masks: values.iter().map(nonzero).collect(),
            scores: match settings.criterion {
                Criterion::Magnitude => Vec::new(),
                _ => values.iter().map(|values| vec![0.0; values.len()]).collect(),
            },
            layers,
            span: Span::new(settings, steps),
            seed,
            initial: 0.0,
            is_open: settings.method == SparseMethod::Feedback,
        };
        sparse.initial = sparse.sparsity();
        sparse.check()?;
        if settings.method.is_sparse_from_the_start() {
            sparse.masks = sparse.random_masks();
        }
        Ok(sparse)
    }

    /// Whether the settings fit the weights.
    fn check(&self) -> Result<(), TrainError> {
        let wanted = self.settings.amount.share();
        if self.settings.method == SparseMethod::Keep {
            return match self.initial == 0.0 {
                true => Err(TrainError::NoZeros),
                false => Ok(()),
            };
        }
        if let Amount::Pattern { stay, of } = self.settings.amount {
            let unfit = |layer: &&Layer| {
                let axis = layer.input_axis;
                axis.is_none_or(|axis| !layer.shape[axis].is_multiple_of(of))
            };
            let names = self
                .layers
                .iter()
                .filter(unfit)
                .map(|layer| format!("`{}`", layer.name));
            let names: Vec<String> = names.collect();
            return match names.is_empty() {
                true => Ok(()),
                false => Err(TrainError::Pattern {
                    stay,
                    of,
                    layers: names.join(", "),
                }),
            };
        }
        match self.initial > wanted {
            true => Err(TrainError::TooSparse {
                is: self.initial,
                wanted,
            }),
            false => Ok(()),
        }
    }

    /// Draws which weights stay.
    fn random_masks(&self) -> Vec<Vec<bool>> {
        let mut random = SplitMix64::new(self.seed ^ 0x6d61_736b);
        let counts = self.budget(self.settings.amount.share());
        let draw = |(layer, count): (&Layer, usize)| {
            let mut mask: Vec<bool> = (0..layer.len()).map(|index| index < count).collect();
            random.shuffle(&mut mask);
            mask
        };
        self.layers.iter().zip(counts).map(draw).collect()
    }

    /// Weights of each layer that stay.
    fn budget(&self, sparsity: f64) -> Vec<usize> {
        match self.settings.scope() {
            Scope::Erk => budget::erdos_renyi(&self.layers, sparsity),
            _ => budget::uniform(&self.layers, sparsity),
        }
    }

    /// After the gradients of step `step` at the masked weights: criteria remember, connections are
    /// exchanged, and gradients of weights that stay zero become zero.
    pub(super) fn learn(
        &mut self,
        step: u64,
        learning_rate: f32,
        gradients: &mut [Tensor],
        state: &mut State,
    ) -> Result<(), TrainError> {
        self.remember(learning_rate, gradients, state)?;
        let moves = matches!(self.settings.method, SparseMethod::Set | SparseMethod::Rigl);
        if moves && step > 0 && step < self.span.last && self.span.is_due(step) {
            self.exchange(step, gradients, state)?;
        }
        for (layer, mask) in self.layers.iter().zip(&self.masks) {
            let gradient = gradients[layer.parameter].values_mut::<f32>()?;
            if !self.is_open {
                clear(gradient, mask, 0.0);
            } else if self.settings.mask_decay > 0.0 {
                let weights = state.weights[layer.parameter].values::<f32>()?;
                let behind = gradient.iter_mut().zip(weights.iter()).zip(mask);
                behind
                    .filter(|(_, stays)| !**stays)
                    .for_each(|((gradient, weight), _)| *gradient += self.settings.mask_decay * weight);
            }
        }
        Ok(())
    }

    fn remember(
        &mut self,
        learning_rate: f32,
        gradients: &[Tensor],
        state: &State,
    ) -> Result<(), TrainError> {
        for (layer, scores) in self.layers.iter().zip(&mut self.scores) {
            let weights = state.weights[layer.parameter].values::<f32>()?;
            let gradient = gradients[layer.parameter].values::<f32>()?;
            let products = weights
                .iter()
                .zip(gradient.iter())
                .map(|(weight, gradient)| weight * gradient);
            for (score, product) in scores.iter_mut().zip(products) {
                match self.settings.criterion {
                    Criterion::Movement => *score -= learning_rate * product,
                    _ => *score = TAYLOR_DECAY * *score + (1.0 - TAYLOR_DECAY) * product * product,
                }
            }
        }
        Ok(())
    }

    fn exchange(&mut self, step: u64, gradients: &[Tensor], state: &mut State) -> Result<(), TrainError> {
        let share = schedule::exchanged(self.settings.exchange, self.span.done(step));
        let mut random = SplitMix64::new(self.seed ^ step.wrapping_mul(0x9e37_79b9));
        for (layer, mask) in self.layers.iter().zip(&mut self.masks) {
            let growth: Vec<f32> = match self.settings.method {
                SparseMethod::Set => mask.iter().map(|_| random.unit()).collect(),
                _ => gradients[layer.parameter]
                    .values::<f32>()?
                    .iter()
                    .map(|it| it.abs())
                    .collect(),
            };
            let active = mask.iter().filter(|stays| **stays).count();
            let count = (share * active as f64).round() as usize;
            let weights = state.weights[layer.parameter].values::<f32>()?;
            *mask = regrow::exchange(mask, &weights, &growth, count.min(mask.len() - active));
        }
        self.apply(state)
    }

    /// Sets weights that do not stay to zero, and what is remembered of them.
    pub(super) fn apply(&self, state: &mut State) -> Result<(), TrainError> {
        self.mask(&mut state.weights)?;
        for (layer, mask) in self.layers.iter().zip(&self.masks) {
            for memory in &mut state.memory[layer.parameter] {
                clear(memory, mask, 0.0);
            }
        }
        state
            .averages
            .as_deref_mut()
            .map_or(Ok(()), |averages| self.mask(averages))
    }

    /// Sets weights that do not stay to zero; there is one list for each parameter.
    pub(super) fn mask(&self, weights: &mut [Tensor]) -> Result<(), TrainError> {
        for (layer, mask) in self.layers.iter().zip(&self.masks) {
            clear(weights[layer.parameter].values_mut::<f32>()?, mask, 0.0);
        }
        Ok(())
    }

    /// What the network computes with, where that is not what is trained.
    pub(super) fn shown(&self, state: &State) -> Result<Option<State>, TrainError> {
        if !self.is_open {
            return Ok(None);
        }
        let mut shown = state.with_weights(state.weights.clone());
        self.mask(&mut shown.weights)?;
        Ok(Some(shown))
    }

    /// Whether there are as many zeros as in the end before step `step`.
    pub(super) fn is_final(&self, step: u64) -> bool {
        let grows = matches!(
            self.settings.method,
            SparseMethod::Gradual | SparseMethod::Feedback
        );
        !grows || step > self.span.last
    }

    /// The share of weights that do not stay.
    pub(super) fn sparsity(&self) -> f64 {
        let count = |mask: &Vec<bool>| mask.iter().filter(|stays| !**stays).count();
        let zeros: usize = self.masks.iter().map(count).sum();
        zeros as f64 / self.masks.iter().map(Vec::len).sum::<usize>().max(1) as f64
    }
}

/// Sets the values of weights that do not stay.
fn clear(values: &mut [f32], mask: &[bool], to: f32) {
    let gone = values.iter_mut().zip(mask).filter(|(_, stays)| !**stays);
    gone.for_each(|(value, _)| *value = to);
}
