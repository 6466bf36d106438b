//! Which elements are not zero, and triangles.

use bantam_graph::ops::Trilu;
use bantam_tensor::{DType, Tensor};

use super::shape::diagonal;
use crate::inputs::Inputs;
use crate::ops::elementwise::truths;
use crate::ops::units::{Unit, in_unit};
use crate::{Context, OpError};

/// Indices of the non-zero elements, `[rank, count]`, in row-major order.
pub(in crate::ops) fn non_zero(inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    let found: Vec<usize> = truths(x)?
        .iter()
        .enumerate()
        .filter(|&(_, &truth)| truth)
        .map(|(flat, _)| flat)
        .collect();
    let count = found.len();
    context.fill(&[x.rank(), count], |y: &mut [i64]| {
        for (column, &flat) in found.iter().enumerate() {
            let mut rest = flat;
            for (axis, &dim) in x.shape().iter().enumerate().rev() {
                y[axis * count + column] = (rest % dim) as i64;
                rest /= dim;
            }
        }
    })
}

/// The upper or lower triangle of the last two dimensions; the rest becomes zero.
pub(in crate::ops) fn triangle(
    op: &Trilu,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let k = diagonal(inputs)?;
    let x = inputs.keep(0)?;
    let &[.., rows, columns] = x.shape() else {
        return Err(OpError::shape(format!(
            "a triangle needs a matrix, not {:?}",
            x.shape()
        )));
    };
    if x.dtype() == DType::String {
        return Err(OpError::Type {
            index: 0,
            got: DType::String,
        });
    }
    in_unit!(x.dtype(), U => U::modify(context, x, |y| {
        for (index, row) in y.chunks_exact_mut(columns.max(1)).enumerate() {
            // The column of the diagonal in this row: what lies before it is below.
            let diagonal = k.saturating_add((index % rows) as i64);
            if op.upper {
                row[..diagonal.clamp(0, columns as i64) as usize].fill(U::default());
            } else {
                row[diagonal.saturating_add(1).clamp(0, columns as i64) as usize..].fill(U::default());
            }
        }
        Ok(())
    }))
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::{NonZero, Trilu};
    use bantam_tensor::Tensor;

    use crate::ops::testing::{run, run_one};

    #[test]
    fn places_of_what_is_not_zero() {
        let x = Tensor::from_slice(&[2, 3], &[0.0f32, 1.0, -0.0, f32::NAN, 0.0, -2.0]).unwrap();
        let y = run_one(NonZero {}, &[x]);
        assert_eq!(y, Tensor::from_slice(&[2, 3], &[0i64, 1, 1, 1, 0, 2]).unwrap());
        assert_eq!(run_one(NonZero {}, &[Tensor::scalar(3i32)]).shape(), [0, 1]);
    }

    #[test]
    fn triangles() {
        let x = Tensor::from_slice(&[2, 3], &[1i32, 2, 3, 4, 5, 6]).unwrap();
        let triangle = |upper, k: i64| {
            run_one(Trilu { upper }, &[x.clone(), Tensor::scalar(k)])
                .to_i64()
                .unwrap()
        };
        assert_eq!(triangle(true, 0), [1, 2, 3, 0, 5, 6]);
        assert_eq!(triangle(false, 0), [1, 0, 0, 4, 5, 0]);
        assert_eq!(triangle(true, 1), [0, 2, 3, 0, 0, 6]);
        assert_eq!(triangle(false, -1), [0, 0, 0, 4, 0, 0]);
        assert_eq!(triangle(true, i64::MIN), [1, 2, 3, 4, 5, 6]);
        assert_eq!(triangle(false, i64::MAX), [1, 2, 3, 4, 5, 6]);
        assert!(run(Trilu { upper: true }, &[Tensor::from_vec1(&[1i32])]).is_err());
    }
}
