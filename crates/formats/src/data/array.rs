//! Rows of equal size in the bytes of a file.

use std::borrow::Cow;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bantam_tensor::DType;
use bytes::Bytes;

use super::DataError;
use super::npy::NpyArray;

/// Where the rows are.
#[derive(Clone, Debug)]
enum Storage {
    Memory(Bytes),
    /// Rows are read when they are asked for. Pages of a mapping would stay with the process, so that its memory would
    /// grow with the number of samples.
    File {
        file: Arc<File>,
        path: PathBuf,
        /// Where the array starts in the file.
        offset: u64,
    },
}

/// An array whose rows (first dimension) lie at equal distances in a file.
#[derive(Clone, Debug)]
pub(crate) struct Array {
    pub(crate) dtype: DType,
    pub(crate) rows: usize,
    /// Dimensions of one row; empty when a row is one element.
    pub(crate) row_shape: Vec<usize>,
    storage: Storage,
    start: usize,
    stride: usize,
    row_bytes: usize,
    big_endian: bool,
}

impl Array {
    /// The rows of a dense array, or `None` when it has no first dimension.
    pub(crate) fn dense(array: NpyArray) -> Option<Array> {
        let (&rows, row_shape) = array.shape.split_first()?;
        let row_bytes = array.data.len().checked_div(rows).unwrap_or(0);
        Some(Array {
            dtype: array.dtype,
            rows,
            row_shape: row_shape.to_vec(),
            storage: Storage::Memory(array.data),
            start: 0,
            stride: row_bytes,
            row_bytes,
            big_endian: array.big_endian,
        })
    }

    /// Rows of bytes, `stride` apart, the first at `start`; as many as the bytes hold.
    pub(crate) fn records(bytes: Bytes, start: usize, stride: usize, row_shape: &[usize]) -> Array {
        let row_bytes = row_shape.iter().product();
        debug_assert!(start + row_bytes <= stride);
        Array {
            dtype: DType::U8,
            rows: bytes.len() / stride,
            row_shape: row_shape.to_vec(),
            storage: Storage::Memory(bytes),
            start,
            stride,
            row_bytes,
            big_endian: false,
        }
    }

    /// A vector of integers, one a row.
    pub(crate) fn integers(values: &[i64]) -> Array {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Array {
            dtype: DType::I64,
            rows: values.len(),
            row_shape: Vec::new(),
            storage: Storage::Memory(bytes.into()),
            start: 0,
            stride: 8,
            row_bytes: 8,
            big_endian: false,
        }
    }

    /// The rows `first..end`, which there must be.
    pub(crate) fn narrowed(mut self, first: usize, end: usize) -> Array {
        debug_assert!(first <= end && end <= self.rows);
        self.start += first * self.stride;
        self.rows = end - first;
        self
    }

    /// Of rows of rank 1: `count` elements of each from `first` on.
    pub(crate) fn window(&self, first: usize, count: usize) -> Array {
        let bytes = self.dtype.bits() / 8;
        debug_assert!((first + count) * bytes <= self.row_bytes);
        Array {
            row_shape: vec![count],
            start: self.start + first * bytes,
            row_bytes: count * bytes,
            ..self.clone()
        }
    }

    /// As many rows of `length` of the values as there are, each `step` after the one before it.
    pub(crate) fn overlapping(values: &[u32], length: usize, step: usize) -> Array {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Array {
            dtype: DType::U32,
            rows: values.len().checked_sub(length).map_or(0, |rest| rest / step + 1),
            row_shape: vec![length],
            storage: Storage::Memory(bytes.into()),
            start: 0,
            stride: 4 * step,
            row_bytes: 4 * length,
            big_endian: false,
        }
    }

    /// The same array, read from the file at `path` row by row, if its bytes are a part of `mapped`, the mapping of all
    /// of that file.
    pub(crate) fn stored_in(mut self, path: &Path, mapped: &Bytes) -> Result<Array, DataError> {
        let Storage::Memory(bytes) = &self.storage else {
            return Ok(self);
        };
        let offset = (bytes.as_ptr() as usize).checked_sub(mapped.as_ptr() as usize);
        let Some(offset) = offset.filter(|offset| offset + bytes.len() <= mapped.len()) else {
            return Ok(self);
        };
        let file = File::open(path).map_err(|problem| DataError::io(path, problem))?;
        self.storage = Storage::File {
            file: Arc::new(file),
            path: path.to_owned(),
            offset: offset as u64,
        };
        Ok(self)
    }

