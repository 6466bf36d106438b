//! Matrix products of codes.

use std::borrow::Cow;

use bantam_graph::Op;
use bantam_kernels::integer::{self, Panels};
use bantam_kernels::quantize::{self, Code, Grid};
use bantam_tensor::{DType, Element, Tensor};

use super::codes::{scale, scales, signed, unsigned, zero_point, zero_points};
use crate::inputs::Inputs;
use crate::operator::{Operator, Outputs, Site};
use crate::ops::axes::count;
use crate::ops::broadcast::{broadcast_shape, broadcast_strides};
use crate::{Context, OpError};

/// The right-hand side of a product, packed.
struct Right {
    /// Dimensions before the last two.
    batch: Vec<usize>,
    /// One matrix for each position in the batch.
    matrices: Vec<Panels<i8>>,
    depth: usize,
    columns: usize,
    /// How far the codes were moved to make them signed.
    moved: i32,
    /// A vector: the result has no column dimension.
    is_vector: bool,
}

impl Right {
    fn pack(tensor: &Tensor, index: usize, transposed: bool) -> Result<Right, OpError> {
        let (codes, moved) = signed(tensor, index)?;
        let (batch, rows, columns) = match tensor.shape() {
            [] => return Err(OpError::shape("a matrix product of a scalar")),
            [depth] => (&[][..], *depth, 1),
            [batch @ .., rows, columns] => (batch, *rows, *columns),
        };
        let (depth, columns) = if transposed { (columns, rows) } else { (rows, columns) };
        let pack = |codes: &[i8]| match transposed {
            true => Panels::of_transposed(codes, depth, columns),
            false => Panels::new(codes, depth, columns),
        };
        let size = depth.saturating_mul(columns);
        let matrices = (0..count(batch)).map(|matrix| pack(&codes[matrix * size..][..size])).collect();
        Ok(Right { batch: batch.to_vec(), matrices, depth, columns, moved, is_vector: tensor.rank() == 1 })
    }
}

/// Exact sums, `[batch, rows, columns]`, with the dimensions that the result has.
struct Sums {
    shape: Vec<usize>,
    rows: usize,
    columns: usize,
    sums: Tensor,
}

/// The product of codes less their zero points. `a_zero` has one element or one per row; `b_zero` one or one per column.
fn product(a: &Tensor, a_zero: &[i32], b: &Right, b_zero: &[i32], context: &Context) -> Result<Sums, OpError> {
    let (codes, moved) = unsigned(a, 0)?;
    let (batch, rows, depth) = match a.shape() {
        [] => return Err(OpError::shape("a matrix product of a scalar")),
        [depth] => (&[][..], 1, *depth),
        [batch @ .., rows, depth] => (batch, *rows, *depth),
    };
    if depth != b.depth {
        return Err(OpError::shape(format!("rows of {depth} elements times columns of {}", b.depth)));
    }
    for (zeros, expected, what) in [(a_zero, rows, "rows"), (b_zero, b.columns, "columns")] {
        if zeros.len() != 1 && zeros.len() != expected {
            return Err(OpError::shape(format!("{} zero points for {expected} {what}", zeros.len())));
        }
    }
    let a_zero: Vec<i32> = a_zero.iter().map(|zero| zero.wrapping_add(moved)).collect();
    let b_zero: Vec<i32> = b_zero.iter().map(|zero| zero.wrapping_add(b.moved)).collect();
    let common = broadcast_shape(&[batch, &b.batch])?;
    let mut shape = common.clone();
    shape.extend((a.rank() != 1).then_some(rows));
    shape.extend((!b.is_vector).then_some(b.columns));
    let shared = b.matrices.len() == 1 && common == batch && a_zero.len() == 1;
    let sums = context.fill(&shape, |out: &mut [i32]| {
        if shared {
            return less_zero_points(&codes, &a_zero, &b.matrices[0], &b_zero, out);
        }
        let steps = [broadcast_strides(batch, &common), broadcast_strides(&b.batch, &common)];
        let size = rows * b.columns;
        for (index, out) in out.chunks_exact_mut(size.max(1)).enumerate() {
            let [left, right] = positions(index, &common, &steps);
            let a = &codes[left * rows * depth..][..rows * depth];
            less_zero_points(a, &a_zero, &b.matrices[right], &b_zero, out);
        }
    })?;
    Ok(Sums { shape, rows, columns: b.columns, sums })
}

