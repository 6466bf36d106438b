//! What training says while it goes on, and gives in the end.

use bantam_graph::Graph;
use serde::{Deserialize, Serialize};

use super::Checkpoint;
use super::sparse::LayerSparsity;

/// A step that was made.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StepReport {
    /// Steps so far.
    pub step: u64,
    /// Steps of the whole training.
    pub steps: u64,
    /// The epoch, from 0.
    pub epoch: usize,
    /// The loss of the batch.
    pub loss: f32,
    /// Of this step.
    pub learning_rate: f32,
    /// Length of the gradient of all parameters, before it was clipped.
    pub gradient_norm: f32,
    /// Share of the epoch's samples so far that were right, for losses of classes.
    pub accuracy: Option<f64>,
    /// Samples of the batch.
    pub samples: usize,
    /// Time of the step, in seconds.
    pub seconds: f64,
}

/// An epoch that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Mean loss of its batches.
    pub loss: f64,
    /// Share of its samples that were right, for losses of classes.
    pub accuracy: Option<f64>,
    /// Accuracy (or else the negative loss) on the samples kept apart.
    pub validation: Option<f64>,
    /// Share of the weights of products that are zero, where training is sparse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sparsity: Option<f64>,
    /// Time in steps, in seconds.
    pub seconds: f64,
    /// Samples of a second: those of a batch over the median time of a step.
    pub samples_per_second: f64,
}

/// Hears of training, and keeps checkpoints. Errors end training.
pub trait Observer {
    /// After each step.
    fn step(&mut self, _report: &StepReport) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }

    /// After each epoch; `model` gives the graph with its weights.
    fn epoch(
        &mut self,
        _report: &EpochReport,
        _model: &dyn Fn() -> Graph,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }

    /// Whether to make a checkpoint after this many steps; there is one after each epoch anyway.
    fn wants_checkpoint(&self, _steps: u64) -> bool {
        false
    }

    /// A checkpoint to keep.
    fn checkpoint(
        &mut self,
        _checkpoint: &Checkpoint,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }
}

/// What training gives.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The graph with its new weights: the best of all epochs if samples were kept apart, else the last.
    pub graph: Graph,
    /// The epochs.
    pub history: Vec<EpochReport>,
    /// Parts of the forward pass, all but the last of which run twice to save memory.
    pub segments: usize,
    /// Steps that were made.
    pub steps: u64,
    /// Zeros of each masked weight, where training is sparse.
    pub sparsity: Vec<LayerSparsity>,
}
