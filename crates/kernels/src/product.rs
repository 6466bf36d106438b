//! Products of strided matrices of any [`Real`] type, on one thread: for callers that split the work themselves
//! (attention heads, recurrent cells).

use gemm::Parallelism;

use crate::real::Real;
use crate::vectorize::vectorized;

/// A matrix inside a slice: element `(row, column)` lies at `row * row_stride + column * column_stride`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strided<'a, T> {
    values: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, T: Real> Strided<'a, T> {
    /// Row-major, `stride` elements from row to row.
    ///
    /// # Panics
    /// When the last element lies outside of `values`.
    pub(crate) fn new(values: &'a [T], rows: usize, columns: usize, stride: usize) -> Strided<'a, T> {
        assert!(
            fits(values.len(), rows, columns, stride),
            "a {rows} x {columns} matrix outside of its slice"
        );
        Strided {
            values,
            rows,
            columns,
            row_stride: stride,
            column_stride: 1,
        }
    }

    /// The elements of the transpose, row-major, of a row-major matrix.
    pub(crate) fn transposed_copy(self) -> Vec<T> {
        transpose(self.values, self.rows, self.columns, self.row_stride)
    }

    /// The same elements, rows as columns.
    pub(crate) fn transposed(self) -> Strided<'a, T> {
        Strided {
            values: self.values,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

fn fits(length: usize, rows: usize, columns: usize, stride: usize) -> bool {
    rows == 0
        || columns == 0
        || (rows - 1)
            .checked_mul(stride)
            .and_then(|start| start.checked_add(columns))
            .is_some_and(|end| end <= length)
}

/// `c = alpha * a * b`, or `c += alpha * a * b` when `accumulate`; `c` is row-major, `c_stride` from row to row.
///
/// # Panics
/// When the sizes of `a` and `b` do not fit or `c` is too short.
pub(crate) fn multiply<T: Real>(
    a: Strided<'_, T>,
    b: Strided<'_, T>,
    c: &mut [T],
    c_stride: usize,
    alpha: T,
    accumulate: bool,
) {
    let (rows, columns, depth) = (a.rows, b.columns, a.columns);
    assert_eq!(depth, b.rows, "inner sizes of a product");
    assert!(
        c_stride >= columns && fits(c.len(), rows, columns, c_stride),
        "the result of a product outside of its slice"
    );
    if rows == 0 || columns == 0 {
        return;
    }
    if rows <= FEW_ROWS && a.column_stride == 1 && b.row_stride == 1 {
        for row in 0..rows {
            let a = &a.values[row * a.row_stride..][..depth];
            dot_columns(
                a,
                b.values,
                b.column_stride,
                &mut c[row * c_stride..][..columns],
                alpha,
                accumulate,
            );
        }
        return;
    }
    let beta = if accumulate { T::ONE } else { T::ZERO };
    // SAFETY: the assertions here and in `Strided::new` keep every element that `gemm` reads or writes inside its slice;
    // `c` is borrowed mutably, so it does not overlap `a` or `b`. Slices are shorter than `isize::MAX` elements.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            depth,
            c.as_mut_ptr(),
            1,
            c_stride as isize,
            accumulate,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            beta,
            alpha,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// Up to so many rows, products with a transposed matrix are sums along its rows as they lie; with more it is worth
/// arranging the matrix first: [`Strided::transposed_copy`].
pub(crate) const FEW_ROWS: usize = 4;

vectorized! {
    /// `c[j] = alpha * sum of a * column j`, where the columns lie `stride` apart.
    fn dot_columns<T: Real>(a: &[T], columns: &[T], stride: usize, c: &mut [T], alpha: T, accumulate: bool) {
        for (j, c) in c.iter_mut().enumerate() {
            let sum = alpha * dot(a, &columns[j * stride..][..a.len()]);
            *c = if accumulate { *c + sum } else { sum };
        }
    }
}

/// The sum of products of elements.
#[inline(always)]
fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    const LANES: usize = 16;
    let mut lanes = [T::ZERO; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i];
        }
    }
    for (lane, (&a, &b)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *lane += a * b;
    }
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            let other = lanes[i + half];
            lanes[i] += other;
        }
    }
    lanes[0]
}

/// The transpose, row-major, of a matrix whose rows lie `stride` apart.
fn transpose<T: Real>(values: &[T], rows: usize, columns: usize, stride: usize) -> Vec<T> {
    // One cache line of the result at a time.
    const BLOCK: usize = 16;
    let mut transposed = vec![T::ZERO; rows * columns];
    for first in (0..rows).step_by(BLOCK) {
        let last = (first + BLOCK).min(rows);
        for column in 0..columns {
            let out = &mut transposed[column * rows + first..column * rows + last];
            out.iter_mut()
                .zip(first..last)
                .for_each(|(out, row)| *out = values[row * stride + column]);
        }
    }
    transposed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strided_products_match_sums() {
        for (rows, columns, depth) in [
            (1, 1, 1),
            (3, 5, 2),
            (17, 33, 40),
            (1, 64, 16),
            (4, 1, 9),
            (2, 3, 0),
        ] {
            let (a_stride, c_stride) = (depth + 2, columns + 1);
            let a: Vec<f32> = (0..rows * a_stride).map(|i| (i % 7) as f32 - 3.0).collect();
            let b: Vec<f32> = (0..columns * depth).map(|i| (i % 5) as f32 - 2.0).collect();
            for accumulate in [false, true] {
                let mut c = vec![1.0f32; rows * c_stride];
                let right = Strided::new(&b, columns, depth, depth).transposed();
                multiply(
                    Strided::new(&a, rows, depth, a_stride),
                    right,
                    &mut c,
                    c_stride,
                    2.0,
                    accumulate,
                );
                for (r, j) in (0..rows).flat_map(|r| (0..columns).map(move |j| (r, j))) {
                    let sum: f32 = (0..depth).map(|k| a[r * a_stride + k] * b[j * depth + k]).sum();
                    assert_eq!(c[r * c_stride + j], 2.0 * sum + f32::from(u8::from(accumulate)));
                    assert_eq!(c[r * c_stride + columns], 1.0, "the gap between rows stays");
                }
            }
        }
    }

    #[test]
    fn transposing_twice_gives_the_matrix_back() {
        let (rows, columns) = (37, 5);
        let x: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
        let once = transpose(&x, rows, columns, columns);
        assert_eq!(once[1], x[columns]);
        assert_eq!(transpose(&once, columns, rows, rows), x);
    }
}
