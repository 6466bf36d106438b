//! Gradients of normalization.

use rayon::prelude::*;

use crate::chunks::{GRAIN, for_rows};
use crate::normalization::RowNorm;
use crate::real::Real;
use crate::rows::{moments, sum_of};
use crate::vectorize::vectorized;

/// Sums of a channel, or of a run of elements.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Of `dy`.
    pub dy: f64,
    /// Of `dy` times the normalized x.
    pub product: f64,
}

/// Number of partial sums side by side.
const LANES: usize = 16;

/// `[sum(dy), sum(dy * (x - mean))]`, in `T` within blocks and in `f64` across them.
#[inline(always)]
fn centred_sums<T: Real>(dy: &[T], x: &[T], mean: T) -> [f64; 2] {
    let mut total = [0.0; 2];
    for (dy, x) in dy.chunks(4096).zip(x.chunks(4096)) {
        let (mut plain, mut product) = ([T::ZERO; LANES], [T::ZERO; LANES]);
        let ((dy, dy_rest), (x, x_rest)) = (dy.as_chunks::<LANES>(), x.as_chunks::<LANES>());
        for (dy, x) in dy.iter().zip(x) {
            for i in 0..LANES {
                plain[i] += dy[i];
                product[i] += dy[i] * (x[i] - mean);
            }
        }
        for (i, (&dy, &x)) in dy_rest.iter().zip(x_rest).enumerate() {
            plain[i] += dy;
            product[i] += dy * (x - mean);
        }
        for i in 0..LANES {
            total[0] += plain[i].to_f64();
            total[1] += product[i].to_f64();
        }
    }
    total
}

vectorized! {
    fn centred_sums_of_row<T: Real>(dy: &[T], x: &[T], mean: T) -> [f64; 2] {
        centred_sums(dy, x, mean)
    }

    /// `dx = a * dy + b * x + c`.
    fn combine<T: Real>(dy: &[T], x: &[T], dx: &mut [T], a: T, b: T, c: T) {
        for ((dx, &dy), &x) in dx.iter_mut().zip(dy).zip(x) {
            *dx = a * dy + (b * x + c);
        }
    }
}

/// The sums of each channel of `[batch, channels, inner]`.
pub fn channel_sums<T: Real>(dy: &[T], x: &[T], inner: usize, mean: &[T], inverse: &[T]) -> Vec<Sums> {
    let channels = mean.len();
    let rows = |values: &'_ [T], channel: usize| -> Vec<usize> {
        (channel * inner..values.len())
            .step_by((channels * inner).max(1))
            .collect()
    };
    (0..channels)
        .into_par_iter()
        .map(|channel| {
            let mut total = [0.0; 2];
            for start in rows(dy, channel) {
                let row = start..start + inner;
                let [plain, product] = centred_sums_of_row(&dy[row.clone()], &x[row], mean[channel]);
                total[0] += plain;
                total[1] += product;
            }
            Sums {
                dy: total[0],
                product: total[1] * inverse[channel].to_f64(),
            }
        })
        .collect()
}

/// The gradient of batch normalization with respect to x, `[batch, channels, inner]`. Without `sums` the statistics are
/// given and do not depend on x.
pub fn batch<T: Real>(
    dy: &[T],
    x: &[T],
    dx: &mut [T],
    inner: usize,
    scale: &[T],
    [mean, inverse]: [&[T]; 2],
    sums: Option<&[Sums]>,
) {
    let channels = scale.len();
    if channels == 0 || inner == 0 {
        return;
    }
    let count = (dx.len() / channels) as f64;
    let coefficients: Vec<[T; 3]> = (0..channels)
        .map(|channel| {
            let inverse = inverse[channel].to_f64();
            let a = scale[channel].to_f64() * inverse;
            let sums = sums.map_or(Sums::default(), |sums| sums[channel]);
            let b = -a * inverse * sums.product / count;
            let c = -a * sums.dy / count - b * mean[channel].to_f64();
            [a, b, c].map(T::from_f64)
        })
        .collect();
    for_rows(dx, inner, |start, dx| {
        for (row, dx) in dx.chunks_exact_mut(inner).enumerate() {
            let start = start + row * inner;
            let [a, b, c] = coefficients[start / inner % channels];
            combine(&dy[start..start + inner], &x[start..start + inner], dx, a, b, c);
        }
    });
}

