//! Rounding to codes and back, and its straight-through gradient.

use rayon::prelude::*;

use crate::chunks::for_rows;
use crate::real::Real;

/// The codes of a quantizer, and how its parameters lie: `[outer, channels, inner]`.
#[derive(Clone, Copy, Debug)]
pub struct Codes {
    /// Smallest code.
    pub low: f64,
    /// Largest code.
    pub high: f64,
    /// Number of scales and zero points.
    pub channels: usize,
    /// Elements side by side that share them.
    pub inner: usize,
}

/// `(clamp(round_half_even(x / scale + zero_point), low, high) - zero_point) * scale`.
///
/// # Panics
/// When there are not as many scales and zero points as channels.
pub fn forward<T: Real>(codes: &Codes, x: &[T], scale: &[T], zero_point: &[T], y: &mut [T]) {
    assert!(scale.len() == codes.channels && zero_point.len() == codes.channels);
    let (low, high) = (T::from_f64(codes.low), T::from_f64(codes.high));
    for_rows(y, codes.inner, |start, y| {
        for (row, y) in y.chunks_mut(codes.inner.max(1)).enumerate() {
            let start = start + row * codes.inner;
            let channel = start / codes.inner % codes.channels;
            let (s, z) = (scale[channel], zero_point[channel]);
            for (y, &x) in y.iter_mut().zip(&x[start..]) {
                let code = (x / s + z).round_ties_even();
                let code = if code < low { low } else { code };
                let code = if code > high { high } else { code };
                *y = (code - z) * s;
            }
        }
    });
}

/// Writes the gradient of x over `dy` and gives those of scale and zero point of each channel:
/// inside `dx = dy`, `ds = dy * (round(v) - v)`, `dz = 0`; outside `dx = 0`, `ds = dy * (bound - z)`, `dz = -dy * s`;
/// `v = x / s + z`.
///
/// # Panics
/// As [`forward`].
pub fn backward<T: Real>(
    codes: &Codes,
    dy: &mut [T],
    x: &[T],
    scale: &[T],
    zero_point: &[T],
) -> Vec<[f64; 2]> {
    assert!(scale.len() == codes.channels && zero_point.len() == codes.channels && dy.len() == x.len());
    let row = |index: usize, dy: &mut [T], x: &[T]| {
        let channel = index % codes.channels;
        backward_row(
            [codes.low, codes.high].map(T::from_f64),
            dy,
            x,
            scale[channel],
            zero_point[channel],
        )
    };
    // Rows of one channel are cut into the same pieces always.
    let rows: Vec<[f64; 2]> = dy
        .par_chunks_mut(codes.inner.max(1))
        .zip(x.par_chunks(codes.inner.max(1)))
        .enumerate()
        .map(|(index, (dy, x))| row(index, dy, x))
        .collect();
    let mut sums = vec![[0.0; 2]; codes.channels];
    for (index, [scale, zero_point]) in rows.into_iter().enumerate() {
        sums[index % codes.channels][0] += scale;
        sums[index % codes.channels][1] += zero_point;
    }
    sums
}

fn backward_row<T: Real>([low, high]: [T; 2], dy: &mut [T], x: &[T], s: T, z: T) -> [f64; 2] {
    let mut sums = [0.0; 2];
    for (dy, x) in dy.chunks_mut(1024).zip(x.chunks(1024)) {
        let (mut of_scale, mut of_zero) = (T::ZERO, T::ZERO);
        for (dy, &x) in dy.iter_mut().zip(x) {
            let v = x / s + z;
            let bound = if v < low { low } else { high };
            let outside = v < low || v > high;
            let slope = if outside {
                bound - z
            } else {
                v.round_ties_even() - v
            };
            of_scale += *dy * slope;
            if outside {
                of_zero = of_zero - *dy * s;
                *dy = T::ZERO;
            }
        }
        sums[0] += of_scale.to_f64();
        sums[1] += of_zero.to_f64();
    }
    sums
}
