//! Algorithms that choose the codes of weights so that the network's outputs change little, layer by layer, each layer with the inputs
//! that the layers before it give once they are quantized.
//!
//! They work on a network with quantizers ([`Aware`], BatchNormalization folded), and change its constants: [`super::aware::bake`] makes
//! the file of it. To add one: a file with an `impl Algorithm`, and a line in [`ALGORITHMS`].

mod adaround;
mod brecq;
mod choice;
mod distill;
mod greedy;
mod layers;
mod moments;
mod rounding;
mod sign_round;
mod solve;
mod stochastic;
mod walk;

pub(crate) use layers::{Layout, Mean, layout, mean, rows_of_matrix, transposed};
pub(crate) use moments::{Moments, moments};
pub(in crate::quantize) use rounding::{Levels, Metric, Rounded, dot};
pub(in crate::quantize) use sign_round::{
    Ranges, STEPS as SIGN_ROUND_STEPS, Signed, Slope, Span, sign_round,
};
pub(in crate::quantize) use stochastic::DRAWS;
pub(crate) use walk::Walk;

use bantam_exec::{CompileError, RunError};
use bantam_graph::{Graph, InferError};
use bantam_tensor::{Batch, BatchSize, Samples, SamplesError, TensorError};

use super::aware::Aware;
use crate::train::TrainError;

/// An algorithm that chooses codes.
pub trait Algorithm: Sync {
    /// The name that users write.
    fn name(&self) -> &'static str;
    /// One line for lists.
    fn summary(&self) -> &'static str;
    /// Changes weights, scales and biases of the network.
    fn apply(&self, aware: &mut Aware, calibration: &Calibration<'_>) -> Result<(), LayerwiseError>;
}

/// Every algorithm.
pub static ALGORITHMS: &[&dyn Algorithm] = &[
    &stochastic::Stochastic,
    &solve::GPTQ,
    &solve::OBQ,
    &solve::ADAROUND,
    &solve::SIGN_ROUND,
    &solve::LEAST_SQUARES,
    &brecq::Brecq,
    &distill::Distill,
];

/// The algorithm with this name.
pub fn algorithm_by_name(name: &str) -> Option<&'static dyn Algorithm> {
    ALGORITHMS
        .iter()
        .copied()
        .find(|algorithm| algorithm.name() == name)
}

/// What algorithms learn from.
pub struct Calibration<'a> {
    /// The network in float, in the form in which quantizers were put in.
    pub float: &'a Graph,
    /// Samples.
    pub samples: &'a dyn Samples,
    /// Those of them to learn from.
    pub indices: &'a [usize],
    /// Samples that run at once.
    pub batch_size: BatchSize,
    /// Steps of algorithms that train; their own number when absent.
    pub steps: Option<usize>,
    /// The largest learning rate of those; their own when absent.
    pub learning_rate: Option<f32>,
    /// Chooses at random where there is a choice.
    pub seed: u64,
    /// Called with the number of layers that are done, and of all.
    pub progress: &'a dyn Fn(usize, usize),
}

impl Calibration<'_> {
    /// The samples, whole batches only where the network fixes their size.
    pub(in crate::quantize) fn batches(&self) -> Result<Vec<Batch>, SamplesError> {
        let batches = self.batch_size.cut(self.indices);
        batches.map(|(indices, _)| self.samples.batch(&indices)).collect()
    }

    /// The samples of a training step: so many, unless there are fewer or the network fixes their number.
    fn of_step(&self, wanted: usize) -> usize {
        match self.batch_size {
            BatchSize::Fixed(size) => size,
            BatchSize::AtMost(_) => wanted.min(self.indices.len()).max(1),
        }
    }
}

/// Why codes could not be chosen.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum LayerwiseError {
    #[error("the samples have no input `{name}`\nhint: the data set must name every input of the model")]
    NoInput { name: String },
    #[error("a layer's input does not fit its weights: {problem}")]
    Shape { problem: String },
    #[error(
        "the inputs of the layer `{layer}` became infinite or no number on the calibration data\nhint: check the data set's preprocessing, or exclude the layer with --exclude"
    )]
    NotFinite { layer: String },
    #[error(
        "the rows of `{layer}` have {depth} weights, obq takes at most {longest}: its work grows with the third power\nhint: take least-squares or gptq, or exclude the layer with --exclude"
    )]
    LongRows {
        layer: String,
        depth: usize,
        longest: usize,
    },
    #[error(transparent)]
    Infer(#[from] InferError),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Samples(#[from] SamplesError),
    #[error(transparent)]
    Train(Box<TrainError>),
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl From<TrainError> for LayerwiseError {
    fn from(error: TrainError) -> LayerwiseError {
        LayerwiseError::Train(Box::new(error))
    }
}
