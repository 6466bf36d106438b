//! Why a plan cannot be applied.

use bantam_graph::GraphError;
use bantam_tensor::TensorError;

/// Why a plan cannot be applied.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum RewriteError {
    #[error(
        "the plan has version {got}, this program reads version {expected}\nhint: make it anew with `bantam quantize --plan-out`"
    )]
    Version { got: u32, expected: u32 },
    #[error(
        "the plan speaks of `{name}`, which the model does not have\nhint: a plan fits the model that it was made for"
    )]
    Unknown { name: String },
    #[error(
        "the plan quantizes `{name}` as a constant, but it is none\nhint: a plan fits the model that it was made for"
    )]
    NotConstant { name: String },
    #[error(
        "the plan has scales along an axis that `{name}` does not have, or in groups where there can be none\nhint: a plan fits the model that it was made for"
    )]
    Axis { name: String },
    #[error(
        "the plan has {got} scales and {zero_points} zero points for `{name}`, {expected} are needed\nhint: a plan fits the model that it was made for"
    )]
    Scales {
        name: String,
        got: usize,
        zero_points: usize,
        expected: usize,
    },
    #[error(
        "the plan has the scale {scale} for `{name}`; scales are finite and above zero\nhint: a plan fits the model that it was made for"
    )]
    Scale { name: String, scale: f32 },
    #[error(
        "the plan adds {got} numbers to `{name}`, which has {expected}\nhint: a plan fits the model that it was made for"
    )]
    Shift {
        name: String,
        got: usize,
        expected: usize,
    },
    #[error(
        "the plan gives `{name}` {got} numbers, it has {expected}\nhint: a plan fits the model that it was made for"
    )]
    Weight {
        name: String,
        got: usize,
        expected: usize,
    },
    #[error(
        "the plan adds a product of rank {rank} to `{node}`, whose weight has another shape\nhint: a plan fits the model that it was made for"
    )]
    LowRank { node: String, rank: usize },
    #[error(
        "the plan keeps elements of the weight of `{node}` that it does not have, or whose weight is not in codes\nhint: a plan fits the model that it was made for"
    )]
    Outliers { node: String },
    #[error(
        "the plan multiplies `{name}` of shape {expected:?} by factors of shape {got:?}, which do not fit\nhint: a plan fits the model that it was made for"
    )]
    Factors {
        name: String,
        got: Vec<usize>,
        expected: Vec<usize>,
    },
    #[error(
        "the plan removes the bound of node `{node}`, which is no clamp\nhint: a plan fits the model that it was made for"
    )]
    Unbound { node: String },
    #[error("the plan names the number format `{format}`, which does not exist\nhint: `bantam list formats`")]
    Format { format: String },
    #[error(
        "the plan's table `{table}` is empty, does not rise, or has more values than codes can say\nhint: `bantam list formats` names tables that are known"
    )]
    Table { table: String },
    #[error(
        "the plan quantizes node `{node}` dynamically, which is possible for MatMul, Gemm, Conv and Gather with a constant matrix or kernel only\nhint: a plan fits the model that it was made for"
    )]
    Dynamic { node: String },
    #[error(
        "the plan removes position {position} along axis {axis} of `{name}`, which stays: {reason}\nhint: a plan fits the model that it was made for"
    )]
    Stays {
        name: String,
        axis: usize,
        position: u32,
        reason: String,
    },
    #[error(
        "the plan puts positions along axis {axis} of `{name}` in another order, which {problem}\nhint: a plan fits the model that it was made for"
    )]
    Order {
        name: String,
        axis: usize,
        problem: &'static str,
    },
    #[error(
        "the plan removes the layer that ends in `{name}`, which is no sum of a value and of what is computed from it\nhint: a plan fits the model that it was made for"
    )]
    Layer { name: String },
    #[error(
        "node {node} computes with codes instead of the numbers that they stand for\nhint: files with QuantizeLinear and DequantizeLinear (the usual form) have a way back"
    )]
    ComputesWithCodes { node: String },
    #[error("the model has no codes\nhint: it is in float already")]
    NoCodes,
    #[error(transparent)]
    Remove(Box<bantam_graph::RemoveError>),
    #[error(transparent)]
    Infer(Box<bantam_graph::InferError>),
    #[error(transparent)]
    Passes(#[from] bantam_graph::passes::PassError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error(transparent)]
    Graph(#[from] GraphError),
}

impl From<bantam_graph::RemoveError> for RewriteError {
    fn from(error: bantam_graph::RemoveError) -> RewriteError {
        RewriteError::Remove(Box::new(error))
    }
}

impl From<bantam_graph::InferError> for RewriteError {
    fn from(error: bantam_graph::InferError) -> RewriteError {
        RewriteError::Infer(Box::new(error))
    }
}