    /// Bytes of one row.
    pub(crate) fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// One row, little endian and row-major; `index` is below `rows`.
    pub(crate) fn row(&self, index: usize) -> Result<Cow<'_, [u8]>, DataError> {
        let start = self.start + index * self.stride;
        let stored = match &self.storage {
            Storage::Memory(bytes) => Cow::Borrowed(&bytes[start..start + self.row_bytes]),
            Storage::File { file, path, offset } => {
                let mut row = vec![0; self.row_bytes];
                read_at(file, &mut row, offset + start as u64)
                    .map_err(|problem| DataError::io(path, problem))?;
                Cow::Owned(row)
            }
        };
        if !self.big_endian && self.dtype != DType::Bool {
            return Ok(stored);
        }
        let mut row = stored.into_owned();
        to_native(&mut row, self.dtype, self.big_endian);
        Ok(Cow::Owned(row))
    }
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let count = std::os::windows::fs::FileExt::seek_read(file, bytes, offset)?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        (bytes, offset) = (&mut bytes[count..], offset + count as u64);
    }
    Ok(())
}

/// Turns stored elements into those of a tensor: little endian; booleans 0 or 1.
pub(crate) fn to_native(bytes: &mut [u8], dtype: DType, big_endian: bool) {
    if dtype == DType::Bool {
        for byte in bytes {
            *byte = u8::from(*byte != 0);
        }
    } else if big_endian {
        for element in bytes.chunks_exact_mut(dtype.bits() / 8) {
            element.reverse();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_rows() {
        let tokens = Array::overlapping(&[0, 1, 2, 3, 4, 5, 6], 3, 2);
        let rows = |array: &Array| -> Vec<Vec<u8>> {
            let row = |index| array.row(index).unwrap().chunks(4).map(|id| id[0]).collect();
            (0..array.rows).map(row).collect()
        };
        assert_eq!(rows(&tokens), [[0, 1, 2], [2, 3, 4], [4, 5, 6]]);
        assert_eq!(rows(&tokens.window(1, 2)), [[1, 2], [3, 4], [5, 6]]);
        assert_eq!(rows(&tokens.window(0, 1).narrowed(1, 3)), [[2], [4]]);
        assert_eq!(Array::overlapping(&[0, 1], 3, 2).rows, 0);
    }

    #[test]
    fn rows_of_dense_and_strided_arrays() {
        let dense = |dtype, shape: &[usize], big_endian, data: &'static [u8]| {
            Array::dense(NpyArray {
                dtype,
                shape: shape.to_vec(),
                big_endian,
                data: Bytes::from_static(data),
            })
            .unwrap()
        };
        let records = Array::records(Bytes::from_static(&[9, 1, 2, 9, 3, 4, 9]), 1, 3, &[2]);
        let cases: &[(Array, &[&[u8]])] = &[
            (
                dense(DType::U8, &[2, 3], false, &[1, 2, 3, 4, 5, 6]),
                &[&[1, 2, 3], &[4, 5, 6]],
            ),
            (dense(DType::I16, &[2], true, &[1, 2, 3, 4]), &[&[2, 1], &[4, 3]]),
            (dense(DType::Bool, &[1, 3], false, &[0, 7, 1]), &[&[0, 1, 1]]),
            (dense(DType::F32, &[0, 3], false, &[]), &[]),
            (records, &[&[1, 2], &[3, 4]]),
            (Array::integers(&[-1]), &[&[0xff; 8]]),
        ];
        for (array, rows) in cases {
            assert_eq!(array.rows, rows.len());
            for (index, row) in rows.iter().enumerate() {
                assert_eq!(array.row(index).unwrap().as_ref(), *row, "{array:?}");
            }
        }
    }
}