fn less_zero_points(a: &[u8], a_zero: &[i32], b: &Panels<i8>, b_zero: &[i32], out: &mut [i32]) {
    integer::multiply(a, b, out);
    integer::subtract_zero_points(a, a_zero, b, b_zero, out);
}

/// Where matrix `index` of the common batch lies in both operands.
fn positions(index: usize, common: &[usize], steps: &[Vec<usize>; 2]) -> [usize; 2] {
    let (mut rest, mut at) = (index, [0, 0]);
    for axis in (0..common.len()).rev() {
        let coordinate = rest % common[axis];
        rest /= common[axis];
        at[0] += coordinate * steps[0][axis];
        at[1] += coordinate * steps[1][axis];
    }
    at
}

/// What the scales multiply: per row and per column, each one or many.
struct Scales {
    rows: Vec<f32>,
    columns: Vec<f32>,
}

impl Scales {
    /// `a_scale * b_scale / divisor`, in the order in which ONNX Runtime rounds.
    fn new(a: Vec<f32>, b: &[f32], divisor: f32, sums: &Sums) -> Result<Scales, OpError> {
        for (scales, expected, what) in [(a.as_slice(), sums.rows, "rows"), (b, sums.columns, "columns")] {
            if scales.len() != 1 && scales.len() != expected {
                return Err(OpError::shape(format!("{} scales for {expected} {what}", scales.len())));
            }
        }
        let columns = if b.len() == 1 { vec![b[0]; sums.columns] } else { b.to_vec() };
        match a.as_slice() {
            [one] => Ok(Scales { rows: vec![], columns: columns.iter().map(|b| one * b / divisor).collect() }),
            _ => Ok(Scales { rows: a.iter().map(|a| a / divisor).collect(), columns }),
        }
    }

    /// The scale of every column in row `row` of the flat sums.
    fn of_row(&self, row: usize) -> Cow<'_, [f32]> {
        if self.rows.is_empty() {
            return Cow::Borrowed(&self.columns);
        }
        let scale = self.rows[row % self.rows.len()];
        self.columns.iter().map(|column| scale * column).collect()
    }
}

/// Sums to codes of `dtype`.
fn requantized(
    sums: &Sums,
    scales: &Scales,
    zero_point: i32,
    dtype: DType,
    context: &Context,
) -> Result<Tensor, OpError> {
    match dtype {
        DType::U8 => requantized_to::<u8>(sums, scales, zero_point, context),
        DType::I8 => requantized_to::<i8>(sums, scales, zero_point, context),
        other => Err(OpError::Unsupported(format!("a quantized product of type {other}"))),
    }
}

fn requantized_to<T: Code + Element>(
    sums: &Sums,
    scales: &Scales,
    zero_point: i32,
    context: &Context,
) -> Result<Tensor, OpError> {
    let (values, grid) = (sums.sums.values::<i32>()?, Grid::of::<T>(1.0, zero_point));
    let columns = sums.columns.max(1);
    context.fill(&sums.shape, |codes: &mut [T]| {
        let rows = codes.chunks_exact_mut(columns).zip(values.chunks_exact(columns));
        for (row, (codes, sums)) in rows.enumerate() {
            quantize::requantize_columns(sums, &scales.of_row(row), &grid, codes);
        }
    })
}

