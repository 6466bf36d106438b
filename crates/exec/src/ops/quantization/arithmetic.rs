//! ONNX Runtime's element-wise operators on codes, softmax and concatenation.

use bantam_graph::ops::{QLinearConcat, QLinearLeakyRelu, QLinearSoftmax};
use bantam_kernels::lookup::{ByteCode, look_up};
use bantam_kernels::quantize::{self, Code, Grid};
use bantam_tensor::{Element, Tensor};

use super::codes::{scale, zero_point};
use crate::inputs::Inputs;
use crate::ops::axes::{axis as resolve, split_at_axis};
use crate::ops::broadcast::{broadcast_shape, broadcast_strides};
use crate::{Context, OpError};
use bantam_kernels::chunks::{for_chunks, for_rows};

/// Evaluates an expression with a name for the type of the codes in input `$index`.
macro_rules! in_codes {
    ($inputs:expr, $index:expr, $code:ident => $body:expr) => {
        crate::ops::dispatch::in_type!($inputs.required($index)?.dtype(), $index, [U8 u8, I8 i8], $code => $body)
    };
}

/// The grid of codes of type `T` with the scale in input `index` and the zero point behind it.
fn grid<T: Code>(inputs: &Inputs<'_>, index: usize) -> Result<Grid, OpError> {
    Ok(Grid::of::<T>(
        scale(inputs, index)?,
        zero_point(inputs, index + 1)?,
    ))
}

/// QLinearAdd: a, scale, zero point, b, scale, zero point, output scale, zero point.
pub(crate) fn add(inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    in_codes!(inputs, 0, T => {
        let (a, b, y) = (grid::<T>(inputs, 1)?, grid::<T>(inputs, 4)?, grid::<T>(inputs, 6)?);
        let (a_scale, b_scale) = (a.scale / y.scale, b.scale / y.scale);
        let offset = y.zero_point as f32 - (a_scale * a.zero_point as f32 + b_scale * b.zero_point as f32);
        pairwise(inputs, context, |a: &[T], b: &[T], codes: &mut [T]| {
            quantize::add(a, a_scale, b, b_scale, offset, codes);
        })
    })
}

/// QLinearMul: a, scale, zero point, b, scale, zero point, output scale, zero point.
pub(crate) fn multiply(inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    in_codes!(inputs, 0, T => {
        let (a, b, y) = (grid::<T>(inputs, 1)?, grid::<T>(inputs, 4)?, grid::<T>(inputs, 6)?);
        let to = Grid { scale: a.scale * b.scale / y.scale, ..y };
        pairwise(inputs, context, |left: &[T], right: &[T], codes: &mut [T]| {
            quantize::multiply(left, a.zero_point, right, b.zero_point, &to, codes);
        })
    })
}

/// Applies `kernel` to stretches of inputs 0 and 3, broadcast.
fn pairwise<T: Element>(
    inputs: &Inputs<'_>,
    context: &Context,
    kernel: impl Fn(&[T], &[T], &mut [T]) + Sync,
) -> Result<Tensor, OpError> {
    let (a, b) = (inputs.required(0)?, inputs.required(3)?);
    let shape = broadcast_shape(&[a.shape(), b.shape()])?;
    let (left, right) = (inputs.values::<T>(0)?, inputs.values::<T>(3)?);
    if a.shape() == b.shape() {
        return context.fill(&shape, |codes: &mut [T]| {
            for_chunks(codes, |start, codes| {
                let range = start..start + codes.len();
                kernel(&left[range.clone()], &right[range], codes);
            });
        });
    }
    let (left, right) = (
        Stretches::new(&left, a.shape(), &shape),
        Stretches::new(&right, b.shape(), &shape),
    );
    let stretch = left.length.min(right.length).max(1);
    context.fill(&shape, |codes: &mut [T]| {
        for_rows(codes, stretch, |start, codes| {
            let (mut one, mut other) = (Vec::new(), Vec::new());
            for (index, codes) in codes.chunks_exact_mut(stretch).enumerate() {
                let start = start + index * stretch;
                kernel(
                    left.get(start, stretch, &mut one),
                    right.get(start, stretch, &mut other),
                    codes,
                );
            }
        });
    })
}

