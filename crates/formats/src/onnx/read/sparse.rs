//! Sparse tensors, made dense.

use bantam_tensor::Tensor;
use bytes::Bytes;

use super::tensors::dimensions;
use super::{NamedTensor, Reader};
use crate::onnx::OnnxError;
use crate::onnx::proto::{SparseTensorProto, field};

impl Reader<'_> {
    /// Reads a `SparseTensorProto` as a dense tensor, whose size is bounded by the file's.
    pub(in crate::onnx) fn sparse_tensor(&self, bytes: &Bytes) -> Result<NamedTensor, OnnxError> {
        let proto: SparseTensorProto = self.budget.decode("sparse tensor", bytes)?;
        let mut values = self.tensor(&proto.values.unwrap_or_default())?;
        let indices = self.tensor(&proto.indices.unwrap_or_default())?.tensor;
        let shape = dimensions(bytes, field::SPARSE_DIMS, &values.name)?;
        let fail = |fact: &str| OnnxError::Sparse {
            tensor: values.name.clone(),
            fact: fact.to_owned(),
        };
        let width = values.tensor.dtype().bits() / 8;
        if width == 0 {
            return Err(fail("its elements are narrower than a byte, or strings"));
        }
        let elements = shape
            .iter()
            .try_fold(1usize, |product, &dim| product.checked_mul(dim));
        let size = elements.and_then(|elements| elements.checked_mul(width));
        self.budget.check("sparse tensor", size)?;
        let positions = flat_positions(&indices, values.tensor.len(), &shape).ok_or_else(|| {
            fail("its indices are not one integer, or one per dimension, within the shape for each value")
        })?;
        let mut dense = Tensor::zeros(values.tensor.dtype(), &shape).map_err(|source| OnnxError::Tensor {
            tensor: values.name.clone(),
            source,
        })?;
        let bytes = dense.bytes_mut();
        for (value, position) in values.tensor.as_bytes().chunks_exact(width).zip(positions) {
            bytes[position * width..][..width].copy_from_slice(value);
        }
        values.tensor = dense;
        Ok(values)
    }
}

/// Row-major positions from indices of shape `[values]` or `[values, rank]`.
fn flat_positions(indices: &Tensor, values: usize, shape: &[usize]) -> Option<Vec<usize>> {
    let coordinates = indices.to_i64().ok()?;
    let elements: usize = shape.iter().product();
    let flat = |index: i64| usize::try_from(index).ok().filter(|&index| index < elements);
    match *indices.shape() {
        [count] if count == values => coordinates.into_iter().map(flat).collect(),
        [count, rank] if count == values && rank == shape.len() => {
            let position = |coordinate: &[i64]| {
                coordinate
                    .iter()
                    .zip(shape)
                    .try_fold(0usize, |position, (&index, &dim)| {
                        let index = usize::try_from(index).ok().filter(|&index| index < dim)?;
                        Some(position * dim + index)
                    })
            };
            match rank {
                0 => None,
                _ => coordinates.chunks_exact(rank).map(position).collect(),
            }
        }
        _ => None,
    }
}
