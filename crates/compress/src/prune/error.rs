//! Why a network could not be pruned.

use bantam_graph::InferError;
use bantam_tensor::{SamplesError, TensorError};

use crate::quantize::layerwise::LayerwiseError;
use crate::select::SelectorError;
use crate::train::TrainError;

/// Why a network could not be pruned.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum PruneError {
    #[error(
        "`{text}` is no structure\nhint: structures are unstructured, N:M with N below M as 2:4, and block:ROWSxCOLUMNS"
    )]
    Structure { text: String },
    #[error("a sparsity of {percent}% {problem}\nhint: {hint}")]
    Sparsity {
        percent: f64,
        problem: &'static str,
        hint: String,
    },
    #[error(
        "{problem}\nhint: --steps 1, or more with --structure unstructured and --reconstruct least-squares or none"
    )]
    Steps { problem: &'static str },
    #[error("{who} looks at samples\nhint: give --data FILE, or take {instead}")]
    NoSamples { who: String, instead: &'static str },
    #[error(
        "{reconstruction} chooses weights one by one or in patterns, not {structure}\nhint: --reconstruct least-squares"
    )]
    Blocks {
        reconstruction: &'static str,
        structure: String,
    },
    #[error(
        "`{weight}` has {depth} weights in a row, {reconstruction} is for at most {most}\nhint: --reconstruct sparsegpt, or \
         keep the layer with --exclude"
    )]
    Depth {
        weight: String,
        depth: usize,
        most: usize,
        reconstruction: &'static str,
    },
    #[error(
        "the saliencies of `{weight}` by {criterion} are infinite or no number\nhint: check the model's weights and the data \
         set's preprocessing"
    )]
    NotFinite { criterion: &'static str, weight: String },
    #[error(
        "the criterion {criterion} judges whole channels, not {other}\nhint: it is for --structure channel; `bantam list criteria` says \
         what others are for"
    )]
    ChannelsAlone { criterion: &'static str, other: String },
    #[error(
        "synflow does not follow {node}: it is for networks of products, normalization with constant statistics, activations and \
         pooling\nhint: another criterion without data, as --criterion magnitude or lamp"
    )]
    NotLinear { node: String },
    #[error("{problem}\nhint: {hint}")]
    Setting { problem: String, hint: &'static str },
    #[error("there is nothing to prune: {reasons}\nhint: `bantam inspect` lists the ops of the model")]
    Nothing { reasons: String },
    #[error(
        "{wanted:.1}% of the {what} cannot be reached by removing these units: at least {least:.1}% stay\nhint: a lower --least, fewer \
         --exclude, or a higher target"
    )]
    Target {
        what: &'static str,
        wanted: f64,
        least: f64,
    },
    #[error(transparent)]
    Rewrite(#[from] crate::rewrite::RewriteError),
    #[error(transparent)]
    Remove(#[from] bantam_graph::RemoveError),
    #[error(transparent)]
    Selector(#[from] SelectorError),
    #[error(transparent)]
    Layer(#[from] LayerwiseError),
    #[error(transparent)]
    Train(Box<TrainError>),
    #[error(transparent)]
    Infer(#[from] InferError),
    #[error(transparent)]
    Samples(#[from] SamplesError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl From<TrainError> for PruneError {
    fn from(error: TrainError) -> PruneError {
        PruneError::Train(Box::new(error))
    }
}
