//! Normalization over neighbourhoods and chosen axes.

use bantam_graph::ops::{LpNormalization, Lrn, MeanVarianceNormalization};
use bantam_kernels::{Real, normalization as kernels};
use bantam_tensor::Tensor;

use super::batch_channels_inner;
use crate::inputs::Inputs;
use crate::ops::axes::{axis as resolve, count, split_at_axis};
use crate::ops::floats::{fill, in_real, read};
use crate::{Context, OpError};

/// Division by a power of the sum of squares over neighbouring channels.
pub(in crate::ops) fn local_response(
    op: &Lrn,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
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
pub(in crate::ops) fn lp(
    op: &LpNormalization,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
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
pub(in crate::ops) fn mean_variance(
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
