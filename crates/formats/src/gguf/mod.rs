//! GGUF files, as llama.cpp reads them.
//!
//! [`read_gguf`] and [`write_gguf`] know the container: metadata of all types, tensors of all types as mapped bytes. [`load`] and
//! [`export`] turn such files into models and back, for Llama, Mistral, Qwen 2 and Qwen 3; [`requantize`] makes a file of a file, of any
//! architecture. Blocks are decoded when a model is loaded; a function that the caller gives encodes them ([`BlockEncoder`]).
//!
//! Files are not trusted: counts and lengths are compared with the bytes that are there before anything is allocated.

mod coded;
mod error;
mod export;
mod load;
mod names;
mod read;
mod requantize;
mod tokenizer;
mod types;
mod value;
mod weights;
mod write;

use std::path::Path;

use bantam_tensor::{DType, Tensor, map_file};
use bytes::Bytes;
use rayon::prelude::*;

pub use error::GgufError;
pub use export::{Exporting, Matrix, export, matrices};
pub use load::load;
pub use names::to_gguf;
pub use requantize::{matrices_of, requantize};
pub use types::{GGML_TYPES, GgmlType};
pub use value::{Array, Value};
pub use weights::BlockEncoder;
pub use write::{TensorEntry, TensorRows, write_gguf};

const MAGIC: &[u8] = b"GGUF";
const VERSION: u32 = 3;
const ALIGNMENT_KEY: &str = "general.alignment";
const DEFAULT_ALIGNMENT: usize = 32;

/// What a file holds.
#[derive(Clone, Debug)]
pub struct Gguf {
    /// Keys and values, in the order of the file.
    pub metadata: Vec<(String, Value)>,
    /// The tensors, in the order of the file.
    pub tensors: Vec<GgufTensor>,
}

/// A tensor of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct GgufTensor {
    /// Its name.
    pub name: String,
    /// Dimensions, outermost first (the file has them the other way round).
    pub shape: Vec<usize>,
    /// Type of its elements.
    pub kind: &'static GgmlType,
    /// Its bytes, a slice of the file.
    pub data: Bytes,
}

impl GgufTensor {
    /// The elements: a slice of the file, or decoded blocks.
    ///
    /// # Errors
    /// When its blocks are of a type that is not decoded.
    pub(crate) fn values(&self) -> Result<Tensor, GgufError> {
        let kind = self.kind;
        if let Some(dtype) = kind.dtype {
            return Ok(Tensor::from_bytes(dtype, &self.shape, self.data.clone())?);
        }
        let format = kind.block_format().ok_or_else(|| GgufError::Blocked {
            name: self.name.clone(),
            kind: kind.name,
        })?;
        // No larger than the file allows: the shape was compared with its bytes.
        let mut decoded = Tensor::zeros(DType::F32, &self.shape)?;
        let values = decoded.values_mut::<f32>()?.par_chunks_exact_mut(kind.block);
        values
            .zip(self.data.par_chunks_exact(kind.bytes))
            .for_each(|(values, bytes)| format.decode_block(bytes, values));
        Ok(decoded)
    }
}

impl Gguf {
    /// The value of this key.
    pub fn value(&self, key: &str) -> Option<&Value> {
        let entry = self.metadata.iter().find(|(known, _)| known == key);
        entry.map(|(_, value)| value)
    }
}

/// Reads a file, memory-mapped.
///
/// # Errors
/// When it cannot be opened or is damaged.
pub fn read_gguf(path: &Path) -> Result<Gguf, GgufError> {
    let bytes = map_file(path).map_err(|source| GgufError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse_gguf(&bytes).map_err(|fact| GgufError::Damaged {
        path: path.to_owned(),
        fact,
    })
}

/// As [`read_gguf`], from the bytes of a file; the error is the fact alone.
///
/// # Errors
/// As [`read_gguf`].
pub fn parse_gguf(bytes: &Bytes) -> Result<Gguf, String> {
    read::parse(bytes)
}
