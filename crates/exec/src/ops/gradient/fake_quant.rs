//! FakeQuant and its gradient.

use bantam_graph::ops::{FakeQuant, FakeQuantGradient};
use bantam_kernels::gradient::fake_quant::{self as kernels, Codes};
use bantam_tensor::Tensor;

use super::{check_same_shape, take_first};
use crate::inputs::Inputs;
use crate::operator::Outputs;
use crate::ops::axes::{axis as resolve, split_at_axis};
use crate::ops::floats::{convert, fill, in_real, read};
use crate::{Context, OpError};

/// The codes for x at input `index`, with scale and zero point behind it.
fn codes(
    axis: Option<i64>,
    [low, high]: [i64; 2],
    inputs: &Inputs<'_>,
    index: usize,
) -> Result<Codes, OpError> {
    let (channels, inner) = channels(axis, inputs, index)?;
    if low > high {
        return Err(OpError::value(format!(
            "there is no code between {low} and {high}"
        )));
    }
    Ok(Codes {
        low: low as f64,
        high: high as f64,
        channels,
        inner,
    })
}

/// How many parameters x at input `index` has, and how many elements side by side share them; the two inputs behind it
/// must hold as many.
pub(super) fn channels(
    axis: Option<i64>,
    inputs: &Inputs<'_>,
    index: usize,
) -> Result<(usize, usize), OpError> {
    let shape = inputs.required(index)?.shape();
    let (channels, inner) = match axis {
        None => (1, inputs.required(index)?.len()),
        Some(axis) => {
            let (_, channels, inner) = split_at_axis(shape, resolve(axis, shape.len())?);
            (channels, inner)
        }
    };
    for parameter in [index + 1, index + 2] {
        let got = inputs.required(parameter)?;
        if got.len() != channels || got.rank() > 1 {
            return Err(OpError::shape(format!(
                "input {parameter} must hold {channels} elements, its shape is {:?}",
                got.shape()
            )));
        }
    }
    Ok((channels, inner))
}

/// x, scale, zero point.
pub(super) fn forward(op: &FakeQuant, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let codes = codes(op.axis, [op.low, op.high], inputs, 0)?;
    let x = inputs.required(0)?;
    in_real!(x.dtype(), 0, T => {
        let (values, scale, zero) = (read::<T>(inputs, 0)?, read::<T>(inputs, 1)?, read::<T>(inputs, 2)?);
        fill(context, x.dtype(), x.shape(), |y: &mut [T]| kernels::forward(&codes, &values, &scale, &zero, y))
    })
}

/// dy, x, scale, zero point. Outputs: the gradients of x, scale and zero point.
pub(super) fn backward(
    op: &FakeQuantGradient,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Outputs, OpError> {
    check_same_shape(inputs, 0, 1)?;
    let codes = codes(op.axis, [op.low, op.high], inputs, 1)?;
    let dtype = inputs.required(1)?.dtype();
    in_real!(dtype, 1, T => {
        let mut dx = take_first::<T>(inputs, context)?;
        let (x, scale, zero) = (read::<T>(inputs, 1)?, read::<T>(inputs, 2)?, read::<T>(inputs, 3)?);
        let sums = kernels::backward(&codes, dx.values_mut::<T>()?, &x, &scale, &zero);
        let parameter = |index: usize| {
            let like = inputs.required(2 + index)?;
            fill(context, like.dtype(), like.shape(), |gradient: &mut [T]| {
                let factor = f64::from(op.gradient_scale);
                gradient.iter_mut().zip(&sums).for_each(|(gradient, sums)| *gradient = <T as bantam_kernels::Real>::from_f64(sums[index] * factor));
            })
        };
        let (of_scale, of_zero) = (parameter(0)?, parameter(1)?);
        Ok(vec![Some(convert::<T>(context, dx, dtype)?), Some(of_scale), Some(of_zero)])
    })
}
