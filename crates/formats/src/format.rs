//! The list of model files that are read.

use std::path::{Path, PathBuf};

use bantam_graph::Model;

use crate::gguf::{self, GgufError};
use crate::huggingface::{self, Form, HuggingFaceError};
use crate::onnx::{self, OnnxError};

/// A kind of model file or folder.
pub trait Format: Sync {
    /// The name in lists.
    fn name(&self) -> &'static str;
    /// One line for lists.
    fn summary(&self) -> &'static str;
    /// True when the path looks like one of these; what is in it is looked at by [`Format::load`].
    fn recognizes(&self, path: &Path) -> bool;
    /// Reads a model.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or holds what the format's reader does not know.
    fn load(&self, path: &Path) -> Result<Model, FormatError>;
    /// Reads a language model in the form that takes and gives keys and values ([`Form::Cached`]), for generation.
    ///
    /// # Errors
    /// As [`Format::load`]; and when the format has no such form.
    fn load_cached(&self, path: &Path) -> Result<Model, FormatError> {
        Err(FormatError::NoCache {
            path: path.to_owned(),
        })
    }
    /// The files that hold the model.
    fn files(&self, path: &Path) -> Vec<PathBuf>;
    /// Bytes on disk of all that belongs to the model.
    fn bytes(&self, path: &Path) -> u64 {
        let size = |path: &PathBuf| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        self.files(path).iter().map(size).sum()
    }
}

/// Every format, the most specific ones first; the last takes what no other one recognizes.
pub static FILE_FORMATS: &[&dyn Format] = &[&HuggingFace, &Gguf, &Onnx];

/// Why a model file cannot be read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum FormatError {
    #[error("{}: text cannot be generated from this file\nhint: give a Hugging Face folder or a GGUF file of a decoder", path.display())]
    NoCache { path: PathBuf },
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    #[error(transparent)]
    HuggingFace(#[from] HuggingFaceError),
    #[error(transparent)]
    Gguf(#[from] GgufError),
}

/// The format of a path.
pub fn format_of(path: &Path) -> &'static dyn Format {
    let recognized = FILE_FORMATS.iter().find(|format| format.recognizes(path));
    *recognized.unwrap_or(&FILE_FORMATS[FILE_FORMATS.len() - 1])
}

/// Reads a model of any format.
///
/// # Errors
/// As [`Format::load`].
pub fn load(path: &Path) -> Result<Model, FormatError> {
    format_of(path).load(path)
}

struct HuggingFace;

impl Format for HuggingFace {
    fn name(&self) -> &'static str {
        "huggingface"
    }

    fn summary(&self) -> &'static str {
        "a folder with config.json and safetensors files"
    }

    fn recognizes(&self, path: &Path) -> bool {
        huggingface::is_folder(path)
    }

    fn load(&self, path: &Path) -> Result<Model, FormatError> {
        Ok(huggingface::load(path, Form::Whole)?)
    }

    fn load_cached(&self, path: &Path) -> Result<Model, FormatError> {
        Ok(huggingface::load(path, Form::Cached)?)
    }

    fn files(&self, path: &Path) -> Vec<PathBuf> {
        huggingface::folder_of(path).map_or_else(Vec::new, |folder| huggingface::weight_files(&folder))
    }
}

struct Gguf;

impl Format for Gguf {
    fn name(&self) -> &'static str {
        "gguf"
    }

    fn summary(&self) -> &'static str {
        "a GGUF file, of float or quantized weights"
    }

    fn recognizes(&self, path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension == "gguf")
    }

    fn load(&self, path: &Path) -> Result<Model, FormatError> {
        Ok(gguf::load(path, Form::Whole)?)
    }

    fn load_cached(&self, path: &Path) -> Result<Model, FormatError> {
        Ok(gguf::load(path, Form::Cached)?)
    }

    fn files(&self, path: &Path) -> Vec<PathBuf> {
        vec![path.to_owned()]
    }
}

struct Onnx;

impl Format for Onnx {
    fn name(&self) -> &'static str {
        "onnx"
    }

    fn summary(&self) -> &'static str {
        "an ONNX file of any opset from 7 on, perhaps with data beside it"
    }

    fn recognizes(&self, path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension == "onnx")
    }

    fn load(&self, path: &Path) -> Result<Model, FormatError> {
        Ok(onnx::load(path)?)
    }

    fn files(&self, path: &Path) -> Vec<PathBuf> {
        let mut data = path.as_os_str().to_owned();
        data.push(".data");
        vec![path.to_owned(), data.into()]
    }
}
