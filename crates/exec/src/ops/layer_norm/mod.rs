//! Normalization of rows: LayerNormalization, RMSNormalization and ONNX Runtime's forms with a skip connection.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bantam_graph::ops::{
    LayerNormalization, RmsNormalization, SimplifiedLayerNormalization, SkipLayerNormalization,
    SkipSimplifiedLayerNormalization,
};
use bantam_kernels::Real;
use bantam_kernels::chunks::for_rows;
use bantam_kernels::normalization::{RowAffine, RowNorm, normalize_rows};
use bantam_tensor::{DType, Element, Tensor};

use crate::inputs::Inputs;
use crate::operator::Outputs;
use crate::ops::axes::{axis as resolve, count};
use crate::ops::broadcast::{broadcast_shape, broadcast_strides};
use crate::ops::floats::{fill, in_real, read, read_optional};
use crate::{Context, OpError};

/// The attributes that LayerNormalization and RMSNormalization share.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayerNorm {
    pub(super) norm: RowNorm,
    pub(super) axis: i64,
    pub(super) epsilon: f32,
    /// ONNX code of the dtype of the statistics.
    pub(super) stash_type: i64,
}

/// Reads the attributes of one of the ops.
macro_rules! layer_norm_from {
    ($($op:ident => $norm:ident),*) => {$(
        impl From<&$op> for LayerNorm {
            fn from(op: &$op) -> LayerNorm {
                LayerNorm { norm: RowNorm::$norm, axis: op.axis, epsilon: op.epsilon, stash_type: op.stash_type }
            }
        }
    )*};
}
layer_norm_from!(LayerNormalization => Standard, RmsNormalization => RootMeanSquare,
    SimplifiedLayerNormalization => RootMeanSquare);

/// x, scale, optional bias. Outputs: y, mean, inverse standard deviation; for the root mean square only y and the
/// inverse.
pub(super) fn layer(
    op: LayerNorm,
    inputs: &Inputs<'_>,
    outputs: usize,
    context: &Context,
) -> Result<Outputs, OpError> {
    let x = inputs.required(0)?;
    let axis = resolve(op.axis, x.rank())?;
    let code = i32::try_from(op.stash_type)
        .ok()
        .and_then(bantam_graph::dtype_from_code);
    let stash = code.filter(|dtype| dtype.is_float());
    let stash = stash.ok_or_else(|| OpError::Unsupported(format!("stash_type {}", op.stash_type)))?;
    in_real!(x.dtype(), 0, T => {
        let values = read::<T>(inputs, 0)?;
        let normalized = normalize::<T>(op, &values, x, axis, [1, 2], inputs, context)?;
        let mut results = vec![Some(normalized.y)];
        if outputs > 1 {
            let shape: Vec<usize> = (0..x.rank()).map(|i| if i < axis { x.shape()[i] } else { 1 }).collect();
            let [mean, inverse] = statistics(&normalized.statistics, stash, &shape, op.epsilon, context)?;
            results.extend((op.norm == RowNorm::Standard).then_some(Some(mean)));
            results.push(Some(inverse));
        }
        Ok(results)
    })
}

/// Means and inverse standard deviations as tensors; those of empty rows where there are no elements.
fn statistics<T: Real>(
    rows: &[[T; 2]],
    dtype: DType,
    shape: &[usize],
    epsilon: f32,
    context: &Context,
) -> Result<[Tensor; 2], OpError> {
    let statistic = |which: usize, of_empty: f64| {
        fill(context, dtype, shape, |out: &mut [T]| {
            out.fill(T::from_f64(of_empty));
            out.iter_mut().zip(rows).for_each(|(out, row)| *out = row[which]);
        })
    };
    Ok([statistic(0, 0.0)?, statistic(1, 1.0 / f64::from(epsilon).sqrt())?])
}

/// What [`normalize`] gives.
struct Normalized<T> {
    y: Tensor,
    /// Mean and inverse standard deviation of each row; none when there are no elements.
    statistics: Vec<[T; 2]>,
}

/// Normalizes `values`, of the shape and dtype of `x`, over the dimensions from `axis` on; `affine` are the positions of
/// the scale and the bias among the inputs.
fn normalize<T: Real>(
    op: LayerNorm,
    values: &[T],
    x: &Tensor,
    axis: usize,
    affine: [usize; 2],
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Normalized<T>, OpError> {
    if values.is_empty() {
        return Ok(Normalized {
            y: fill(context, x.dtype(), x.shape(), |_: &mut [T]| {})?,
            statistics: Vec::new(),
        });
    }
    let row = count(&x.shape()[axis..]);
    let mut statistics = vec![[T::ZERO; 2]; values.len() / row];
    let mut shapes = vec![inputs.required(affine[0])?.shape()];
    shapes.extend(inputs.optional(affine[1]).map(Tensor::shape));
    let target = affine_shape(x.shape(), axis, &shapes)?;
    let (scale, bias) = (
        read::<T>(inputs, affine[0])?,
        read_optional::<T>(inputs, affine[1])?,
    );
    let scale = expand(scale, shapes[0], target);
    let bias = bias.map(|bias| expand(bias, shapes[1], target));
    let y = fill(context, x.dtype(), x.shape(), |y: &mut [T]| {
        let affine = RowAffine {
            scale: &scale,
            bias: bias.as_deref(),
        };
        normalize_rows(
            op.norm,
            values,
            y,
            &mut statistics,
            row,
            f64::from(op.epsilon),
            affine,
        );
    })?;
    Ok(Normalized { y, statistics })
}

/// The trailing dimensions of `shape`, at least those from `axis` on, outside of which none of the shapes varies.
pub(super) fn affine_shape<'a>(
    shape: &'a [usize],
    axis: usize,
    shapes: &[&[usize]],
) -> Result<&'a [usize], OpError> {
    let mut first = axis;
    for affine in shapes {
        let common = broadcast_shape(&[shape, affine])?;
        if common != shape {
            return Err(OpError::shape(format!(
                "shape {affine:?} does not broadcast to {shape:?}"
            )));
        }
        let varies = affine.iter().position(|&dim| dim != 1).unwrap_or(affine.len());
        first = first.min(shape.len() - affine.len() + varies);
    }
    Ok(&shape[first..])
}

