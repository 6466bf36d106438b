//! Reductions over axes.

use bantam_graph::ops::{Reduce, ReduceKind};
use bantam_kernels::Real;
use bantam_kernels::copy::permute;
use bantam_kernels::reduce::{Reduction, reduce_columns, reduce_rows};
use bantam_tensor::{DType, Tensor};

use crate::inputs::Inputs;
use crate::ops::axes::axis;
use crate::ops::dispatch::in_type;
use crate::ops::floats::{self, in_real};
use crate::{Context, OpError};

/// Reduces the axes in input 1.
pub(in crate::ops) fn reduce(op: &Reduce, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    let reduced = reduced_axes(op, inputs, x.rank())?;
    let mut shape = Vec::with_capacity(x.rank());
    for (&dim, &gone) in x.shape().iter().zip(&reduced) {
        if !gone {
            shape.push(dim);
        } else if op.keepdims {
            shape.push(1);
        }
    }
    let layout = Layout::new(x.shape(), &reduced);
    match x.dtype() {
        dtype if dtype.is_integer() || dtype == DType::Bool => integers(op.kind, x, &layout, &shape),
        dtype => in_real!(dtype, 0, T => {
            let values = floats::read::<T>(inputs, 0)?;
            floats::fill::<T>(context, dtype, &shape, |y| layout.reduce_floats(kernel(op.kind), &values, y))
        }),
    }
}

/// Sums input 0 over the dimensions marked, into a tensor of this shape.
pub(in crate::ops) fn sum_dimensions<T: Real>(
    inputs: &Inputs<'_>,
    reduced: &[bool],
    shape: &[usize],
    context: &Context,
) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    let layout = Layout::new(x.shape(), reduced);
    let values = floats::read::<T>(inputs, 0)?;
    floats::fill::<T>(context, x.dtype(), shape, |y| {
        layout.reduce_floats(Reduction::Sum, &values, y)
    })
}

/// For each axis, whether it goes.
fn reduced_axes(op: &Reduce, inputs: &Inputs<'_>, rank: usize) -> Result<Vec<bool>, OpError> {
    let axes = inputs.integers(1)?.unwrap_or_default();
    if axes.is_empty() {
        return Ok(vec![!op.noop_with_empty_axes; rank]);
    }
    let mut reduced = vec![false; rank];
    for along in axes {
        reduced[axis(along, rank)?] = true;
    }
    Ok(reduced)
}

fn kernel(kind: ReduceKind) -> Reduction {
    match kind {
        ReduceKind::L1 => Reduction::L1,
        ReduceKind::L2 => Reduction::L2,
        ReduceKind::LogSum => Reduction::LogSum,
        ReduceKind::LogSumExp => Reduction::LogSumExp,
        ReduceKind::Max => Reduction::Max,
        ReduceKind::Mean => Reduction::Mean,
        ReduceKind::Min => Reduction::Min,
        ReduceKind::Prod => Reduction::Prod,
        ReduceKind::Sum => Reduction::Sum,
        ReduceKind::SumSquare => Reduction::SumSquare,
    }
}

/// How the reduced elements lie: neighbouring axes of the same fate are one.
struct Layout {
    dims: Vec<usize>,
    reduced: Vec<bool>,
}

impl Layout {
    fn new(shape: &[usize], reduced: &[bool]) -> Layout {
        let mut layout = Layout {
            dims: Vec::new(),
            reduced: Vec::new(),
        };
        for (&dim, &gone) in shape.iter().zip(reduced).filter(|&(&dim, _)| dim != 1) {
            if layout.reduced.last() == Some(&gone) {
                let last = layout.dims.len() - 1;
                layout.dims[last] *= dim;
            } else {
                layout.dims.push(dim);
                layout.reduced.push(gone);
            }
        }
        layout
    }

    /// Number of elements that become one.
    fn width(&self) -> usize {
        self.dims
            .iter()
            .zip(&self.reduced)
            .filter(|(_, gone)| **gone)
            .map(|(dim, _)| dim)
            .product()
    }

    fn reduce_floats<T: Real>(&self, kind: Reduction, x: &[T], y: &mut [T]) {
        match (self.dims.as_slice(), self.reduced.as_slice()) {
            (_, [] | [_] | [false, true]) => reduce_rows(kind, x, self.width(), y),
            (&[length, inner], [true, false]) | (&[_, length, inner], [false, true, false]) => {
                reduce_columns(kind, x, length, inner, y);
            }
            _ => reduce_rows(kind, &self.rows(x), self.width(), y),
        }
    }

