//! Files: model files in and out, and data sets in.

pub mod data;
mod format;
pub mod gguf;
pub mod huggingface;
pub mod onnx;
mod pieces;
mod tokenizer;

pub use format::{FILE_FORMATS, Format, FormatError, format_of, load};
pub use pieces::{PiecesError, Writing};
pub use tokenizer::{Tokenizer, TokenizerError};
