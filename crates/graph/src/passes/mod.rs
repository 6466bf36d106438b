//! Passes: rewrites that keep what a graph computes.
//!
//! A pass looks at a graph and returns the edits it wants as a [`Patch`], and for each place that looked promising
//! but was left alone the reason. [`run_passes`] applies them. To add one: a file with a `fn(&Graph) -> Outcome`,
//! and a line in [`PASSES`].
//!
//! Passes work on the outermost graph; subgraphs are left as they are.

mod common_subexpressions;
mod dead_nodes;
mod fold_batch_normalization;
mod fold_casts;
mod identity;
mod join_groups;
mod merge_bias;
mod merge_transposes;
mod runner;

pub use common_subexpressions::eliminate_common_subexpressions;
pub use dead_nodes::eliminate_dead_nodes;
pub use fold_batch_normalization::fold_batch_normalization;
pub use fold_casts::{fold_casts, fold_casts_by};
pub use identity::eliminate_identity;
pub use join_groups::join_groups;
pub use merge_bias::merge_bias;
pub use merge_transposes::merge_transposes;
pub use runner::{PassError, PassReport, run_passes};

use crate::{Graph, Patch};

/// A named rewrite.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// The name that users and messages know it by.
    pub name: &'static str,
    /// One line for lists.
    pub summary: &'static str,
    /// Finds what to edit.
    pub find: fn(&Graph) -> Outcome,
}

/// What a pass wants to do to one graph.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The edits; empty when there is nothing to do.
    pub patch: Patch,
    /// How many places the edits are about.
    pub applied: usize,
    /// Places that were looked at and left alone.
    pub not_applied: Vec<NotApplied>,
}

impl Outcome {
    /// Nothing to do yet.
    fn new(graph: &Graph) -> Outcome {
        Outcome {
            patch: Patch::new(graph),
            ..Outcome::default()
        }
    }
}

/// A place that a pass left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotApplied {
    /// The node, as messages call it.
    pub node: String,
    /// Why.
    pub reason: Reason,
}

impl std::fmt::Display for NotApplied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.node, self.reason)
    }
}

/// Why a pass left a place alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum Reason {
    #[error("it normalizes with the statistics of the batch (training mode)")]
    TrainingMode,
    #[error("its input `{value}` comes from no Conv, ConvTranspose or Gemm")]
    NoFoldableProducer { value: String },
    #[error("`{value}`, which lies between the two nodes, is also read by others")]
    SharedValue { value: String },
    #[error("`{value}`, which lies between the two nodes, is an output of the graph")]
    GraphOutput { value: String },
    #[error("`{value}` is not a constant")]
    NotConstant { value: String },
    #[error("`{value}` has shape {got:?}, which does not fit {channels} channels")]
    Shape {
        value: String,
        got: Vec<usize>,
        channels: usize,
    },
    #[error("the weight `{value}` has shape {got:?}, which has no channels to scale")]
    Weight { value: String, got: Vec<usize> },
    #[error("the type of `{value}` is {got}; only f16, bf16, f32 and f64 are folded")]
    DType {
        value: String,
        got: bantam_tensor::DType,
    },
    #[error("`{value}` has elements that are not finite")]
    NotFinite { value: String },
    #[error("the variance of channel {channel} plus epsilon is not above zero")]
    Variance { channel: usize },
    #[error("its output is an output of the graph, and its input is a constant, an input or another output")]
    NamesBothEnds,
    #[error("`{value}` is computed elsewhere too, but both are outputs of the graph")]
    BothOutputs { value: String },
    #[error(
        "ONNX Runtime's ops have no groups of {group} along the inputs for codes such as those of `{value}`, or no such product or table"
    )]
    Groups { value: String, group: i64 },
}

/// Merges BatchNormalization into the weights before it.
pub const FOLD_BATCH_NORMALIZATION: Pass = Pass {
    name: "fold-batch-normalization",
    summary: "merges BatchNormalization into the Conv, ConvTranspose or Gemm before it",
    find: fold_batch_normalization,
};

/// Makes constants of casts of constants.
pub const FOLD_CASTS: Pass = Pass {
    name: "fold-casts",
    summary: "makes f32 constants of f16 and bf16 constants that are cast to f32",
    find: fold_casts,
};

/// Brings matrix products to the form of which there are integer kernels.
pub const MERGE_BIAS: Pass = Pass {
    name: "merge-bias",
    summary: "makes one Gemm of a product of matrices and an added row, and merges factors of a Gemm into its constants",
    find: merge_bias,
};

/// Lets one node do what several do.
pub const ELIMINATE_COMMON_SUBEXPRESSIONS: Pass = Pass {
    name: "eliminate-common-subexpressions",
    summary: "keeps one of the nodes that compute the same from the same",
    find: eliminate_common_subexpressions,
};

/// Lets one transposition do what two do.
pub const MERGE_TRANSPOSES: Pass = Pass {
    name: "merge-transposes",
    summary: "makes one Transpose of two in a row",
    find: merge_transposes,
};

/// Removes nodes that return their input.
pub const ELIMINATE_IDENTITY: Pass = Pass {
    name: "eliminate-identity",
    summary: "removes Identity, inference Dropout, and casts, transpositions, pads and the like that change nothing",
    find: eliminate_identity,
};

/// Removes nodes whose outputs nobody reads.
pub const ELIMINATE_DEAD_NODES: Pass = Pass {
    name: "eliminate-dead-nodes",
    summary: "removes nodes whose outputs nobody reads",
    find: eliminate_dead_nodes,
};

/// Writes MatMul and Gemm whose weight is read through DequantizeLinear in groups as MatMulNBits, which ONNX Runtime has fast
/// kernels for, and lookups in such tables as GatherBlockQuantized, which dequantizes no more than what is looked up. For files that need to run nowhere else; not among [`PASSES`].
pub const JOIN_GROUPS: Pass = Pass {
    name: "join-groups",
    summary: "makes MatMulNBits of products with weights in groups, and GatherBlockQuantized of lookups in such tables",
    find: join_groups,
};

/// Every pass, in the order in which they help each other.
pub static PASSES: &[Pass] = &[
    MERGE_TRANSPOSES,
    ELIMINATE_IDENTITY,
    FOLD_CASTS,
    ELIMINATE_COMMON_SUBEXPRESSIONS,
    MERGE_BIAS,
    FOLD_BATCH_NORMALIZATION,
    ELIMINATE_DEAD_NODES,
];
