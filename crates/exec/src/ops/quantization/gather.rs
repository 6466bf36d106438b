//! GatherBlockQuantized: slices of a table of codes in groups, as reals.

use bantam_graph::ops::{DequantizeLinear, Gather, GatherBlockQuantized};
use bantam_tensor::{DType, Tensor};

use super::linear::dequantize;
use crate::inputs::{Argument, Inputs};
use crate::ops::axes::axis;
use crate::ops::movement;
use crate::{Context, OpError};

/// GatherBlockQuantized: codes, indices, scales, optional zero points.
pub(crate) fn gather(
    op: &GatherBlockQuantized,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let (codes, indices) = (unpacked(op, inputs.required(0)?)?, inputs.required(1)?);
    let scales = inputs.required(2)?;
    let zero_points = match inputs.optional(3) {
        Some(zero_points) => unpacked(op, zero_points)?,
        None => usual_zero_points(op, inputs.required(0)?.dtype(), codes.dtype(), scales.shape())?,
    };
    let at = axis(op.gather_axis, codes.rank())?;
    let quantized = axis(op.quantize_axis, codes.rank())?;
    if at == quantized {
        return Err(OpError::value(
            "gather_axis and quantize_axis are the same".to_owned(),
        ));
    }
    let taken = |tensor: &Tensor| {
        let inputs = vec![Some(Argument::Shared(tensor)), Some(Argument::Shared(indices))];
        movement::gather(&Gather { axis: at as i64 }, &Inputs::new(inputs), context)
    };
    let parts = [taken(&codes)?, taken(scales)?, taken(&zero_points)?];
    // The dimensions of the indices stand in place of one.
    let moved = match quantized > at {
        true => quantized + indices.rank() - 1,
        false => quantized,
    };
    let op = DequantizeLinear {
        axis: moved as i64,
        block_size: op.block_size,
        output_dtype: None,
    };
    let inputs = parts.iter().map(|tensor| Some(Argument::Shared(tensor)));
    dequantize(&(&op).into(), &Inputs::new(inputs.collect()), context)
}

/// Codes of their own type, of which bytes hold two where they have 4 bits.
fn unpacked(op: &GatherBlockQuantized, codes: &Tensor) -> Result<Tensor, OpError> {
    match (codes.dtype(), op.bits) {
        (DType::I4 | DType::U4, _) | (DType::U8, 8) => Ok(codes.clone()),
        (DType::U8, 4) => {
            let mut shape = codes.shape().to_vec();
            if let Some(last) = shape.last_mut() {
                *last *= 2;
            }
            Ok(Tensor::from_raw(DType::U4, &shape, codes.as_bytes())?)
        }
        (DType::U8, bits) => Err(OpError::Unsupported(format!("codes of {bits} bits"))),
        (got, _) => Err(OpError::Type { index: 0, got }),
    }
}

/// Zero points where none are given: the middle of codes in bytes, else 0.
fn usual_zero_points(
    op: &GatherBlockQuantized,
    stored: DType,
    dtype: DType,
    shape: &[usize],
) -> Result<Tensor, OpError> {
    let usual = match stored {
        DType::U8 => 1 << (op.bits - 1),
        _ => 0,
    };
    let count = shape.iter().product();
    Ok(Tensor::from_i64(dtype, shape, &vec![usual; count])?)
}
