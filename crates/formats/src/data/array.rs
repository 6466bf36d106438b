//! Rows of equal size in the bytes of a file.

use std::borrow::Cow;

use bantam_tensor::DType;
use bytes::Bytes;

use super::npy::NpyArray;

/// An array whose rows (first dimension) lie at equal distances in a file.
#[derive(Clone, Debug)]
pub(crate) struct Array {
    pub(crate) dtype: DType,
    pub(crate) rows: usize,
    /// Dimensions of one row; empty when a row is one element.
    pub(crate) row_shape: Vec<usize>,
    bytes: Bytes,
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
            bytes: array.data,
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
            bytes,
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
            bytes: bytes.into(),
            start: 0,
            stride: 8,
            row_bytes: 8,
            big_endian: false,
        }
    }

    /// Bytes of one row.
    pub(crate) fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// One row, little endian and row-major; `index` is below `rows`.
    pub(crate) fn row(&self, index: usize) -> Cow<'_, [u8]> {
        let start = self.start + index * self.stride;
        let stored = &self.bytes[start..start + self.row_bytes];
        if !self.big_endian && self.dtype != DType::Bool {
            return Cow::Borrowed(stored);
        }
        let mut row = stored.to_vec();
        to_native(&mut row, self.dtype, self.big_endian);
        Cow::Owned(row)
    }
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
                assert_eq!(array.row(index).as_ref(), *row, "{array:?}");
            }
        }
    }
}
