//! Normalization by the batch, and gradients of normalization.

use bantam_graph::ops::{
    BatchNormalization, BatchNormalizationGradient, BatchNormalizationTraining, GroupNormalizationGradient,
    LayerNormalizationGradient, LrnGradient,
};
use bantam_kernels::Real;
use bantam_kernels::gradient::normalization::{self as kernels, LocalResponse, Sums};
use bantam_kernels::normalization::RowNorm;
use bantam_tensor::Tensor;

use super::{check_same_shape, check_shape};
use crate::inputs::Inputs;
use crate::operator::Outputs;
use crate::ops::axes::{axis as resolve, count};
use crate::ops::broadcast::broadcast_strides;
use crate::ops::floats::{fill, in_real, read};
use crate::ops::layer_norm::{affine_shape, expand};
use crate::ops::normalization::{batch_channels_inner, check_per_channel, trained};
use crate::{Context, OpError};

/// x, scale, bias, running mean, running variance. Outputs: y, both after this batch, and the batch's mean and inverse
/// standard deviation.
pub(super) fn batch_training(
    op: &BatchNormalizationTraining,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Outputs, OpError> {
    let (_, channels, _) = batch_channels_inner(inputs.required(0)?.shape())?;
    check_per_channel(inputs, 1..5, channels)?;
    let standard = BatchNormalization {
        epsilon: op.epsilon,
        momentum: op.momentum,
        training_mode: true,
    };
    in_real!(inputs.required(0)?.dtype(), 0, T => {
        let (mut outputs, moments) = trained::<T>(&standard, inputs, context)?;
        let epsilon = f64::from(op.epsilon);
        let saved = |index: usize, value: fn(&(f64, f64), f64) -> f64| {
            fill(context, inputs.required(index)?.dtype(), &[channels], |saved: &mut [T]| {
                let each = saved.iter_mut().zip(&moments);
                each.for_each(|(saved, moments)| *saved = <T as Real>::from_f64(value(moments, epsilon)));
            })
        };
        outputs.push(Some(saved(3, |moments, _| moments.0)?));
        outputs.push(Some(saved(4, |moments, epsilon| 1.0 / (moments.1 + epsilon).sqrt())?));
        Ok(outputs)
    })
}

/// A list of one number per channel, in the type of input `index`.
fn per_channel<T: Real>(
    inputs: &Inputs<'_>,
    index: usize,
    context: &Context,
    values: impl Iterator<Item = f64>,
) -> Result<Option<Tensor>, OpError> {
    let like = inputs.required(index)?;
    let filled = fill(context, like.dtype(), like.shape(), |list: &mut [T]| {
        list.iter_mut()
            .zip(values)
            .for_each(|(slot, value)| *slot = T::from_f64(value));
    });
    filled.map(Some)
}

/// dy, x, scale, mean, inverse standard deviation. Outputs: the gradients of x, scale and bias.
pub(super) fn batch(
    op: &BatchNormalizationGradient,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Outputs, OpError> {
    check_same_shape(inputs, 0, 1)?;
    let x = inputs.required(1)?;
    let (_, channels, inner) = batch_channels_inner(x.shape())?;
    check_per_channel(inputs, 2..5, channels)?;
    in_real!(x.dtype(), 1, T => {
        let (dy, values, scale) = (read::<T>(inputs, 0)?, read::<T>(inputs, 1)?, read::<T>(inputs, 2)?);
        let (mean, inverse) = (read::<T>(inputs, 3)?, read::<T>(inputs, 4)?);
        let sums = kernels::channel_sums(&dy, &values, inner, &mean, &inverse);
        let moving = (!op.frozen).then_some(sums.as_slice());
        let dx = fill(context, x.dtype(), x.shape(), |dx: &mut [T]| {
            kernels::batch(&dy, &values, dx, inner, &scale, [&mean, &inverse], moving);
        })?;
        of_channels::<T>(dx, &sums, inputs, context)
    })
}

/// The three gradients; the scale is input 2.
fn of_channels<T: Real>(
    dx: Tensor,
    sums: &[Sums],
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Outputs, OpError> {
    let of_scale = per_channel::<T>(inputs, 2, context, sums.iter().map(|sums| sums.product))?;
    let of_bias = per_channel::<T>(inputs, 2, context, sums.iter().map(|sums| sums.dy))?;
    Ok(vec![Some(dx), of_scale, of_bias])
}

/// dy, x, scale. Outputs: the gradients of x, scale and bias.
pub(super) fn group(
    op: &GroupNormalizationGradient,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Outputs, OpError> {
    check_same_shape(inputs, 0, 1)?;
    let x = inputs.required(1)?;
    let (_, channels, inner) = batch_channels_inner(x.shape())?;
    check_per_channel(inputs, 2..3, channels)?;
    let groups = match op.num_groups {
        0 => channels,
        groups => usize::try_from(groups).unwrap_or(0),
    };
    if channels > 0 && (groups == 0 || !channels.is_multiple_of(groups)) {
        return Err(OpError::value(format!(
            "{channels} channels cannot be divided into {groups} groups"
        )));
    }
    let group = channels.checked_div(groups).unwrap_or(0).saturating_mul(inner);
    in_real!(x.dtype(), 1, T => {
        let (dy, values, scale) = (read::<T>(inputs, 0)?, read::<T>(inputs, 1)?, read::<T>(inputs, 2)?);
        let mut sums = Vec::new();
        let dx = fill(context, x.dtype(), x.shape(), |dx: &mut [T]| {
            sums = kernels::groups(&dy, &values, dx, group, inner, &scale, f64::from(op.epsilon));
        })?;
        of_channels::<T>(dx, &sums, inputs, context)
    })
}

/// dy, x, scale. Outputs: the gradients of x, scale and bias.
pub(super) fn layer(
    op: &LayerNormalizationGradient,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Outputs, OpError> {
    check_same_shape(inputs, 0, 1)?;
    let (x, scale_shape) = (inputs.required(1)?, inputs.required(2)?.shape());
    let axis = resolve(op.axis, x.rank())?;
    let norm = match op.root_mean_square {
        true => RowNorm::RootMeanSquare,
        false => RowNorm::Standard,
    };
    let row = count(&x.shape()[axis..]);
    let target = affine_shape(x.shape(), axis, &[scale_shape])?;
    in_real!(x.dtype(), 1, T => {
        if x.is_empty() {
            let none = || per_channel::<T>(inputs, 2, context, std::iter::repeat(0.0));
            return Ok(vec![Some(fill(context, x.dtype(), x.shape(), |_: &mut [T]| {})?), none()?, none()?]);
        }
        let (dy, values) = (read::<T>(inputs, 0)?, read::<T>(inputs, 1)?);
        let scale = expand(read::<T>(inputs, 2)?, scale_shape, target);
        let mut sums = [Vec::new(), Vec::new()];
        let dx = fill(context, x.dtype(), x.shape(), |dx: &mut [T]| {
            sums = kernels::rows(norm, &dy, &values, dx, row, &scale, f64::from(op.epsilon));
        })?;
        let [of_scale, of_bias] = sums.map(|sums| summed(&sums, target, scale_shape));
        let of_scale = per_channel::<T>(inputs, 2, context, of_scale.into_iter())?;
        let of_bias = per_channel::<T>(inputs, 2, context, of_bias.into_iter())?;
        Ok(vec![Some(dx), of_scale, of_bias])
    })
}

/// Values of shape `from`, summed over the dimensions along which a tensor of shape `to` was repeated.
fn summed(values: &[f64], from: &[usize], to: &[usize]) -> Vec<f64> {
    let to = &to[to.len().saturating_sub(from.len())..];
    if from == to {
        return values.to_vec();
    }
    let strides = broadcast_strides(to, from);
    let mut sums = vec![0.0; count(to)];
    let mut index = vec![0; from.len()];
    for value in values {
        let place: usize = index
            .iter()
            .zip(&strides)
            .map(|(index, stride)| index * stride)
            .sum();
        sums[place] += value;
        crate::ops::broadcast::advance(&mut index, from);
    }
    sums
}

/// dy, x.
pub(super) fn local_response(
    op: &LrnGradient,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let x = inputs.required(1)?;
    check_shape(inputs, 0, x.shape())?;
    let &[_, channels, ref spatial @ ..] = x.shape() else {
        return Err(OpError::shape("at least 2 dimensions are needed"));
    };
    let size = usize::try_from(op.size).ok().filter(|&size| size > 0);
    let how = LocalResponse {
        alpha: f64::from(op.alpha),
        beta: f64::from(op.beta),
        bias: f64::from(op.bias),
        size: size.ok_or_else(|| OpError::value(format!("size of {} is not positive", op.size)))?,
    };
    let inner = count(spatial);
    in_real!(x.dtype(), 1, T => {
        let (dy, values) = (read::<T>(inputs, 0)?, read::<T>(inputs, 1)?);
        fill(context, x.dtype(), x.shape(), |dx: &mut [T]| {
            kernels::local_response(how, &dy, &values, dx, channels, inner);
        })
    })
}
