//! Types of values.

use bantam_graph::{Dim, ValueType, dtype_from_code};
use bytes::Bytes;

use super::Reader;
use crate::onnx::OnnxError;
use crate::onnx::proto::{DimensionProto, TensorShapeProto, TypeProto, ValueInfoProto};

impl Reader<'_> {
    /// Reads the declaration of a value.
    pub(super) fn value_info(&self, bytes: &Bytes) -> Result<(ValueInfoProto, ValueType), OnnxError> {
        let info: ValueInfoProto = self.budget.decode("value's declaration", bytes)?;
        let ty = match &info.kind {
            Some(bytes) => self.value_type(bytes)?,
            None => ValueType::Unknown,
        };
        Ok((info, ty))
    }

    fn value_type(&self, bytes: &Bytes) -> Result<ValueType, OnnxError> {
        let proto: TypeProto = self.budget.decode("type", bytes)?;
        let Some(tensor) = proto.tensor_type else {
            let opaque = ValueType::Opaque(bytes.to_vec());
            return Ok(if bytes.is_empty() {
                ValueType::Unknown
            } else {
                opaque
            });
        };
        let dtype = dtype_from_code(tensor.elem_type);
        if dtype.is_none() && tensor.elem_type != 0 {
            return Ok(ValueType::Opaque(bytes.to_vec()));
        }
        let shape = match &tensor.shape {
            Some(bytes) => {
                let shape: TensorShapeProto = self.budget.decode("shape", bytes)?;
                Some(shape.dim.into_iter().map(dimension).collect())
            }
            None => None,
        };
        Ok(ValueType::Tensor { dtype, shape })
    }
}

/// A dimension of a value; negative ones, which some exporters write, are unknown.
fn dimension(proto: DimensionProto) -> Dim {
    match (proto.dim_value, proto.dim_param) {
        (Some(size), _) => usize::try_from(size).map_or(Dim::Unknown, Dim::Known),
        (None, Some(name)) if !name.is_empty() => Dim::Symbol(name),
        _ => Dim::Unknown,
    }
}
