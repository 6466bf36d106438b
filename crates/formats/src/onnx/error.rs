//! [`OnnxError`].

use std::path::PathBuf;

use bantam_graph::{GraphError, InlineError, OpError};
use bantam_tensor::{DType, TensorError};

use crate::pieces::PiecesError;

/// Why an ONNX file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum OnnxError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: Box<OnnxError> },
    #[error(transparent)]
    Pieces(#[from] PiecesError),
    #[error("{action} failed: {source}\nhint: {hint}")]
    Io {
        action: &'static str,
        source: std::io::Error,
        hint: &'static str,
    },
    #[error(
        "the {what} is malformed ({source})\nhint: the file is damaged, cut short, or no ONNX file; export or \
         download it again"
    )]
    Malformed {
        what: &'static str,
        source: prost::DecodeError,
    },
    #[error("the file has no graph\nhint: it is empty, or no ONNX model")]
    NoGraph,
    #[error(
        "the {what} has far more parts than a file of {file} bytes can mean\nhint: the file is damaged or was made \
         to exhaust memory"
    )]
    TooDense { what: &'static str, file: usize },
    #[error(
        "graphs are nested more than {limit} deep\nhint: the file is damaged or was made to exhaust the stack"
    )]
    TooDeep { limit: usize },
    #[error("the operator sets do not say the version of domain `{domain}`\nhint: add it to `opset_import`")]
    NoOpset { domain: String },
    #[error(
        "the file uses {op} of opset {opset}; Bantam reads opsets {oldest} to {newest}\nhint: convert it with \
         `onnx.version_converter.convert_version(model, {nearest})`"
    )]
    Opset {
        op: String,
        opset: i64,
        oldest: i64,
        newest: i64,
        nearest: i64,
    },
    #[error(
        "two {what}s are named `{name}`\nhint: names must be unique; the file is damaged or its exporter faulty"
    )]
    Duplicate { what: &'static str, name: String },
    #[error("{what} has no name\nhint: the file is damaged or its exporter faulty")]
    Unnamed { what: String },
    #[error(
        "{source}\nhint: the file is damaged or its exporter faulty; `onnx.checker.check_model` says more"
    )]
    Graph { source: GraphError },
    #[error(
        "node {node}: {source}\nhint: the file is damaged, or the node is not of the opset that the file names"
    )]
    Op { node: String, source: OpError },
    #[error("node {node}: {fact}\nhint: {hint}")]
    Node {
        node: String,
        fact: String,
        hint: &'static str,
    },
    #[error(
        "{of}: attribute `{name}` has no known type ({code})\nhint: the file is damaged, or newer than Bantam"
    )]
    AttributeType { of: String, name: String, code: i32 },
    #[error(
        "tensor `{tensor}`: data type {code} is unknown\nhint: the file is damaged, or newer than Bantam"
    )]
    DataType { tensor: String, code: i32 },
    #[error("tensor `{tensor}`: dimension {dimension} is negative\nhint: the file is damaged")]
    NegativeDimension { tensor: String, dimension: i64 },
    #[error("tensor `{tensor}`: {source}\nhint: the file is damaged or its exporter faulty")]
    Tensor { tensor: String, source: TensorError },
    #[error(
        "tensor `{tensor}`: {elements} elements of type {dtype} are expected, {got} are there\nhint: the file is damaged or its exporter faulty"
    )]
    ElementCount {
        tensor: String,
        dtype: DType,
        elements: usize,
        got: usize,
    },
    #[error(
        "tensor `{tensor}` is split into segments\nhint: save it again with a current version of the onnx package"
    )]
    Segment { tensor: String },
    #[error("sparse tensor `{tensor}`: {fact}\nhint: store it as a dense tensor")]
    Sparse { tensor: String, fact: String },
    #[error("tensor `{tensor}`: external data: {fact}\nhint: {hint}")]
    External {
        tensor: String,
        fact: String,
        hint: &'static str,
    },
    #[error(
        "opset {opset} was asked for; Bantam writes {oldest} to {newest}\nhint: leave the opset out for the lowest that can say the model"
    )]
    TargetOpset { opset: i64, oldest: i64, newest: i64 },
    #[error(
        "opset {opset} cannot say node {node}: {why}; opset {needs} can\nhint: save at opset {needs} or later"
    )]
    OpsetTooLow {
        node: String,
        why: String,
        opset: i64,
        needs: i64,
    },
    #[error(
        "node {node} is of an op that Bantam does not know, so it can be saved only at the file's own opset {own}, not \
         at {opset}\nhint: leave the opset out"
    )]
    UnknownOp { node: String, own: i64, opset: i64 },
    #[error(
        "the model takes {bytes} bytes; an ONNX file without external data holds at most 2 GiB\nhint: let weights go to a file of their own"
    )]
    TooLarge { bytes: usize },
    #[error(
        "node {node} is for training only; ONNX has no such op\nhint: save the graph that is deployed, without gradients, FakeQuant and training modes"
    )]
    TrainingOnly { node: String },
    #[error("{source}")]
    Inline { source: Box<InlineError<OnnxError>> },
}

impl OnnxError {
    /// Adds the file that the error is about.
    pub(super) fn at(self, path: &std::path::Path) -> OnnxError {
        match self {
            OnnxError::File { .. } => self,
            _ => OnnxError::File {
                path: path.to_owned(),
                source: Box::new(self),
            },
        }
    }
}

impl From<GraphError> for OnnxError {
    fn from(source: GraphError) -> OnnxError {
        OnnxError::Graph { source }
    }
}
