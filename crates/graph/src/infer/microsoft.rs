//! ONNX Runtime's own ops.

use bantam_tensor::DType;

use super::context::{Context, Outputs, one};
use super::dims::{axis_index, equal, positive};
use super::elementwise::{broadcast_inputs, same_shape};
use super::movement::concat;
use super::product::gemm;
use super::quantization::{check_scale, default_codes};
use crate::Dim;
use crate::ops::{
    GatherBlockQuantized, MatMulNBits, MsDequantizeLinear, MsQuantizeLinear, QGemm, QLinearConcat,
};

pub(super) fn quantize(context: &Context<'_>, op: &MsQuantizeLinear) -> Outputs {
    check_scale(context, op.axis, op.block_size)?;
    same_shape(context, context.dtype(2).or(default_codes(context)))
}

pub(super) fn dequantize(context: &Context<'_>, op: &MsDequantizeLinear) -> Outputs {
    check_scale(context, op.axis, op.block_size)?;
    same_shape(context, context.dtype(1))
}

/// QLinearAdd and QLinearMul.
pub(super) fn qlinear_binary(context: &Context<'_>) -> Outputs {
    one(context.same_dtype([0, 3])?, broadcast_inputs(context, [0, 3])?)
}

pub(super) fn qlinear_concat(context: &Context<'_>, op: &QLinearConcat) -> Outputs {
    let parts = (2..context.node.inputs.len()).step_by(3);
    one(context.dtype(1), concat(context, op.axis, parts)?)
}

/// The result is float when no output scale is given.
pub(super) fn qgemm(context: &Context<'_>, op: &QGemm) -> Outputs {
    let dtype = match (context.has(7), context.has(8)) {
        (false, _) => Some(DType::F32),
        (true, true) => context.dtype(8),
        (true, false) => context.dtype(0),
    };
    gemm(context, dtype, [0, 3, 6], [op.transA, op.transB])
}

pub(super) fn matmul_nbits(context: &Context<'_>, op: &MatMulNBits) -> Outputs {
    let (inner, columns) = (positive("K", op.K)?, positive("N", op.N)?);
    let shape = match context.shape_of_min_rank(0, 1)? {
        Some([batch @ .., last]) => {
            equal("the last dimension of a and `K`", last, &Dim::Known(inner))?;
            Some([batch, &[Dim::Known(columns)]].concat())
        }
        _ => None,
    };
    one(context.dtype(0), shape)
}

/// Codes of fewer than 8 bits lie packed along the last dimension where they are given as bytes.
pub(super) fn gather_block_quantized(context: &Context<'_>, op: &GatherBlockQuantized) -> Outputs {
    let dtype = context.dtype(2);
    let (Some(data), Some(indices)) = (context.shape_of_min_rank(0, 2)?, context.shape(1)) else {
        return one(dtype, None);
    };
    let axis = axis_index(op.gather_axis, data.len())?;
    axis_index(op.quantize_axis, data.len())?;
    let mut data = data.to_vec();
    let packed = (8 / positive("bits", op.bits)?).max(1);
    if let Some(last) = data.last_mut().filter(|_| context.dtype(0) == Some(DType::U8)) {
        *last = match &*last {
            Dim::Known(size) => Dim::Known(size.saturating_mul(packed)),
            _ if packed == 1 => last.clone(),
            _ => return one(dtype, None),
        };
    }
    one(dtype, Some([&data[..axis], indices, &data[axis + 1..]].concat()))
}
