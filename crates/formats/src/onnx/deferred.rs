//! Models with weights that are made when they are written: memory holds some rows of them.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

use bantam_graph::Model;
use bantam_tensor::{Tensor, prefetch, release};

use super::save::{data_path, encoded_for, failed, write_temporary};
use super::{OnnxError, SaveOptions};
use crate::pieces::{Pieces, PiecesError, Put, Writing, write_pieces};

/// Makes the bytes of rows of all tensors that are made together.
pub type Make<'a, E> = Box<dyn Fn(Range<usize>) -> Result<Vec<Vec<u8>>, E> + Sync + 'a>;

/// Tensors of a model that are made together, row by row.
pub struct Deferred<'a, E> {
    /// What is in their place in the model: zeros that are not looked at. All have as many rows.
    pub stand_ins: Vec<Tensor>,
    /// Makes their rows; the first one is an even one, so that rows of half bytes begin with a byte.
    pub make: Make<'a, E>,
}

/// A step of writing.
enum Step<'a> {
    /// Bytes that are there.
    Copy(u64, &'a [u8]),
    /// Rows of what is deferred, and where each tensor begins.
    Make(usize, Range<usize>, &'a [u64]),
}

/// Pieces that are fetched ahead.
const AHEAD: usize = 8;
/// Bytes of a piece that is copied.
const COPIED: usize = 4 << 20;

/// Writes a model as [`super::save`] does, with the tensors that are made in the place of their stand-ins. Those whose stand-ins the model
/// does not hold are not made.
///
/// # Errors
/// As [`super::save`], when `make` fails, or when an unfinished file cannot be continued.
pub fn save_deferred<E: Send + From<OnnxError>>(
    model: &Model,
    path: &Path,
    options: &SaveOptions,
    deferred: &[Deferred<'_, E>],
    writing: &Writing<'_>,
) -> Result<(), E> {
    let at = |error: OnnxError| E::from(error.at(path));
    let (encoded, data) = encoded_for(model, path, options).map_err(at)?;
    let Some(data) = data else {
        let (mut length, mut parts) = (0, Vec::new());
        for part in encoded.parts() {
            parts.push((length, part.bytes()));
            length += part.bytes().len() as u64;
        }
        return write_deferred(path, length, &parts, deferred, writing);
    };
    let tensors = data.tensors().iter();
    let parts: Vec<(u64, &[u8])> = tensors
        .map(|(offset, tensor)| (*offset, tensor.as_bytes()))
        .collect();
    write_deferred(&data_path(path), data.len(), &parts, deferred, writing)?;
    // The model comes last, as it refers to the data.
    let file = write_temporary(path, |out| encoded.write_to(out)).map_err(|error| at(failed(error)))?;
    file.persist(path).map_err(|error| at(failed(error.error)))?;
    Ok(())
}

/// Writes one file, of parts at offsets.
fn write_deferred<E: Send + From<OnnxError>>(
    path: &Path,
    length: u64,
    parts: &[(u64, &[u8])],
    deferred: &[Deferred<'_, E>],
    writing: &Writing<'_>,
) -> Result<(), E> {
    let place = |bytes: &[u8]| (bytes.as_ptr().addr(), bytes.len());
    let places: HashMap<(usize, usize), u64> = parts
        .iter()
        .map(|(offset, bytes)| (place(bytes), *offset))
        .collect();
    let offsets = |deferred: &Deferred<'_, E>| -> Vec<u64> {
        let mut offsets = deferred.stand_ins.iter();
        let found: Option<Vec<u64>> = offsets.try_fold(Vec::new(), |mut all, tensor| {
            all.push(*places.get(&place(tensor.as_bytes()))?);
            Some(all)
        });
        found.unwrap_or_default()
    };
    let offsets: Vec<Vec<u64>> = deferred.iter().map(offsets).collect();
    let steps = steps(parts, deferred, &offsets, writing.piece);
    let pieces = Pieces {
        path,
        length,
        count: steps.len(),
    };
    let write_error = |source| {
        let path = path.to_owned();
        E::from(OnnxError::Pieces(PiecesError::Write { path, source }))
    };
    let result = write_pieces(&pieces, writing, &|index, put: &Put<'_>| match &steps[index] {
        Step::Copy(offset, bytes) => {
            if let Some(Step::Copy(_, bytes)) = steps.get(index + AHEAD) {
                prefetch(bytes);
            }
            put(*offset, bytes).map_err(|error| Failure(write_error(error)))?;
            release(bytes);
            Ok(())
        }
        Step::Make(index, rows, offsets) => {
            let deferred = &deferred[*index];
            let made = (deferred.make)(rows.clone()).map_err(Failure)?;
            for ((tensor, offset), bytes) in deferred.stand_ins.iter().zip(*offsets).zip(made) {
                let start = row_start(tensor, rows.start);
                put(offset + start, &bytes).map_err(|error| Failure(write_error(error)))?;
            }
            Ok(())
        }
    });
    result.map_err(|failure: Failure<E>| failure.0)
}

/// An error of the caller's, or one of writing.
struct Failure<E>(E);

impl<E: From<OnnxError>> From<PiecesError> for Failure<E> {
    fn from(error: PiecesError) -> Failure<E> {
        Failure(OnnxError::from(error).into())
    }
}

/// What is there first, then what is made.
fn steps<'a, E>(
    parts: &[(u64, &'a [u8])],
    deferred: &[Deferred<'_, E>],
    offsets: &'a [Vec<u64>],
    piece: usize,
) -> Vec<Step<'a>> {
    let stand_ins = deferred.iter().flat_map(|deferred| &deferred.stand_ins);
    let stand_ins: HashSet<*const u8> = stand_ins.map(|tensor| tensor.as_bytes().as_ptr()).collect();
    let mut steps = Vec::new();
    for (offset, bytes) in parts
        .iter()
        .filter(|(_, bytes)| !stand_ins.contains(&bytes.as_ptr()))
    {
        let chunks = bytes.chunks(COPIED).enumerate();
        steps.extend(chunks.map(|(index, bytes)| Step::Copy(offset + (index * COPIED) as u64, bytes)));
    }
    for (index, offsets) in offsets
        .iter()
        .enumerate()
        .filter(|(_, offsets)| !offsets.is_empty())
    {
        let first = &deferred[index].stand_ins[0];
        let rows = first.shape().first().copied().unwrap_or(0);
        let row = first.len().checked_div(rows).unwrap_or(0).max(1);
        let step = (piece / row).next_multiple_of(2).max(2);
        let ranges = (0..rows)
            .step_by(step)
            .map(|start| start..(start + step).min(rows));
        steps.extend(ranges.map(|rows| Step::Make(index, rows, offsets)));
    }
    steps
}

/// Bytes of a tensor before a row.
fn row_start(tensor: &Tensor, row: usize) -> u64 {
    let rows = tensor.shape().first().copied().unwrap_or(0);
    let elements = tensor.len().checked_div(rows).unwrap_or(0) * row;
    tensor.dtype().bytes_for(elements).unwrap_or(0) as u64
}
