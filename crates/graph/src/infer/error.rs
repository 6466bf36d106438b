//! What shape inference can object to.

use crate::Dim;

/// Why the types of a graph could not be inferred.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InferError {
    /// A node's inputs or attributes contradict each other.
    #[error("node {node}: {problem} (inputs: {})", inputs.join(", "))]
    Node {
        /// The node, as messages call it.
        node: String,
        /// Its inputs, as `x: f32[N,3]`.
        inputs: Vec<String>,
        /// The contradiction.
        problem: Box<Problem>,
    },
    /// A shape was given for an input that the graph does not have.
    #[error("the graph has no input `{name}`; its inputs are {}", known.join(", "))]
    NoSuchInput {
        /// The name that was given.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// A shape was given that the declared one does not allow.
    #[error("input `{name}` is declared as {declared}, which {given:?} does not fit")]
    InputShape {
        /// The input.
        name: String,
        /// The type in the graph.
        declared: String,
        /// The shape that was given.
        given: Vec<usize>,
    },
    /// Two inputs give different sizes to one symbol.
    #[error("the dimension `{symbol}` would be both {first} and {second}")]
    Symbol {
        /// The symbol.
        symbol: String,
        /// The size that came first.
        first: usize,
        /// The size that came second.
        second: usize,
    },
}

/// A contradiction within one node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum Problem {
    #[error("input {position} has {got} dimensions, expected {expected}")]
    Rank {
        position: usize,
        got: usize,
        expected: String,
    },
    #[error("{what} must be equal, got {left} and {right}")]
    Differ {
        what: &'static str,
        left: String,
        right: String,
    },
    #[error("shapes {left} and {right} do not broadcast")]
    Broadcast { left: String, right: String },
    #[error("inputs {first} and {second} must have one type, got {left} and {right}")]
    Types {
        first: usize,
        second: usize,
        left: bantam_tensor::DType,
        right: bantam_tensor::DType,
    },
    #[error("axis {axis} is out of range for {rank} dimensions")]
    Axis { axis: i64, rank: usize },
    #[error("`{name}` is {got}, expected {expected}")]
    Argument {
        name: &'static str,
        got: String,
        expected: String,
    },
    #[error("a window of {window} does not fit into {size} padded elements of spatial axis {axis}")]
    Window { axis: usize, window: usize, size: usize },
    #[error("a result has {got} dimensions; at most {limit} are supported")]
    TooManyDimensions { got: usize, limit: usize },
    #[error("cannot reshape {from} to {to}: the number of elements differs")]
    Reshape { from: String, to: String },
    #[error("the size of the result is not a number that fits, computed from {0}")]
    Size(String),
    #[error("its graph has {got} {what}, expected {expected}")]
    Subgraph {
        what: &'static str,
        got: usize,
        expected: usize,
    },
    #[error("inside: {0}")]
    Inside(Box<InferError>),
}

impl Problem {
    /// An argument with a value outside of its range.
    pub(super) fn argument(
        name: &'static str,
        got: impl std::fmt::Debug,
        expected: impl Into<String>,
    ) -> Problem {
        Problem::Argument {
            name,
            got: format!("{got:?}"),
            expected: expected.into(),
        }
    }

    /// Two sizes that must be equal.
    pub(super) fn differ(what: &'static str, left: impl ToString, right: impl ToString) -> Problem {
        Problem::Differ {
            what,
            left: left.to_string(),
            right: right.to_string(),
        }
    }
}

/// `[N,3,?]`.
pub(super) fn shape_text(shape: &[Dim]) -> String {
    let dims: Vec<String> = shape.iter().map(Dim::to_string).collect();
    format!("[{}]", dims.join(","))
}
