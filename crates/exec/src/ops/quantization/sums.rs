//! Exact sums of products of codes, and what becomes of them.

use std::borrow::Cow;

use bantam_kernels::integer::{self, Panels};
use bantam_kernels::quantize::{self, Code, Grid};
use bantam_tensor::{DType, Element, Tensor};

use super::codes::{signed, unsigned};
use crate::ops::axes::count;
use crate::ops::broadcast::{broadcast_shape, broadcast_strides};
use crate::{Context, OpError};

/// The right-hand side of a product, packed.
pub(super) struct Right {
    /// Dimensions before the last two.
    pub(super) batch: Vec<usize>,
    /// One matrix for each position in the batch.
    matrices: Vec<Panels<i8>>,
    depth: usize,
    columns: usize,
    /// How far the codes were moved to make them signed.
    moved: i32,
    /// A vector: the result has no column dimension.
    pub(super) is_vector: bool,
}

impl Right {
    pub(super) fn pack(tensor: &Tensor, index: usize, transposed: bool) -> Result<Right, OpError> {
        let (codes, moved) = signed(tensor, index)?;
        let (batch, rows, columns) = match tensor.shape() {
            [] => return Err(OpError::shape("a matrix product of a scalar")),
            [depth] => (&[][..], *depth, 1),
            [batch @ .., rows, columns] => (batch, *rows, *columns),
        };
        let (depth, columns) = if transposed {
            (columns, rows)
        } else {
            (rows, columns)
        };
        let pack = |codes: &[i8]| match transposed {
            true => Panels::of_transposed(codes, depth, columns),
            false => Panels::new(codes, depth, columns),
        };
        let size = depth.saturating_mul(columns);
        let matrices = (0..count(batch))
            .map(|matrix| pack(&codes[matrix * size..][..size]))
            .collect();
        Ok(Right {
            batch: batch.to_vec(),
            matrices,
            depth,
            columns,
            moved,
            is_vector: tensor.rank() == 1,
        })
    }
}

/// Exact sums, `[batch, rows, columns]`, with the dimensions that the result has.
pub(super) struct Sums {
    pub(super) shape: Vec<usize>,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) sums: Tensor,
}

/// The product of codes less their zero points. `a_zero` has one element or one per row; `b_zero` one or one per column.
pub(super) fn product(
    a: &Tensor,
    a_zero: &[i32],
    b: &Right,
    b_zero: &[i32],
    context: &Context,
) -> Result<Sums, OpError> {
    let (codes, moved) = unsigned(a, 0)?;
    let (batch, rows, depth) = match a.shape() {
        [] => return Err(OpError::shape("a matrix product of a scalar")),
        [depth] => (&[][..], 1, *depth),
        [batch @ .., rows, depth] => (batch, *rows, *depth),
    };
    if depth != b.depth {
        return Err(OpError::shape(format!(
            "rows of {depth} elements times columns of {}",
            b.depth
        )));
    }
    for (zeros, expected, what) in [(a_zero, rows, "rows"), (b_zero, b.columns, "columns")] {
        if zeros.len() != 1 && zeros.len() != expected {
            return Err(OpError::shape(format!(
                "{} zero points for {expected} {what}",
                zeros.len()
            )));
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
        let steps = [
            broadcast_strides(batch, &common),
            broadcast_strides(&b.batch, &common),
        ];
        let size = rows * b.columns;
        for (index, out) in out.chunks_exact_mut(size.max(1)).enumerate() {
            let [left, right] = positions(index, &common, &steps);
            let a = &codes[left * rows * depth..][..rows * depth];
            less_zero_points(a, &a_zero, &b.matrices[right], &b_zero, out);
        }
    })?;
    Ok(Sums {
        shape,
        rows,
        columns: b.columns,
        sums,
    })
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
pub(super) struct Scales {
    rows: Vec<f32>,
    columns: Vec<f32>,
}

impl Scales {
    /// `a_scale * b_scale / divisor`, in the order in which ONNX Runtime rounds.
    pub(super) fn new(a: Vec<f32>, b: &[f32], divisor: f32, sums: &Sums) -> Result<Scales, OpError> {
        for (scales, expected, what) in [(a.as_slice(), sums.rows, "rows"), (b, sums.columns, "columns")] {
            if scales.len() != 1 && scales.len() != expected {
                return Err(OpError::shape(format!(
                    "{} scales for {expected} {what}",
                    scales.len()
                )));
            }
        }
        let columns = if b.len() == 1 {
            vec![b[0]; sums.columns]
        } else {
            b.to_vec()
        };
        match a.as_slice() {
            [one] => Ok(Scales {
                rows: vec![],
                columns: columns.iter().map(|b| one * b / divisor).collect(),
            }),
            _ => Ok(Scales {
                rows: a.iter().map(|a| a / divisor).collect(),
                columns,
            }),
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
pub(super) fn requantized(
    sums: &Sums,
    scales: &Scales,
    zero_point: i32,
    dtype: DType,
    context: &Context,
) -> Result<Tensor, OpError> {
    match dtype {
        DType::U8 => requantized_to::<u8>(sums, scales, zero_point, context),
        DType::I8 => requantized_to::<i8>(sums, scales, zero_point, context),
        other => Err(OpError::Unsupported(format!(
            "a quantized product of type {other}"
        ))),
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
pub(super) fn reals(
    sums: &Sums,
    scales: &Scales,
    bias: Option<&[f32]>,
    context: &Context,
) -> Result<Tensor, OpError> {
    if bias.is_some_and(|bias| bias.len() != sums.columns) {
        return Err(OpError::shape(format!(
            "the bias does not have {} elements",
            sums.columns
        )));
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
