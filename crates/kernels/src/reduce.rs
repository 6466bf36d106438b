//! Reductions of rows and of columns to one value each.
//!
//! Sums are added in `T` within blocks of a row and in `f64` across them, and in `f64` along columns; the order does
//! not depend on the number of threads.

use rayon::prelude::*;

use crate::real::Real;
use crate::rows::sum_of;
use crate::vectorize::vectorized;

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Sum of the magnitudes.
    L1,
    /// Square root of the sum of the squares.
    L2,
    /// Logarithm of the sum.
    LogSum,
    /// Logarithm of the sum of the exponentials, without overflow.
    LogSumExp,
    /// The largest element; NaN when there is one.
    Max,
    /// Sum divided by the number of elements.
    Mean,
    /// The smallest element; NaN when there is one.
    Min,
    /// Product.
    Prod,
    /// Sum.
    Sum,
    /// Sum of the squares.
    SumSquare,
}

/// Elements that a thread takes at once.
const GRAIN: usize = 1 << 14;
/// Columns whose partial results are held at once.
const COLUMNS: usize = 256;

/// Reduces each row of `width` elements to one: `y[i]` from `x[i * width..]`. Rows may be empty: a sum is then 0, a
/// product 1, a maximum minus infinity, a mean NaN.
pub fn reduce_rows<T: Real>(kind: Reduction, x: &[T], width: usize, y: &mut [T]) {
    if width == 0 {
        return y.fill(reduce_row(kind, &[]));
    }
    let rows = (GRAIN / width).max(1);
    y.par_chunks_mut(rows)
        .zip(x.par_chunks(rows * width))
        .for_each(|(y, x)| {
            for (y, x) in y.iter_mut().zip(x.chunks_exact(width)) {
                *y = reduce_row(kind, x);
            }
        });
}

/// Reduces the middle axis of `x`, viewed as `[outer, length, inner]`, to `y`, viewed as `[outer, inner]`.
pub fn reduce_columns<T: Real>(kind: Reduction, x: &[T], length: usize, inner: usize, y: &mut [T]) {
    if length == 0 || inner == 0 {
        return y.fill(reduce_row(kind, &[]));
    }
    let planes = (GRAIN / (length * inner)).max(1);
    y.par_chunks_mut(planes * inner)
        .zip(x.par_chunks(planes * length * inner))
        .for_each(|(y, x)| {
            for (y, x) in y.chunks_exact_mut(inner).zip(x.chunks_exact(length * inner)) {
                y.par_chunks_mut(COLUMNS).enumerate().for_each(|(block, y)| {
                    reduce_block(kind, &x[block * COLUMNS..], inner, length, y);
                });
            }
        });
}

vectorized! {
    /// One row.
    fn reduce_row<T: Real>(kind: Reduction, x: &[T]) -> T {
        let value = match kind {
            Reduction::L1 => sum_of(x, |value| value.abs()),
            Reduction::L2 => sum_of(x, |value| value * value).sqrt(),
            Reduction::LogSum => sum_of(x, |value| value).ln(),
            Reduction::LogSumExp => {
                let largest = extremum(x, false);
                // Infinities would give NaN by their difference; an empty row has minus infinity.
                if largest.abs() == -T::NEG_INFINITY {
                    return largest;
                }
                largest.to_f64() + sum_of(x, |value| (value - largest).exp()).ln()
            }
            Reduction::Max => return extremum(x, false),
            Reduction::Mean => sum_of(x, |value| value) / x.len() as f64,
            Reduction::Min => return -extremum(x, true),
            Reduction::Prod => x.iter().fold(1.0, |product, value| product * value.to_f64()),
            Reduction::Sum => sum_of(x, |value| value),
            Reduction::SumSquare => sum_of(x, |value| value * value),
        };
        T::from_f64(value)
    }

    /// A block of at most `COLUMNS` columns: element `i` of a row is `x[row * inner + i]`.
    fn reduce_block<T: Real>(kind: Reduction, x: &[T], inner: usize, length: usize, y: &mut [T]) {
        let mut sums = [0.0f64; COLUMNS];
        let width = y.len();
        let sums = &mut sums[..width];
        let rows = (0..length).map(|row| &x[row * inner..row * inner + width]);
        match kind {
            Reduction::Max | Reduction::Min => {
                let negate = kind == Reduction::Min;
                y.fill(if negate { -T::NEG_INFINITY } else { T::NEG_INFINITY });
                for row in rows {
                    for (y, &x) in y.iter_mut().zip(row) {
                        *y = if negate { -greater(-x, -*y) } else { greater(x, *y) };
                    }
                }
                return;
            }
            Reduction::LogSumExp => {
                y.fill(T::NEG_INFINITY);
                for row in rows.clone() {
                    y.iter_mut().zip(row).for_each(|(y, &x)| *y = greater(x, *y));
                }
                for row in rows {
                    for ((sum, &x), &largest) in sums.iter_mut().zip(row).zip(y.iter()) {
                        *sum += (x - largest).exp().to_f64();
                    }
                }
                for (y, sum) in y.iter_mut().zip(sums) {
                    if y.abs() != -T::NEG_INFINITY {
                        *y = T::from_f64(y.to_f64() + sum.ln());
                    }
                }
                return;
            }
            Reduction::Prod => {
                sums.fill(1.0);
                for row in rows {
                    sums.iter_mut().zip(row).for_each(|(product, x)| *product *= x.to_f64());
                }
            }
            Reduction::L1 => {
                for row in rows {
                    sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x.abs().to_f64());
                }
            }
            Reduction::L2 | Reduction::SumSquare => {
                for row in rows {
                    sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x.to_f64() * x.to_f64());
                }
            }
            Reduction::LogSum | Reduction::Mean | Reduction::Sum => {
                for row in rows {
                    sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x.to_f64());
                }
            }
        }
        for (y, &sum) in y.iter_mut().zip(sums.iter()) {
            *y = T::from_f64(match kind {
                Reduction::L2 => sum.sqrt(),
                Reduction::LogSum => sum.ln(),
                Reduction::Mean => sum / length as f64,
                _ => sum,
            });
        }
    }
}

