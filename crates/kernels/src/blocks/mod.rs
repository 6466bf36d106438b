//! Encoding and decoding of rows in block formats, in parallel. The scalar forms are those of `bantam-tensor`; all give the
//! same bytes and values bit for bit, whatever the CPU and the number of threads.
//!
//! Formats whose publishers search for scales (`fit`) run with one sub-block in each lane of a vector, so that sums keep
//! their order.

mod fit;
mod fit_scales;
mod groups;
mod rows;
mod scaled;
mod small;
#[cfg(test)]
mod tests;

use bantam_tensor::formats::blocks::{AffineK, BlockFamily, SymmetricK, pack_affine, pack_symmetric};
use bantam_tensor::{BlockFormat, formats::blocks::bounded};
use rayon::prelude::*;
pub use rows::{BlockSizeError, Source};

use crate::vectorize::vectorized;
use rows::Rows;

/// Elements of a block of the formats with sub-blocks.
const SUPER: usize = 256;

/// Encodes rows of `row_len` values, as [`BlockFormat::encode_block`] does block by block. `importance` has a weight for
/// each column.
///
/// # Errors
/// When rows do not end with a block, or lengths do not fit.
pub fn encode_rows(
    format: &dyn BlockFormat,
    x: Source<'_>,
    row_len: usize,
    importance: Option<&[f32]>,
    bytes: &mut [u8],
) -> Result<(), BlockSizeError> {
    let rows = Rows::new(format, x.len(), bytes.len(), row_len)?;
    if let Some(got) = importance.map(<[f32]>::len).filter(|&len| len != row_len) {
        return Err(BlockSizeError::Length {
            got,
            expected: row_len,
        });
    }
    if bytes.is_empty() {
        return Ok(());
    }
    let piece = |row: usize, piece: usize, bytes: &mut [u8]| {
        let start = piece * rows.piece_len;
        let mut values = vec![0.0; rows.piece_len.min(row_len - start)];
        x.read(row * row_len + start, &mut values);
        let importance = importance.map(|weights| &weights[start..start + values.len()]);
        encode_piece(format, &mut values, importance, bytes);
    };
    let all = bytes
        .par_chunks_mut(rows.row_bytes)
        .enumerate()
        .with_min_len(rows.at_once());
    all.for_each(|(row, bytes)| {
        let pieces = bytes.par_chunks_mut(rows.piece_bytes).enumerate();
        pieces.for_each(|(index, bytes)| piece(row, index, bytes));
    });
    Ok(())
}

/// The values of rows of `row_len` values, as [`BlockFormat::decode_block`] gives them block by block.
///
/// # Errors
/// As [`encode_rows`].
pub fn decode_rows(
    format: &dyn BlockFormat,
    bytes: &[u8],
    row_len: usize,
    values: &mut [f32],
) -> Result<(), BlockSizeError> {
    let rows = Rows::new(format, values.len(), bytes.len(), row_len)?;
    if bytes.is_empty() {
        return Ok(());
    }
    let all = bytes
        .par_chunks(rows.row_bytes)
        .zip(values.par_chunks_mut(row_len))
        .with_min_len(rows.at_once());
    all.for_each(|(bytes, values)| {
        let pieces = bytes
            .par_chunks(rows.piece_bytes)
            .zip(values.par_chunks_mut(rows.piece_len));
        pieces.for_each(|(bytes, values)| decode_piece(format, bytes, values));
    });
    Ok(())
}

