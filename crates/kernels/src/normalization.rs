//! Normalization: rows by their own statistics, channels by given ones.

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

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(count: usize) -> Vec<f64> {
        (0..count).map(|i| ((i * 71 % 97) as f64 - 48.0) * 0.1).collect()
    }

    fn mean_and_variance(x: &[f64]) -> (f64, f64) {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        (
            mean,
            x.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / x.len() as f64,
        )
    }

    #[test]
    fn rows_match_the_formula() {
        for (rows, row, periods) in [(1, 1, 1), (3, 7, 1), (4, 33, 2), (200, 130, 1)] {
            let x = samples(rows * row);
            let (scale, bias) = (samples(periods * row), samples(periods * row));
            let (mut y, mut statistics) = (vec![f64::NAN; x.len()], vec![[0.0; 2]; rows]);
            let affine = RowAffine {
                scale: &scale,
                bias: Some(&bias),
            };
            normalize_rows(RowNorm::Standard, &x, &mut y, &mut statistics, row, 1e-5, affine);
            for r in 0..rows {
                let (mean, variance) = mean_and_variance(&x[r * row..][..row]);
                for i in 0..row {
                    let p = r % periods * row + i;
                    let expected = (x[r * row + i] - mean) / (variance + 1e-5).sqrt() * scale[p] + bias[p];
                    assert!((y[r * row + i] - expected).abs() < 1e-9);
                }
                assert!((statistics[r][0] - mean).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn root_mean_square_leaves_the_mean() {
        let mut y = [0.0f32; 2];
        let affine = RowAffine {
            scale: &[1.0, 2.0],
            bias: None,
        };
        normalize_rows(
            RowNorm::RootMeanSquare,
            &[3.0, 4.0],
            &mut y,
            &mut [[0.0; 2]],
            2,
            0.0,
            affine,
        );
        let root = 12.5f32.sqrt();
        assert!((y[0] - 3.0 / root).abs() < 1e-6 && (y[1] - 8.0 / root).abs() < 1e-6);
    }

    #[test]
    fn groups_and_channels_match_the_formula() {
        let (batch, channels, inner) = (3, 4, 5);
        let x = samples(batch * channels * inner);
        let (scale, bias) = (samples(channels), samples(channels));
        for groups in [1, 2, 4] {
            let group = channels / groups * inner;
            let mut y = vec![f64::NAN; x.len()];
            normalize_groups(&x, &mut y, group, inner, 1e-5, &scale, &bias);
            for (i, &y) in y.iter().enumerate() {
                let (mean, variance) = mean_and_variance(&x[i / group * group..][..group]);
                let channel = i / inner % channels;
                let expected = (x[i] - mean) / (variance + 1e-5).sqrt() * scale[channel] + bias[channel];
                assert!((y - expected).abs() < 1e-9);
            }
        }
        for (channel, (mean, variance)) in channel_moments(&x, channels, inner).into_iter().enumerate() {
            let of_channel: Vec<f64> = (0..x.len())
                .filter(|i| i / inner % channels == channel)
                .map(|i| x[i])
                .collect();
            let expected = mean_and_variance(&of_channel);
            assert!((mean - expected.0).abs() < 1e-12 && (variance - expected.1).abs() < 1e-12);
        }
    }

    #[test]
    fn channels_are_scaled_by_their_own_factors() {
        let x = samples(24);
        for (channels, inner) in [(3, 4), (3, 1), (1, 6)] {
            let (factors, summands) = (samples(channels), samples(2 * channels)[channels..].to_vec());
            let expected: Vec<f64> = (0..24)
                .map(|i| x[i] * factors[i / inner % channels] + summands[i / inner % channels])
                .collect();
            let mut y = vec![f64::NAN; 24];
            scale_channels(&x, &mut y, inner, &factors, &summands);
            assert_eq!(y, expected);
            y.copy_from_slice(&x);
            scale_channels_in_place(&mut y, inner, &factors, &summands);
            assert_eq!(y, expected);
        }
    }

    #[test]
    fn local_response_sums_the_right_neighbours() {
        let x = [1.0f64, 2.0, 3.0, 4.0];
        let mut y = [0.0; 4];
        local_response(&x, &mut y, 1, 2, 2.0, 1.0, 0.0);
        // Size 2: the channel itself and the next one.
        let expected = [1.0 / 5.0, 2.0 / 13.0, 3.0 / 25.0, 4.0 / 16.0];
        assert!(
            y.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12),
            "{y:?}"
        );
    }
}
