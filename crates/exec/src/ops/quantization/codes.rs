//! Reading codes, scales and zero points.

use std::borrow::Cow;

use bantam_kernels::integer;
use bantam_tensor::{DType, Tensor};

use crate::OpError;
use crate::inputs::Inputs;

/// Codes moved so that they are unsigned, and by how much.
pub(in crate::ops) fn unsigned(tensor: &Tensor, index: usize) -> Result<(Cow<'_, [u8]>, i32), OpError> {
    match tensor.dtype() {
        DType::U8 => Ok((tensor.values()?, 0)),
        DType::I8 => Ok((Cow::Owned(integer::to_unsigned(&tensor.values()?)), 128)),
        got => Err(OpError::Type { index, got }),
    }
}

/// Codes moved so that they are signed, and by how much.
pub(in crate::ops) fn signed(tensor: &Tensor, index: usize) -> Result<(Cow<'_, [i8]>, i32), OpError> {
    match tensor.dtype() {
        DType::I8 => Ok((tensor.values()?, 0)),
        DType::U8 => Ok((Cow::Owned(integer::to_signed(&tensor.values()?)), -128)),
        got => Err(OpError::Type { index, got }),
    }
}

/// The scales in input `index`.
pub(super) fn scales(inputs: &Inputs<'_>, index: usize) -> Result<Vec<f32>, OpError> {
    let tensor = inputs.required(index)?;
    match tensor.dtype() {
        DType::F32 | DType::F16 | DType::BF16 | DType::F8E8M0 => Ok(tensor.to_f32()?),
        got => Err(OpError::Type { index, got }),
    }
}

/// The one scale in input `index`.
pub(super) fn scale(inputs: &Inputs<'_>, index: usize) -> Result<f32, OpError> {
    match scales(inputs, index)?.as_slice() {
        [scale] => Ok(*scale),
        many => Err(OpError::shape(format!(
            "input {index} must be one scale, got {}",
            many.len()
        ))),
    }
}

/// The zero points in input `index`; a single 0 when it is left out.
pub(super) fn zero_points(inputs: &Inputs<'_>, index: usize) -> Result<Vec<i32>, OpError> {
    let zeros = inputs.integers(index)?.unwrap_or_else(|| vec![0]);
    let narrow = |zero: i64| {
        i32::try_from(zero).map_err(|_| OpError::value(format!("the zero point {zero} is out of range")))
    };
    zeros.into_iter().map(narrow).collect()
}

/// The one zero point in input `index`; 0 when it is left out.
pub(in crate::ops) fn zero_point(inputs: &Inputs<'_>, index: usize) -> Result<i32, OpError> {
    match zero_points(inputs, index)?.as_slice() {
        [zero] => Ok(*zero),
        many => Err(OpError::shape(format!(
            "input {index} must be one zero point, got {}",
            many.len()
        ))),
    }
}
