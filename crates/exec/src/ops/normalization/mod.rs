//! Normalization over channels, groups and neighbourhoods.

pub(crate) mod channels_last;
mod local;
#[cfg(test)]
mod tests;

use bantam_graph::ops::{BatchNormalization, GroupNormalization, InstanceNormalization};
use bantam_kernels::{Real, normalization as kernels};
use bantam_tensor::Tensor;

pub(super) use self::local::{local_response, lp, mean_variance};
use crate::inputs::Inputs;
use crate::operator::Outputs;
use crate::ops::axes::count;
use crate::ops::floats::{fill, in_real, read};
use crate::{Context, OpError};

/// Batch, channels and positions of `[N, C, ...]`; a tensor of rank 1 has one channel.
pub(super) fn batch_channels_inner(shape: &[usize]) -> Result<(usize, usize, usize), OpError> {
    match shape {
        [] => Err(OpError::shape(
            "the input has no dimensions, at least 1 is needed",
        )),
        [batch] => Ok((*batch, 1, 1)),
        [batch, channels, spatial @ ..] => Ok((*batch, *channels, count(spatial))),
    }
}

/// Fails unless each of the inputs has one value per channel.
pub(super) fn check_per_channel(
    inputs: &Inputs<'_>,
    indices: std::ops::Range<usize>,
    channels: usize,
) -> Result<(), OpError> {
    for index in indices {
        let shape = inputs.required(index)?.shape();
        if shape != [channels] {
            return Err(OpError::shape(format!(
                "input {index} must have shape [{channels}], got {shape:?}"
            )));
        }
    }
    Ok(())
}

/// Inference: by the given mean and variance. Training: by those of the batch, which also move the running ones
/// (outputs 1 and 2).
pub(super) fn batch(
    op: &BatchNormalization,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Outputs, OpError> {
    let (_, channels, _) = batch_channels_inner(inputs.required(0)?.shape())?;
    check_per_channel(inputs, 1..5, channels)?;
    in_real!(inputs.required(0)?.dtype(), 0, T => {
        if op.training_mode { trained::<T>(op, inputs, context).map(|(outputs, _)| outputs) } else { batch_inference::<T>(op, inputs, context) }
    })
}

/// `y = x * factor + summand` with the statistics folded in.
fn folded<T: Real>(scale: &[T], bias: &[T], moments: &[(f64, f64)], epsilon: f32) -> (Vec<T>, Vec<T>) {
    let each = scale
        .iter()
        .zip(bias)
        .zip(moments)
        .map(|((scale, bias), (mean, variance))| {
            let factor = scale.to_f64() / (variance + f64::from(epsilon)).sqrt();
            (T::from_f64(factor), T::from_f64(bias.to_f64() - mean * factor))
        });
    each.unzip()
}

fn batch_inference<T: Real>(
    op: &BatchNormalization,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Outputs, OpError> {
    let (_, _, inner) = batch_channels_inner(inputs.required(0)?.shape())?;
    let (mean, variance) = (read::<T>(inputs, 3)?, read::<T>(inputs, 4)?);
    let moments: Vec<(f64, f64)> = mean
        .iter()
        .zip(variance.iter())
        .map(|(m, v)| (m.to_f64(), v.to_f64()))
        .collect();
    let (factors, summands) = folded(
        &read::<T>(inputs, 1)?,
        &read::<T>(inputs, 2)?,
        &moments,
        op.epsilon,
    );
    if inputs.required(0)?.dtype() == T::DTYPE
        && let Some(mut x) = inputs.take_last(0)
    {
        kernels::scale_channels_in_place(x.values_mut::<T>()?, inner, &factors, &summands);
        return Ok(vec![Some(x)]);
    }
    let (x, values) = (inputs.required(0)?, read::<T>(inputs, 0)?);
    let y = fill(context, x.dtype(), x.shape(), |y: &mut [T]| {
        kernels::scale_channels(&values, y, inner, &factors, &summands);
    })?;
    Ok(vec![Some(y)])
}

/// Mean and variance of each channel.
type Moments = Vec<(f64, f64)>;

/// By the statistics of the batch, which are given too.
pub(super) fn trained<T: Real>(
    op: &BatchNormalization,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<(Outputs, Moments), OpError> {
    let x = inputs.required(0)?;
    let (_, channels, inner) = batch_channels_inner(x.shape())?;
    let values = read::<T>(inputs, 0)?;
    let moments = kernels::channel_moments(&values, channels, inner);
    let (factors, summands) = folded(
        &read::<T>(inputs, 1)?,
        &read::<T>(inputs, 2)?,
        &moments,
        op.epsilon,
    );
    let y = fill(context, x.dtype(), x.shape(), |y: &mut [T]| {
        kernels::scale_channels(&values, y, inner, &factors, &summands);
    })?;
    let momentum = f64::from(op.momentum);
    let running = |index: usize, current: Vec<f64>| {
        let before = read::<T>(inputs, index)?;
        fill(
            context,
            inputs.required(index)?.dtype(),
            &[channels],
            |after: &mut [T]| {
                for ((after, before), current) in after.iter_mut().zip(before.iter()).zip(current) {
                    *after = T::from_f64(before.to_f64() * momentum + current * (1.0 - momentum));
                }
            },
        )
    };
    let mean = running(3, moments.iter().map(|(mean, _)| *mean).collect())?;
    let variance = running(4, moments.iter().map(|(_, variance)| *variance).collect())?;
    Ok((vec![Some(y), Some(mean), Some(variance)], moments))
}

/// Statistics per sample and channel.
pub(super) fn instance(
    op: &InstanceNormalization,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let (_, channels, _) = batch_channels_inner(inputs.required(0)?.shape())?;
    groups(channels, op.epsilon, inputs, context)
}

/// Statistics per sample and group of channels.
pub(super) fn group(
    op: &GroupNormalization,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let count = usize::try_from(op.num_groups).unwrap_or(0);
    groups(count, op.epsilon, inputs, context)
}

fn groups(count: usize, epsilon: f32, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    let (_, channels, inner) = batch_channels_inner(x.shape())?;
    check_per_channel(inputs, 1..3, channels)?;
    if channels > 0 && (count == 0 || !channels.is_multiple_of(count)) {
        return Err(OpError::value(format!(
            "{channels} channels cannot be divided into {count} groups"
        )));
    }
    let group = channels.checked_div(count).unwrap_or(0).saturating_mul(inner);
    in_real!(x.dtype(), 0, T => {
        let (values, scale, bias) = (read::<T>(inputs, 0)?, read::<T>(inputs, 1)?, read::<T>(inputs, 2)?);
        fill(context, x.dtype(), x.shape(), |y: &mut [T]| {
            kernels::normalize_groups(&values, y, group, inner, f64::from(epsilon), &scale, &bias);
        })
    })
}