    /// The elements that become one side by side.
    fn rows<T: Clone + Default + Send + Sync>(&self, x: &[T]) -> Vec<T> {
        let axes = |gone: bool| (0..self.dims.len()).filter(move |&axis| self.reduced[axis] == gone);
        let order: Vec<usize> = axes(false).chain(axes(true)).collect();
        let mut rows = vec![T::default(); x.len()];
        permute(x, &self.dims, &order, &mut rows);
        rows
    }
}

/// Integers are reduced in 64 bits (wrapping around), roots and logarithms in `f64`.
fn integers(kind: ReduceKind, x: &Tensor, layout: &Layout, shape: &[usize]) -> Result<Tensor, OpError> {
    let dtype = x.dtype();
    if dtype == DType::Bool && !matches!(kind, ReduceKind::Max | ReduceKind::Min) {
        return Err(OpError::Type { index: 0, got: dtype });
    }
    // Of 64 bits without a sign only the order differs from that with a sign: flipping the top bit repairs it.
    let flip = if dtype == DType::U64 && matches!(kind, ReduceKind::Max | ReduceKind::Min) {
        i64::MIN
    } else {
        0
    };
    let values: Vec<i64> = x.to_i64()?.into_iter().map(|value| value ^ flip).collect();
    let rows = layout.rows(&values);
    let count: usize = shape.iter().product();
    let width = layout.width();
    let (lowest, highest) = range(dtype)?;
    let reduced: Vec<i64> = (0..count)
        .map(|row| {
            let row = &rows[row * width..(row + 1) * width];
            match kind {
                ReduceKind::Max => row.iter().copied().max().unwrap_or(lowest ^ flip) ^ flip,
                ReduceKind::Min => row.iter().copied().min().unwrap_or(highest ^ flip) ^ flip,
                _ => reduce_integers(kind, row),
            }
        })
        .collect();
    if dtype == DType::Bool {
        return Ok(Tensor::from_bools(
            shape,
            &reduced.into_iter().map(|value| value != 0).collect::<Vec<_>>(),
        )?);
    }
    Ok(Tensor::from_i64(dtype, shape, &reduced)?)
}

/// The smallest and the largest value of a type, as 64 bits.
#[allow(clippy::unnecessary_cast, reason = "for every integer type")]
fn range(dtype: DType) -> Result<(i64, i64), OpError> {
    if dtype == DType::Bool {
        return Ok((0, 1));
    }
    in_type!(
        dtype, 0, [I8 i8, I16 i16, I32 i32, I64 i64, U8 u8, U16 u16, U32 u32, U64 u64],
        T => Ok((T::MIN as i64, T::MAX as i64))
    )
}

