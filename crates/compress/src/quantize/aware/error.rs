//! Why a graph cannot be trained for quantization, or a trained one not be baked.

use bantam_exec::{CompileError, RunError};
use bantam_graph::passes::PassError;
use bantam_graph::{GraphError, InferError};
use bantam_tensor::TensorError;

use crate::RewriteError;
use crate::quantize::QuantizeError;

/// Why a graph cannot be trained for quantization, or a trained one not be baked.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum AwareError {
    #[error(
        "there is no number format `{name}` to train for\nhint: the nearest is `{nearest}`; there are {known}"
    )]
    Format {
        name: String,
        known: String,
        nearest: &'static str,
    },
    #[error(
        "{target} takes scales that are powers of two\nhint: --scales power-of-two or fixed, --batch-normalization fold, and uniform mappings"
    )]
    Scales { target: &'static str },
    #[error("`{text}` is no width of nodes\nhint: SELECTOR=FORMAT, as role:last=int8 or name:*/conv2=int4")]
    Width { text: String },
    #[error(
        "the trained graph has no quantizer `{node}` any more\nhint: training may change initializers, not nodes"
    )]
    NoQuantizer { node: String },
    #[error(
        "training left `{quantizer}` with the scale {scale}; scales are finite and above zero\nhint: lower the learning rate"
    )]
    Scale { quantizer: String, scale: f32 },
    #[error(
        "training left values in the weight `{weight}` that are infinite or no number\nhint: lower the learning rate, or clip gradients"
    )]
    NonFinite { weight: String },
    #[error(
        "the levels of `{quantizer}` depend on the inputs of the network\nhint: training may change initializers, not nodes"
    )]
    NotConstant { quantizer: String },
    #[error(
        "the plan speaks of `{name}`, which the trained graph does not have\nhint: training may change initializers, not nodes"
    )]
    Unknown { name: String },
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
    #[error(transparent)]
    Pass(#[from] PassError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Infer(#[from] InferError),
    #[error(transparent)]
    Rewrite(#[from] RewriteError),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
}
