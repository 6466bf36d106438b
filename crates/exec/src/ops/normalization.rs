//! Normalization over channels, groups and neighbourhoods.

use bantam_graph::ops::{
    BatchNormalization, GroupNormalization, InstanceNormalization, LpNormalization, Lrn,
    MeanVarianceNormalization,
};
use bantam_kernels::{Real, normalization as kernels};
use bantam_tensor::Tensor;

use super::axes::{axis as resolve, count, split_at_axis};
use super::floats::{fill, in_real, read};
use crate::inputs::Inputs;
use crate::operator::Outputs;
use crate::{Context, OpError};

/// Batch, channels and positions of `[N, C, ...]`; a tensor of rank 1 has one channel.
fn batch_channels_inner(shape: &[usize]) -> Result<(usize, usize, usize), OpError> {
    match shape {
        [] => Err(OpError::shape(
            "the input has no dimensions, at least 1 is needed",
        )),
        [batch] => Ok((*batch, 1, 1)),
        [batch, channels, spatial @ ..] => Ok((*batch, *channels, count(spatial))),
    }
}

/// Fails unless each of the inputs has one value per channel.
fn check_per_channel(
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
        if op.training_mode { batch_training::<T>(op, inputs, context) } else { batch_inference::<T>(op, inputs, context) }
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

fn batch_training<T: Real>(
    op: &BatchNormalization,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Outputs, OpError> {
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
    Ok(vec![Some(y), Some(mean), Some(variance)])
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

/// Division by a power of the sum of squares over neighbouring channels.
pub(super) fn local_response(op: &Lrn, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    let (_, channels, inner) = batch_channels_inner(x.shape())?;
    let size = usize::try_from(op.size).ok().filter(|&size| size > 0);
    let size = size.ok_or_else(|| OpError::value(format!("size must be positive, got {}", op.size)))?;
    let sample = channels.saturating_mul(inner).max(1);
    in_real!(x.dtype(), 0, T => {
        let real = |value: f32| T::from_f64(f64::from(value));
        let (alpha, beta, bias) = (real(op.alpha), real(op.beta), real(op.bias));
        let values = read::<T>(inputs, 0)?;
        fill(context, x.dtype(), x.shape(), |y: &mut [T]| {
            for (x, y) in values.chunks_exact(sample).zip(y.chunks_exact_mut(sample)) {
                kernels::local_response(x, y, inner, size, alpha, beta, bias);
            }
        })
    })
}

/// Division by the 1-norm or 2-norm along an axis; zero where the norm is zero.
pub(super) fn lp(op: &LpNormalization, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    if !matches!(op.p, 1 | 2) {
        return Err(OpError::value(format!("p must be 1 or 2, got {}", op.p)));
    }
    let (_, axis, inner) = split_at_axis(x.shape(), resolve(op.axis, x.rank())?);
    in_real!(x.dtype(), 0, T => {
        let values = read::<T>(inputs, 0)?;
        fill(context, x.dtype(), x.shape(), |y: &mut [T]| {
            let block = axis.saturating_mul(inner).max(1);
            for (x, y) in values.chunks_exact(block).zip(y.chunks_exact_mut(block)) {
                lp_block(x, y, inner, op.p == 2);
            }
        })
    })
}

fn lp_block<T: Real>(x: &[T], y: &mut [T], inner: usize, euclidean: bool) {
    for column in 0..inner {
        let indices = || (column..x.len()).step_by(inner);
        let term = |value: f64| if euclidean { value * value } else { value.abs() };
        let sum: f64 = indices().map(|i| term(x[i].to_f64())).sum();
        let norm = if euclidean { sum.sqrt() } else { sum };
        for i in indices() {
            y[i] = if norm == 0.0 {
                T::ZERO
            } else {
                T::from_f64(x[i].to_f64() / norm)
            };
        }
    }
}

/// `(x - mean) / (standard deviation + 1e-9)` over axes.
pub(super) fn mean_variance(
    op: &MeanVarianceNormalization,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    let mut kept = vec![true; x.rank()];
    for &axis in &op.axes {
        kept[resolve(axis, x.rank())?] = false;
    }
    if x.is_empty() {
        return Ok(x.clone());
    }
    let groups = GroupWalk::new(x.shape(), &kept);
    in_real!(x.dtype(), 0, T => {
        let values = read::<T>(inputs, 0)?;
        let count = (values.len() / groups.count.max(1)) as f64;
        let mean: Vec<f64> = groups.sums(&values, |value, _| value).into_iter().map(|sum| sum / count).collect();
        let squares = groups.sums(&values, |value, group| (value - mean[group]) * (value - mean[group]));
        let deviation: Vec<f64> = squares.into_iter().map(|sum| (sum / count).sqrt() + 1e-9).collect();
        fill(context, x.dtype(), x.shape(), |y: &mut [T]| {
            groups.each(|i, group| y[i] = T::from_f64((values[i].to_f64() - mean[group]) / deviation[group]));
        })
    })
}

/// Walks over the elements of a tensor together with the group that each belongs to: its position along the kept axes.
struct GroupWalk {
    shape: Vec<usize>,
    strides: Vec<usize>,
    count: usize,
}

impl GroupWalk {
    fn new(shape: &[usize], kept: &[bool]) -> GroupWalk {
        let (mut strides, mut count) = (vec![0; shape.len()], 1usize);
        for axis in (0..shape.len()).rev().filter(|&axis| kept[axis]) {
            strides[axis] = count;
            count = count.saturating_mul(shape[axis]);
        }
        GroupWalk {
            shape: shape.to_vec(),
            strides,
            count,
        }
    }

    fn each(&self, mut visit: impl FnMut(usize, usize)) {
        let mut position = vec![0; self.shape.len()];
        let mut group = 0;
        for index in 0..count(&self.shape) {
            visit(index, group);
            for axis in (0..position.len()).rev() {
                position[axis] += 1;
                group += self.strides[axis];
                if position[axis] < self.shape[axis] {
                    break;
                }
                group -= self.strides[axis] * position[axis];
                position[axis] = 0;
            }
        }
    }

    fn sums<T: Real>(&self, values: &[T], term: impl Fn(f64, usize) -> f64) -> Vec<f64> {
        let mut sums = vec![0.0; self.count];
        self.each(|i, group| sums[group] += term(values[i].to_f64(), group));
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{run, run_one};

    fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
        Tensor::from_slice(shape, values).unwrap()
    }

    fn assert_close(got: &Tensor, expected: &[f32]) {
        let got = got.to_f32().unwrap();
        let close =
            got.len() == expected.len() && got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4);
        assert!(close, "{got:?}, expected {expected:?}");
    }

    fn batch_norm(training_mode: bool) -> BatchNormalization {
        BatchNormalization {
            epsilon: 0.0,
            momentum: 0.75,
            training_mode,
        }
    }

    /// x, scale, bias, mean, variance of two channels.
    fn batch_inputs() -> Vec<Tensor> {
        let x = tensor(&[2, 2, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        let rest = [[1.0, 2.0], [0.0, 1.0], [1.0, 2.0], [4.0, 16.0]].map(|values| tensor(&[2], &values));
        [x].into_iter().chain(rest).collect()
    }

    #[test]
    fn batch_normalization_by_given_statistics() {
        let y = run_one(batch_norm(false), &batch_inputs());
        assert_close(&y, &[0.0, 0.5, 1.5, 2.0, 2.0, 2.5, 3.5, 4.0]);
        let mut inputs = batch_inputs();
        inputs[3] = tensor(&[3], &[0.0; 3]);
        assert!(run(batch_norm(false), &inputs).is_err());
    }

    #[test]
    fn batch_normalization_in_training_moves_the_statistics() {
        let outputs = run(batch_norm(true), &batch_inputs()).unwrap();
        // Channel 0 holds 1, 2, 5, 6: mean 3.5, variance 4.25; channel 1 two more.
        let first = |x: f32| (x - 3.5) / 4.25f32.sqrt();
        let second = |x: f32| first(x - 2.0) * 2.0 + 1.0;
        let y = [
            first(1.0),
            first(2.0),
            second(3.0),
            second(4.0),
            first(5.0),
            first(6.0),
            second(7.0),
            second(8.0),
        ];
        assert_close(&outputs[0], &y);
        assert_close(&outputs[1], &[0.75 + 3.5 / 4.0, 1.5 + 5.5 / 4.0]);
        assert_close(&outputs[2], &[3.0 + 4.25 / 4.0, 12.0 + 4.25 / 4.0]);
    }

    #[test]
    fn groups_of_one_channel_are_instances() {
        let x = tensor(&[1, 2, 2], &[1.0, 3.0, 10.0, 30.0]);
        let inputs = [x, tensor(&[2], &[1.0, 2.0]), tensor(&[2], &[0.0, 0.5])];
        let expected = [-1.0, 1.0, -1.5, 2.5];
        assert_close(
            &run_one(InstanceNormalization { epsilon: 0.0 }, &inputs),
            &expected,
        );
        let group = |num_groups| GroupNormalization {
            epsilon: 0.0,
            num_groups,
            stash_type: 1,
        };
        assert_close(&run_one(group(2), &inputs), &expected);
        for wrong in [0, 3, -1] {
            assert!(run(group(wrong), &inputs).is_err());
        }
    }

    #[test]
    fn local_response_and_norms() {
        let x = tensor(&[1, 3, 1], &[1.0, 2.0, 3.0]);
        let lrn = Lrn {
            alpha: 3.0,
            beta: 1.0,
            bias: 0.0,
            size: 3,
        };
        assert_close(&run_one(lrn.clone(), &[x.clone()]), &[0.2, 1.0 / 7.0, 3.0 / 13.0]);
        assert!(run(Lrn { size: 0, ..lrn }, &[x]).is_err());
        let x = tensor(&[2, 2], &[3.0, 0.0, -4.0, 0.0]);
        assert_close(
            &run_one(LpNormalization { axis: 0, p: 2 }, &[x.clone()]),
            &[0.6, 0.0, -0.8, 0.0],
        );
        assert_close(
            &run_one(LpNormalization { axis: 0, p: 1 }, &[x]),
            &[3.0 / 7.0, 0.0, -4.0 / 7.0, 0.0],
        );
    }

    #[test]
    fn mean_variance_over_chosen_axes() {
        let x = tensor(&[2, 2, 1], &[1.0, 10.0, 3.0, 30.0]);
        let op = |axes: &[i64]| MeanVarianceNormalization { axes: axes.to_vec() };
        assert_close(&run_one(op(&[0, 2]), &[x.clone()]), &[-1.0, -1.0, 1.0, 1.0]);
        assert_close(&run_one(op(&[1]), &[x.clone()]), &[-1.0, 1.0, -1.0, 1.0]);
        assert!(run(op(&[3]), &[x]).is_err());
    }
}