/// Encodes whole blocks (and, at the end of a row, a shorter one). `values` may be changed.
fn encode_piece(format: &dyn BlockFormat, values: &mut [f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
    match (format.family(), importance) {
        (BlockFamily::Q8Zero(_), _) => small::encode_q8(values, bytes),
        (BlockFamily::Symmetric32(format), None) => small::encode_symmetric(format, values, bytes),
        (BlockFamily::Affine32(format), None) => small::encode_affine(format, values, bytes),
        (BlockFamily::AffineK(format), _) => encode_affine_k(format, values, importance, bytes),
        (BlockFamily::SymmetricK(format), None) if format.bits == 6 => {
            encode_symmetric_k(format, values, bytes)
        }
        (BlockFamily::Scaled(format), _) => scaled::encode(format, values, bytes),
        (BlockFamily::Integer(format), _) => groups::encode(format, values, bytes),
        _ => {
            let blocks = values
                .chunks(format.block_len())
                .zip(bytes.chunks_mut(format.block_bytes()));
            for (index, (values, bytes)) in blocks.enumerate() {
                let start = index * format.block_len();
                let importance = importance.map(|weights| &weights[start..start + values.len()]);
                format.encode_block(values, importance, bytes);
            }
        }
    }
}

fn decode_piece(format: &dyn BlockFormat, bytes: &[u8], values: &mut [f32]) {
    match format.family() {
        BlockFamily::Q8Zero(_) => small::decode_q8(bytes, values),
        BlockFamily::Symmetric32(format) => small::decode_symmetric(format, bytes, values),
        BlockFamily::Affine32(format) => small::decode_affine(format, bytes, values),
        BlockFamily::AffineK(facts) => decode_affine_k(facts, format.block_bytes(), bytes, values),
        BlockFamily::SymmetricK(facts) => decode_symmetric_k(facts, format.block_bytes(), bytes, values),
        BlockFamily::Scaled(format) => scaled::decode(format, bytes, values),
        BlockFamily::Integer(format) => groups::decode(format, bytes, values),
        BlockFamily::Other => {
            let blocks = values
                .chunks_mut(format.block_len())
                .zip(bytes.chunks(format.block_bytes()));
            blocks.for_each(|(values, bytes)| format.decode_block(bytes, values));
        }
    }
}

fn encode_affine_k(format: &AffineK, x: &mut [f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
    bound(x, format.limit());
    let parts = x.len() / format.part_len;
    let (mut scales, mut offsets) = (vec![0.0; parts], vec![0.0; parts]);
    let Some(importance) = importance else {
        fit::affine(format, x, None, &mut scales, &mut offsets);
        return assemble_affine_k(format, x, None, &scales, &offsets, bytes);
    };
    let blocks = x
        .as_chunks::<SUPER>()
        .0
        .iter()
        .zip(importance.chunks_exact(SUPER));
    let weights: Vec<[f32; SUPER]> = blocks
        .map(|(x, weights)| format.importance_weights(x, weights))
        .collect();
    fit::affine(format, x, Some(weights.as_flattened()), &mut scales, &mut offsets);
    assemble_affine_k(format, x, Some(&weights), &scales, &offsets, bytes);
}

fn encode_symmetric_k(format: &SymmetricK, x: &mut [f32], bytes: &mut [u8]) {
    bound(x, format.limit());
    let mut scales = vec![0.0; x.len() / 16];
    fit_scales::symmetric(format.middle(), x, &mut scales);
    assemble_symmetric_k(format, x, &scales, bytes);
}

vectorized! {
    /// Brings values into the range of a format.
    fn bound(x: &mut [f32], limit: f32) {
        for x in x {
            *x = bounded(*x, limit);
        }
    }

    fn assemble_affine_k(
        format: &AffineK,
        x: &[f32],
        weights: Option<&[[f32; SUPER]]>,
        scales: &[f32],
        offsets: &[f32],
        bytes: &mut [u8],
    ) {
        let parts = format.parts();
        let (blocks, size) = (x.as_chunks::<SUPER>().0, bytes.len() / (x.len() / SUPER).max(1));
        for (index, x) in blocks.iter().enumerate() {
            let range = index * parts..(index + 1) * parts;
            let (scales, offsets) = (&scales[range.clone()], &offsets[range]);
            let block = match weights {
                Some(weights) => format.assemble_weighted(x, &weights[index], scales, offsets),
                None => format.assemble(x, scales, offsets),
            };
            pack_affine(format.bits, &block, &mut bytes[index * size..(index + 1) * size]);
        }
    }

    fn assemble_symmetric_k(format: &SymmetricK, x: &[f32], scales: &[f32], bytes: &mut [u8]) {
        let size = bytes.len() / (x.len() / SUPER).max(1);
        let (blocks, scales) = (x.as_chunks::<SUPER>().0, scales.as_chunks::<16>().0);
        for (index, (x, scales)) in blocks.iter().zip(scales).enumerate() {
            let block = format.assemble_plain(x, scales);
            pack_symmetric(format.bits, &block, &mut bytes[index * size..(index + 1) * size]);
        }
    }

    fn decode_affine_k(format: &AffineK, size: usize, bytes: &[u8], values: &mut [f32]) {
        for (values, bytes) in values.chunks_exact_mut(SUPER).zip(bytes.chunks_exact(size)) {
            format.decode(bytes, values);
        }
    }

    fn decode_symmetric_k(format: &SymmetricK, size: usize, bytes: &[u8], values: &mut [f32]) {
        for (values, bytes) in values.chunks_exact_mut(SUPER).zip(bytes.chunks_exact(size)) {
            format.decode(bytes, values);
        }
    }
}
