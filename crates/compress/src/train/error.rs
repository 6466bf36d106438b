//! Why training stops.

use bantam_exec::{CompileError, RunError};
use bantam_graph::passes::PassError;
use bantam_graph::{DifferentiateError, InferError, MemoryLimitError};
use bantam_tensor::{SamplesError, TensorError};

use crate::evaluate::EvaluateError;
use crate::select::SelectorError;

/// Why training stopped.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum TrainError {
    #[error("{0}")]
    Settings(String),
    #[error("the model has no output to compute a loss of")]
    NoOutput,
    #[error("{loss} needs an output of {needed}, `{output}` is {got}")]
    Output {
        loss: &'static str,
        needed: &'static str,
        output: String,
        got: String,
    },
    #[error(
        "the samples have no labels\nhint: give `labels` in the data set's manifest, or learn from a teacher alone"
    )]
    NoLabels,
    #[error("there is nothing to train: no parameter of the model is left\nhint: check what is frozen")]
    NothingToTrain,
    #[error(
        "no weight of a convolution, product or recurrent cell is left to be sparse\nhint: check what is frozen and excluded"
    )]
    NoWeights,
    #[error(
        "{penalty} finds no channels that can be removed and that training moves\nhint: `bantam inspect --coupling` says what stays and why; \
         check what is frozen"
    )]
    NoUnits { penalty: &'static str },
    #[error(
        "no trained weight has a zero to keep\nhint: prune the model first, or give a share: `sparsity` 90%"
    )]
    NoZeros,
    #[error("{:.2}% of the weights are zero already, more than {:.2}%\nhint: keep them with `sparsity` keep", is * 100.0, wanted * 100.0)]
    TooSparse { is: f64, wanted: f64 },
    #[error(
        "{stay} of {of} does not fit the inputs of {layers}\nhint: leave such layers dense with `sparsity-exclude`, as role:first or name:GLOB"
    )]
    Pattern { stay: usize, of: usize, layers: String },
    #[error("{first} steps were made before, of {steps}\nhint: fewer steps to begin with, or more epochs")]
    FirstStep { first: u64, steps: u64 },
    #[error("`{glob}` to freeze matches no parameter and no node\nhint: {hint}")]
    Unmatched { glob: String, hint: String },
    #[error("the loss does not depend on `{parameter}`\nhint: freeze it if that is meant")]
    NoGradient { parameter: String },
    #[error(
        "{samples} samples for training are too few\nhint: use more samples or a smaller share for validation"
    )]
    TooFew { samples: usize },
    #[error("the model's input `{input}` is for batches of {fixed} samples\nhint: set the batch to {fixed}")]
    Batch { input: String, fixed: usize },
    #[error(
        "the input `{input}` has no known shape behind its first dimension\nhint: export the model with fixed sizes"
    )]
    InputShape { input: String },
    #[error(
        "the feature {feature:?} is not a pair of values, or one is missing\nhint: write NAME-IN-STUDENT=NAME-IN-TEACHER"
    )]
    Feature { feature: String },
    #[error(
        "the feature {feature:?} has {student} and {teacher}\nhint: both need one shape, or one but for the number of channels (axis 1 of three and more)"
    )]
    FeatureShape {
        feature: String,
        student: String,
        teacher: String,
    },
    #[error(
        "the teacher gives {teacher:?}, the student {student:?}\nhint: both must score the same classes, for batches of one size"
    )]
    Teacher {
        teacher: Vec<usize>,
        student: Vec<usize>,
    },
    #[error(
        "the loss is {loss} in step {step}; the first value that is not a number comes from {node}\nhint: lower the \
         learning rate, or clip gradients with `clip-norm`"
    )]
    NotFinite { loss: f32, step: u64, node: String },
    #[error(
        "the loss is {loss} on the calibration data; the first value that is not a number comes from {node}\nhint: check \
         the data set's preprocessing and the model"
    )]
    LossNotFinite { loss: f32, node: String },
    #[error("the checkpoint {problem}\nhint: start anew without --resume")]
    Checkpoint { problem: String },
    #[error("{0}")]
    Observer(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error(transparent)]
    Selector(#[from] SelectorError),
    #[error(transparent)]
    Memory(#[from] MemoryLimitError),
    #[error(transparent)]
    Infer(#[from] InferError),
    #[error(transparent)]
    Differentiate(#[from] DifferentiateError),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error(transparent)]
    Pass(#[from] PassError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Samples(#[from] SamplesError),
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
}
