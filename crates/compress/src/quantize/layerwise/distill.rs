//! Trains the quantized network to say what the float network says, on the calibration samples alone and without labels.

use bantam_tensor::{Batch, Samples, SamplesError};

use super::{Algorithm, Calibration, LayerwiseError};
use crate::quantize::aware::Aware;
use crate::train::{Distillation, Observer, Optimizer, StepReport, TrainSettings, train};

/// Weights, scales and biases are trained by the straight-through estimator and learned scales, against the outputs of the float
/// network (Hinton et al. 2015; for quantized networks Polino et al. 2018).
pub(super) struct Distill;

/// Samples of a step.
const BATCH: usize = 32;
/// Steps where nothing else is asked for.
const STEPS: usize = 640;
/// The largest learning rate, where nothing else is asked for: few samples say little, so that weights must stay near where they are.
const LEARNING_RATE: f32 = 1e-4;
/// Share that stays of the moving average of the weights: codes that flip to and fro settle.
const AVERAGE: f32 = 0.99;

impl Algorithm for Distill {
    fn name(&self) -> &'static str {
        "distill"
    }

    fn summary(&self) -> &'static str {
        "trains weights and scales against the outputs of the float network, without labels"
    }

    fn apply(&self, aware: &mut Aware, calibration: &Calibration<'_>) -> Result<(), LayerwiseError> {
        let subset = Subset {
            samples: calibration.samples,
            indices: calibration.indices,
        };
        let batch = calibration.of_step(BATCH);
        let steps = calibration.steps.unwrap_or(STEPS);
        let settings = TrainSettings {
            batch,
            epochs: steps.div_ceil((calibration.indices.len() / batch).max(1)),
            max_steps: Some(steps as u64),
            optimizer: Optimizer::Adamw {
                beta1: 0.9,
                beta2: 0.999,
            },
            learning_rate: calibration.learning_rate.unwrap_or(LEARNING_RATE),
            weight_decay: 1e-3,
            ema: Some(AVERAGE),
            distillation: Some(Distillation {
                temperature: 4.0,
                weight: 1.0,
                features: Vec::new(),
                feature_weight: 0.0,
            }),
            seed: calibration.seed,
            ..TrainSettings::default()
        };
        (calibration.progress)(0, steps);
        let mut teller = Teller(calibration.progress);
        let trained = train(
            &aware.graph,
            &subset,
            &settings,
            &aware.rules(),
            Some(calibration.float),
            None,
            &mut teller,
        )?;
        aware.graph = trained.graph;
        Ok(())
    }
}

/// Some samples, without their labels.
struct Subset<'a> {
    samples: &'a dyn Samples,
    indices: &'a [usize],
}

impl Subset<'_> {
    fn chosen(&self, indices: &[usize]) -> Vec<usize> {
        indices.iter().map(|index| self.indices[*index]).collect()
    }
}

impl Samples for Subset<'_> {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn has_labels(&self) -> bool {
        false
    }

    fn batch(&self, indices: &[usize]) -> Result<Batch, SamplesError> {
        let batch = self.samples.batch(&self.chosen(indices))?;
        Ok(Batch {
            labels: None,
            ..batch
        })
    }

    fn training_batch(&self, indices: &[usize], draw: u64) -> Result<Batch, SamplesError> {
        let batch = self.samples.training_batch(&self.chosen(indices), draw)?;
        Ok(Batch {
            labels: None,
            ..batch
        })
    }
}

/// Tells how far training is.
struct Teller<'a>(&'a dyn Fn(usize, usize));

impl Observer for Teller<'_> {
    fn step(&mut self, report: &StepReport) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        (self.0)(report.step as usize, report.steps as usize);
        Ok(())
    }
}
