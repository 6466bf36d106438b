//! [`HuggingFaceError`].

use std::path::{Path, PathBuf};

use bantam_graph::GraphError;
use bantam_tensor::{DType, TensorError};

/// Why a Hugging Face folder cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum HuggingFaceError {
    #[error("{}: {action}: {source}\nhint: {hint}", path.display())]
    Io {
        path: PathBuf,
        action: &'static str,
        source: std::io::Error,
        hint: &'static str,
    },
    #[error("{}: {fact}\nhint: the file is damaged, cut short or of another kind; copy or download it again", path.display())]
    Damaged { path: PathBuf, fact: String },
    #[error("{}: no `model.safetensors` and no `model.safetensors.index.json` beside it\nhint: weights in other forms \
             (`pytorch_model.bin`) are not read; save the model with `save_pretrained(folder, safe_serialization=True)`", path.display())]
    NoWeights { path: PathBuf },
    #[error(
        "{}: names the weights {name:?}, which is not a file of this folder\nhint: keep all of a model's files in one folder",
        path.display()
    )]
    OutsideFolder { path: PathBuf, name: String },
    #[error("{}: two files hold the tensor `{name}`\nhint: the folder mixes two models; download it again", path.display())]
    Twice { path: PathBuf, name: String },
    #[error("there is no architecture `{name}`\nhint: {hint}")]
    UnknownArchitecture { name: String, hint: String },
    #[error("config.json: {fact}\nhint: {hint}")]
    Config { fact: String, hint: &'static str },
    #[error(
        "the weights have no tensor `{name}`\nhint: `config.json` and the weights belong to different models, or a file is missing"
    )]
    MissingTensor { name: String },
    #[error(
        "tensor `{name}` has the shape {found:?}; `config.json` says {expected:?}\nhint: `config.json` and the weights belong to different models"
    )]
    Shape {
        name: String,
        expected: Vec<usize>,
        found: Vec<usize>,
    },
    #[error(
        "tensor `{name}` has elements of type {dtype}\nhint: weights must be f32, f16 or bf16; quantized folders of other tools are not read"
    )]
    Type { name: String, dtype: DType },
    #[error(
        "{count} tensors of the weights have no place in the architecture `{architecture}`, as `{name}`\nhint: this variant of the model would be read wrongly, so it is not read at all"
    )]
    Unused {
        architecture: &'static str,
        count: usize,
        name: String,
    },
    #[error(
        "the model does not say of which Hugging Face folder it is made\nhint: start from a folder with `config.json`, or from a model that Bantam made of one"
    )]
    NoConfig,
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl HuggingFaceError {
    pub(crate) fn read(path: &Path, source: std::io::Error) -> HuggingFaceError {
        HuggingFaceError::Io {
            path: path.to_owned(),
            action: "cannot be read",
            source,
            hint: "check the path and its permissions",
        }
    }

    pub(crate) fn write(path: &Path, source: std::io::Error) -> HuggingFaceError {
        HuggingFaceError::Io {
            path: path.to_owned(),
            action: "cannot be written",
            source,
            hint: "choose a folder that can be written and has room",
        }
    }

    pub(crate) fn damaged(path: &Path, fact: impl std::fmt::Display) -> HuggingFaceError {
        HuggingFaceError::Damaged {
            path: path.to_owned(),
            fact: fact.to_string(),
        }
    }
}
