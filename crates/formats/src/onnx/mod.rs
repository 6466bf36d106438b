//! ONNX files.
//!
//! [`load`] maps a file and gives a [`Model`] in canonical form; weights stay slices of the map. [`save`] writes a
//! model whole or not at all, at the opset asked for or the lowest that can say it.
//!
//! The way in: bytes are split into messages (`proto`, `wire`) and names turned into ids (`read`), then nodes
//! are lifted from the opset of the file to canonical form (`lift`). The way out is the reverse: `lower`, `write`.
//!
//! # Untrusted files
//!
//! A file may be damaged or made to harm. Reading it never panics, never follows data out of the model's folder,
//! never recurses without bound, and never allocates more than a small multiple of the file's size at once.

mod deferred;
mod encoded;
mod error;
mod external;
mod lift;
mod lower;
mod packed;
mod proto;
mod read;
mod save;
#[cfg(test)]
mod testing;
mod wire;
mod write;

use std::path::Path;

use bantam_graph::{Model, OperatorSet};
use bantam_tensor::{Tensor, map_file};
use bytes::Bytes;

pub use deferred::{Deferred, Make, save_deferred};
pub use error::OnnxError;
pub use packed::{NarrowCodes, PACKED_BITS};
pub use save::{ExternalData, SaveOptions, encode, encode_tensor, save};

use external::External;
use read::Reader;
use wire::Budget;

/// Reads an ONNX file. The file stays mapped as long as a tensor of the model refers to it.
///
/// # Errors
/// When the file or a data file beside it cannot be read, breaks a rule of the format, or uses an opset that is not
/// known; the error names the file.
pub fn load(path: &Path) -> Result<Model, OnnxError> {
    let read = || {
        let file = map_file(path).map_err(|source| OnnxError::Io {
            action: "opening the file",
            source,
            hint: "check the path and its permissions",
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        read_with(&file, &External::beside(folder, Some(path)))
    };
    read().map_err(|error| error.at(path))
}

/// Reads a model from bytes; `folder` is where its external data lies, if it has any.
///
/// # Errors
/// As [`load`].
pub fn read(bytes: &Bytes, folder: Option<&Path>) -> Result<Model, OnnxError> {
    let external = folder.map_or_else(External::none, |folder| External::beside(folder, None));
    read_with(bytes, &external)
}

/// Reads an encoded `TensorProto`, as the test data of the ONNX standard has them: its name and the tensor.
///
/// # Errors
/// As [`load`].
pub fn read_tensor(bytes: &Bytes) -> Result<(String, Tensor), OnnxError> {
    let reader = Reader {
        budget: Budget::of(bytes),
        external: &External::none(),
    };
    let named = reader.tensor(bytes)?;
    Ok((named.name, named.tensor))
}

/// Replaces the calls of a model's local functions by what they stand for.
///
/// # Errors
/// When a function calls itself, a call does not fit its function, the result would be too large, or a body uses an
/// opset that is not known.
pub fn inline_functions(model: Model) -> Result<Model, OnnxError> {
    let lift = |body, opsets: &[OperatorSet]| {
        let standard = opsets.iter().find(|set| set.domain.is_empty());
        lift::lift_graph(body, standard.map(|set| set.version))
    };
    bantam_graph::inline_functions(model, lift).map_err(|source| OnnxError::Inline {
        source: Box::new(source),
    })
}

fn read_with(bytes: &Bytes, external: &External) -> Result<Model, OnnxError> {
    let reader = Reader {
        budget: Budget::of(bytes),
        external,
    };
    let mut model = reader.model(bytes)?;
    lift::lift_model(&mut model)?;
    bantam_graph::verify_model(&model)?;
    packed::unpack(&mut model.graph)?;
    Ok(model)
}
