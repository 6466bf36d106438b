//! Cholesky's factors of matrices that are symmetric and positive definite.

use crate::matmul::{Onto, Product, multiply_batch};

/// Columns that are done at once; what they change behind them is one matrix product.
const BLOCK: usize = 64;

/// Overwrites the lower half of `matrix`, `[size, size]`, with the `L` of `matrix = L L^T`; the upper half becomes zeros. Only
/// the lower half is read. False when the matrix is not positive definite, which leaves it half done.
///
/// # Panics
/// When the slice does not hold `size * size` numbers.
pub fn cholesky(matrix: &mut [f64], size: usize) -> bool {
    assert_eq!(Some(matrix.len()), size.checked_mul(size), "a square matrix");
    for start in (0..size).step_by(BLOCK) {
        let end = (start + BLOCK).min(size);
        if !diagonal(matrix, size, start, end) {
            return false;
        }
        panel(matrix, size, start, end);
        trailing(matrix, size, start, end);
    }
    for row in 0..size {
        matrix[row * size + row + 1..(row + 1) * size].fill(0.0);
    }
    true
}

/// Factors a block on the diagonal.
fn diagonal(matrix: &mut [f64], size: usize, start: usize, end: usize) -> bool {
    for column in start..end {
        for row in column..end {
            let (above, below) = matrix.split_at(row * size);
            let left = if row == column {
                &below[..size]
            } else {
                &above[column * size..][..size]
            };
            let dot = dot(&left[start..column], &below[start..column]);
            let value = below[column] - dot;
            matrix[row * size + column] = match row == column {
                true if value > 0.0 && value.is_finite() => value.sqrt(),
                true => return false,
                false => value / matrix[column * size + column],
            };
        }
    }
    true
}

/// The rows below a factored block.
fn panel(matrix: &mut [f64], size: usize, start: usize, end: usize) {
    let (above, below) = matrix.split_at_mut(end * size);
    for row in below.chunks_exact_mut(size) {
        for column in start..end {
            let factor = &above[column * size..][..size];
            row[column] = (row[column] - dot(&factor[start..column], &row[start..column])) / factor[column];
        }
    }
}

/// Takes what the columns of a block explain from the rest.
fn trailing(matrix: &mut [f64], size: usize, start: usize, end: usize) {
    let (rest, depth) = (size - end, end - start);
    let panel: Vec<f64> = (end..size)
        .flat_map(|row| matrix[row * size + start..row * size + end].iter().copied())
        .collect();
    let product = Product {
        rows: rest,
        columns: rest,
        depth,
        a_strides: [depth, 1],
        b_strides: [1, depth],
    };
    let mut explained = vec![0.0; rest * rest];
    multiply_batch(
        &product,
        &[[0, 0]],
        [&panel, &panel],
        1.0,
        Onto::Nothing,
        &mut explained,
    );
    for (row, explained) in explained.chunks_exact(rest.max(1)).enumerate() {
        let row = &mut matrix[(end + row) * size + end..(end + row + 1) * size];
        row.iter_mut()
            .zip(explained)
            .for_each(|(value, explained)| *value -= explained);
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Overwrites the rows of `right`, `[rows, size]`, with the solutions of `x L L^T = row`.
///
/// # Panics
/// When the slices do not hold whole matrices.
pub fn cholesky_solve(factor: &[f64], size: usize, right: &mut [f64]) {
    assert_eq!(Some(factor.len()), size.checked_mul(size), "a square factor");
    assert!(size == 0 || right.len().is_multiple_of(size), "whole rows");
    for row in right.chunks_exact_mut(size.max(1)) {
        for index in 0..size {
            let known = dot(&factor[index * size..][..index], &row[..index]);
            row[index] = (row[index] - known) / factor[index * size + index];
        }
        for index in (0..size).rev() {
            let value = row[index] / factor[index * size + index];
            row[index] = value;
            let column = &factor[index * size..][..index];
            row[..index]
                .iter_mut()
                .zip(column)
                .for_each(|(left, l)| *left -= value * l);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a a^T + I` of a matrix of small numbers.
    fn definite(size: usize) -> Vec<f64> {
        let a: Vec<f64> = (0..size * size)
            .map(|i| ((i * 7919 % 101) as f64 - 50.0) / 50.0)
            .collect();
        let entry = |i: usize, j: usize| dot(&a[i * size..][..size], &a[j * size..][..size]);
        (0..size * size)
            .map(|index| {
                entry(index / size, index % size) + f64::from(u8::from(index / size == index % size))
            })
            .collect()
    }

    #[test]
    fn the_factor_times_itself_is_the_matrix() {
        for size in [0, 1, 5, 64, 65, 200] {
            let matrix = definite(size);
            let mut factor = matrix.clone();
            assert!(cholesky(&mut factor, size));
            for i in 0..size {
                for j in 0..size {
                    let product = dot(&factor[i * size..][..size], &factor[j * size..][..size]);
                    let difference = (product - matrix[i * size + j]).abs();
                    assert!(difference < 1e-9 * size as f64, "{size}: {i}, {j}: {difference}");
                }
            }
        }
    }

    #[test]
    fn solutions_solve() {
        let size = 70;
        let (matrix, mut factor) = (definite(size), definite(size));
        assert!(cholesky(&mut factor, size));
        let right: Vec<f64> = (0..2 * size).map(|i| (i % 13) as f64 - 6.0).collect();
        let mut x = right.clone();
        cholesky_solve(&factor, size, &mut x);
        for (x, right) in x.chunks_exact(size).zip(right.chunks_exact(size)) {
            for column in 0..size {
                let product: f64 = (0..size).map(|k| x[k] * matrix[k * size + column]).sum();
                assert!(
                    (product - right[column]).abs() < 1e-7,
                    "{product} {}",
                    right[column]
                );
            }
        }
    }

    #[test]
    fn what_is_not_definite_is_said_so() {
        assert!(!cholesky(&mut [1.0, 2.0, 2.0, 1.0], 2));
        assert!(!cholesky(&mut [0.0], 1));
        assert!(!cholesky(&mut [f64::NAN], 1));
    }
}
