//! Gradients, and the ops that training needs beside the standard's.

mod activation;
pub(crate) mod convolution;
mod fake_quant;
mod fake_sign;
mod loss;
mod movement;
mod normalization;
pub(crate) mod pooling;
mod random;
mod softmax;
mod sum_to;
#[cfg(test)]
mod tests;

use bantam_graph::Op;
use bantam_kernels::Real;
use bantam_tensor::Tensor;

use super::floats::{convert, read};
use crate::inputs::Inputs;
use crate::operator::Outputs;
use crate::{Context, OpError};

/// Computes one of Bantam's own ops; `outputs` is how many outputs the node names.
pub(super) fn evaluate(
    op: &Op,
    inputs: &mut Inputs<'_>,
    outputs: usize,
    context: &Context,
) -> Result<Outputs, OpError> {
    let one = |result: Result<Tensor, OpError>| result.map(|tensor| vec![Some(tensor)]);
    match op {
        Op::SumTo(_) => one(sum_to::sum_to(inputs, context)),
        Op::ActivationGradient(op) => one(activation::activation(op, inputs, context)),
        Op::ClipGradient(_) => one(activation::clip(inputs, context)),
        Op::ConvInputGradient(op) => one(convolution::input(op, inputs, context)),
        Op::ConvWeightGradient(op) => one(convolution::weight(op, inputs, context)),
        Op::MaxPoolGradient(op) => one(pooling::max(op, inputs, context)),
        Op::AveragePoolGradient(op) => one(pooling::average(op, inputs, context)),
        Op::BatchNormalizationTraining(op) => normalization::batch_training(op, inputs, context),
        Op::BatchNormalizationGradient(op) => normalization::batch(op, inputs, context),
        Op::LayerNormalizationGradient(op) => normalization::layer(op, inputs, context),
        Op::GroupNormalizationGradient(op) => normalization::group(op, inputs, context),
        Op::LrnGradient(op) => one(normalization::local_response(op, inputs, context)),
        Op::SoftmaxGradient(op) => one(softmax::softmax(op, inputs, context)),
        Op::LogSoftmaxGradient(op) => one(softmax::log_softmax(op, inputs, context)),
        Op::SoftmaxCrossEntropyGradient(op) => one(loss::cross_entropy(op, inputs, context)),
        Op::NegativeLogLikelihoodGradient(op) => one(loss::log_likelihood(op, inputs, context)),
        Op::GatherGradient(op) => one(movement::gather(op, inputs, context)),
        Op::GatherNdGradient(op) => one(movement::gather_nd(op, inputs, context)),
        Op::SliceGradient(_) => one(movement::slice(inputs, context)),
        Op::PadGradient(op) => one(movement::pad(op, inputs, context)),
        Op::ResizeGradient(op) => one(super::resize::gradient(op, inputs, context)),
        Op::AttentionGradient(op) => super::attention::gradient(op, inputs, context),
        Op::RecurrentGradient(op) => super::recurrent::gradient(op, inputs, context),
        Op::DropoutTraining(op) => random::dropout(op, inputs, outputs, context),
        Op::FakeQuant(op) => one(fake_quant::forward(op, inputs, context)),
        Op::FakeQuantGradient(op) => fake_quant::backward(op, inputs, context),
        Op::FakeSign(op) => one(fake_sign::forward(op, inputs, context)),
        Op::FakeSignGradient(op) => fake_sign::backward(op, inputs, context),
        other => Err(OpError::Unsupported(format!("the op {}", other.name()))),
    }
}

/// Input 0 in the type to compute in, to be written over, and the dtype that the result is to have.
fn take_first<T: Real>(inputs: &mut Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    if inputs.required(0)?.dtype() == T::DTYPE
        && let Some(first) = inputs.take_unique(0)
    {
        return Ok(first);
    }
    let values = read::<T>(inputs, 0)?;
    context.fill(inputs.required(0)?.shape(), |copy: &mut [T]| {
        copy.copy_from_slice(&values)
    })
}

/// Changes a copy of input 0, or input 0 itself, with the elements of input 1, which has the same shape.
fn over_first<T: Real>(
    inputs: &mut Inputs<'_>,
    context: &Context,
    work: impl FnOnce(&mut [T], &[T]) -> Result<(), OpError>,
) -> Result<Tensor, OpError> {
    check_same_shape(inputs, 0, 1)?;
    let dtype = inputs.required(0)?.dtype();
    let mut first = take_first::<T>(inputs, context)?;
    let second = read::<T>(inputs, 1)?;
    work(first.values_mut::<T>()?, &second)?;
    convert::<T>(context, first, dtype)
}

fn check_same_shape(inputs: &Inputs<'_>, left: usize, right: usize) -> Result<(), OpError> {
    let (a, b) = (inputs.required(left)?.shape(), inputs.required(right)?.shape());
    if a == b {
        return Ok(());
    }
    Err(OpError::shape(format!(
        "inputs {left} and {right} must have one shape, got {a:?} and {b:?}"
    )))
}

/// Fails unless input `index` has this shape.
fn check_shape(inputs: &Inputs<'_>, index: usize, shape: &[usize]) -> Result<(), OpError> {
    let got = inputs.required(index)?.shape();
    if got == shape {
        return Ok(());
    }
    Err(OpError::shape(format!(
        "input {index} must have shape {shape:?}, got {got:?}"
    )))
}

/// The shape that input `index` holds.
fn shape(inputs: &Inputs<'_>, index: usize) -> Result<Vec<usize>, OpError> {
    let sizes = inputs.integers(index)?.ok_or(OpError::MissingInput { index })?;
    let size = |&size: &i64| {
        usize::try_from(size).map_err(|_| OpError::value(format!("the size {size} is negative")))
    };
    sizes.iter().map(size).collect()
}
