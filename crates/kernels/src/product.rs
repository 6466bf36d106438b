//! Products of strided matrices of any [`Real`] type, on one thread: for callers that split the work themselves
//! (attention heads, recurrent cells).

use gemm::Parallelism;

use crate::real::Real;

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
}
