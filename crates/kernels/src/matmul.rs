//! Batches of matrix products, split over threads.

use gemm::Parallelism;
use rayon::prelude::*;

use bantam_tensor::Element;

/// Sizes of products `c = a * b`, and the steps through `a` and `b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// Rows of `a` and `c`.
    pub rows: usize,
    /// Columns of `b` and `c`.
    pub columns: usize,
    /// Columns of `a` and rows of `b`.
    pub depth: usize,
    /// Elements from one row of `a` to the next, and from one column to the next.
    pub a_strides: [usize; 2],
    /// Elements from one row of `b` to the next, and from one column to the next.
    pub b_strides: [usize; 2],
}

/// What a result is added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onto {
    /// Nothing: what `c` held is overwritten.
    Nothing,
    /// What `c` held before.
    Before,
}

/// Number types of matrices. Integers wrap around.
pub trait Number: Element {
    /// `c = factor * a * b`, or `c += ...`, of one product on one thread; `c_stride` elements from row to row.
    ///
    /// # Safety
    /// The pointers are valid for the elements that the sizes and strides reach, and nobody else uses those of `c`.
    #[doc(hidden)]
    unsafe fn multiply(
        product: &Product,
        a: *const Self,
        b: *const Self,
        factor: Self,
        onto: Onto,
        c: *mut Self,
        c_stride: usize,
    );
}

/// Computes a batch of products into `c`, `[batch, rows, columns]`: `c[i] = factor * a[i] * b[i]`, where `starts[i]` says
/// where `a[i]` and `b[i]` start.
///
/// # Panics
/// When a matrix reaches beyond its slice.
pub fn multiply_batch<T: Number>(
    product: &Product,
    starts: &[[usize; 2]],
    [a, b]: [&[T]; 2],
    factor: T,
    onto: Onto,
    c: &mut [T],
) {
    let Product {
        rows,
        columns,
        depth,
        a_strides,
        b_strides,
    } = *product;
    let matrix = rows.checked_mul(columns).expect("the result exists");
    assert_eq!(
        Some(c.len()),
        matrix.checked_mul(starts.len()),
        "one result for each pair"
    );
    for start in starts {
        assert!(
            reaches([rows, depth], a_strides, start[0]).is_some_and(|end| end <= a.len()),
            "a is too short"
        );
        assert!(
            reaches([depth, columns], b_strides, start[1]).is_some_and(|end| end <= b.len()),
            "b is too short"
        );
    }
    if c.is_empty() {
        return;
    }
    if let Some((straight, starts, b)) = straightened(product, starts, b) {
        return multiply_batch(&straight, &starts, [a, &b], factor, onto, c);
    }
    let [row_step, column_step] = steps(rows, columns, depth, starts.len());
    let (row_pieces, column_pieces) = (rows.div_ceil(row_step), columns.div_ceil(column_step));
    let c = Shared(c.as_mut_ptr());
    let piece = |index: usize| {
        let (index, column) = (index / column_pieces, index % column_pieces * column_step);
        let (index, row) = (index / row_pieces, index % row_pieces * row_step);
        let part = Product {
            rows: row_step.min(rows - row),
            columns: column_step.min(columns - column),
            ..*product
        };
        // Without depth nothing is read, and starts may lie past the end.
        let (a_start, b_start) = match depth {
            0 => (0, 0),
            _ => (
                starts[index][0] + row * a_strides[0],
                starts[index][1] + column * b_strides[1],
            ),
        };
        let shared = &c;
        // SAFETY: the matrices lie within their slices, as checked above, and pieces of `c` do not overlap.
        unsafe {
            let c = shared.0.add(index * matrix + row * columns + column);
            T::multiply(
                &part,
                a.as_ptr().add(a_start),
                b.as_ptr().add(b_start),
                factor,
                onto,
                c,
                columns,
            );
        }
    };
    let pieces = starts.len() * row_pieces * column_pieces;
    if pieces == 1 || matrix.saturating_mul(depth).saturating_mul(starts.len()) < ALONE {
        (0..pieces).for_each(piece);
    } else {
        (0..pieces).into_par_iter().for_each(piece);
    }
}