/// Sums to reals, with an optional bias per column.
fn reals(sums: &Sums, scales: &Scales, bias: Option<&[f32]>, context: &Context) -> Result<Tensor, OpError> {
    if bias.is_some_and(|bias| bias.len() != sums.columns) {
        return Err(OpError::shape(format!("the bias does not have {} elements", sums.columns)));
    }
    let (values, columns) = (sums.sums.values::<i32>()?, sums.columns.max(1));
    context.fill(&sums.shape, |y: &mut [f32]| {
        let rows = y.chunks_exact_mut(columns).zip(values.chunks_exact(columns));
        for (row, (y, sums)) in rows.enumerate() {
            let scales = scales.of_row(row);
            for (column, y) in y.iter_mut().enumerate() {
                *y = sums[column] as f32 * scales[column] + bias.map_or(0.0, |bias| bias[column]);
            }
        }
    })
}

/// A product of codes whose right-hand side is packed once if it is constant.
struct Product {
    op: Op,
    right: Option<Right>,
}

/// The input that is the right-hand side.
fn right_input(op: &Op) -> Option<usize> {
    match op {
        Op::MatMulInteger(_) | Op::MatMulIntegerToFloat(_) | Op::DynamicQuantizeMatMul(_) => Some(1),
        Op::QLinearMatMul(_) | Op::QGemm(_) => Some(3),
        _ => None,
    }
}

fn is_transposed(op: &Op) -> bool {
    matches!(op, Op::QGemm(gemm) if gemm.transB)
}

/// An operator for MatMulInteger, QLinearMatMul, QGemm, MatMulIntegerToFloat or DynamicQuantizeMatMul.
pub(crate) fn prepare(site: &Site<'_>) -> Result<Option<Box<dyn Operator>>, OpError> {
    let op = &site.node.op;
    let Some(index) = right_input(op) else { return Ok(None) };
    let constant = site.constant(index);
    let right = constant.map(|tensor| Right::pack(tensor, index, is_transposed(op))).transpose()?;
    Ok(Some(Box::new(Product { op: op.clone(), right })))
}

impl Operator for Product {
    fn run(&self, inputs: &mut Inputs<'_>, context: &Context) -> Result<Outputs, OpError> {
        let packed;
        let right = match &self.right {
            Some(right) => right,
            None => {
                let index = right_input(&self.op).unwrap_or(1);
                packed = Right::pack(inputs.required(index)?, index, is_transposed(&self.op))?;
                &packed
            }
        };
        let y = match &self.op {
            Op::QLinearMatMul(_) => quantized(right, inputs, context),
            Op::QGemm(op) => gemm(op.alpha, op.transA, right, inputs, context),
            Op::MatMulIntegerToFloat(_) => to_float(right, inputs, context),
            Op::DynamicQuantizeMatMul(_) => dynamic(right, inputs, context),
            _ => exact(right, inputs, context),
        };
        Ok(vec![Some(y?)])
    }

    fn kernel(&self) -> String {
        let packed = if self.right.is_some() { ", packed" } else { "" };
        format!("integer product{packed}")
    }
}

/// MatMulInteger: a, b, zero points of both.
fn exact(b: &Right, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let (a_zero, b_zero) = (zero_points(inputs, 2)?, zero_points(inputs, 3)?);
    Ok(product(inputs.required(0)?, &a_zero, b, &b_zero, context)?.sums)
}

/// QLinearMatMul: a, scale, zero point, b, scale, zero point, output scale, zero point.
fn quantized(b: &Right, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let sums = product(inputs.required(0)?, &zero_points(inputs, 2)?, b, &zero_points(inputs, 5)?, context)?;
    let scales = Scales::new(scales(inputs, 1)?, &scales(inputs, 4)?, scale(inputs, 6)?, &sums)?;
    requantized(&sums, &scales, zero_point(inputs, 7)?, inputs.required(7)?.dtype(), context)
}