/// A tensor broadcast to a shape, read in stretches.
struct Stretches<'a, T> {
    values: &'a [T],
    common: &'a [usize],
    steps: Vec<usize>,
    /// Elements of the common shape that are one run of the values, or one and the same of them.
    length: usize,
    repeated: bool,
}

impl<'a, T: Copy> Stretches<'a, T> {
    fn new(values: &'a [T], shape: &[usize], common: &'a [usize]) -> Stretches<'a, T> {
        let steps = broadcast_strides(shape, common);
        let real = |axis: &usize| common[*axis] != 1;
        let last = (0..common.len()).rev().find(real);
        let repeated = last.is_some_and(|axis| steps[axis] == 0);
        let (mut length, mut step) = (1, usize::from(!repeated));
        for axis in (0..common.len()).rev().filter(real) {
            if steps[axis] != step {
                break;
            }
            length *= common[axis];
            step *= common[axis];
        }
        Stretches {
            values,
            common,
            steps,
            length,
            repeated,
        }
    }

    /// `count` elements from `start` on, which [`Stretches::length`] is a multiple of.
    fn get<'s>(&'s self, start: usize, count: usize, room: &'s mut Vec<T>) -> &'s [T] {
        let (mut rest, mut at) = (start, 0);
        for axis in (0..self.common.len()).rev() {
            at += rest % self.common[axis] * self.steps[axis];
            rest /= self.common[axis];
        }
        if !self.repeated {
            return &self.values[at..at + count];
        }
        room.clear();
        room.resize(count, self.values[at]);
        room
    }
}

/// What each of the 256 codes becomes: dequantized by `from`, mapped, quantized by `to`.
fn table<T: Code + Element>(from: &Grid, to: &Grid, map: impl Fn(f32) -> f32) -> [T; 256] {
    let mut reals = [0.0; 256];
    for (index, real) in reals.iter_mut().enumerate() {
        *real = map(from.scale * (T::from_i32(index as i32).to_i32() - from.zero_point) as f32);
    }
    let mut table = [T::default(); 256];
    quantize::quantize(&reals, to, &mut table);
    table
}

/// x, scale, zero point, output scale, zero point: a function of one code.
fn by_table(inputs: &Inputs<'_>, context: &Context, map: impl Fn(f32) -> f32) -> Result<Tensor, OpError> {
    in_codes!(inputs, 0, T => {
        let table = table::<T>(&grid::<T>(inputs, 1)?, &grid::<T>(inputs, 3)?, map);
        let x = inputs.values::<T>(0)?;
        context.fill(inputs.required(0)?.shape(), |codes: &mut [T]| {
            for_chunks(codes, |start, codes| look_up(&table, &x[start..start + codes.len()], codes));
        })
    })
}

/// QLinearSigmoid.
pub(crate) fn sigmoid(inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    by_table(inputs, context, |x| 1.0 / (1.0 + (-x).exp()))
}

/// QLinearLeakyRelu.
pub(crate) fn leaky_relu(
    op: &QLinearLeakyRelu,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    by_table(inputs, context, |x| if x >= 0.0 { x } else { x * op.alpha })
}

