//! Applying a kernel to every element of one tensor, in place where nobody else reads it.

use bantam_tensor::{DType, Element, Tensor};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::inputs::Inputs;
use crate::{Context, OpError};
use bantam_kernels::chunks::{PIECE, for_chunks};

/// A function of a slice in place.
pub(super) type Kernel<'k, T> = &'k (dyn Fn(&mut [T]) + Sync);

/// Applies one function, given in both precisions, to a floating-point tensor; 16-bit floats go by way of `f32`.
pub(super) fn map_floats(
    inputs: &mut Inputs<'_>,
    context: &Context,
    single: Kernel<'_, f32>,
    double: Kernel<'_, f64>,
) -> Result<Tensor, OpError> {
    match inputs.required(0)?.dtype() {
        DType::F32 => map_values(inputs, context, single),
        DType::F64 => map_values(inputs, context, double),
        DType::F16 => map_halves::<f16>(inputs, context, single),
        DType::BF16 => map_halves::<bf16>(inputs, context, single),
        got => Err(OpError::Type { index: 0, got }),
    }
}

/// Applies a kernel to a tensor of `T`.
pub(super) fn map_values<T: Element>(
    inputs: &mut Inputs<'_>,
    context: &Context,
    kernel: Kernel<'_, T>,
) -> Result<Tensor, OpError> {
    if let Some(mut y) = inputs.take_unique(0) {
        for_chunks(y.values_mut::<T>()?, |_, y| kernel(y));
        return Ok(y);
    }
    let x = inputs.values::<T>(0)?;
    context.fill(inputs.required(0)?.shape(), |y: &mut [T]| {
        for_chunks(y, |start, y| {
            let x = &x[start..start + y.len()];
            for (y, x) in y.chunks_mut(PIECE).zip(x.chunks(PIECE)) {
                y.copy_from_slice(x);
                kernel(y);
            }
        });
    })
}

fn map_halves<H: Element>(
    inputs: &mut Inputs<'_>,
    context: &Context,
    kernel: Kernel<'_, f32>,
) -> Result<Tensor, OpError>
where
    [H]: HalfFloatSliceExt,
{
    let x = inputs.values::<H>(0)?;
    context.fill(inputs.required(0)?.shape(), |y: &mut [H]| {
        for_chunks(y, |start, y| {
            let x = &x[start..start + y.len()];
            let mut wide = [0.0f32; PIECE];
            for (y, x) in y.chunks_mut(PIECE).zip(x.chunks(PIECE)) {
                let wide = &mut wide[..x.len()];
                x.convert_to_f32_slice(wide);
                kernel(wide);
                y.convert_from_f32_slice(wide);
            }
        });
    })
}

/// Writes a truth for every element of a tensor of `T`.
pub(super) fn map_to_bools<T: Element>(
    inputs: &Inputs<'_>,
    context: &Context,
    predicate: impl Fn(T) -> bool + Sync,
) -> Result<Tensor, OpError> {
    let x = inputs.values::<T>(0)?;
    let mut truths = context.uninitialized(DType::Bool, inputs.required(0)?.shape())?;
    for_chunks(truths.bytes_mut(), |start, y| {
        y.iter_mut()
            .zip(&x[start..])
            .for_each(|(y, &x)| *y = u8::from(predicate(x)));
    });
    Ok(truths)
}
