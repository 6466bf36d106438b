//! Why evaluation stops.

use bantam_tensor::{SamplesError, Tensor, TensorError};

use super::RunnerError;

/// Why evaluation stopped.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum EvaluateError {
    #[error("the split has no labels, which {metric} needs\nhint: give `labels` in the data set's manifest")]
    NoLabels { metric: &'static str },
    #[error("there are no samples to score")]
    Empty,
    #[error(
        "{metric} needs an output [samples, classes] of floats, got {got}\nhint: `bantam list metrics` says what each metric is for"
    )]
    Output { metric: &'static str, got: String },
    #[error(
        "{metric} needs one integer label per sample, got {got} for {samples} samples\nhint: `bantam list metrics` says what each \
         metric is for"
    )]
    Labels {
        metric: &'static str,
        got: String,
        samples: usize,
    },
    #[error(
        "{metric} needs an output [samples, tokens, vocabulary] of floats, got {got}\nhint: it is for language models"
    )]
    TokenOutput { metric: &'static str, got: String },
    #[error(
        "{metric} needs one integer label for each of {expected:?} tokens, got {got}\nhint: give `tokens` or `text` in the data set's manifest"
    )]
    TokenLabels {
        metric: &'static str,
        got: String,
        expected: [usize; 2],
    },
    #[error("{metric} needs {needs}, got {got}\nhint: `bantam list metrics` says what each metric is for")]
    Form {
        metric: &'static str,
        needs: &'static str,
        got: String,
    },
    #[error("label {label} of a sample is not among the model's {classes} classes")]
    Class { label: i64, classes: usize },
    #[error(
        "{metric} of these samples is no number\nhint: outputs or labels hold NaN or infinities, or all samples are of one class"
    )]
    Undefined { metric: &'static str },
    #[error(
        "the models' first outputs are {first} and {second}, which cannot be compared\nhint: compare a model with what was made of it"
    )]
    OtherOutput { first: String, second: String },
    #[error("the model has no output")]
    NoOutput,
    #[error(transparent)]
    Samples(#[from] SamplesError),
    #[error(transparent)]
    Runner(#[from] RunnerError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl EvaluateError {
    /// Outputs and labels that do not have the form `needs`.
    pub(super) fn form(
        metric: &'static str,
        needs: &'static str,
        outputs: &[Tensor],
        labels: &Tensor,
    ) -> EvaluateError {
        let outputs: Vec<String> = outputs.iter().map(described).collect();
        let got = format!("outputs {} and labels {}", outputs.join(", "), described(labels));
        EvaluateError::Form { metric, needs, got }
    }
}

/// Type and shape: `f32[8, 10]`.
pub(super) fn described(tensor: &Tensor) -> String {
    format!("{}{:?}", tensor.dtype(), tensor.shape())
}
