//! The graph of a neural network.
//!
//! A [`Model`] holds a [`Graph`]: values, nodes in topological order, inputs and outputs. Each [`Node`] has an
//! [`Op`] in canonical form: the attributes and inputs of ONNX opset 23, defaults made explicit. What Bantam does
//! not know is an [`Op::Custom`] and passes through untouched. Graphs are edited only through a [`Patch`].

mod arity;
mod attributes;
pub mod cost;
pub mod coupling;
mod differentiate;
mod functions;
mod graph;
pub mod infer;
mod model;
mod op;
pub mod ops;
mod part;
pub mod passes;
mod patch;
mod text;
mod types;
mod verify;

pub use arity::Arity;
pub use attributes::{Attribute, AttributeError, AttributeValue, Attributes, OpAttributes};
pub use cost::{Cost, NodeCost, cost};
pub use coupling::{Coupling, RemoveError, coupling};
pub use differentiate::{
    Differentiability, DifferentiateError, Differentiated, MemoryLimitError, Recomputation, TrainingGraph,
    differentiability, differentiate, peak_bytes, recompute, training_mode,
    training_mode_with_running_statistics,
};
pub use functions::{InlineError, inline_functions};
pub use graph::{Graph, GraphError, Node, NodeId, Notes, Value, ValueId};
pub use infer::{InferError, InferOptions, infer_shapes};
pub use model::{Function, Model, OperatorSet};
pub use op::{OWN_DOMAIN, Op, OpError};
pub use part::part;
pub use patch::Patch;
pub use types::{Dim, ValueType, dtype_code, dtype_from_code};
pub use verify::{verify, verify_model};

/// The opset whose forms the canonical ops have.
pub const CANONICAL_OPSET: i64 = 23;
