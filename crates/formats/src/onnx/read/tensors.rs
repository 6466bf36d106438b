//! Tensors: every way in which a `TensorProto` holds data.

use bantam_graph::dtype_from_code;
use bantam_tensor::{DType, Tensor};
use bytes::Bytes;

use super::{Reader, pairs};
use crate::onnx::OnnxError;
use crate::onnx::proto::{EXTERNAL, TensorProto, field};
use crate::onnx::wire;

/// A tensor and what its file says about it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NamedTensor {
    pub(crate) name: String,
    pub(crate) tensor: Tensor,
    pub(crate) doc: String,
    pub(crate) metadata: Vec<(String, String)>,
}

impl Reader<'_> {
    /// Reads a `TensorProto`. Raw and external data stay slices of their files.
    pub(in crate::onnx) fn tensor(&self, bytes: &Bytes) -> Result<NamedTensor, OnnxError> {
        let proto: TensorProto = self.budget.decode("tensor", bytes)?;
        if proto.segment.is_some() {
            return Err(OnnxError::Segment { tensor: proto.name });
        }
        let dtype = dtype_from_code(proto.data_type).ok_or_else(|| OnnxError::DataType {
            tensor: proto.name.clone(),
            code: proto.data_type,
        })?;
        let shape = dimensions(bytes, field::TENSOR_DIMS, &proto.name)?;
        let tensor = self.tensor_data(bytes, &proto, dtype, &shape)?;
        Ok(NamedTensor {
            tensor,
            name: proto.name,
            doc: proto.doc_string,
            metadata: pairs(proto.metadata_props),
        })
    }

    fn tensor_data(
        &self,
        bytes: &Bytes,
        proto: &TensorProto,
        dtype: DType,
        shape: &[usize],
    ) -> Result<Tensor, OnnxError> {
        let wrong = |source| OnnxError::Tensor {
            tensor: proto.name.clone(),
            source,
        };
        if dtype == DType::String {
            self.budget.check(
                "list of strings",
                proto.string_data.len().checked_mul(size_of::<Vec<u8>>()),
            )?;
            let strings = proto.string_data.iter().map(|string| string.to_vec()).collect();
            return Tensor::from_strings(shape, strings).map_err(wrong);
        }
        if proto.data_location == EXTERNAL {
            let data = self
                .external
                .data(&proto.name, &proto.external_data, dtype, shape)?;
            return Tensor::from_bytes(dtype, shape, data).map_err(wrong);
        }
        match &proto.raw_data {
            Some(raw) if !raw.is_empty() => Tensor::from_bytes(dtype, shape, raw.clone()).map_err(wrong),
            _ => typed_data(bytes, &proto.name, dtype, shape),
        }
    }
}

/// The dimensions in a repeated field, none negative.
pub(super) fn dimensions(bytes: &Bytes, number: u32, name: &str) -> Result<Vec<usize>, OnnxError> {
    let dims = wire::varints(bytes, number).map_err(|source| OnnxError::Malformed {
        what: "shape",
        source,
    })?;
    let size = |dim: i64| {
        usize::try_from(dim).map_err(|_| OnnxError::NegativeDimension {
            tensor: name.to_owned(),
            dimension: dim,
        })
    };
    dims.into_iter().map(size).collect()
}

/// Data in one of the typed fields; which one follows from the dtype.
fn typed_data(bytes: &Bytes, name: &str, dtype: DType, shape: &[usize]) -> Result<Tensor, OnnxError> {
    use DType::*;
    let malformed = |source| OnnxError::Malformed {
        what: "tensor",
        source,
    };
    let packed: Vec<u8> = match dtype {
        F32 | Complex64 => {
            let values = wire::floats(bytes, field::TENSOR_FLOAT_DATA).map_err(malformed)?;
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
        F64 | Complex128 => {
            let values = wire::doubles(bytes, field::TENSOR_DOUBLE_DATA).map_err(malformed)?;
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
        _ => {
            let number = match dtype {
                I64 => field::TENSOR_INT64_DATA,
                U32 | U64 => field::TENSOR_UINT64_DATA,
                _ => field::TENSOR_INT32_DATA,
            };
            let values = wire::varints(bytes, number).map_err(malformed)?;
            narrow(dtype, &values)
        }
    };
    let elements = shape
        .iter()
        .try_fold(1usize, |product, &dim| product.checked_mul(dim));
    let expected = elements.and_then(|elements| dtype.bytes_for(elements));
    if expected != Some(packed.len()) {
        let elements = elements.unwrap_or(usize::MAX);
        let got = packed.len() * 8 / dtype.bits().max(1);
        return Err(OnnxError::ElementCount {
            tensor: name.to_owned(),
            dtype,
            elements,
            got,
        });
    }
    Tensor::from_raw(dtype, shape, &packed).map_err(|source| OnnxError::Tensor {
        tensor: name.to_owned(),
        source,
    })
}

/// The low bytes of each integer: as many as an element takes, and one for (packed) elements that are narrower.
fn narrow(dtype: DType, values: &[i64]) -> Vec<u8> {
    let width = dtype.bits().div_ceil(8);
    let mut bytes = Vec::with_capacity(values.len() * width);
    values
        .iter()
        .for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()[..width]));
    bytes
}
