//! What can go wrong when a graph is compiled and run.

use bantam_graph::GraphError;
use bantam_tensor::{DType, TensorError};

/// Why an operator cannot compute its outputs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum OpError {
    #[error("input {index} is missing")]
    MissingInput { index: usize },
    #[error("input {index} is {got}, which is not supported here")]
    Type { index: usize, got: DType },
    #[error("{0}")]
    Shape(String),
    #[error("{0}")]
    Value(String),
    #[error("{0} is not supported")]
    Unsupported(String),
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error("in the subgraph: {0}")]
    Subgraph(Box<RunError>),
}

impl OpError {
    /// A shape error with this message.
    pub fn shape(message: impl Into<String>) -> OpError {
        OpError::Shape(message.into())
    }

    /// A value error with this message.
    pub fn value(message: impl Into<String>) -> OpError {
        OpError::Value(message.into())
    }
}

/// Why a graph cannot be turned into a program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum CompileError {
    #[error(
        "node {node}: the op `{domain}{op}` is not known\nhint: `bantam inspect` lists the ops of a model; those of other domains cannot be run"
    )]
    UnknownOp {
        node: String,
        domain: String,
        op: String,
    },
    #[error("node {node}: the attribute `{attribute}` is not known, and ignoring it could be wrong")]
    UnknownAttribute { node: String, attribute: String },
    #[error("node {node}: {source}")]
    Node { node: String, source: OpError },
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error("the subgraph of node {node} reads `{value}`, which nothing defines")]
    Captured { node: String, value: String },
}

/// Why a program stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum RunError {
    #[error("input `{name}` is missing\nhint: the model's inputs are {expected}")]
    MissingInput { name: String, expected: String },
    #[error("the model has no input `{name}`\nhint: the model's inputs are {expected}")]
    UnknownInput { name: String, expected: String },
    #[error("input `{name}` must be {expected}, got {got}")]
    Input {
        name: String,
        expected: String,
        got: String,
    },
    #[error("node {node}: {source}\nhint: its inputs were {inputs}")]
    Node {
        node: String,
        inputs: String,
        source: OpError,
    },
}
