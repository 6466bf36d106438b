//! Why a graph cannot be differentiated.

use crate::{GraphError, InferError};

/// Why a graph cannot be differentiated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum DifferentiateError {
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Infer(#[from] InferError),
    #[error("the graph has no value number {index}\nhint: ids are those of the graph that is differentiated")]
    NoSuchValue { index: usize },
    #[error(
        "the loss `{loss}` is {ty}, not a float with one element\nhint: reduce it, by ReduceMean or by the `reduction` of the loss"
    )]
    NotScalar { loss: String, ty: String },
    #[error(
        "the gradient has to pass node {node}, whose op {op} has no gradient here: {reason}\nhint: {hint}"
    )]
    NoGradient {
        node: String,
        op: String,
        reason: String,
        hint: &'static str,
    },
}

/// Why a node's rule cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) reason: String,
    pub(super) hint: &'static str,
}

/// What helps when an op has no gradient.
pub(super) const FREEZE: &str =
    "train only values that come after the node, or replace it by ops that have a gradient";

impl Problem {
    pub(super) fn new(reason: impl Into<String>) -> Problem {
        Problem {
            reason: reason.into(),
            hint: FREEZE,
        }
    }

    /// The type of a value would have to be known.
    pub(super) fn unknown_type(value: &str) -> Problem {
        Problem {
            reason: format!("the type or number of dimensions of `{value}` is not known"),
            hint: "give the shapes of the graph's inputs",
        }
    }
}