/// Mean and inverse standard deviation of a row.
#[inline(always)]
fn statistics<T: Real>(norm: RowNorm, x: &[T], epsilon: f64) -> [f64; 2] {
    match norm {
        RowNorm::Standard => {
            let (mean, variance) = moments(x);
            [mean, 1.0 / (variance + epsilon).sqrt()]
        }
        RowNorm::RootMeanSquare => {
            let square = sum_of(x, |value| value * value) / x.len() as f64;
            [0.0, 1.0 / (square + epsilon).sqrt()]
        }
    }
}

vectorized! {
    /// Writes `dx` of one row and adds to the gradients of scale and bias.
    fn row_gradient<T: Real>(
        norm: RowNorm, dy: &[T], x: &[T], dx: &mut [T], scale: &[T], epsilon: f64, of_scale: &mut [T], of_bias: &mut [T],
    ) {
        let [mean, inverse] = statistics(norm, x, epsilon);
        let (centre, factor) = (T::from_f64(mean), T::from_f64(inverse));
        for i in 0..dx.len() {
            dx[i] = dy[i] * scale[i];
            of_scale[i] += dy[i] * ((x[i] - centre) * factor);
            of_bias[i] += dy[i];
        }
        let [plain, product] = centred_sums(dx, x, centre);
        let count = dx.len() as f64;
        let shift = if norm == RowNorm::Standard { T::from_f64(plain / count) } else { T::ZERO };
        let slope = T::from_f64(product * inverse * inverse / count);
        for i in 0..dx.len() {
            dx[i] = (dx[i] - shift - (x[i] - centre) * slope) * factor;
        }
    }
}

/// The gradients of row normalization with respect to x, scale and bias; the scale is one row, or several that start over
/// again for the next rows.
///
/// # Panics
/// When the scale is not a whole number of rows, or the slices differ in length.
pub fn rows<T: Real>(
    norm: RowNorm,
    dy: &[T],
    x: &[T],
    dx: &mut [T],
    row: usize,
    scale: &[T],
    epsilon: f64,
) -> [Vec<f64>; 2] {
    assert!(row > 0 && !scale.is_empty() && scale.len().is_multiple_of(row) && dy.len() == x.len());
    let periods = scale.len() / row;
    // Whole periods, so that each part adds to all of the scale.
    let part = (GRAIN / scale.len()).max(1) * scale.len();
    let parts: Vec<[Vec<T>; 2]> = dx
        .par_chunks_mut(part)
        .enumerate()
        .map(|(index, dx)| {
            let start = index * part;
            let mut sums = [vec![T::ZERO; scale.len()], vec![T::ZERO; scale.len()]];
            let [of_scale, of_bias] = &mut sums;
            for (i, dx) in dx.chunks_exact_mut(row).enumerate() {
                let (at, within) = (start + i * row, i % periods * row);
                let within = within..within + row;
                let (of_scale, of_bias) = (&mut of_scale[within.clone()], &mut of_bias[within.clone()]);
                let (dy, x) = (&dy[at..at + row], &x[at..at + row]);
                row_gradient(norm, dy, x, dx, &scale[within], epsilon, of_scale, of_bias);
            }
            sums
        })
        .collect();
    let mut totals = [vec![0.0; scale.len()], vec![0.0; scale.len()]];
    for part in &parts {
        for (total, part) in totals.iter_mut().zip(part) {
            total
                .iter_mut()
                .zip(part)
                .for_each(|(total, part)| *total += part.to_f64());
        }
    }
    totals
}

/// The gradient of group normalization with respect to x: runs of `group` elements, made of channels of `inner`. Gives the
/// sums of each channel over the batch.
///
/// # Panics
/// When the sizes do not fit the slices.
pub fn groups<T: Real>(
    dy: &[T],
    x: &[T],
    dx: &mut [T],
    group: usize,
    inner: usize,
    scale: &[T],
    epsilon: f64,
) -> Vec<Sums> {
    let channels = scale.len();
    let mut totals = vec![Sums::default(); channels];
    if dx.is_empty() {
        return totals;
    }
    let per_group = group / inner;
    let each: Vec<Vec<Sums>> = dx
        .par_chunks_mut(group)
        .enumerate()
        .map(|(run, dx)| {
            let (dy, x) = (
                &dy[run * group..(run + 1) * group],
                &x[run * group..(run + 1) * group],
            );
            let first = run * per_group % channels;
            group_gradient(dy, x, dx, inner, &scale[first..first + per_group], epsilon)
        })
        .collect();
    for (index, sums) in each.into_iter().flatten().enumerate() {
        totals[index % channels].dy += sums.dy;
        totals[index % channels].product += sums.product;
    }
    totals
}

