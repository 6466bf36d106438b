//! Weights of a model or of a file, some rows at a time, in the types that they are written in.

use std::ops::Range;

use bantam_tensor::{BlockFormat, DType, Tensor, TensorError, prefetch, release};
use bytes::Bytes;
use half::{bf16, f16};

use super::coded::Coded;
use super::export::{Exporting, VECTORS};
use super::names::{Order, reordered};
use super::write::{TensorEntry, TensorRows};
use super::{GgmlType, GgufError, GgufTensor};

/// Encodes rows of a matrix, which are whole blocks, with the importance of each column, where it is known.
pub type BlockEncoder<'a> =
    &'a (dyn Fn(&'static dyn BlockFormat, &Tensor, Option<&[f32]>) -> Result<Vec<u8>, GgufError> + Sync);

/// A weight as the model or file has it.
pub(super) enum Weight {
    Float(Tensor),
    Coded(Coded),
    Stored(GgufTensor),
}

impl Weight {
    pub(super) fn shape(&self) -> &[usize] {
        match self {
            Weight::Float(tensor) => tensor.shape(),
            Weight::Coded(coded) => coded.shape(),
            Weight::Stored(tensor) => &tensor.shape,
        }
    }

    /// The type that comes nearest to the one it has.
    pub(super) fn own(&self) -> &'static GgmlType {
        let own = match self {
            Weight::Float(tensor) => GgmlType::encodable().find(|kind| kind.dtype == Some(tensor.dtype())),
            Weight::Coded(coded) => coded.own(),
            Weight::Stored(tensor) => Some(tensor.kind),
        };
        own.unwrap_or(VECTORS)
    }

    /// The bytes behind rows of `row` elements, where they are those of a mapped file.
    fn mapped(&self, row: usize, rows: Range<usize>) -> Option<&[u8]> {
        let (bytes, width) = match self {
            Weight::Float(tensor) => (tensor.shared_bytes()?, tensor.dtype().bytes_for(row)?),
            Weight::Stored(tensor) => (&tensor.data, tensor.kind.bytes_for(&[row])?),
            Weight::Coded(_) => return None,
        };
        bytes.get(rows.start * width..rows.end * width)
    }
}

/// The weights of a file that is to be written.
pub(super) struct Weights<'a> {
    pub(super) entries: &'a [TensorEntry],
    pub(super) weights: Vec<&'a Weight>,
    /// The heads whose rows the file has in another order.
    pub(super) heads: &'a [Option<usize>],
    pub(super) exporting: &'a Exporting<'a>,
}

impl TensorRows for Weights<'_> {
    fn bytes(&self, index: usize, rows: Range<usize>) -> Result<Bytes, GgufError> {
        let (entry, weight) = (&self.entries[index], self.weights[index]);
        let importance = self.exporting.importance.get(&entry.name);
        // What does not fit is of another matrix.
        let importance = importance
            .map(Vec::as_slice)
            .filter(|columns| columns.len() == entry.row());
        let encode = |tensor: &Tensor| {
            encoded(tensor, entry.kind, |format| {
                (self.exporting.encode)(format, tensor, importance)
            })
        };
        let heads = self.heads[index].map(|all| all * rows.len() / entry.rows().max(1));
        let name = &entry.name;
        match weight {
            Weight::Float(tensor) => {
                let part = rows_of(tensor, entry.row(), &rows)?;
                match heads {
                    Some(heads) => encode(&reordered(name, &part, heads, Order::ToNeighbours)?),
                    None => encode(&part),
                }
            }
            Weight::Coded(coded) => {
                let mut part = coded.rows(&rows)?;
                if let Some(heads) = heads {
                    part = part.reordered(name, heads, Order::ToNeighbours)?;
                }
                let blocks = entry.kind.block_format().map(|format| part.blocks(format));
                match blocks.transpose()?.flatten() {
                    Some(blocks) => Ok(blocks.into()),
                    None => encode(&part.values()?),
                }
            }
            Weight::Stored(tensor) => {
                let width = tensor.kind.bytes_for(&[entry.row()]).unwrap_or(0);
                let part = tensor.data.slice(rows.start * width..rows.end * width);
                if tensor.kind == entry.kind {
                    return Ok(part);
                }
                let shape = vec![rows.len(), entry.row()];
                let part = GgufTensor {
                    data: part,
                    shape,
                    ..tensor.clone()
                };
                encode(&part.values()?)
            }
        }
    }

    fn prefetch(&self, index: usize, rows: Range<usize>) {
        if let Some(bytes) = self.weights[index].mapped(self.entries[index].row(), rows) {
            prefetch(bytes);
        }
    }

    fn release(&self, index: usize, rows: Range<usize>) {
        if let Some(bytes) = self.weights[index].mapped(self.entries[index].row(), rows) {
            release(bytes);
        }
    }
}

/// Rows of a tensor; a slice, where it is one of a file.
fn rows_of(tensor: &Tensor, row: usize, rows: &Range<usize>) -> Result<Tensor, TensorError> {
    let shape = [rows.len(), row];
    let width = tensor.dtype().bytes_for(row).unwrap_or(0);
    let range = rows.start * width..rows.end * width;
    match tensor.shared_bytes() {
        Some(bytes) => Tensor::from_bytes(tensor.dtype(), &shape, bytes.slice(range)),
        None => Tensor::from_raw(tensor.dtype(), &shape, &tensor.as_bytes()[range]),
    }
}

/// The bytes of a tensor: as they are where the type is the same, else encoded.
fn encoded(
    tensor: &Tensor,
    kind: &GgmlType,
    blocks: impl FnOnce(&'static dyn BlockFormat) -> Result<Vec<u8>, GgufError>,
) -> Result<Bytes, GgufError> {
    if kind.dtype == Some(tensor.dtype()) {
        let shared = tensor.shared_bytes().cloned();
        return Ok(shared.unwrap_or_else(|| Bytes::copy_from_slice(tensor.as_bytes())));
    }
    if let Some(format) = kind.block_format() {
        return blocks(format).map(Bytes::from);
    }
    let values = tensor.to_f32()?;
    let values = values.iter();
    let bytes: Vec<u8> = match kind.dtype {
        Some(DType::F32) => values.flat_map(|value| value.to_le_bytes()).collect(),
        Some(DType::F16) => values
            .flat_map(|value| f16::from_f32(*value).to_le_bytes())
            .collect(),
        Some(DType::BF16) => values
            .flat_map(|value| bf16::from_f32(*value).to_le_bytes())
            .collect(),
        _ => {
            return Err(GgufError::Unsayable {
                fact: format!("elements of type {}", kind.name),
                hint: "choose another type",
            });
        }
    };
    Ok(bytes.into())
}