/// The elements of a tensor of shape `from`, repeated to fill `to`, to which it broadcasts apart from leading ones.
pub(super) fn expand<'a, T: Real>(values: Cow<'a, [T]>, from: &[usize], to: &[usize]) -> Cow<'a, [T]> {
    let from = &from[from.len().saturating_sub(to.len())..];
    if from == to {
        return values;
    }
    let strides = broadcast_strides(from, to);
    let mut expanded = vec![T::ZERO; to.iter().product()];
    for (index, out) in expanded.iter_mut().enumerate() {
        let (mut rest, mut source) = (index, 0);
        for axis in (0..to.len()).rev() {
            source += rest % to[axis] * strides[axis];
            rest /= to[axis];
        }
        *out = values[source];
    }
    Cow::Owned(expanded)
}

/// Positions of the inputs of the forms with a skip connection: x 0, skip 1, gamma 2.
#[derive(Clone, Copy, Debug)]
pub(super) struct SkipNorm {
    pub(super) norm: RowNorm,
    pub(super) epsilon: f32,
    /// Position of the bias of the normalization.
    pub(super) beta: Option<usize>,
    /// Position of the bias that joins the sum.
    pub(super) bias: usize,
}

impl From<&SkipLayerNormalization> for SkipNorm {
    fn from(op: &SkipLayerNormalization) -> SkipNorm {
        SkipNorm {
            norm: RowNorm::Standard,
            epsilon: op.epsilon,
            beta: Some(3),
            bias: 4,
        }
    }
}

impl From<&SkipSimplifiedLayerNormalization> for SkipNorm {
    fn from(op: &SkipSimplifiedLayerNormalization) -> SkipNorm {
        SkipNorm {
            norm: RowNorm::RootMeanSquare,
            epsilon: op.epsilon,
            beta: None,
            bias: 3,
        }
    }
}

/// Normalizes x + skip + bias over the last dimension. Outputs: y, mean, inverse standard deviation, the sum.
pub(super) fn skip(
    op: SkipNorm,
    inputs: &Inputs<'_>,
    outputs: usize,
    context: &Context,
) -> Result<Outputs, OpError> {
    let x = inputs.required(0)?;
    let hidden = *x
        .shape()
        .last()
        .ok_or_else(|| OpError::shape("the input has no dimensions"))?;
    let period = skip_period(x.shape(), inputs.required(1)?.shape())?;
    if let Some(bias) = inputs.optional(op.bias).filter(|bias| bias.shape() != [hidden]) {
        return Err(OpError::shape(format!(
            "the bias must have shape [{hidden}], got {:?}",
            bias.shape()
        )));
    }
    let layer = LayerNorm {
        norm: op.norm,
        axis: -1,
        epsilon: op.epsilon,
        stash_type: 1,
    };
    in_real!(x.dtype(), 0, T => {
        let (values, skip) = (read::<T>(inputs, 0)?, read::<T>(inputs, 1)?);
        let bias = read_optional::<T>(inputs, op.bias)?;
        let sum = fill(context, T::DTYPE, x.shape(), |sum: &mut [T]| {
            for_rows(sum, hidden, |start, sum| {
                for (row, sum) in sum.chunks_exact_mut(hidden).enumerate() {
                    let start = start + row * hidden;
                    let skip = &skip[start % period..][..hidden];
                    add_rows(sum, &values[start..][..hidden], skip, bias.as_deref());
                }
            });
        })?;
        let affine = [2, op.beta.unwrap_or(usize::MAX)];
        let sums = sum.values::<T>()?;
        let normalized = normalize::<T>(layer, &sums, x, x.rank() - 1, affine, inputs, context)?;
        if outputs == 1 {
            return Ok(vec![Some(normalized.y)]);
        }
        let shape = [&x.shape()[..x.rank() - 1], &[1]].concat();
        let [mean, inverse] = statistics(&normalized.statistics, DType::F32, &shape, op.epsilon, context)?;
        let total = fill(context, x.dtype(), x.shape(), |out: &mut [T]| out.copy_from_slice(&sums))?;
        Ok(vec![Some(normalized.y), Some(mean), Some(inverse), Some(total)])
    })
}

/// `sum = x + skip + bias`.
fn add_rows<T: Real>(sum: &mut [T], x: &[T], skip: &[T], bias: Option<&[T]>) {
    for ((sum, &x), &skip) in sum.iter_mut().zip(x).zip(skip) {
        *sum = x + skip;
    }
    for (sum, &bias) in sum.iter_mut().zip(bias.unwrap_or_default()) {
        *sum += bias;
    }
}

/// Number of elements after which the skip input starts over.
fn skip_period(x: &[usize], skip: &[usize]) -> Result<usize, OpError> {
    let leading_ones = skip
        .iter()
        .take_while(|&&dim| dim == 1)
        .count()
        .min(skip.len().saturating_sub(1));
    if skip.is_empty() || skip.len() > x.len() || !(x.ends_with(skip) || x.ends_with(&skip[leading_ones..])) {
        return Err(OpError::shape(format!(
            "the skip input of shape {skip:?} does not repeat to {x:?}"
        )));
    }
    Ok(count(skip).max(1))
}
