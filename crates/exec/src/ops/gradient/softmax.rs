//! Gradients of softmax and its logarithm.

use bantam_graph::ops::{LogSoftmaxGradient, SoftmaxGradient};
use bantam_kernels::gradient::softmax as kernels;
use bantam_tensor::Tensor;

use super::over_first;
use crate::inputs::Inputs;
use crate::ops::axes::{axis as resolve, split_at_axis};
use crate::ops::floats::in_real;
use crate::{Context, OpError};

/// Elements along the axis and behind it; of a scalar, one each.
fn block(inputs: &Inputs<'_>, axis: i64) -> Result<(usize, usize), OpError> {
    let shape = inputs.required(0)?.shape();
    if shape.is_empty() {
        return Ok((1, 1));
    }
    let (_, along, inner) = split_at_axis(shape, resolve(axis, shape.len())?);
    Ok((along, inner))
}

/// dy, y.
pub(super) fn softmax(
    op: &SoftmaxGradient,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let (axis, inner) = block(inputs, op.axis)?;
    in_real!(inputs.required(0)?.dtype(), 0, T => over_first::<T>(inputs, context, |dy, y| {
        kernels::softmax(dy, y, axis, inner);
        Ok(())
    }))
}

/// dy, y.
pub(super) fn log_softmax(
    op: &LogSoftmaxGradient,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let (axis, inner) = block(inputs, op.axis)?;
    in_real!(inputs.required(0)?.dtype(), 0, T => over_first::<T>(inputs, context, |dy, y| {
        kernels::log_softmax(dy, y, axis, inner);
        Ok(())
    }))
}
