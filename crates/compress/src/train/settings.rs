//! What a user can ask of training.

use serde::{Deserialize, Serialize};

use super::regularization::Regularization;
use super::sparse::SparsitySettings;
use super::{Loss, Optimizer, Precision, Schedule};

/// Settings of training. Their words are those of recipes and of the command line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrainSettings {
    /// Times that all samples are seen.
    pub epochs: usize,
    /// Samples of a step.
    pub batch: usize,
    /// Steps after which training ends, whatever the epochs.
    pub max_steps: Option<u64>,
    /// What is minimized.
    pub loss: Loss,
    /// Share of the target that is spread over all classes (Szegedy et al. 2016, section 7).
    pub label_smoothing: f32,
    /// How weights move.
    pub optimizer: Optimizer,
    /// The largest rate.
    pub learning_rate: f32,
    /// How the rate changes.
    pub schedule: Schedule,
    /// Epochs in which the rate grows from 0.
    pub warmup: f32,
    /// Share of a weight that is added to its gradient (or taken off, AdamW); norms and biases have none.
    pub weight_decay: f32,
    /// Longest gradient of all parameters together.
    pub clip_norm: Option<f32>,
    /// Share of the moving average of weights that stays in a step; these weights are then the result.
    pub ema: Option<f32>,
    /// Globs of parameters, or of nodes that read them, that stay as they are.
    pub freeze: Vec<String>,
    /// Epoch from which BatchNormalization takes its running statistics.
    pub freeze_statistics: Option<usize>,
    /// Share of the training samples that is kept apart to choose the best epoch by.
    pub validation: f32,
    /// Epochs without a better validation score after which training stops.
    pub patience: Option<usize>,
    /// Learning from another network.
    pub distillation: Option<Distillation>,
    /// Zeros in trained weights.
    pub sparsity: Option<SparsitySettings>,
    /// What makes whole channels small, so that they can be removed afterwards.
    pub regularization: Option<Regularization>,
    /// Steps that count as made before training begins: order of samples, rate and masks go on behind them. The
    /// weights that the graph has are those after them (rewinding, Frankle et al. 2020).
    pub first_step: u64,
    /// What values and products of a step are rounded to.
    pub precision: Precision,
    /// Most bytes of a step; parts of the forward pass run twice where that is needed.
    pub memory_limit: Option<u64>,
    /// Chooses the order of samples and how they are changed.
    pub seed: u64,
}

/// Learning from a teacher's outputs (Hinton et al. 2015).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Distillation {
    /// Divides the scores of both.
    pub temperature: f32,
    /// Share of the teacher in the loss; 1 needs no labels.
    pub weight: f32,
    /// Values of the student and of the teacher whose mean squared difference, or where only their numbers of channels differ the squared
    /// distance of their attention maps, is added to the loss, as `student=teacher`.
    pub features: Vec<String>,
    /// Factor of that difference.
    pub feature_weight: f32,
}

impl Default for TrainSettings {
    fn default() -> TrainSettings {
        TrainSettings {
            epochs: 5,
            batch: 128,
            max_steps: None,
            loss: Loss::CrossEntropy,
            label_smoothing: 0.0,
            optimizer: Optimizer::default(),
            learning_rate: 0.01,
            schedule: Schedule::Cosine,
            warmup: 0.0,
            weight_decay: 1e-4,
            clip_norm: None,
            ema: None,
            freeze: Vec::new(),
            freeze_statistics: None,
            validation: 0.0,
            patience: None,
            distillation: None,
            sparsity: None,
            regularization: None,
            first_step: 0,
            precision: Precision::Float32,
            memory_limit: None,
            seed: 0,
        }
    }
}

impl Default for Distillation {
    fn default() -> Distillation {
        Distillation {
            temperature: 4.0,
            weight: 0.9,
            features: Vec::new(),
            feature_weight: 1.0,
        }
    }
}

impl TrainSettings {
    /// The first setting that makes no sense, and what would.
    pub fn problem(&self) -> Option<String> {
        let share = |value: f32| (0.0..1.0).contains(&value);
        let distillation = self.distillation.clone().unwrap_or_default();
        let rules = [
            (self.epochs > 0, "`epochs` must be at least 1"),
            (self.batch > 0, "`batch` must be at least 1"),
            (
                self.learning_rate.is_finite() && self.learning_rate > 0.0,
                "`learning-rate` must be above 0",
            ),
            (
                share(self.label_smoothing),
                "`label-smoothing` must be from 0 to below 1",
            ),
            (share(self.validation), "`validation` must be from 0 to below 1"),
            (self.ema.is_none_or(share), "`ema` must be from 0 to below 1"),
            (
                self.warmup >= 0.0 && self.warmup.is_finite(),
                "`warmup` must be at least 0",
            ),
            (
                self.weight_decay >= 0.0 && self.weight_decay.is_finite(),
                "`weight-decay` must be at least 0",
            ),
            (
                self.clip_norm.is_none_or(|norm| norm > 0.0),
                "`clip-norm` must be above 0",
            ),
            (
                self.patience.is_none() || self.validation > 0.0,
                "`patience` needs samples to validate on: set `validation`",
            ),
            (distillation.temperature > 0.0, "`temperature` must be above 0"),
            (
                (0.0..=1.0).contains(&distillation.weight),
                "the teacher's `weight` must be from 0 to 1",
            ),
        ];
        let broken = rules.iter().find(|(holds, _)| !holds);
        let of_sparsity = || self.sparsity.as_ref().and_then(SparsitySettings::problem);
        let of_regularization = || self.regularization.and_then(|it| it.problem());
        (broken.map(|(_, rule)| (*rule).to_owned()))
            .or_else(of_sparsity)
            .or_else(of_regularization)
    }

    /// Samples of a set of so many that are kept apart.
    pub(super) fn validation_samples(&self, samples: usize) -> usize {
        (samples as f64 * f64::from(self.validation)).round() as usize
    }

    /// Steps of training on so many samples.
    pub fn steps(&self, samples: usize) -> u64 {
        let train = samples.saturating_sub(self.validation_samples(samples));
        let of_epoch = train.checked_div(self.batch.min(train)).unwrap_or(0);
        let all = of_epoch as u64 * self.epochs as u64;
        self.max_steps.map_or(all, |most| most.min(all))
    }

    /// Whether samples need labels.
    pub fn needs_labels(&self) -> bool {
        let all_teacher = self.distillation.as_ref().is_some_and(|it| it.weight == 1.0);
        !all_teacher && self.loss != Loss::NextToken
    }
}
