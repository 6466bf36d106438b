//! Normalization: rows by their own statistics, channels by given ones.

#[cfg(test)]
mod tests;

use rayon::prelude::*;

use crate::chunks::{GRAIN, for_rows};
use crate::real::Real;
use crate::rows::{moments, sum_of};
use crate::vectorize::vectorized;

/// What rows are normalized by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowNorm {
    /// Mean 0 and variance 1: `(x - mean) / sqrt(variance + epsilon)`.
    Standard,
    /// Mean square 1: `x / sqrt(mean(x^2) + epsilon)`.
    RootMeanSquare,
}

/// Scale and bias of each element of a row; rows beyond the first `scale.len() / row` start over.
#[derive(Clone, Copy, Debug)]
pub struct RowAffine<'a, T> {
    /// One or more rows of factors.
    pub scale: &'a [T],
    /// As many rows of summands.
    pub bias: Option<&'a [T]>,
}

/// Normalizes the rows of `x` (each of `row` elements, `row > 0`) into `y`, then scales and shifts. `statistics` gets
/// `[mean, 1 / standard deviation]` of each row (mean 0 for [`RowNorm::RootMeanSquare`]).
///
/// # Panics
/// When a slice of `affine` is not a whole number of rows, or empty.
pub fn normalize_rows<T: Real>(
    norm: RowNorm,
    x: &[T],
    y: &mut [T],
    statistics: &mut [[T; 2]],
    row: usize,
    epsilon: f64,
    affine: RowAffine<'_, T>,
) {
    assert!(row > 0 && !affine.scale.is_empty() && affine.scale.len().is_multiple_of(row));
    assert!(affine.bias.is_none_or(|bias| bias.len() == affine.scale.len()));
    let periods = affine.scale.len() / row;
    let work = |first: usize, y: &mut [T], statistics: &mut [[T; 2]]| {
        let rows = y
            .chunks_exact_mut(row)
            .zip(x[first * row..].chunks_exact(row))
            .zip(statistics);
        for (i, ((y, x), statistics)) in rows.enumerate() {
            let start = (first + i) % periods * row;
            let scale = &affine.scale[start..start + row];
            *statistics = match norm {
                RowNorm::Standard => standard_statistics(x, epsilon),
                RowNorm::RootMeanSquare => mean_square_statistics(x, epsilon),
            };
            match affine.bias {
                Some(bias) => scale_and_shift(x, y, *statistics, scale, &bias[start..start + row]),
                None => scale_only(x, y, *statistics, scale),
            }
        }
    };
    let rows = (GRAIN / row).max(1);
    if y.len() <= rows * row {
        return work(0, y, statistics);
    }
    let chunks = y
        .par_chunks_mut(rows * row)
        .zip(statistics.par_chunks_mut(rows))
        .enumerate();
    chunks.for_each(|(chunk, (y, statistics))| work(chunk * rows, y, statistics));
}

vectorized! {
    fn standard_statistics<T: Real>(x: &[T], epsilon: f64) -> [T; 2] {
        let (mean, variance) = moments(x);
        [T::from_f64(mean), T::from_f64(1.0 / (variance + epsilon).sqrt())]
    }

    fn mean_square_statistics<T: Real>(x: &[T], epsilon: f64) -> [T; 2] {
        let mean_square = sum_of(x, |value| value * value) / x.len() as f64;
        [T::ZERO, T::from_f64(1.0 / (mean_square + epsilon).sqrt())]
    }

    fn scale_and_shift<T: Real>(x: &[T], y: &mut [T], statistics: [T; 2], scale: &[T], bias: &[T]) {
        let [mean, inverse] = statistics;
        for (((y, &x), &scale), &bias) in y.iter_mut().zip(x).zip(scale).zip(bias) {
            *y = (x - mean) * inverse * scale + bias;
        }
    }

    fn scale_and_shift_in_place<T: Real>(x: &mut [T], scale: &[T], bias: &[T]) {
        for ((x, &scale), &bias) in x.iter_mut().zip(scale).zip(bias) {
            *x = *x * scale + bias;
        }
    }

    fn scale_only<T: Real>(x: &[T], y: &mut [T], statistics: [T; 2], scale: &[T]) {
        let [mean, inverse] = statistics;
        for ((y, &x), &scale) in y.iter_mut().zip(x).zip(scale) {
            *y = (x - mean) * inverse * scale;
        }
    }

    fn affine_row<T: Real>(x: &[T], y: &mut [T], factor: T, summand: T) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = x * factor + summand;
        }
    }

    fn affine_row_in_place<T: Real>(x: &mut [T], factor: T, summand: T) {
        for x in x {
            *x = *x * factor + summand;
        }
    }

    fn centred_affine_row<T: Real>(x: &[T], y: &mut [T], mean: T, factor: T, summand: T) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = (x - mean) * factor + summand;
        }
    }
}