fn group_gradient<T: Real>(
    dy: &[T],
    x: &[T],
    dx: &mut [T],
    inner: usize,
    scale: &[T],
    epsilon: f64,
) -> Vec<Sums> {
    let [mean, inverse] = statistics(RowNorm::Standard, x, epsilon);
    let centre = T::from_f64(mean);
    let rows = || dy.chunks_exact(inner).zip(x.chunks_exact(inner));
    let sums: Vec<Sums> = rows()
        .map(|(dy, x)| {
            let [plain, product] = centred_sums_of_row(dy, x, centre);
            // The mean may have been rounded; the rest of it counts with the plain sum.
            let product = product - (mean - centre.to_f64()) * plain;
            Sums {
                dy: plain,
                product: product * inverse,
            }
        })
        .collect();
    let count = x.len() as f64;
    let weighted = |field: fn(&Sums) -> f64| -> f64 {
        sums.iter()
            .zip(scale)
            .map(|(sums, scale)| field(sums) * scale.to_f64())
            .sum::<f64>()
            / count
    };
    let (shift, slope) = (weighted(|sums| sums.dy), weighted(|sums| sums.product));
    for (((dy, x), dx), scale) in rows().zip(dx.chunks_exact_mut(inner)).zip(scale) {
        let (a, b) = (scale.to_f64() * inverse, -slope * inverse * inverse);
        let c = -shift * inverse - b * mean;
        combine(dy, x, dx, T::from_f64(a), T::from_f64(b), T::from_f64(c));
    }
    sums
}

/// The parameters of local response normalization.
#[derive(Clone, Copy, Debug)]
pub struct LocalResponse {
    /// Factor of the mean square of the neighbours.
    pub alpha: f64,
    /// Exponent.
    pub beta: f64,
    /// What is added to the squares.
    pub bias: f64,
    /// Number of neighbouring channels.
    pub size: usize,
}

/// The gradient of local response normalization of samples of `channels * inner` elements: with
/// `s = bias + alpha / size * (squares of the neighbours)`,
/// `dx = dy * s^-beta - 2 * alpha / size * beta * x * (sum over those whose neighbour it is of dy * x * s^(-beta - 1))`.
///
/// # Panics
/// When the slices differ in length, or the size is 0.
pub fn local_response<T: Real>(
    how: LocalResponse,
    dy: &[T],
    x: &[T],
    dx: &mut [T],
    channels: usize,
    inner: usize,
) {
    assert!(dy.len() == x.len() && x.len() == dx.len() && how.size > 0);
    if dx.is_empty() {
        return;
    }
    let (before, after) = ((how.size - 1) / 2, how.size / 2);
    let window = |channel: usize, before: usize, after: usize| {
        channel.saturating_sub(before)..channel.saturating_add(after).saturating_add(1).min(channels)
    };
    let factor = how.alpha / how.size as f64;
    let sample = channels * inner;
    dx.par_chunks_mut(sample).enumerate().for_each(|(index, dx)| {
        let (dy, x) = (
            &dy[index * sample..(index + 1) * sample],
            &x[index * sample..(index + 1) * sample],
        );
        let at = |values: &[T], channel: usize, i: usize| values[channel * inner + i].to_f64();
        for i in 0..inner {
            let scales: Vec<f64> = (0..channels)
                .map(|channel| {
                    let squares = window(channel, before, after).map(|k| at(x, k, i) * at(x, k, i));
                    how.bias + factor * squares.sum::<f64>()
                })
                .collect();
            for channel in 0..channels {
                let others = window(channel, after, before)
                    .map(|k| at(dy, k, i) * at(x, k, i) * scales[k].powf(-how.beta - 1.0));
                let through = 2.0 * factor * how.beta * at(x, channel, i) * others.sum::<f64>();
                let own = at(dy, channel, i) * scales[channel].powf(-how.beta);
                dx[channel * inner + i] = T::from_f64(own - through);
            }
        }
    });
}