/// Rows that a transposed matrix is worth bringing into order for: reading it across its rows costs more with each piece.
const ROWS: usize = 32;

/// The same products with matrices `b` that lie in order, if they lie transposed and are used enough.
#[allow(clippy::type_complexity, reason = "the three arguments that change")]
fn straightened<T: Number>(
    product: &Product,
    starts: &[[usize; 2]],
    b: &[T],
) -> Option<(Product, Vec<[usize; 2]>, Vec<T>)> {
    let Product {
        rows,
        columns,
        depth,
        b_strides,
        ..
    } = *product;
    let transposed = b_strides == [1, depth] && columns > 1 && depth > 1;
    if !transposed || rows < ROWS {
        return None;
    }
    let mut places: Vec<usize> = starts.iter().map(|start| start[1]).collect();
    places.sort_unstable();
    places.dedup();
    let len = columns * depth;
    let mut straight = vec![T::default(); len * places.len()];
    let turn = |(to, from): (&mut [T], &usize)| {
        crate::copy::permute(&b[*from..from + len], &[columns, depth], &[1, 0], to);
    };
    match places.len() {
        1 => turn((&mut straight, &places[0])),
        _ => straight.par_chunks_mut(len).zip(&places).for_each(turn),
    }
    let starts = starts.iter().map(|start| {
        let place = places.partition_point(|place| *place < start[1]);
        [start[0], place * len]
    });
    let product = Product {
        b_strides: [columns, 1],
        ..*product
    };
    Some((product, starts.collect(), straight))
}

struct Shared<T>(*mut T);
// SAFETY: the pieces of the work write to different elements.
unsafe impl<T: Send> Sync for Shared<T> {}

/// Products of two numbers that one thread does before another is woken.
const ALONE: usize = 1 << 16;
/// Products of two numbers in a piece of work.
const PIECE: usize = 1 << 24;
/// Rows or columns of a piece, at least: arranging the other matrix must be worth it.
const NARROWEST: usize = 96;

/// Rows and columns of a piece of work, about as many of each. They depend on the sizes only, so that sums do not depend on
/// the threads.
fn steps(rows: usize, columns: usize, depth: usize, batch: usize) -> [usize; 2] {
    let work = rows.saturating_mul(columns).saturating_mul(depth.max(1));
    // Many products are split enough as they are.
    let pieces = if batch >= 64 {
        1
    } else {
        (work / PIECE).clamp(1, 64)
    };
    let side = (rows.saturating_mul(columns) / pieces).isqrt();
    let part = |size: usize, parts: usize| size.div_ceil(parts.max(1)).next_multiple_of(16).max(NARROWEST);
    if rows >= columns {
        let across = (columns / side.max(1)).max(1);
        [part(rows, pieces.div_ceil(across)), part(columns, across)]
    } else {
        let down = (rows / side.max(1)).max(1);
        [part(rows, down), part(columns, pieces.div_ceil(down))]
    }
}

/// One past the last element of a matrix; its start if it has none.
fn reaches([rows, columns]: [usize; 2], strides: [usize; 2], start: usize) -> Option<usize> {
    if rows == 0 || columns == 0 {
        return Some(0);
    }
    let last = (rows - 1)
        .checked_mul(strides[0])?
        .checked_add((columns - 1).checked_mul(strides[1])?)?;
    start.checked_add(last)?.checked_add(1)
}