/// `y = x * factors[c] + summands[c]` for every channel row of `inner` elements, `c` counting round the channels.
pub fn scale_channels<T: Real>(x: &[T], y: &mut [T], inner: usize, factors: &[T], summands: &[T]) {
    if inner == 1 {
        let rows = |start: usize, y: &mut [T]| {
            let rows = y
                .chunks_exact_mut(factors.len())
                .zip(x[start..].chunks_exact(factors.len()));
            rows.for_each(|(y, x)| scale_and_shift(x, y, [T::ZERO, T::ONE], factors, summands));
        };
        return for_rows(y, factors.len(), rows);
    }
    for_rows(y, inner, |start, y| {
        for (i, (y, x)) in y
            .chunks_exact_mut(inner)
            .zip(x[start..].chunks_exact(inner))
            .enumerate()
        {
            let channel = (start / inner + i) % factors.len();
            affine_row(x, y, factors[channel], summands[channel]);
        }
    });
}

/// As [`scale_channels`], over `x` itself.
pub fn scale_channels_in_place<T: Real>(x: &mut [T], inner: usize, factors: &[T], summands: &[T]) {
    if inner == 1 {
        let rows = |_: usize, x: &mut [T]| {
            x.chunks_exact_mut(factors.len())
                .for_each(|x| scale_and_shift_in_place(x, factors, summands));
        };
        return for_rows(x, factors.len(), rows);
    }
    for_rows(x, inner, |start, x| {
        for (i, x) in x.chunks_exact_mut(inner).enumerate() {
            let channel = (start / inner + i) % factors.len();
            affine_row_in_place(x, factors[channel], summands[channel]);
        }
    });
}

/// Mean and variance of each channel of `x`, viewed as `[batch, channels, inner]`, in `f64`.
pub fn channel_moments<T: Real>(x: &[T], channels: usize, inner: usize) -> Vec<(f64, f64)> {
    let rows = |channel: usize| {
        x.chunks_exact(inner.max(1))
            .skip(channel)
            .step_by(channels.max(1))
    };
    (0..channels)
        .into_par_iter()
        .map(|channel| {
            // Parallel variance of equally long rows: mean of the variances plus variance of the means.
            let each: Vec<(f64, f64)> = rows(channel).map(row_moments).collect();
            let count = each.len().max(1) as f64;
            let mean = each.iter().map(|(mean, _)| mean).sum::<f64>() / count;
            let variance = each.iter().map(|(m, v)| v + (m - mean) * (m - mean)).sum::<f64>() / count;
            (mean, variance)
        })
        .collect()
}

vectorized! {
    fn row_moments<T: Real>(x: &[T]) -> (f64, f64) {
        moments(x)
    }
}

/// Normalizes runs of `group` elements by their own mean and variance; run `r` consists of rows of `inner` elements
/// whose channels start at `r * (group / inner)` and count round `scale`. This is instance and group normalization.
pub fn normalize_groups<T: Real>(
    x: &[T],
    y: &mut [T],
    group: usize,
    inner: usize,
    epsilon: f64,
    scale: &[T],
    bias: &[T],
) {
    if x.is_empty() {
        return;
    }
    let channels_per_group = group / inner;
    for_rows(y, group, |start, y| {
        for (run, (y, x)) in y
            .chunks_exact_mut(group)
            .zip(x[start..].chunks_exact(group))
            .enumerate()
        {
            let (mean, variance) = row_moments(x);
            let inverse = 1.0 / (variance + epsilon).sqrt();
            for (i, (y, x)) in y.chunks_exact_mut(inner).zip(x.chunks_exact(inner)).enumerate() {
                let channel = ((start / group + run) * channels_per_group + i) % scale.len();
                let factor = T::from_f64(inverse * scale[channel].to_f64());
                centred_affine_row(x, y, T::from_f64(mean), factor, bias[channel]);
            }
        }
    });
}

/// Local response normalization of one sample `[channels, inner]`:
/// `y = x / (bias + alpha / size * sum of squares of size neighbouring channels) ^ beta`.
pub fn local_response<T: Real>(x: &[T], y: &mut [T], inner: usize, size: usize, alpha: T, beta: T, bias: T) {
    if x.is_empty() {
        return;
    }
    let channels = x.len() / inner;
    let (before, after) = ((size - 1) / 2, size / 2);
    let factor = alpha / T::from_f64(size as f64);
    for_rows(y, inner, |start, y| {
        for (i, y) in y.chunks_exact_mut(inner).enumerate() {
            let channel = start / inner + i;
            let (first, last) = (
                channel.saturating_sub(before),
                channel.saturating_add(after).min(channels - 1),
            );
            y.fill(T::ZERO);
            for neighbour in first..=last {
                add_squares(&x[neighbour * inner..][..inner], y);
            }
            for (y, &x) in y.iter_mut().zip(&x[channel * inner..][..inner]) {
                *y = x / (bias + factor * *y).powf(beta);
            }
        }
    });
}

vectorized! {
    fn add_squares<T: Real>(x: &[T], sums: &mut [T]) {
        for (sum, &x) in sums.iter_mut().zip(x) {
            *sum += x * x;
        }
    }
}
