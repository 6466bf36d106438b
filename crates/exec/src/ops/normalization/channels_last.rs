//! Batch normalization of `f32` data with the channels last, and what follows it in the same step.

use bantam_graph::ops::{BatchNormalization, BatchNormalizationGradient, BatchNormalizationTraining};
use bantam_kernels::stored::Stored;
use bantam_kernels::training::batch_normalization::{Backward, Factors, Line, Mask, apply, line, statistics};
use bantam_tensor::{DType, Element, Tensor};
use half::bf16;

use super::check_per_channel;
use crate::inputs::Inputs;
use crate::operator::{Operator, Outputs, function};
use crate::ops::floats::read;
use crate::{Context, OpError};

/// Evaluates an expression with a name for the type that input `$index` is stored in.
macro_rules! in_stored {
    ($inputs:expr, $index:expr, $stored:ident => $body:expr) => {
        match $inputs.required($index)?.dtype() {
            DType::BF16 => {
                type $stored = bf16;
                $body
            }
            _ => {
                type $stored = f32;
                $body
            }
        }
    };
}

/// Where what is added to the result is among the inputs.
const ADDEND: usize = 5;

/// By running statistics: x, scale, bias, mean, variance, addend; the result is clamped to the bounds.
pub(crate) fn inference(op: &BatchNormalization, bounds: [f32; 2]) -> Box<dyn Operator> {
    let epsilon = op.epsilon;
    function("batch normalization, channels last", move |inputs, context| {
        let (mean, variance) = (read::<f32>(inputs, 3)?, read::<f32>(inputs, 4)?);
        let inv_std = inverse_deviations(&variance, epsilon);
        let y = in_stored!(inputs, 0, T => normalized::<T>(inputs, context, &mean, &inv_std, bounds))?;
        Ok(vec![Some(y)])
    })
}

/// By the batch's statistics: x, scale, bias, running mean, running variance, addend. Outputs as of the op.
pub(crate) fn training(op: &BatchNormalizationTraining, bounds: [f32; 2]) -> Box<dyn Operator> {
    let (epsilon, momentum) = (op.epsilon, op.momentum);
    function(
        "batch normalization in training, channels last",
        move |inputs, context| {
            let channels = channels(inputs, 0)?;
            if inputs.required(0)?.is_empty() {
                return Err(OpError::shape("a batch without elements has no statistics"));
            }
            let (mean, variance) = in_stored!(inputs, 0, T => statistics(&inputs.values::<T>(0)?, channels));
            let inv_std = inverse_deviations(&variance, epsilon);
            let y = in_stored!(inputs, 0, T => normalized::<T>(inputs, context, &mean, &inv_std, bounds))?;
            let moved = |index: usize, current: &[f32]| -> Result<Tensor, OpError> {
                let before = read::<f32>(inputs, index)?;
                let each = before.iter().zip(current);
                let after: Vec<f32> = each
                    .map(|(before, current)| before * momentum + current * (1.0 - momentum))
                    .collect();
                Ok(Tensor::from_vec1(&after))
            };
            Ok(vec![
                Some(y),
                Some(moved(3, &mean)?),
                Some(moved(4, &variance)?),
                Some(Tensor::from_vec1(&mean)),
                Some(Tensor::from_vec1(&inv_std)),
            ])
        },
    )
}

/// `1 / sqrt(variance + epsilon)`.
fn inverse_deviations(variance: &[f32], epsilon: f32) -> Vec<f32> {
    let inverse = |&variance: &f32| (1.0 / (f64::from(variance) + f64::from(epsilon)).sqrt()) as f32;
    variance.iter().map(inverse).collect()
}

/// The number of channels of input `index`; an error unless the parameters behind x have one number for each.
fn channels(inputs: &Inputs<'_>, index: usize) -> Result<usize, OpError> {
    let channels = inputs.required(index)?.shape().last().copied().unwrap_or(0);
    check_per_channel(inputs, index + 1..5, channels)?;
    Ok(channels)
}

