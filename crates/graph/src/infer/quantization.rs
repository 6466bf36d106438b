//! The standard's quantization ops.

use bantam_tensor::DType;

use super::context::{Context, Outputs};
use super::dims::{axis_index, equal, size};
use super::elementwise::same_shape;
use super::error::Problem;
use crate::ops::{DequantizeLinear, QuantizeLinear};
use crate::{Dim, ValueType};

pub(super) fn quantize(context: &Context<'_>, op: &QuantizeLinear) -> Outputs {
    check_scale(context, op.axis, op.block_size)?;
    same_shape(
        context,
        context.dtype(2).or(op.output_dtype).or(default_codes(context)),
    )
}

pub(super) fn dequantize(context: &Context<'_>, op: &DequantizeLinear) -> Outputs {
    check_scale(context, op.axis, op.block_size)?;
    context.same_dtype([0, 2])?;
    same_shape(context, op.output_dtype.or(context.dtype(1)))
}

/// u8, unless a zero point is there whose type is not known.
pub(super) fn default_codes(context: &Context<'_>) -> Option<DType> {
    (!context.has(2)).then_some(DType::U8)
}

/// Checks that scales are one, one per index of the axis, or one per block.
pub(super) fn check_scale(context: &Context<'_>, axis: i64, block_size: i64) -> Result<(), Problem> {
    let (Some(x), Some(scale)) = (context.shape(0), context.shape(1)) else {
        return Ok(());
    };
    let block = size("block_size", block_size)?;
    if block == 0 {
        return match scale {
            [] | [Dim::Known(1)] => Ok(()),
            [scales] => {
                let axis = axis_index(axis, x.len())?;
                equal("the scales and the sizes of their axis", scales, &x[axis]).map(|_| ())
            }
            _ => Err(Problem::Rank {
                position: 1,
                got: scale.len(),
                expected: "0 or 1".to_owned(),
            }),
        };
    }
    let axis = axis_index(axis, x.len())?;
    context.shape_of_rank(1, x.len())?;
    for (index, (scales, dim)) in scale.iter().zip(x).enumerate() {
        let blocks = match dim.known() {
            Some(dim) if index == axis => Dim::Known(dim.div_ceil(block)),
            None if index == axis => Dim::Unknown,
            _ => dim.clone(),
        };
        equal("the scales and the blocks", scales, &blocks)?;
    }
    Ok(())
}

/// Codes, scale and zero point.
pub(super) fn dynamic_quantize(context: &Context<'_>) -> Outputs {
    let codes = ValueType::Tensor {
        dtype: Some(DType::U8),
        shape: context.shape_owned(0),
    };
    let scalar = |dtype| ValueType::tensor(dtype, Vec::new());
    Ok(vec![codes, scalar(DType::F32), scalar(DType::U8)])
}
