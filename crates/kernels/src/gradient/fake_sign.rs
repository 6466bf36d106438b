//! Two or three levels, and what stands for their slope.

use rayon::prelude::*;

use crate::chunks::{GRAIN, for_rows};
use crate::real::Real;

/// How scales and thresholds lie: `[outer, channels, inner]`.
#[derive(Clone, Copy, Debug)]
pub struct Signs {
    /// Number of scales and thresholds.
    pub channels: usize,
    /// Elements side by side that share them.
    pub inner: usize,
}

impl Signs {
    /// Elements of a piece of work, all of one channel.
    fn piece(self) -> usize {
        if self.channels == 1 {
            GRAIN
        } else {
            self.inner.max(1)
        }
    }
}

/// What stands for the slope of the levels at x; `u = |x| / (bound * scale)`.
#[derive(Clone, Copy, Debug)]
pub enum Estimator {
    /// 1.
    Identity,
    /// 1 where u is at most 1, else 0.
    Clip {
        /// In units of the scale.
        bound: f64,
    },
    /// `(2 - 2 u) / bound` where u is at most 1, else 0.
    Polynomial {
        /// In units of the scale.
        bound: f64,
    },
}

/// -1, 0 or 1.
#[inline(always)]
fn level<T: Real>(x: T, threshold: T) -> T {
    let is_one = x > threshold || (x >= threshold && threshold <= T::ZERO);
    let is_minus_one = x < -threshold;
    if is_one {
        T::ONE
    } else if is_minus_one {
        -T::ONE
    } else {
        T::ZERO
    }
}

/// `scale` where `x > threshold` (or both are 0), `-scale` where `x < -threshold`, else 0.
///
/// # Panics
/// When there are not as many scales and thresholds as channels.
pub fn forward<T: Real>(signs: Signs, x: &[T], scale: &[T], threshold: &[T], y: &mut [T]) {
    assert!(scale.len() == signs.channels && threshold.len() == signs.channels);
    for_rows(y, signs.inner, |start, y| {
        for (row, y) in y.chunks_mut(signs.inner.max(1)).enumerate() {
            let start = start + row * signs.inner;
            let channel = start / signs.inner % signs.channels;
            let (s, t) = (scale[channel], threshold[channel]);
            for (y, &x) in y.iter_mut().zip(&x[start..]) {
                *y = level(x, t) * s;
            }
        }
    });
}

/// Writes `dy` times the slope over `dy`, and gives the sum of `dy * level` for each channel.
///
/// # Panics
/// As [`forward`].
pub fn backward<T: Real>(
    signs: Signs,
    estimator: Estimator,
    dy: &mut [T],
    x: &[T],
    scale: &[T],
    threshold: &[T],
) -> Vec<f64> {
    assert!(scale.len() == signs.channels && threshold.len() == signs.channels && dy.len() == x.len());
    let piece = signs.piece();
    let work = |index: usize, dy: &mut [T], x: &[T]| {
        let channel = index % signs.channels;
        let sum = dy
            .iter()
            .zip(x)
            .map(|(dy, x)| *dy * level(*x, threshold[channel]));
        let sum = sum.fold(0.0, |sum, product| sum + product.to_f64());
        estimate(estimator, dy, x, scale[channel]);
        sum
    };
    // Pieces are the same whatever the number of threads.
    let pieces: Vec<f64> = dy
        .par_chunks_mut(piece)
        .zip(x.par_chunks(piece))
        .enumerate()
        .map(|(index, (dy, x))| work(index, dy, x))
        .collect();
    let mut sums = vec![0.0; signs.channels];
    for (index, sum) in pieces.into_iter().enumerate() {
        sums[index % signs.channels] += sum;
    }
    sums
}

fn estimate<T: Real>(estimator: Estimator, dy: &mut [T], x: &[T], scale: T) {
    let (bound, polynomial) = match estimator {
        Estimator::Identity => return,
        Estimator::Clip { bound } => (bound, false),
        Estimator::Polynomial { bound } => (bound, true),
    };
    let width = T::from_f64(scale.to_f64().abs() * bound);
    let slope = T::from_f64(2.0 / bound);
    for (dy, &x) in dy.iter_mut().zip(x) {
        let distance = x.abs();
        if distance > width {
            *dy = T::ZERO;
        } else if polynomial {
            *dy = *dy * slope * (T::ONE - distance / width);
        }
    }
}
