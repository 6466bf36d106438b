//! From metadata and tensors to a file.

use std::io::{BufWriter, Write};
use std::path::Path;

use super::types::GgmlType;
use super::value::{Array, Value};
use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, GgufError, MAGIC, VERSION};

/// A tensor to be written: its entry; its bytes are asked for when they are due.
pub struct TensorEntry {
    /// Its name.
    pub name: String,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Type of its elements.
    pub kind: &'static GgmlType,
}

/// Writes a file, whole or not at all. `data` gives the bytes of one tensor after the other, so that one is held at a time.
///
/// # Errors
/// When a shape does not fit its type's blocks, `data` fails or gives another number of bytes, or the file cannot be
/// written.
pub fn write_gguf<D: AsRef<[u8]>>(
    path: &Path,
    metadata: &[(String, Value)],
    tensors: &[TensorEntry],
    mut data: impl FnMut(usize) -> Result<D, GgufError>,
) -> Result<(), GgufError> {
    let failed = |source| GgufError::Write {
        path: path.to_owned(),
        source,
    };
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".bantam-")
        .tempfile_in(folder)
        .map_err(failed)?;
    let (header, lengths) = header(metadata, tensors)?;
    let mut out = BufWriter::with_capacity(1 << 16, file.as_file_mut());
    out.write_all(&header).map_err(failed)?;
    for (index, (entry, length)) in tensors.iter().zip(lengths).enumerate() {
        let bytes = data(index)?;
        if bytes.as_ref().len() != length {
            return Err(GgufError::Length {
                name: entry.name.clone(),
                expected: length,
                got: bytes.as_ref().len(),
            });
        }
        let padded = length.next_multiple_of(DEFAULT_ALIGNMENT);
        out.write_all(bytes.as_ref()).map_err(failed)?;
        out.write_all(&[0; DEFAULT_ALIGNMENT][..padded - length])
            .map_err(failed)?;
    }
    let flushed = out.into_inner().map(drop);
    flushed.map_err(|error| failed(error.into_error()))?;
    file.as_file().sync_data().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// All that comes before the tensors' bytes, padded, and the length of each tensor.
fn header(metadata: &[(String, Value)], tensors: &[TensorEntry]) -> Result<(Vec<u8>, Vec<usize>), GgufError> {
    // The alignment is ours to choose.
    let metadata: Vec<_> = metadata.iter().filter(|(key, _)| key != ALIGNMENT_KEY).collect();
    let mut out = MAGIC.to_vec();
    out.extend(VERSION.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        put_text(&mut out, key);
        out.extend(value.code().to_le_bytes());
        put_value(&mut out, value);
    }
    let (mut offset, mut lengths) = (0usize, Vec::with_capacity(tensors.len()));
    for entry in tensors {
        let shape = || GgufError::Blocks {
            name: entry.name.clone(),
            shape: entry.shape.clone(),
            kind: entry.kind.name,
            block: entry.kind.block,
        };
        let length = entry.kind.bytes_for(&entry.shape).ok_or_else(shape)?;
        put_text(&mut out, &entry.name);
        out.extend((entry.shape.len() as u32).to_le_bytes());
        for size in entry.shape.iter().rev() {
            out.extend((*size as u64).to_le_bytes());
        }
        out.extend(entry.kind.id.to_le_bytes());
        out.extend((offset as u64).to_le_bytes());
        let padded = length.checked_next_multiple_of(DEFAULT_ALIGNMENT);
        offset = padded
            .and_then(|padded| offset.checked_add(padded))
            .ok_or_else(shape)?;
        lengths.push(length);
    }
    out.resize(out.len().next_multiple_of(DEFAULT_ALIGNMENT), 0);
    Ok((out, lengths))
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(value) => out.extend(value.to_le_bytes()),
        Value::I8(value) => out.extend(value.to_le_bytes()),
        Value::U16(value) => out.extend(value.to_le_bytes()),
        Value::I16(value) => out.extend(value.to_le_bytes()),
        Value::U32(value) => out.extend(value.to_le_bytes()),
        Value::I32(value) => out.extend(value.to_le_bytes()),
        Value::U64(value) => out.extend(value.to_le_bytes()),
        Value::I64(value) => out.extend(value.to_le_bytes()),
        Value::F32(value) => out.extend(value.to_le_bytes()),
        Value::F64(value) => out.extend(value.to_le_bytes()),
        Value::Bool(value) => out.push(u8::from(*value)),
        Value::String(text) => put_text(out, text),
        Value::Array(array) => put_array(out, array),
    }
}

fn put_array(out: &mut Vec<u8>, array: &Array) {
    out.extend(array.code().to_le_bytes());
    out.extend((array.len() as u64).to_le_bytes());
    match array {
        Array::U8(values) => out.extend(values),
        Array::I8(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Array::U16(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Array::I16(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Array::U32(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Array::I32(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Array::U64(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Array::I64(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Array::F32(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Array::F64(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Array::Bool(values) => out.extend(values.iter().map(|value| u8::from(*value))),
        Array::String(texts) => texts.iter().for_each(|text| put_text(out, text)),
        Array::Array(arrays) => arrays.iter().for_each(|array| put_array(out, array)),
    }
}
