//! From metadata and tensors to a file.

use std::ops::Range;
use std::path::Path;

use bytes::Bytes;

use super::types::GgmlType;
use super::value::{Array, Value};
use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, GgufError, MAGIC, VERSION};
use crate::pieces::{Pieces, PiecesError, Put, Writing, write_pieces};

/// A tensor to be written; its bytes are asked for when they are due.
pub struct TensorEntry {
    /// Its name.
    pub name: String,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Type of its elements.
    pub kind: &'static GgmlType,
    /// Rows are asked for in multiples of so many, save at the end. Rows are all that lies along the last dimension; a vector is one of single elements.
    pub together: usize,
}

impl TensorEntry {
    /// Elements of a row.
    pub(super) fn row(&self) -> usize {
        match self.shape.len() {
            0 | 1 => 1,
            rank => self.shape[rank - 1],
        }
    }

    /// Number of rows of a shape whose number of bytes is known.
    pub(super) fn rows(&self) -> usize {
        self.shape[..self.shape.len().saturating_sub(1).max(1).min(self.shape.len())]
            .iter()
            .product()
    }
}

/// What the tensors of a file consist of, some rows at a time.
pub trait TensorRows: Sync {
    /// The bytes of rows of the tensor with an index.
    ///
    /// # Errors
    /// When they cannot be made.
    fn bytes(&self, tensor: usize, rows: Range<usize>) -> Result<Bytes, GgufError>;

    /// These rows will be asked for soon.
    fn prefetch(&self, _tensor: usize, _rows: Range<usize>) {}

    /// These rows will not be asked for again.
    fn release(&self, _tensor: usize, _rows: Range<usize>) {}
}

/// Some rows of a tensor, and where their bytes go.
struct Piece {
    tensor: usize,
    rows: Range<usize>,
    offset: u64,
    bytes: usize,
}

/// Pieces that are fetched ahead.
const AHEAD: usize = 8;

/// Writes a file, whole or not at all, in pieces of some megabytes on all threads.
///
/// # Errors
/// When a shape does not fit its type's blocks, `data` fails or gives another number of bytes, the file cannot be
/// written, or an unfinished one cannot be continued.
pub fn write_gguf(
    path: &Path,
    metadata: &[(String, Value)],
    tensors: &[TensorEntry],
    data: &dyn TensorRows,
    writing: &Writing<'_>,
) -> Result<(), GgufError> {
    let (header, lengths) = header(metadata, tensors)?;
    let (pieces, length) = pieces(tensors, header.len() as u64, &lengths, writing.piece);
    let mut sum = flate2::Crc::new();
    sum.update(&header);
    let file = Pieces {
        path,
        length,
        // The header is the first one.
        count: pieces.len() + 1,
    };
    let key = format!("{} {:08x}", writing.key, sum.sum());
    let writing = Writing {
        key: &key,
        ..*writing
    };
    let put = |put: &Put<'_>, offset: u64, bytes: &[u8]| {
        put(offset, bytes).map_err(|source| {
            let path = path.to_owned();
            GgufError::Write(PiecesError::Write { path, source })
        })
    };
    write_pieces(&file, &writing, &|index, to| {
        let Some(index) = index.checked_sub(1) else {
            return put(to, 0, &header);
        };
        if let Some(next) = pieces.get(index + AHEAD) {
            data.prefetch(next.tensor, next.rows.clone());
        }
        let piece = &pieces[index];
        let bytes = data.bytes(piece.tensor, piece.rows.clone())?;
        if bytes.len() != piece.bytes {
            return Err(GgufError::Length {
                name: tensors[piece.tensor].name.clone(),
                rows: piece.rows.clone(),
                expected: piece.bytes,
                got: bytes.len(),
            });
        }
        put(to, piece.offset, &bytes)?;
        drop(bytes);
        data.release(piece.tensor, piece.rows.clone());
        Ok(())
    })
}

/// The pieces of all tensors in the order of the file, and the length of the file. What lies between tensors is zeros.
fn pieces(tensors: &[TensorEntry], header: u64, lengths: &[usize], elements: usize) -> (Vec<Piece>, u64) {
    let (mut pieces, mut offset) = (Vec::new(), header);
    for (tensor, (entry, length)) in tensors.iter().zip(lengths).enumerate() {
        let rows = entry.rows();
        let row_bytes = length.checked_div(rows).unwrap_or(0);
        let together = entry.together.max(1);
        let step = (elements / entry.row().max(1) / together).max(1) * together;
        for start in (0..rows).step_by(step) {
            let rows = start..(start + step).min(rows);
            pieces.push(Piece {
                tensor,
                offset: offset + (start * row_bytes) as u64,
                bytes: rows.len() * row_bytes,
                rows,
            });
        }
        offset += length.next_multiple_of(DEFAULT_ALIGNMENT) as u64;
    }
    (pieces, offset)
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
