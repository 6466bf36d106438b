//! Rounding to codes and back, and its straight-through gradient.

use std::ops::Range;

use rayon::prelude::*;

use crate::chunks::{GRAIN, for_rows};
use crate::real::Real;
use crate::vectorize::vectorized;

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
    assert!(scale.len() == codes.channels && zero_point.len() == codes.channels && x.len() == y.len());
    let bounds = [codes.low, codes.high].map(T::from_f64);
    let inner = codes.inner.max(1);
    // Elements of one channel may be cut anywhere.
    let row = if codes.channels == 1 { 1 } else { inner };
    for_rows(y, row, |start, y| {
        let x = &x[start..][..y.len()];
        if codes.channels == 1 {
            return forward_row(x, scale[0], zero_point[0], bounds, y);
        }
        for (index, (x, y)) in x.chunks(inner).zip(y.chunks_mut(inner)).enumerate() {
            let channel = (start / inner + index) % codes.channels;
            forward_row(x, scale[channel], zero_point[channel], bounds, y);
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
    let bounds = [codes.low, codes.high].map(T::from_f64);
    let inner = codes.inner.max(1);
    let piece = Piece {
        inner,
        channels: codes.channels,
        size: if codes.channels == 1 {
            GRAIN
        } else {
            (GRAIN / inner).max(1) * inner
        },
    };
    let of_piece = |(index, (dy, x)): (usize, (&mut [T], &[T]))| {
        let mut sums = vec![[0.0; 2]; codes.channels];
        for (channel, range) in piece.rows(index, dy.len()) {
            let (s, z) = (scale[channel], zero_point[channel]);
            let [of_scale, of_zero] = backward_row(&mut dy[range.clone()], &x[range], s, z, bounds);
            sums[channel][0] += of_scale;
            sums[channel][1] += of_zero;
        }
        sums
    };
    let parts: Vec<Vec<[f64; 2]>> = match dy.len() <= 2 * GRAIN {
        true => (dy.chunks_mut(piece.size).zip(x.chunks(piece.size)).enumerate())
            .map(of_piece)
            .collect(),
        false => (dy
            .par_chunks_mut(piece.size)
            .zip(x.par_chunks(piece.size))
            .enumerate())
        .map(of_piece)
        .collect(),
    };
    let mut totals = vec![[0.0; 2]; codes.channels];
    for part in &parts {
        for (total, part) in totals.iter_mut().zip(part) {
            total[0] += part[0];
            total[1] += part[1];
        }
    }
    totals
}

/// Elements that are taken together.
struct Piece {
    inner: usize,
    channels: usize,
    size: usize,
}

impl Piece {
    /// The rows of piece `index`, which has `len` elements, with their channels.
    fn rows(&self, index: usize, len: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
        let row = if self.channels == 1 {
            len.max(1)
        } else {
            self.inner
        };
        let first = index * self.size / row;
        let channels = self.channels;
        (0..len.div_ceil(row)).map(move |at| {
            let channel = if channels == 1 { 0 } else { (first + at) % channels };
            (channel, at * row..len.min((at + 1) * row))
        })
    }
}

/// Sums that run side by side: one would have to wait for the one before.
const LANES: usize = 16;

vectorized! {
    fn forward_row<T: Real>(x: &[T], s: T, z: T, bounds: [T; 2], y: &mut [T]) {
        let [low, high] = bounds;
        for (y, &x) in y.iter_mut().zip(x) {
            let code = (x / s + z).round_ties_even();
            let code = if code < low { low } else { code };
            let code = if code > high { high } else { code };
            *y = (code - z) * s;
        }
    }

    fn backward_row<T: Real>(dy: &mut [T], x: &[T], s: T, z: T, bounds: [T; 2]) -> [f64; 2] {
        let mut sums = [0.0; 2];
        for (dy, x) in dy.chunks_mut(1024).zip(x.chunks(1024)) {
            let (mut of_scale, mut of_zero) = ([T::ZERO; LANES], [T::ZERO; LANES]);
            let ((dy, dy_rest), (x, x_rest)) = (dy.as_chunks_mut::<LANES>(), x.as_chunks::<LANES>());
            for (dy, x) in dy.iter_mut().zip(x) {
                slopes(dy, x, s, z, bounds, &mut of_scale, &mut of_zero);
            }
            slopes(dy_rest, x_rest, s, z, bounds, &mut of_scale, &mut of_zero);
            for lane in 0..LANES {
                sums[0] += of_scale[lane].to_f64();
                sums[1] += of_zero[lane].to_f64();
            }
        }
        sums
    }
}

/// Adds to a sum in each lane, for at most that many elements.
#[inline(always)]
fn slopes<T: Real>(
    dy: &mut [T],
    x: &[T],
    s: T,
    z: T,
    [low, high]: [T; 2],
    of_scale: &mut [T; LANES],
    of_zero: &mut [T; LANES],
) {
    for (((dy, &x), of_scale), of_zero) in dy.iter_mut().zip(x).zip(of_scale).zip(of_zero) {
        let v = x / s + z;
        let bound = if v < low { low } else { high };
        let outside = (v < low) | (v > high);
        let slope = if outside {
            bound - z
        } else {
            v.round_ties_even() - v
        };
        *of_scale += *dy * slope;
        *of_zero += if outside { -*dy * s } else { T::ZERO };
        *dy = if outside { T::ZERO } else { *dy };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv::tests::Random;

    /// Pieces and vectors give what one element after the other gives.
    #[test]
    fn all_sizes_give_what_the_definition_gives() {
        for (outer, channels, inner) in [
            (1, 1, 7),
            (1, 1, 100_003),
            (1, 40, 1_001),
            (900, 6, 17),
            (3, 70_000, 1),
        ] {
            let codes = Codes {
                low: -3.0,
                high: 4.0,
                channels,
                inner,
            };
            let mut random = Random(3);
            let len = outer * channels * inner;
            let (x, dy) = (random.values(len), random.values(len));
            let scale: Vec<f32> = random
                .values(channels)
                .iter()
                .map(|s| 0.2 + s.abs() / 8.0)
                .collect();
            let zero: Vec<f32> = random.values(channels).iter().map(|z| z.round()).collect();
            let (mut y, mut dx) = (vec![f32::NAN; len], dy.clone());
            forward(&codes, &x, &scale, &zero, &mut y);
            let sums = backward(&codes, &mut dx, &x, &scale, &zero);
            let mut expected = vec![[0.0; 2]; channels];
            for i in 0..len {
                let channel = i / inner % channels;
                let (s, z) = (scale[channel], zero[channel]);
                let v = x[i] / s + z;
                let code = v.round_ties_even().clamp(-3.0, 4.0);
                assert_eq!(y[i], (code - z) * s);
                let outside = !(-3.0..=4.0).contains(&v);
                assert_eq!(dx[i], if outside { 0.0 } else { dy[i] });
                let slope = if outside { code - z } else { code - v };
                expected[channel][0] += f64::from(dy[i] * slope);
                expected[channel][1] -= if outside { f64::from(dy[i] * s) } else { 0.0 };
            }
            for (got, expected) in sums.iter().flatten().zip(expected.iter().flatten()) {
                assert!((got - expected).abs() < 1e-4 * (1.0 + (outer * inner) as f64).sqrt());
            }
        }
    }
}