/// The larger of two; NaN when either is.
#[inline(always)]
fn greater<T: Real>(x: T, y: T) -> T {
    if x > y || x.is_nan() { x } else { y }
}

/// The largest element (of the negated ones, if `negate`); minus infinity for none, NaN when there is one.
#[inline(always)]
fn extremum<T: Real>(x: &[T], negate: bool) -> T {
    let mut lanes = [T::NEG_INFINITY; 16];
    let signed = |value: T| if negate { -value } else { value };
    let (chunks, rest) = x.as_chunks::<16>();
    for chunk in chunks {
        lanes
            .iter_mut()
            .zip(chunk)
            .for_each(|(lane, &value)| *lane = greater(signed(value), *lane));
    }
    lanes
        .iter_mut()
        .zip(rest)
        .for_each(|(lane, &value)| *lane = greater(signed(value), *lane));
    lanes
        .into_iter()
        .fold(T::NEG_INFINITY, |best, lane| greater(lane, best))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Reduction; 10] = [
        Reduction::L1,
        Reduction::L2,
        Reduction::LogSum,
        Reduction::LogSumExp,
        Reduction::Max,
        Reduction::Mean,
        Reduction::Min,
        Reduction::Prod,
        Reduction::Sum,
        Reduction::SumSquare,
    ];

    fn formula(kind: Reduction, x: &[f64]) -> f64 {
        let sum: f64 = x.iter().sum();
        let squares: f64 = x.iter().map(|v| v * v).sum();
        match kind {
            Reduction::L1 => x.iter().map(|v| v.abs()).sum(),
            Reduction::L2 => squares.sqrt(),
            Reduction::LogSum => sum.ln(),
            Reduction::LogSumExp => x.iter().map(|v| v.exp()).sum::<f64>().ln(),
            Reduction::Max => x.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Reduction::Mean => sum / x.len() as f64,
            Reduction::Min => x.iter().copied().fold(f64::INFINITY, f64::min),
            Reduction::Prod => x.iter().product(),
            Reduction::Sum => sum,
            Reduction::SumSquare => squares,
        }
    }

    #[test]
    fn rows_and_columns_match_their_formulas() {
        for (outer, length, inner) in [
            (1, 1, 1),
            (3, 40, 1),
            (2, 5, 3),
            (2, 33, 700),
            (1, 0, 2),
            (3, 0, 1),
        ] {
            let x: Vec<f32> = (0..outer * length * inner)
                .map(|i| 0.8 + (i * 29 % 31) as f32 / 64.0)
                .collect();
            for kind in ALL {
                let mut y = vec![9f32; outer * inner];
                if inner == 1 {
                    reduce_rows(kind, &x, length, &mut y);
                } else {
                    reduce_columns(kind, &x, length, inner, &mut y);
                }
                for (i, &got) in y.iter().enumerate() {
                    let at = |row: usize| f64::from(x[(i / inner * length + row) * inner + i % inner]);
                    let exact = formula(kind, &(0..length).map(at).collect::<Vec<_>>());
                    let close = (f64::from(got) - exact).abs() <= 1e-6 * exact.abs().max(1.0);
                    let same = f64::from(got) == exact || (got.is_nan() && exact.is_nan());
                    assert!(
                        close || same,
                        "{kind:?} of [{outer}, {length}, {inner}]: {got}, not {exact}"
                    );
                }
            }
        }
    }

    #[test]
    fn infinities_and_not_a_number() {
        let inf = f32::INFINITY;
        let mut y = [0.0f32; 2];
        reduce_rows(Reduction::LogSumExp, &[-inf, -inf, inf, 1.0], 2, &mut y);
        assert_eq!(y, [-inf, inf]);
        reduce_columns(Reduction::LogSumExp, &[-inf, inf, -inf, 1.0], 2, 2, &mut y);
        assert_eq!(y, [-inf, inf]);
        reduce_rows(Reduction::Max, &[f32::NAN, 1.0, 1.0, f32::NAN], 2, &mut y);
        assert!(y.iter().all(|y| y.is_nan()));
        reduce_columns(Reduction::Min, &[f32::NAN, 1.0, 1.0, f32::NAN], 2, 2, &mut y);
        assert!(y.iter().all(|y| y.is_nan()));
    }
}
