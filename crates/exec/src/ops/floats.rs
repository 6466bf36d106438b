//! Operators that compute in floating point: `f32` and `f64` as they are, `f16` and `bf16` by way of `f32`.

use std::borrow::Cow;

use bantam_kernels::Real;
use bantam_tensor::{DType, Element, Tensor};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::inputs::Inputs;
use crate::{Context, OpError};

/// Evaluates an expression with a name for the type to compute in, chosen by a dtype; a type error that names input
/// `$index` for dtypes that are not floating-point.
macro_rules! in_real {
    ($dtype:expr, $index:expr, $real:ident => $body:expr) => {
        match $dtype {
            bantam_tensor::DType::F64 => {
                type $real = f64;
                $body
            }
            bantam_tensor::DType::F32 | bantam_tensor::DType::F16 | bantam_tensor::DType::BF16 => {
                type $real = f32;
                $body
            }
            got => Err($crate::OpError::Type { index: $index, got }),
        }
    };
}

pub(crate) use in_real;

/// The elements of input `index` in the type to compute in.
pub(crate) fn read<'a, T: Real>(inputs: &'a Inputs<'_>, index: usize) -> Result<Cow<'a, [T]>, OpError> {
    let tensor = inputs.required(index)?;
    elements(tensor).map_err(|_| OpError::Type {
        index,
        got: tensor.dtype(),
    })
}

/// As [`read`], for inputs that may be left out.
pub(crate) fn read_optional<'a, T: Real>(
    inputs: &'a Inputs<'_>,
    index: usize,
) -> Result<Option<Cow<'a, [T]>>, OpError> {
    inputs.optional(index).map(|_| read(inputs, index)).transpose()
}

fn elements<T: Real>(tensor: &Tensor) -> Result<Cow<'_, [T]>, OpError> {
    if tensor.dtype() == T::DTYPE {
        return Ok(tensor.values()?);
    }
    let narrow = match tensor.dtype() {
        DType::F16 => tensor.values::<f16>()?.to_f32_vec(),
        DType::BF16 => tensor.values::<bf16>()?.to_f32_vec(),
        _ => return Ok(tensor.to_f64()?.into_iter().map(T::from_f64).collect()),
    };
    Ok(Cow::Owned(match bytemuck::allocation::try_cast_vec(narrow) {
        Ok(values) => values,
        Err((_, narrow)) => narrow
            .into_iter()
            .map(|value| T::from_f64(f64::from(value)))
            .collect(),
    }))
}

/// A new tensor of a floating-point dtype, filled through a slice of the type to compute in.
pub(crate) fn fill<T: Real>(
    context: &Context,
    dtype: DType,
    shape: &[usize],
    write: impl FnOnce(&mut [T]),
) -> Result<Tensor, OpError> {
    let wide = context.fill(shape, write)?;
    convert::<T>(context, wide, dtype)
}

/// A tensor of `T` in another floating-point dtype.
pub(crate) fn convert<T: Real>(context: &Context, wide: Tensor, dtype: DType) -> Result<Tensor, OpError> {
    if dtype == T::DTYPE {
        return Ok(wide);
    }
    let narrow = match (dtype, T::DTYPE) {
        (DType::F16, DType::F32) => {
            let values = wide.values::<f32>()?;
            context.fill(wide.shape(), |narrow: &mut [f16]| {
                narrow.convert_from_f32_slice(&values)
            })
        }
        (DType::BF16, DType::F32) => {
            let values = wide.values::<f32>()?;
            context.fill(wide.shape(), |narrow: &mut [bf16]| {
                narrow.convert_from_f32_slice(&values)
            })
        }
        (DType::F16, _) => narrowed::<T, f16>(context, &wide, f16::from_f64),
        (DType::BF16, _) => narrowed::<T, bf16>(context, &wide, bf16::from_f64),
        (DType::F32, _) => narrowed::<T, f32>(context, &wide, |value| value as f32),
        (DType::F64, _) => narrowed::<T, f64>(context, &wide, |value| value),
        (other, _) => return Err(OpError::Unsupported(format!("a result of type {other}"))),
    };
    context.recycle(wide);
    narrow
}

fn narrowed<T: Real, N: Element>(
    context: &Context,
    wide: &Tensor,
    from_f64: impl Fn(f64) -> N,
) -> Result<Tensor, OpError> {
    let values = wide.values::<T>()?;
    context.fill(wide.shape(), |narrow: &mut [N]| {
        narrow
            .iter_mut()
            .zip(values.iter())
            .for_each(|(narrow, value)| *narrow = from_f64(value.to_f64()));
    })
}