/// QGemm: a, scale, zero point, b, scale, zero point, optional 32-bit bias, optional output scale and zero point; the
/// result is real without these.
fn gemm(alpha: f32, transposed: bool, b: &Right, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let a = inputs.required(0)?;
    if a.rank() != 2 || b.is_vector || !b.batch.is_empty() {
        return Err(OpError::shape("both operands must be matrices"));
    }
    let a = if transposed { Cow::Owned(transpose(a)?) } else { Cow::Borrowed(a) };
    let mut sums = product(&a, &[zero_point(inputs, 2)?], b, &zero_points(inputs, 5)?, context)?;
    if let Some(bias) = inputs.optional(6) {
        add_bias(bias, &mut sums)?;
    }
    let a_scale = alpha * scale(inputs, 1)?;
    let b_scale = scales(inputs, 4)?;
    let Some(zero) = inputs.optional(8) else {
        let scales = Scales::new(vec![a_scale], &b_scale, 1.0, &sums)?;
        return reals(&sums, &scales, None, context);
    };
    let scales = Scales::new(vec![a_scale], &b_scale, scale(inputs, 7)?, &sums)?;
    requantized(&sums, &scales, zero_point(inputs, 8)?, zero.dtype(), context)
}

fn transpose(a: &Tensor) -> Result<Tensor, OpError> {
    let &[rows, columns] = a.shape() else {
        return Err(OpError::shape(format!("a must be a matrix, got shape {:?}", a.shape())));
    };
    let bytes = a.as_bytes();
    let turned: Vec<u8> =
        (0..columns).flat_map(|column| (0..rows).map(move |row| bytes[row * columns + column])).collect();
    Ok(Tensor::from_raw(a.dtype(), &[columns, rows], &turned)?)
}

/// Adds 32-bit numbers, broadcast to the sums.
fn add_bias(bias: &Tensor, sums: &mut Sums) -> Result<(), OpError> {
    let values = bias.values::<i32>().map_err(|_| OpError::Type { index: 6, got: bias.dtype() })?;
    if broadcast_shape(&[bias.shape(), &sums.shape])? != sums.shape {
        return Err(OpError::shape(format!("a bias of shape {:?} does not fit {:?}", bias.shape(), sums.shape)));
    }
    let steps = broadcast_strides(bias.shape(), &sums.shape);
    let columns = sums.columns;
    for (index, sum) in sums.sums.values_mut::<i32>()?.iter_mut().enumerate() {
        let at = index / columns * steps[0] + index % columns * steps[1];
        *sum = sum.wrapping_add(values[at]);
    }
    Ok(())
}

/// MatMulIntegerToFloat: a, b, scales of both, zero points of both, bias.
fn to_float(b: &Right, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let sums = product(inputs.required(0)?, &zero_points(inputs, 4)?, b, &zero_points(inputs, 5)?, context)?;
    let scales = Scales::new(scales(inputs, 2)?, &scales(inputs, 3)?, 1.0, &sums)?;
    let bias = inputs.optional(6).map(|_| inputs.values::<f32>(6)).transpose()?;
    reals(&sums, &scales, bias.as_deref(), context)
}

/// DynamicQuantizeMatMul: a in float, b, scale of b, zero point of b, bias.
fn dynamic(b: &Right, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let x = inputs.values::<f32>(0)?;
    let grid = quantize::dynamic_grid(&x);
    let a = context.fill(inputs.required(0)?.shape(), |codes: &mut [u8]| quantize::quantize(&x, &grid, codes))?;
    let sums = product(&a, &[grid.zero_point], b, &zero_points(inputs, 3)?, context)?;
    context.recycle(a);
    let scales = Scales::new(vec![grid.scale], &scales(inputs, 2)?, 1.0, &sums)?;
    let bias = inputs.optional(4).map(|_| inputs.values::<f32>(4)).transpose()?;
    reals(&sums, &scales, bias.as_deref(), context)
}