fn normalized<T: Stored + Element>(
    inputs: &Inputs<'_>,
    context: &Context,
    mean: &[f32],
    inv_std: &[f32],
    bounds: [f32; 2],
) -> Result<Tensor, OpError> {
    channels(inputs, 0)?;
    let (a, b) = line(&read::<f32>(inputs, 1)?, &read::<f32>(inputs, 2)?, mean, inv_std);
    let x = inputs.required(0)?;
    let addend = inputs
        .optional(ADDEND)
        .map(|_| inputs.values::<T>(ADDEND))
        .transpose()?;
    if inputs
        .optional(ADDEND)
        .is_some_and(|addend| addend.shape() != x.shape())
    {
        return Err(OpError::shape("what is added has another shape"));
    }
    let values = inputs.values::<T>(0)?;
    let line = Line { a: &a, b: &b };
    context.fill(x.shape(), |y: &mut [T]| {
        apply(&values, line, addend.as_deref(), bounds, y);
    })
}

/// Where the gradient that arrives counts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Counts {
    /// Everywhere.
    Always,
    /// Where the normalization's result is within these bounds; its bias is input 5.
    Result([f32; 2]),
    /// Where input 5, the result of a clamp behind an addition, is within these bounds.
    Clamped([f32; 2]),
}

/// dy, x, scale, mean, inverse standard deviation, and what [`Counts`] says. Outputs: the gradients of x, scale and bias.
pub(crate) fn gradient(op: &BatchNormalizationGradient, counts: Counts) -> Box<dyn Operator> {
    let frozen = op.frozen;
    function(
        "gradient of batch normalization, channels last",
        move |inputs, context| in_stored!(inputs, 1, T => gradients::<T>(inputs, context, frozen, counts)),
    )
}

fn gradients<T: Stored + Element>(
    inputs: &Inputs<'_>,
    context: &Context,
    frozen: bool,
    counts: Counts,
) -> Result<Outputs, OpError> {
    let (dy, x) = (inputs.required(0)?, inputs.required(1)?);
    if dy.shape() != x.shape() || x.is_empty() {
        return Err(OpError::shape(
            "the gradient and the input must have one shape, with elements",
        ));
    }
    let channels = channels(inputs, 1)?;
    let (scale, mean, inv_std) = (
        read::<f32>(inputs, 2)?,
        read::<f32>(inputs, 3)?,
        read::<f32>(inputs, 4)?,
    );
    let clamped = match counts {
        Counts::Clamped(_) => inputs.values::<T>(5)?,
        _ => Default::default(),
    };
    let (a, b) = match counts {
        Counts::Result(_) => {
            check_per_channel(inputs, 5..6, channels)?;
            line(&scale, &read::<f32>(inputs, 5)?, &mean, &inv_std)
        }
        _ => Default::default(),
    };
    let mask = match counts {
        Counts::Always => Mask::None,
        Counts::Result(bounds) => Mask::Line(Line { a: &a, b: &b }, bounds),
        Counts::Clamped(bounds) => Mask::Output(&clamped, bounds),
    };
    let (of_y, values) = (inputs.values::<T>(0)?, inputs.values::<T>(1)?);
    if matches!(counts, Counts::Clamped(_)) && clamped.len() != values.len() {
        return Err(OpError::shape("the clamped result has another shape"));
    }
    let backward = Backward {
        dy: &of_y,
        x: &values,
        mask,
    };
    let sums = backward.sums(&mean);
    let factors = match frozen {
        true => Factors::frozen(&scale, &inv_std),
        false => Factors::new(&sums, values.len() / channels, &scale, &mean, &inv_std),
    };
    let dx = context.fill(x.shape(), |dx: &mut [T]| backward.input(&factors, None, dx))?;
    let products = sums.products.iter().zip(inv_std.iter());
    let of_scale: Vec<f32> = products
        .map(|(sum, inv_std)| (sum * f64::from(*inv_std)) as f32)
        .collect();
    let of_bias: Vec<f32> = sums.dy.iter().map(|sum| *sum as f32).collect();
    let outputs = [dx, Tensor::from_vec1(&of_scale), Tensor::from_vec1(&of_bias)];
    Ok(outputs.map(Some).into())
}
