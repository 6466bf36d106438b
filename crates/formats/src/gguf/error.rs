//! [`GgufError`].

use std::ops::Range;
use std::path::PathBuf;

use bantam_tensor::TensorError;

use crate::huggingface::HuggingFaceError;
use crate::pieces::PiecesError;

/// Why a GGUF file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum GgufError {
    #[error("{}: cannot be read: {source}\nhint: check the path and its permissions", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Write(#[from] PiecesError),
    #[error("{}: {fact}\nhint: the file is damaged, cut short or newer than Bantam; download it again", path.display())]
    Damaged { path: PathBuf, fact: String },
    #[error(
        "tensor `{name}` of shape {shape:?} does not fit {kind}, whose blocks have {block} elements\nhint: choose another type for this tensor"
    )]
    Blocks {
        name: String,
        shape: Vec<usize>,
        kind: &'static str,
        block: usize,
    },
    #[error("rows {rows:?} of tensor `{name}`: {expected} bytes were announced, {got} given")]
    Length {
        name: String,
        rows: Range<usize>,
        expected: usize,
        got: usize,
    },
    #[error("GGUF files of the architecture `{name}` are not known\nhint: known are {known}")]
    Architecture { name: String, known: String },
    #[error(
        "the metadata have no usable `{key}`\nhint: the file is damaged, or was written by an old version of its tool"
    )]
    Metadata { key: String },
    #[error(
        "tensor `{name}` has no name in GGUF files of this architecture\nhint: this variant of the model has no form in GGUF"
    )]
    Name { name: String },
    #[error(
        "the model has no tensor `{name}`, without which it cannot run\nhint: export the file that it was made of; blocks that were removed, and weights with other names, have no form in GGUF"
    )]
    Missing { name: String },
    #[error(
        "tensor `{name}` is of type {kind}, whose blocks are not decoded\nhint: start from the float model, or from a file of other types"
    )]
    Blocked { name: String, kind: &'static str },
    #[error(
        "tensor `{name}` of shape {shape:?} cannot be ordered for {heads} heads\nhint: the file is damaged"
    )]
    Heads {
        name: String,
        shape: Vec<usize>,
        heads: usize,
    },
    #[error("{fact}, which this writer cannot say in GGUF\nhint: {hint}")]
    Unsayable { fact: String, hint: &'static str },
    #[error("{}: {fact}\nhint: the tokenizer must be a `tokenizer.json` of byte-pair encoding", path.display())]
    Tokenizer { path: PathBuf, fact: String },
    #[error(transparent)]
    Model(#[from] HuggingFaceError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
}
