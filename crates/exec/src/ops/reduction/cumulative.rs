//! Running sums and products.

use bantam_graph::ops::{CumProd, CumSum};
use bantam_kernels::elementwise::Number;
use bantam_tensor::Tensor;

use crate::inputs::Inputs;
use crate::ops::axes::{axis, split_at_axis};
use crate::ops::dispatch::in_number;
use crate::{Context, OpError};

/// Running sums along the axis in input 1.
pub(in crate::ops) fn cumulative_sum(
    op: &CumSum,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    in_number!(inputs.required(0)?.dtype(), 0, T => {
        accumulate(op.exclusive, op.reverse, inputs, context, T::default(), T::plus)
    })
}

/// Running products along the axis in input 1.
pub(in crate::ops) fn cumulative_product(
    op: &CumProd,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    in_number!(inputs.required(0)?.dtype(), 0, T => {
        accumulate(op.exclusive, op.reverse, inputs, context, T::ONE, T::times)
    })
}

/// Combines each element with those before it (after it, in reverse); `exclusive` leaves the element itself out.
fn accumulate<T: Number>(
    exclusive: bool,
    reverse: bool,
    inputs: &Inputs<'_>,
    context: &Context,
    neutral: T,
    combine: impl Fn(T, T) -> T,
) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    let along = match inputs
        .integers(1)?
        .ok_or(OpError::MissingInput { index: 1 })?
        .as_slice()
    {
        &[along] => along,
        values => {
            return Err(OpError::shape(format!(
                "the axis must be one value, not {}",
                values.len()
            )));
        }
    };
    let (_, dim, inner) = split_at_axis(x.shape(), axis(along, x.rank())?);
    let values = inputs.values::<T>(0)?;
    context.fill(x.shape(), |y: &mut [T]| {
        let plane = (dim * inner).max(1);
        for (y, x) in y.chunks_exact_mut(plane).zip(values.chunks_exact(plane)) {
            let mut running = vec![neutral; inner];
            for step in 0..dim {
                let row = if reverse { dim - 1 - step } else { step } * inner;
                for (column, running) in running.iter_mut().enumerate() {
                    let next = combine(*running, x[row + column]);
                    y[row + column] = if exclusive { *running } else { next };
                    *running = next;
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use bantam_graph::Op;
    use bantam_graph::ops::{CumProd, CumSum};
    use bantam_tensor::{DType, Tensor};

    use crate::ops::testing::{run, run_one};

    #[test]
    fn running_sums_and_products() {
        let x = Tensor::from_vec1(&[1i32, 2, 3, 4]);
        let accumulate = |op: Op| run_one(op, &[x.clone(), Tensor::scalar(0i64)]).to_i64().unwrap();
        let sum = |exclusive, reverse| accumulate(CumSum { exclusive, reverse }.into());
        let product = |exclusive, reverse| accumulate(CumProd { exclusive, reverse }.into());
        assert_eq!(sum(false, false), [1, 3, 6, 10]);
        assert_eq!(sum(true, false), [0, 1, 3, 6]);
        assert_eq!(sum(false, true), [10, 9, 7, 4]);
        assert_eq!(sum(true, true), [9, 7, 4, 0]);
        assert_eq!(product(false, false), [1, 2, 6, 24]);
        assert_eq!(product(true, true), [24, 12, 4, 1]);
    }

    #[test]
    fn along_any_axis() {
        let x = Tensor::from_slice(&[2, 2], &[1.0f32, 2.0, 3.0, 4.0]).unwrap();
        let op = CumSum {
            exclusive: false,
            reverse: false,
        };
        let rows = run_one(op.clone(), &[x.clone(), Tensor::scalar(-1i32)]);
        assert_eq!(rows.to_f32().unwrap(), [1.0, 3.0, 3.0, 7.0]);
        let columns = run_one(op.clone(), &[x.clone(), Tensor::scalar(0i32)]);
        assert_eq!(columns.to_f32().unwrap(), [1.0, 2.0, 4.0, 6.0]);
        assert!(run(op.clone(), &[x, Tensor::scalar(2i32)]).is_err());
        let empty = Tensor::zeros(DType::F32, &[2, 0]).unwrap();
        assert_eq!(run_one(op, &[empty, Tensor::scalar(0i32)]).shape(), [2, 0]);
    }
}
