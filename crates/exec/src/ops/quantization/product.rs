//! Matrix products of codes.

use std::borrow::Cow;

use bantam_graph::Op;
use bantam_kernels::quantize;
use bantam_tensor::Tensor;

use super::codes::{scale, scales, zero_point, zero_points};
use super::sums::{Right, Scales, Sums, product, reals, requantized};
use crate::inputs::Inputs;
use crate::operator::{Operator, Outputs, Reads, Site};
use crate::ops::broadcast::{broadcast_shape, broadcast_strides};
use crate::{Context, OpError};

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
    let Some(index) = right_input(op) else {
        return Ok(None);
    };
    let constant = site.constant(index);
    let right = constant
        .map(|tensor| Right::pack(tensor, index, is_transposed(op)))
        .transpose()?;
    Ok(Some(Box::new(Product {
        op: op.clone(),
        right,
    })))
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

    fn reads(&self, index: usize) -> Reads {
        match right_input(&self.op) {
            Some(right) if right == index && self.right.is_some() => Reads::Never,
            _ => Reads::Always,
        }
    }
}

/// MatMulInteger: a, b, zero points of both.
fn exact(b: &Right, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let (a_zero, b_zero) = (zero_points(inputs, 2)?, zero_points(inputs, 3)?);
    Ok(product(inputs.required(0)?, &a_zero, b, &b_zero, context)?.sums)
}

/// QLinearMatMul: a, scale, zero point, b, scale, zero point, output scale, zero point.
fn quantized(b: &Right, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let sums = product(
        inputs.required(0)?,
        &zero_points(inputs, 2)?,
        b,
        &zero_points(inputs, 5)?,
        context,
    )?;
    let scales = Scales::new(scales(inputs, 1)?, &scales(inputs, 4)?, scale(inputs, 6)?, &sums)?;
    requantized(
        &sums,
        &scales,
        zero_point(inputs, 7)?,
        inputs.required(7)?.dtype(),
        context,
    )
}

/// QGemm: a, scale, zero point, b, scale, zero point, optional 32-bit bias, optional output scale and zero point; the
/// result is real without these.
fn gemm(
    alpha: f32,
    transposed: bool,
    b: &Right,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let a = inputs.required(0)?;
    if a.rank() != 2 || b.is_vector || !b.batch.is_empty() {
        return Err(OpError::shape("both operands must be matrices"));
    }
    let a = if transposed {
        Cow::Owned(transpose(a)?)
    } else {
        Cow::Borrowed(a)
    };
    let mut sums = product(
        &a,
        &[zero_point(inputs, 2)?],
        b,
        &zero_points(inputs, 5)?,
        context,
    )?;
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
        return Err(OpError::shape(format!(
            "a must be a matrix, got shape {:?}",
            a.shape()
        )));
    };
    let bytes = a.as_bytes();
    let turned: Vec<u8> = (0..columns)
        .flat_map(|column| (0..rows).map(move |row| bytes[row * columns + column]))
        .collect();
    Ok(Tensor::from_raw(a.dtype(), &[columns, rows], &turned)?)
}

/// Adds 32-bit numbers, broadcast to the sums.
fn add_bias(bias: &Tensor, sums: &mut Sums) -> Result<(), OpError> {
    let values = bias.values::<i32>().map_err(|_| OpError::Type {
        index: 6,
        got: bias.dtype(),
    })?;
    if broadcast_shape(&[bias.shape(), &sums.shape])? != sums.shape {
        return Err(OpError::shape(format!(
            "a bias of shape {:?} does not fit {:?}",
            bias.shape(),
            sums.shape
        )));
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
    let sums = product(
        inputs.required(0)?,
        &zero_points(inputs, 4)?,
        b,
        &zero_points(inputs, 5)?,
        context,
    )?;
    let scales = Scales::new(scales(inputs, 2)?, &scales(inputs, 3)?, 1.0, &sums)?;
    let bias = inputs.optional(6).map(|_| inputs.values::<f32>(6)).transpose()?;
    reals(&sums, &scales, bias.as_deref(), context)
}

/// DynamicQuantizeMatMul: a in float, b, scale of b, zero point of b, bias.
fn dynamic(b: &Right, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let x = inputs.values::<f32>(0)?;
    let grid = quantize::dynamic_grid(&x);
    let a = context.fill(inputs.required(0)?.shape(), |codes: &mut [u8]| {
        quantize::quantize(&x, &grid, codes)
    })?;
    let sums = product(&a, &[grid.zero_point], b, &zero_points(inputs, 3)?, context)?;
    context.recycle(a);
    let scales = Scales::new(vec![grid.scale], &scales(inputs, 2)?, 1.0, &sums)?;
    let bias = inputs.optional(4).map(|_| inputs.values::<f32>(4)).transpose()?;
    reals(&sums, &scales, bias.as_deref(), context)
}