/// QLinearConcat: output scale, zero point, then x, scale, zero point for each joined tensor.
pub(crate) fn concat(op: &QLinearConcat, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let parts = inputs.len().saturating_sub(2) / 3;
    if parts == 0 || inputs.len() != 2 + 3 * parts {
        return Err(OpError::shape(format!(
            "{} inputs are not whole groups of three",
            inputs.len()
        )));
    }
    let first = inputs.required(2)?;
    let axis = resolve(op.axis, first.rank())?;
    let mut shape = first.shape().to_vec();
    for part in 1..parts {
        let other = inputs.required(2 + 3 * part)?;
        let fits = other.dtype() == first.dtype()
            && other.rank() == shape.len()
            && (0..shape.len()).all(|dim| dim == axis || other.shape()[dim] == shape[dim]);
        if !fits {
            return Err(OpError::shape(format!(
                "{other:?} cannot be joined with {first:?}"
            )));
        }
        shape[axis] += other.shape()[axis];
    }
    in_codes!(inputs, 2, T => joined::<T>(parts, axis, &shape, inputs, context))
}

fn joined<T: ByteCode + Element>(
    parts: usize,
    axis: usize,
    shape: &[usize],
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let to = grid::<T>(inputs, 0)?;
    let row = split_at_axis(shape, axis).1 * split_at_axis(shape, axis).2;
    context.try_fill(shape, |codes: &mut [T]| {
        let mut start = 0;
        for part in 0..parts {
            let x = inputs.values::<T>(2 + 3 * part)?;
            let from = grid::<T>(inputs, 3 + 3 * part)?;
            let table = table::<T>(&from, &to, |x| x);
            let (_, length, inner) = split_at_axis(inputs.required(2 + 3 * part)?.shape(), axis);
            let width = length * inner;
            for (codes, x) in codes
                .chunks_exact_mut(row.max(1))
                .zip(x.chunks_exact(width.max(1)))
            {
                let codes = &mut codes[start..start + width];
                if from == to {
                    codes.copy_from_slice(x)
                } else {
                    look_up(&table, x, codes)
                }
            }
            start += width;
        }
        Ok(())
    })
}

/// QLinearSoftmax: x, scale, zero point, output scale, zero point. Exponentials come from a table in which the largest
/// code of a slice is moved to the largest code, as in ONNX Runtime.
pub(crate) fn softmax(
    op: &QLinearSoftmax,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let shape = inputs.required(0)?.shape();
    let (_, mut length, mut inner) = split_at_axis(shape, resolve(op.axis, shape.len())?);
    if op.opset < 13 {
        (length, inner) = (length.saturating_mul(inner), 1);
    }
    in_codes!(inputs, 0, T => {
        let x = inputs.values::<T>(0)?;
        let exponentials = exponentials(scale(inputs, 1)?, length);
        let to = grid::<T>(inputs, 3)?;
        context.fill(shape, |codes: &mut [T]| {
            for slice in 0..codes.len() / length.max(1) {
                let start = slice / inner * length * inner + slice % inner;
                softmax_slice(&x[start..], &exponentials, (length, inner), &to, &mut codes[start..]);
            }
        })
    })
}

/// `exp(scale * (i - 255) + headroom)` for `i` from 0 to 255, so that `length` of them can be added.
fn exponentials(scale: f32, length: usize) -> [f32; 256] {
    let headroom = ((f64::from(f32::MAX / length.max(1) as f32)).ln() - 5.0).max(0.0) / f64::from(scale);
    std::array::from_fn(|i| ((i as f64 - 255.0 + headroom) * f64::from(scale)).exp() as f32)
}

fn softmax_slice<T: Code>(
    x: &[T],
    exponentials: &[f32; 256],
    (length, step): (usize, usize),
    to: &Grid,
    codes: &mut [T],
) {
    let elements = || x.iter().step_by(step).take(length).map(|x| x.to_i32());
    let largest = elements().max().unwrap_or(0);
    let exponential = |x: i32| exponentials[(x + 255 - largest) as usize];
    let sum: f32 = elements().map(exponential).sum();
    let factor = (1.0 / to.scale).floor();
    for (code, x) in codes.iter_mut().step_by(step).zip(elements()) {
        let quotient = (exponential(x) * factor / sum).round_ties_even() as i32;
        *code = T::from_i32(quotient.saturating_add(to.zero_point).clamp(to.min, to.max));
    }
}
