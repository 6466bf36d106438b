//! Det.

use bantam_kernels::Real;
use bantam_tensor::Tensor;

use super::floats::{fill, in_real, read};
use crate::inputs::Inputs;
use crate::{Context, OpError};

/// Determinants of the last two dimensions, computed in `f64`.
pub(super) fn determinant(inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    let [batch @ .., rows, columns] = x.shape() else {
        return Err(OpError::shape(format!(
            "determinants of {:?}: at least 2 dimensions are needed",
            x.shape()
        )));
    };
    if rows != columns {
        return Err(OpError::shape(format!(
            "a determinant of {rows} rows and {columns} columns"
        )));
    }
    let size = *rows;
    in_real!(x.dtype(), 0, T => {
        let values = read::<T>(inputs, 0)?;
        fill(context, x.dtype(), batch, |y: &mut [T]| {
            // Without rows the product over nothing is 1.
            y.fill(T::ONE);
            for (y, matrix) in y.iter_mut().zip(values.chunks_exact((size * size).max(1))) {
                let matrix = matrix.iter().map(|value| value.to_f64()).collect();
                *y = T::from_f64(eliminate(matrix, size));
            }
        })
    })
}

/// The determinant by Gaussian elimination with the largest pivot of each column.
fn eliminate(mut matrix: Vec<f64>, size: usize) -> f64 {
    let mut determinant = 1.0;
    for step in 0..size {
        let magnitude = |row: usize, matrix: &[f64]| matrix[row * size + step].abs();
        let pivot = (step..size).max_by(|&a, &b| magnitude(a, &matrix).total_cmp(&magnitude(b, &matrix)));
        let pivot = pivot.unwrap_or(step);
        if pivot != step {
            (0..size).for_each(|column| matrix.swap(pivot * size + column, step * size + column));
            determinant = -determinant;
        }
        let diagonal = matrix[step * size + step];
        determinant *= diagonal;
        if diagonal == 0.0 {
            return 0.0;
        }
        for row in step + 1..size {
            let factor = matrix[row * size + step] / diagonal;
            for column in step..size {
                matrix[row * size + column] -= factor * matrix[step * size + column];
            }
        }
    }
    determinant
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::Det;

    use super::super::testing::{run, run_one};
    use super::*;

    #[test]
    fn determinants() {
        let cases: &[(&[usize], &[f32], &[f32])] = &[
            (&[2, 2], &[1., 2., 3., 4.], &[-2.]),
            (&[1, 1], &[5.], &[5.]),
            (&[2, 2, 2], &[0., 1., 1., 0., 2., 0., 0., 3.], &[-1., 6.]),
            (&[3, 3], &[1., 2., 3., 2., 4., 6., 1., 0., 1.], &[0.]),
            (&[3, 3], &[2., 0., 1., 1., 3., 2., 1., 1., 4.], &[18.]),
            (&[2, 0, 0], &[], &[1., 1.]),
        ];
        for (shape, values, expected) in cases {
            let y = run_one(Det {}, &[Tensor::from_slice(shape, values).unwrap()]);
            assert_eq!(y.shape(), &shape[..shape.len() - 2]);
            assert_eq!(y.to_f32().unwrap(), *expected, "{values:?}");
        }
        assert!(run(Det {}, &[Tensor::from_slice(&[1, 2], &[1f32, 2.0]).unwrap()]).is_err());
        assert!(run(Det {}, &[Tensor::from_vec1(&[1f32])]).is_err());
    }
}