fn reduce_integers(kind: ReduceKind, row: &[i64]) -> i64 {
    let sum = |term: fn(i64) -> i64| row.iter().fold(0i64, |sum, &value| sum.wrapping_add(term(value)));
    let real = |term: fn(f64) -> f64| row.iter().map(|&value| term(value as f64)).sum::<f64>();
    match kind {
        ReduceKind::L1 => sum(i64::wrapping_abs),
        ReduceKind::L2 => real(|value| value * value).sqrt() as i64,
        ReduceKind::LogSum => real(|value| value).ln() as i64,
        ReduceKind::LogSumExp => real(f64::exp).ln() as i64,
        ReduceKind::Mean => sum(|value| value).checked_div(row.len() as i64).unwrap_or(0),
        ReduceKind::Prod => row.iter().fold(1, |product, &value| product.wrapping_mul(value)),
        ReduceKind::SumSquare => sum(|value| value.wrapping_mul(value)),
        ReduceKind::Sum | ReduceKind::Max | ReduceKind::Min => sum(|value| value),
    }
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::{Reduce, ReduceKind};
    use bantam_tensor::{DType, Tensor};

    use crate::ops::testing::{run, run_one};

    fn op(kind: ReduceKind, keepdims: bool) -> Reduce {
        Reduce {
            kind,
            keepdims,
            noop_with_empty_axes: false,
        }
    }

    fn counted(shape: &[usize]) -> Tensor {
        let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| i as f32).collect();
        Tensor::from_slice(shape, &values).unwrap()
    }

    #[test]
    fn sums_over_any_axes() {
        let x = counted(&[2, 3, 4]);
        let sum = |axes: &[i64]| {
            let y = run_one(op(ReduceKind::Sum, false), &[x.clone(), Tensor::from_vec1(axes)]);
            (y.shape().to_vec(), y.to_f32().unwrap())
        };
        assert_eq!(sum(&[]), (vec![], vec![276.0]));
        assert_eq!(sum(&[-1]), (vec![2, 3], vec![6.0, 22.0, 38.0, 54.0, 70.0, 86.0]));
        assert_eq!(
            sum(&[1]),
            (vec![2, 4], vec![12.0, 15.0, 18.0, 21.0, 48.0, 51.0, 54.0, 57.0])
        );
        assert_eq!(sum(&[0, 2]), (vec![3], vec![60.0, 92.0, 124.0]));
        assert_eq!(sum(&[0, 1]), (vec![4], vec![60.0, 66.0, 72.0, 78.0]));
        let kept = run_one(
            op(ReduceKind::Sum, true),
            &[x.clone(), Tensor::from_vec1(&[0i64, 2])],
        );
        assert_eq!(kept.shape(), [1, 3, 1]);
        assert!(run(op(ReduceKind::Sum, true), &[x, Tensor::from_vec1(&[3i64])]).is_err());
    }

    #[test]
    fn no_axes_may_mean_no_reduction() {
        let square = Reduce {
            kind: ReduceKind::SumSquare,
            keepdims: true,
            noop_with_empty_axes: true,
        };
        assert_eq!(
            run_one(square, &[Tensor::from_vec1(&[2.0f32, 3.0])]),
            Tensor::from_vec1(&[4.0f32, 9.0])
        );
    }

    #[test]
    fn empty_sets() {
        let x = Tensor::zeros(DType::F32, &[2, 0]).unwrap();
        for (kind, expected) in [
            (ReduceKind::Sum, 0.0),
            (ReduceKind::Prod, 1.0),
            (ReduceKind::Max, f32::NEG_INFINITY),
            (ReduceKind::Min, f32::INFINITY),
            (ReduceKind::LogSum, f32::NEG_INFINITY),
            (ReduceKind::LogSumExp, f32::NEG_INFINITY),
        ] {
            let y = run_one(op(kind, false), &[x.clone(), Tensor::from_vec1(&[1i64])]);
            assert_eq!(y, Tensor::from_vec1(&[expected; 2]), "{kind:?}");
            let y = run_one(op(kind, true), &[x.clone(), Tensor::from_vec1(&[0i64])]);
            assert_eq!(y.shape(), [1, 0]);
        }
        let y = run_one(
            op(ReduceKind::Max, false),
            &[Tensor::zeros(DType::I8, &[0]).unwrap()],
        );
        assert_eq!(y, Tensor::scalar(i8::MIN));
    }

    #[test]
    fn integers_and_truths() {
        let x = Tensor::from_slice(&[2, 2], &[u64::MAX, 1, 2, 3]).unwrap();
        let max = run_one(
            op(ReduceKind::Max, false),
            &[x.clone(), Tensor::from_vec1(&[1i64])],
        );
        assert_eq!(max, Tensor::from_vec1(&[u64::MAX, 3]));
        let min = run_one(op(ReduceKind::Min, false), &[x, Tensor::from_vec1(&[0i64])]);
        assert_eq!(min, Tensor::from_vec1(&[2u64, 1]));
        let x = Tensor::from_vec1(&[3i32, -4]);
        for (kind, expected) in [
            (ReduceKind::L1, 7),
            (ReduceKind::L2, 5),
            (ReduceKind::Prod, -12),
            (ReduceKind::SumSquare, 25),
        ] {
            assert_eq!(
                run_one(op(kind, false), std::slice::from_ref(&x)),
                Tensor::scalar(expected),
                "{kind:?}"
            );
        }
        let truths = Tensor::from_bools(&[2], &[true, false]).unwrap();
        let min = run_one(op(ReduceKind::Min, false), std::slice::from_ref(&truths));
        assert_eq!(min, Tensor::from_bools(&[], &[false]).unwrap());
        assert!(run(op(ReduceKind::Sum, false), &[truths]).is_err());
    }

    #[test]
    fn halves_are_reduced_in_single_precision() {
        let x = Tensor::from_f64(DType::F16, &[4096], &[1.0; 4096]).unwrap();
        let y = run_one(op(ReduceKind::Sum, false), &[x]);
        assert_eq!((y.dtype(), y.to_f64().unwrap()), (DType::F16, vec![4096.0]));
    }
}
