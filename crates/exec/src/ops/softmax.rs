//! Softmax, LogSoftmax, Hardmax.

use bantam_kernels::softmax::{SoftmaxKind, softmax as kernel};
use bantam_tensor::Tensor;

use super::axes::{axis as resolve, split_at_axis};
use super::floats::{fill, in_real, read};
use crate::inputs::Inputs;
use crate::{Context, OpError};

/// Same shape out; each slice along `axis` by itself.
pub(super) fn softmax(
    kind: SoftmaxKind,
    axis: i64,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    // A scalar is a slice of one element.
    let shape: &[usize] = if x.rank() == 0 { &[1] } else { x.shape() };
    let (_, axis, inner) = split_at_axis(shape, resolve(axis, shape.len())?);
    in_real!(x.dtype(), 0, T => {
        let values = read::<T>(inputs, 0)?;
        fill(context, x.dtype(), x.shape(), |y: &mut [T]| kernel(kind, &values, y, axis, inner))
    })
}
