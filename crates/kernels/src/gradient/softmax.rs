//! Gradients of softmax and its logarithm along the middle axis of `[outer, axis, inner]`.

use crate::chunks::for_rows;
use crate::real::Real;
use crate::vectorize::vectorized;

/// `dx = y * (dy - sum(dy * y))`, written over `dy`.
///
/// # Panics
/// When `y` is shorter than `dy`.
pub fn softmax<T: Real>(dy: &mut [T], y: &[T], axis: usize, inner: usize) {
    let block = axis.saturating_mul(inner);
    for_rows(dy, block, |start, dy| {
        for (dy, y) in dy.chunks_exact_mut(block).zip(y[start..].chunks_exact(block)) {
            match inner {
                1 => softmax_row(dy, y),
                _ => softmax_block(dy, y, inner),
            }
        }
    });
}

/// `dx = dy - exp(y) * sum(dy)`, written over `dy`.
///
/// # Panics
/// When `y` is shorter than `dy`.
pub fn log_softmax<T: Real>(dy: &mut [T], y: &[T], axis: usize, inner: usize) {
    let block = axis.saturating_mul(inner);
    for_rows(dy, block, |start, dy| {
        for (dy, y) in dy.chunks_exact_mut(block).zip(y[start..].chunks_exact(block)) {
            log_softmax_block(dy, y, inner);
        }
    });
}

/// Sums that run side by side: one would have to wait for the one before.
const LANES: usize = 16;

vectorized! {
    fn softmax_row<T: Real>(dy: &mut [T], y: &[T]) {
        let ((dy_lanes, dy_rest), (y_lanes, y_rest)) = (dy.as_chunks::<LANES>(), y.as_chunks::<LANES>());
        let mut sums = [T::ZERO; LANES];
        for (dy, y) in dy_lanes.iter().zip(y_lanes) {
            for lane in 0..LANES {
                sums[lane] += dy[lane] * y[lane];
            }
        }
        for (lane, (dy, y)) in dy_rest.iter().zip(y_rest).enumerate() {
            sums[lane] += *dy * *y;
        }
        let mut sum = T::ZERO;
        for lane in sums {
            sum += lane;
        }
        for (dy, y) in dy.iter_mut().zip(y) {
            *dy = *y * (*dy - sum);
        }
    }

    fn softmax_block<T: Real>(dy: &mut [T], y: &[T], inner: usize) {
        let mut sums = vec![T::ZERO; inner];
        for (dy, y) in dy.chunks_exact(inner).zip(y.chunks_exact(inner)) {
            for i in 0..inner {
                sums[i] += dy[i] * y[i];
            }
        }
        for (dy, y) in dy.chunks_exact_mut(inner).zip(y.chunks_exact(inner)) {
            for i in 0..inner {
                dy[i] = y[i] * (dy[i] - sums[i]);
            }
        }
    }

    fn log_softmax_block<T: Real>(dy: &mut [T], y: &[T], inner: usize) {
        let mut sums = vec![T::ZERO; inner];
        for dy in dy.chunks_exact(inner) {
            for i in 0..inner {
                sums[i] += dy[i];
            }
        }
        for (dy, y) in dy.chunks_exact_mut(inner).zip(y.chunks_exact(inner)) {
            for i in 0..inner {
                dy[i] = dy[i] - y[i].exp() * sums[i];
            }
        }
    }
}
