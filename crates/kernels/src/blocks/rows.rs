//! Rows of values, and how they are divided among tasks.

use bantam_tensor::BlockFormat;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// Elements that a task takes at once, if blocks are not longer.
const PIECE: usize = 4096;
/// Values to encode.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// 16-bit floats.
    F16(&'a [f16]),
    /// The upper halves of 32-bit floats.
    BF16(&'a [bf16]),
}

impl Source<'_> {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Source::F32(x) => x.len(),
            Source::F16(x) => x.len(),
            Source::BF16(x) => x.len(),
        }
    }

    /// True when there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes `to.len()` values from `start` on.
    pub(super) fn read(&self, start: usize, to: &mut [f32]) {
        let range = start..start + to.len();
        match self {
            Source::F32(x) => to.copy_from_slice(&x[range]),
            Source::F16(x) => x[range].convert_to_f32_slice(to),
            Source::BF16(x) => x[range].convert_to_f32_slice(to),
        }
    }
}

/// Slices do not fit rows of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockSizeError {
    /// The row does not end with a block.
    Row {
        /// Elements of a row.
        row_len: usize,
        /// Elements of a block.
        block_len: usize,
    },
    /// Values, bytes or importance are not as many as the rows need.
    Length {
        /// What was there.
        got: usize,
        /// What is needed.
        expected: usize,
    },
}

impl std::fmt::Display for BlockSizeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BlockSizeError::Row { row_len, block_len } => {
                write!(
                    f,
                    "rows of {row_len} elements do not end with a block of {block_len}"
                )
            }
            BlockSizeError::Length { got, expected } => {
                write!(f, "length {got}, but the rows need {expected}")
            }
        }
    }
}

impl std::error::Error for BlockSizeError {}

/// Sizes of rows and of the pieces that tasks take.
pub(super) struct Rows {
    row_len: usize,
    pub(super) row_bytes: usize,
    pub(super) piece_len: usize,
    pub(super) piece_bytes: usize,
}

impl Rows {
    pub(super) fn new(
        format: &dyn BlockFormat,
        values: usize,
        bytes: usize,
        row_len: usize,
    ) -> Result<Rows, BlockSizeError> {
        let block_len = format.block_len();
        let row_bytes = format
            .row_bytes(row_len)
            .ok_or(BlockSizeError::Row { row_len, block_len })?;
        let rows = values.checked_div(row_len).unwrap_or(0);
        if rows.checked_mul(row_len) != Some(values) {
            return Err(BlockSizeError::Length {
                got: values,
                expected: rows * row_len,
            });
        }
        match rows.checked_mul(row_bytes) {
            Some(expected) if expected == bytes => {}
            expected => {
                let expected = expected.unwrap_or(usize::MAX);
                return Err(BlockSizeError::Length { got: bytes, expected });
            }
        }
        let blocks = (PIECE / block_len).max(1);
        let (piece_len, piece_bytes) = (blocks * block_len, blocks * format.block_bytes());
        Ok(Rows {
            row_len,
            row_bytes,
            piece_len,
            piece_bytes,
        })
    }

    /// Rows that a task takes at least.
    pub(super) fn at_once(&self) -> usize {
        (PIECE / self.row_len.max(1)).max(1)
    }
}
