//! Slopes of activations.

use bantam_graph::ops::{ActivationFunction, ActivationGradient};
use bantam_kernels::Real;
use bantam_kernels::chunks::for_chunks;
use bantam_kernels::gradient::activation as kernels;
use bantam_tensor::{DType, Tensor};
use half::bf16;

use super::{check_same_shape, over_first};
use crate::inputs::Inputs;
use crate::ops::floats::{in_real, read_optional};
use crate::{Context, OpError};

/// dy times the slope at the values in input 1.
pub(super) fn activation(
    op: &ActivationGradient,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let is_bf16 = |index| inputs.optional(index).is_some_and(|it| it.dtype() == DType::BF16);
    if op.function == ActivationFunction::Relu && is_bf16(0) && is_bf16(1) {
        return stored_relu(inputs, context);
    }
    in_real!(inputs.required(0)?.dtype(), 0, T => over_first::<T>(inputs, context, |dy, values| {
        for_chunks(dy, |start, dy| apply(op, dy, &values[start..]));
        Ok(())
    }))
}

/// Without another copy in `f32`.
fn stored_relu(inputs: &mut Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    check_same_shape(inputs, 0, 1)?;
    let mut dy = match inputs.take_unique(0) {
        Some(dy) => dy,
        None => {
            let dy = inputs.values::<bf16>(0)?;
            context.fill(inputs.required(0)?.shape(), |copy: &mut [bf16]| {
                copy.copy_from_slice(&dy)
            })?
        }
    };
    let y = inputs.values::<bf16>(1)?;
    for_chunks(dy.values_mut::<bf16>()?, |start, dy| {
        kernels::stored_relu(dy, &y[start..])
    });
    Ok(dy)
}

fn apply<T: Real>(op: &ActivationGradient, dy: &mut [T], values: &[T]) {
    use ActivationFunction as Function;
    let real = |value: f32| T::from_f64(f64::from(value));
    let (alpha, beta) = (real(op.alpha), real(op.beta));
    match op.function {
        Function::Relu => kernels::relu(dy, values),
        Function::Sigmoid => kernels::sigmoid(dy, values),
        Function::Tanh => kernels::tanh(dy, values),
        Function::Elu => kernels::exponential_linear(dy, values, alpha, T::ONE, T::ONE),
        Function::Selu => kernels::exponential_linear(dy, values, alpha * beta, beta, T::ONE),
        Function::Celu => kernels::exponential_linear(dy, values, alpha, T::ONE, alpha),
        Function::LeakyRelu => kernels::leaky_relu(dy, values, alpha),
        Function::HardSigmoid => kernels::hard_sigmoid(dy, values, alpha, beta),
        Function::HardSwish => kernels::hard_swish(dy, values),
        Function::ThresholdedRelu => kernels::thresholded_relu(dy, values, alpha),
        Function::Shrink => kernels::shrink(dy, values, beta),
        Function::Gelu => kernels::gelu(dy, values),
        Function::GeluTanh => kernels::gelu_tanh(dy, values),
        Function::Swish => kernels::swish(dy, values, alpha),
        Function::Mish => kernels::mish(dy, values),
        Function::Softplus => kernels::softplus(dy, values),
        Function::Softsign => kernels::softsign(dy, values),
    }
}

/// dy where y lies strictly within the bounds in inputs 2 and 3.
pub(super) fn clip(inputs: &mut Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    in_real!(inputs.required(0)?.dtype(), 0, T => {
        let bound = |index: usize, none: T| -> Result<T, OpError> {
            match read_optional::<T>(inputs, index)?.as_deref() {
                None => Ok(none),
                Some(&[bound]) => Ok(bound),
                Some(several) => Err(OpError::shape(format!("a bound of {} elements", several.len()))),
            }
        };
        let (low, high) = (bound(2, T::NEG_INFINITY)?, bound(3, -T::NEG_INFINITY)?);
        over_first::<T>(inputs, context, |dy, y| {
            for_chunks(dy, |start, dy| kernels::clip(dy, &y[start..], low, high));
            Ok(())
        })
    })
}
