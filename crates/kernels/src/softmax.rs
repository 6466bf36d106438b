//! Softmax, its logarithm, and the position of the maximum, along one axis.

use crate::chunks::for_rows;
use crate::elementwise::function::exp;
use crate::real::Real;
use crate::rows::{maximum, sum_of};
use crate::vectorize::vectorized;

/// What is computed along the axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoftmaxKind {
    /// `exp(x) / sum(exp(x))`.
    Softmax,
    /// `x - log(sum(exp(x)))`.
    LogSoftmax,
    /// 1 at the first maximum, else 0.
    Hardmax,
}

/// Applies `kind` along the middle axis of `x`, viewed as `[outer, axis, inner]`, into `y` of the same length
/// (a multiple of `axis * inner`).
pub fn softmax<T: Real>(kind: SoftmaxKind, x: &[T], y: &mut [T], axis: usize, inner: usize) {
    if x.is_empty() {
        return;
    }
    let block = axis * inner;
    for_rows(y, block, |start, y| {
        for (y, x) in y.chunks_exact_mut(block).zip(x[start..].chunks_exact(block)) {
            match (kind, inner) {
                (SoftmaxKind::Hardmax, _) => hardmax_columns(x, y, inner),
                (SoftmaxKind::Softmax, 1) => softmax_row(x, y),
                (SoftmaxKind::LogSoftmax, 1) => log_softmax_row(x, y),
                (SoftmaxKind::Softmax, _) => softmax_columns(x, y, inner),
                (SoftmaxKind::LogSoftmax, _) => log_softmax_columns(x, y, inner),
            }
        }
    });
}

vectorized! {
    fn softmax_row<T: Real>(x: &[T], y: &mut [T]) {
        let largest = maximum(x);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = x - largest;
        }
        exp(y);
        let scale = T::from_f64(1.0 / sum_of(y, |value| value));
        for y in y.iter_mut() {
            *y *= scale;
        }
    }

    /// Softmax of one row, over itself.
    pub fn softmax_row_in_place<T: Real>(x: &mut [T]) {
        let largest = maximum(x);
        for x in x.iter_mut() {
            *x = *x - largest;
        }
        exp(x);
        let scale = T::from_f64(1.0 / sum_of(x, |value| value));
        for x in x.iter_mut() {
            *x *= scale;
        }
    }

    fn log_softmax_row<T: Real>(x: &[T], y: &mut [T]) {
        let largest = maximum(x);
        let sum = sum_of(x, |value| (value - largest).exp());
        let logarithm = T::from_f64(sum.ln());
        for (y, &x) in y.iter_mut().zip(x) {
            *y = (x - largest) - logarithm;
        }
    }

    fn softmax_columns<T: Real>(x: &[T], y: &mut [T], inner: usize) {
        let largest = column_maxima(x, inner);
        let mut sums = vec![T::ZERO; inner];
        for (y, x) in y.chunks_exact_mut(inner).zip(x.chunks_exact(inner)) {
            for i in 0..inner {
                y[i] = (x[i] - largest[i]).exp();
                sums[i] += y[i];
            }
        }
        for y in y.chunks_exact_mut(inner) {
            for i in 0..inner {
                y[i] = y[i] / sums[i];
            }
        }
    }

    fn log_softmax_columns<T: Real>(x: &[T], y: &mut [T], inner: usize) {
        let largest = column_maxima(x, inner);
        let mut sums = vec![T::ZERO; inner];
        for x in x.chunks_exact(inner) {
            for i in 0..inner {
                sums[i] += (x[i] - largest[i]).exp();
            }
        }
        sums.iter_mut().for_each(|sum| *sum = sum.ln());
        for (y, x) in y.chunks_exact_mut(inner).zip(x.chunks_exact(inner)) {
            for i in 0..inner {
                y[i] = (x[i] - largest[i]) - sums[i];
            }
        }
    }
}

#[inline(always)]
fn column_maxima<T: Real>(x: &[T], inner: usize) -> Vec<T> {
    let mut largest = vec![T::NEG_INFINITY; inner];
    for row in x.chunks_exact(inner) {
        for (largest, &value) in largest.iter_mut().zip(row) {
            *largest = value.larger(*largest);
        }
    }
    largest
}

fn hardmax_columns<T: Real>(x: &[T], y: &mut [T], inner: usize) {
    y.fill(T::ZERO);
    for column in 0..inner {
        let mut best = column;
        for index in (column..x.len()).step_by(inner) {
            if x[index] > x[best] {
                best = index;
            }
        }
        y[best] = T::ONE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks all kinds on `[2, axis, inner]` against the formulas in `f64`.
    fn check(axis: usize, inner: usize) {
        let x: Vec<f32> = (0..2 * axis * inner)
            .map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.3)
            .collect();
        let mut y = vec![f32::NAN; x.len()];
        let at = |o: usize, a: usize, i: usize| (o * axis + a) * inner + i;
        for kind in [
            SoftmaxKind::Softmax,
            SoftmaxKind::LogSoftmax,
            SoftmaxKind::Hardmax,
        ] {
            softmax(kind, &x, &mut y, axis, inner);
            for (o, i) in (0..2).flat_map(|o| (0..inner).map(move |i| (o, i))) {
                let column: Vec<f64> = (0..axis).map(|a| f64::from(x[at(o, a, i)])).collect();
                let sum: f64 = column.iter().map(|v| v.exp()).sum();
                let first = (0..axis)
                    .rev()
                    .max_by(|&a, &b| column[a].total_cmp(&column[b]))
                    .unwrap();
                for a in 0..axis {
                    let expected = match kind {
                        SoftmaxKind::Softmax => column[a].exp() / sum,
                        SoftmaxKind::LogSoftmax => column[a] - sum.ln(),
                        SoftmaxKind::Hardmax => f64::from(u8::from(a == first)),
                    };
                    let got = f64::from(y[at(o, a, i)]);
                    assert!(
                        (got - expected).abs() <= 1e-6 * expected.abs().max(1.0),
                        "{kind:?} {got} {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_kind_matches_its_formula() {
        for (axis, inner) in [(1, 1), (5, 1), (33, 1), (4, 3), (1, 7), (1000, 1), (3, 100)] {
            check(axis, inner);
        }
    }

    #[test]
    fn large_scores_do_not_overflow() {
        let mut y = [0.0f32; 3];
        softmax(
            SoftmaxKind::Softmax,
            &[10_000.0, 10_000.0, -10_000.0],
            &mut y,
            3,
            1,
        );
        assert_eq!(y, [0.5, 0.5, 0.0]);
    }
}