macro_rules! floats {
    ($($float:ty),*) => {$(
        impl Number for $float {
            unsafe fn multiply(
                product: &Product,
                a: *const $float,
                b: *const $float,
                factor: $float,
                onto: Onto,
                c: *mut $float,
                c_stride: usize,
            ) {
                let Product { rows, columns, depth, a_strides, b_strides } = *product;
                // SAFETY: the caller's promise.
                unsafe {
                    gemm::gemm(
                        rows, columns, depth,
                        c, 1, c_stride as isize, onto == Onto::Before,
                        a, a_strides[1] as isize, a_strides[0] as isize,
                        b, b_strides[1] as isize, b_strides[0] as isize,
                        1.0, factor, false, false, false, Parallelism::None,
                    );
                }
            }
        }
    )*};
}
floats!(f32, f64);

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl Number for $integer {
            unsafe fn multiply(
                product: &Product,
                a: *const $integer,
                b: *const $integer,
                factor: $integer,
                onto: Onto,
                c: *mut $integer,
                c_stride: usize,
            ) {
                let Product { rows, columns, depth, a_strides, b_strides } = *product;
                // SAFETY (all blocks): the caller's promise.
                for row in 0..rows {
                    let c = unsafe { std::slice::from_raw_parts_mut(c.add(row * c_stride), columns) };
                    if onto == Onto::Nothing {
                        c.fill(0);
                    }
                    for step in 0..depth {
                        let a = unsafe { *a.add(row * a_strides[0] + step * a_strides[1]) }.wrapping_mul(factor);
                        for (column, c) in c.iter_mut().enumerate() {
                            let b = unsafe { *b.add(step * b_strides[0] + column * b_strides[1]) };
                            *c = c.wrapping_add(a.wrapping_mul(b));
                        }
                    }
                }
            }
        }
    )*};
}
integers!(i8, i16, i32, i64, u8, u16, u32, u64);

#[cfg(test)]
mod tests {
    use super::*;

    /// Small integers, so that sums are exact in every type.
    fn values(count: usize) -> Vec<i32> {
        (0..count as i32).map(|i| i.wrapping_mul(7) % 11 - 5).collect()
    }

    fn expected(product: &Product, starts: &[[usize; 2]], a: &[i32], b: &[i32]) -> Vec<i32> {
        let mut c = Vec::new();
        for start in starts {
            for row in 0..product.rows {
                for column in 0..product.columns {
                    let term = |step: usize| {
                        a[start[0] + row * product.a_strides[0] + step * product.a_strides[1]]
                            * b[start[1] + step * product.b_strides[0] + column * product.b_strides[1]]
                    };
                    c.push((0..product.depth).map(term).sum());
                }
            }
        }
        c
    }

    #[test]
    fn all_types_agree_on_all_layouts() {
        let sizes = [
            (1, 1, 1),
            (3, 5, 7),
            (1, 70, 33),
            (90, 1, 20),
            (17, 16, 0),
            (0, 4, 3),
            (4, 0, 3),
            (300, 130, 129),
            (130, 300, 200),
        ];
        for (rows, columns, depth) in sizes {
            for (a_strides, b_strides) in [
                ([depth, 1], [columns, 1]),
                ([1, rows], [1, depth]),
                ([depth, 1], [1, depth]),
            ] {
                let product = Product {
                    rows,
                    columns,
                    depth,
                    a_strides,
                    b_strides,
                };
                let starts = [[0, 0], [rows * depth, 0], [0, depth * columns]];
                let (a, b) = (values(2 * rows * depth), values(2 * depth * columns));
                let expected = expected(&product, &starts, &a, &b);
                let doubled: Vec<i32> = expected.iter().map(|c| 3 - 2 * c).collect();

                let mut c = vec![77; expected.len()];
                multiply_batch(&product, &starts, [&a, &b], 1, Onto::Nothing, &mut c);
                assert_eq!(c, expected, "{product:?}");
                let float = |values: &[i32]| values.iter().map(|&v| v as f32).collect::<Vec<f32>>();
                let mut c = vec![f32::NAN; expected.len()];
                multiply_batch(
                    &product,
                    &starts,
                    [&float(&a), &float(&b)],
                    1.0,
                    Onto::Nothing,
                    &mut c,
                );
                assert_eq!(c, float(&expected), "{product:?}");
                c.fill(3.0);
                multiply_batch(
                    &product,
                    &starts,
                    [&float(&a), &float(&b)],
                    -2.0,
                    Onto::Before,
                    &mut c,
                );
                assert_eq!(c, float(&doubled), "{product:?}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "b is too short")]
    fn short_slices_are_refused() {
        let product = Product {
            rows: 2,
            columns: 3,
            depth: 2,
            a_strides: [2, 1],
            b_strides: [3, 1],
        };
        multiply_batch(
            &product,
            &[[0, 1]],
            [&[1i32; 4], &[1i32; 6]],
            1,
            Onto::Nothing,
            &mut [0; 6],
        );
    }
}
