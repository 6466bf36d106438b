//! ArgMax and ArgMin.

use bantam_graph::ops::{ArgReduce, ArgReduceKind};
use bantam_tensor::{Element, Tensor};

use crate::inputs::Inputs;
use crate::ops::axes::{axis, split_at_axis};
use crate::ops::dispatch::in_number;
use crate::{Context, OpError};

/// The position of the largest or smallest element along an axis; not-a-number counts as both.
pub(in crate::ops) fn arg_reduce(
    op: &ArgReduce,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    in_number!(inputs.required(0)?.dtype(), 0, T => {
        let greater = |a: T, b: T| a > b;
        let less = |a: T, b: T| a < b;
        match op.kind {
            ArgReduceKind::Max => positions(op, inputs, context, greater),
            ArgReduceKind::Min => positions(op, inputs, context, less),
        }
    })
}

#[allow(clippy::eq_op, reason = "NaN differs from itself")]
fn positions<T: Element + Copy>(
    op: &ArgReduce,
    inputs: &Inputs<'_>,
    context: &Context,
    better: impl Fn(T, T) -> bool,
) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    let at = axis(op.axis, x.rank())?;
    let (_, dim, inner) = split_at_axis(x.shape(), at);
    let mut shape = x.shape().to_vec();
    shape[at] = 1;
    if dim == 0 && !shape.contains(&0) {
        return Err(OpError::shape("an empty axis has no largest or smallest element"));
    }
    if !op.keepdims {
        shape.remove(at);
    }
    let values = inputs.values::<T>(0)?;
    let wins = |new: T, best: T| {
        let new_is_nan = new != new;
        match best != best {
            true => new_is_nan && op.select_last_index,
            false => new_is_nan || better(new, best) || (op.select_last_index && new == best),
        }
    };
    context.fill(&shape, |y: &mut [i64]| {
        for (y, x) in y
            .chunks_exact_mut(inner.max(1))
            .zip(values.chunks_exact((dim * inner).max(1)))
        {
            y.fill(0);
            for (position, row) in x.chunks_exact(inner.max(1)).enumerate() {
                for (column, &value) in row.iter().enumerate() {
                    if wins(value, x[y[column] as usize * inner + column]) {
                        y[column] = position as i64;
                    }
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::{ArgReduce, ArgReduceKind};
    use bantam_tensor::{DType, Tensor};

    use crate::ops::testing::{run, run_one};

    fn op(kind: ArgReduceKind, axis: i64, select_last_index: bool) -> ArgReduce {
        ArgReduce {
            kind,
            axis,
            keepdims: false,
            select_last_index,
        }
    }

    #[test]
    fn first_or_last_extremum() {
        let x = Tensor::from_slice(&[2, 3], &[1i32, 5, 5, 2, 2, 0]).unwrap();
        for (kind, axis, last, expected) in [
            (ArgReduceKind::Max, 1, false, vec![1, 0]),
            (ArgReduceKind::Max, 1, true, vec![2, 1]),
            (ArgReduceKind::Min, -1, false, vec![0, 2]),
            (ArgReduceKind::Max, 0, false, vec![1, 0, 0]),
            (ArgReduceKind::Min, 0, false, vec![0, 1, 1]),
        ] {
            let y = run_one(op(kind, axis, last), std::slice::from_ref(&x));
            assert_eq!(y.to_i64().unwrap(), expected, "{kind:?} along {axis}");
        }
        let kept = ArgReduce {
            keepdims: true,
            ..op(ArgReduceKind::Max, 0, false)
        };
        assert_eq!(run_one(kept, &[x]).shape(), [1, 3]);
    }

    #[test]
    fn not_a_number_wins() {
        let x = Tensor::from_vec1(&[1.0f32, f32::NAN, 9.0, f32::NAN]);
        for kind in [ArgReduceKind::Max, ArgReduceKind::Min] {
            assert_eq!(
                run_one(op(kind, 0, false), std::slice::from_ref(&x)),
                Tensor::scalar(1i64)
            );
            assert_eq!(
                run_one(op(kind, 0, true), std::slice::from_ref(&x)),
                Tensor::scalar(3i64)
            );
        }
    }

    #[test]
    fn empty_axes_are_errors() {
        let x = Tensor::zeros(DType::F32, &[2, 0]).unwrap();
        assert!(run(op(ArgReduceKind::Max, 1, false), std::slice::from_ref(&x)).is_err());
        assert_eq!(run_one(op(ArgReduceKind::Max, 0, false), &[x]).shape(), [0]);
    }
}
