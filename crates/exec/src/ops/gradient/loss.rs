//! Gradients of losses.

use bantam_graph::ops::{NegativeLogLikelihoodGradient, SoftmaxCrossEntropyGradient};
use bantam_kernels::Real;
use bantam_kernels::gradient::loss::{self as kernels, Target};
use bantam_tensor::Tensor;

use super::shape;
use crate::inputs::Inputs;
use crate::ops::floats::{fill, in_real, read, read_optional};
use crate::ops::losses::{Loss, Sizes, class_of, sizes_of};
use crate::{Context, OpError};

/// Gradient of the loss, log-probabilities, labels, optional class weights.
pub(super) fn cross_entropy(
    op: &SoftmaxCrossEntropyGradient,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let loss = Loss {
        ignore_index: op.ignore_index,
        reduction: &op.reduction,
    };
    let scores = inputs.required(1)?;
    let sizes = sizes_of(scores.shape(), inputs, 2, 3)?;
    in_real!(scores.dtype(), 1, T => {
        let targets = targets::<T>(loss, &sizes, inputs, 2)?;
        let logarithms = read::<T>(inputs, 1)?;
        fill(context, scores.dtype(), scores.shape(), |dx: &mut [T]| {
            kernels::cross_entropy(&logarithms, &targets, sizes.classes, sizes.positions, dx);
        })
    })
}

/// Gradient of the loss, labels, shape of the log-probabilities, optional class weights.
pub(super) fn log_likelihood(
    op: &NegativeLogLikelihoodGradient,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let loss = Loss {
        ignore_index: op.ignore_index,
        reduction: &op.reduction,
    };
    let (shape, dtype) = (shape(inputs, 2)?, inputs.required(0)?.dtype());
    let sizes = sizes_of(&shape, inputs, 1, 3)?;
    in_real!(dtype, 0, T => {
        let targets = targets::<T>(loss, &sizes, inputs, 1)?;
        fill(context, dtype, &shape, |dx: &mut [T]| {
            kernels::log_likelihood(&targets, sizes.classes, sizes.positions, dx);
        })
    })
}

/// The class and factor of each target: its class weight times the gradient of the loss, for a mean divided by the sum of
/// the weights.
fn targets<T: Real>(
    loss: Loss<'_>,
    sizes: &Sizes,
    inputs: &Inputs<'_>,
    labels: usize,
) -> Result<Vec<Target<T>>, OpError> {
    let dy = read::<T>(inputs, 0)?;
    let classes = inputs
        .integers(labels)?
        .ok_or(OpError::MissingInput { index: labels })?;
    let each = loss.reduction == "none";
    let expected = if each { classes.len() } else { 1 };
    if dy.len() != expected {
        return Err(OpError::shape(format!(
            "a gradient of {} elements for {expected} losses",
            dy.len()
        )));
    }
    let weights = read_optional::<T>(inputs, 3)?;
    let mut targets = Vec::with_capacity(classes.len());
    let mut total = 0.0;
    for (index, &target) in classes.iter().enumerate() {
        let class = class_of(loss, target, sizes.classes)?;
        targets.push(class.map(|class| {
            let weight = weights.as_ref().map_or(1.0, |weights| weights[class].to_f64());
            total += weight;
            (class, weight * dy[if each { index } else { 0 }].to_f64())
        }));
    }
    let divisor = if loss.reduction == "mean" { total } else { 1.0 };
    let scaled = |(class, factor): (usize, f64)| (class, T::from_f64(factor / divisor));
    Ok(targets.into_iter().map(|target| target.map(scaled)).collect())
}
