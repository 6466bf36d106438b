//! Batch normalization by the statistics of the batch, of rows of channels (data with their channels last), `f32`.
//!
//! With `inv_std = 1 / sqrt(variance + epsilon)`, `a = scale * inv_std` and `b = bias - mean * a`, the output is
//! `y = a * x + b`; its gradient is a combination of `dy`, `x` and 1 for each channel (Ioffe and Szegedy 2015, section 3).

use rayon::prelude::*;

use crate::vectorize::vectorized;

/// Elements that one task takes; sums within are `f32`, across tasks `f64`.
const PIECE: usize = 1 << 15;
/// Rows are taken several at a time until they have so many elements, so that a sum does not wait for the one before.
const TOGETHER: usize = 256;

/// Numbers for each channel, repeated for the rows that are taken together.
struct Repeated {
    values: Vec<f32>,
}

impl Repeated {
    fn new(values: &[f32]) -> Repeated {
        Repeated {
            values: values.repeat(TOGETHER.div_ceil(values.len().max(1))),
        }
    }
}

/// `y = a * x + b`, with a and b for each channel.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Factors.
    pub a: &'a [f32],
    /// Addends.
    pub b: &'a [f32],
}

/// Sums over the rows, two for each channel.
fn sums(
    len: usize,
    channels: usize,
    add: impl Fn(std::ops::Range<usize>, &mut [f32], &mut [f32]) + Sync,
) -> [Vec<f64>; 2] {
    let period = channels * TOGETHER.div_ceil(channels.max(1));
    let piece = (PIECE / period).max(1) * period;
    let pieces: Vec<[Vec<f64>; 2]> = (0..len.div_ceil(piece))
        .into_par_iter()
        .map(|index| {
            let mut parts = [vec![0f32; period], vec![0f32; period]];
            let [first, second] = &mut parts;
            add(index * piece..len.min((index + 1) * piece), first, second);
            parts.map(|part| folded(&part, channels))
        })
        .collect();
    let mut totals = [vec![0.0; channels], vec![0.0; channels]];
    for parts in &pieces {
        for (total, part) in totals.iter_mut().zip(parts) {
            total
                .iter_mut()
                .zip(part)
                .for_each(|(total, part)| *total += part);
        }
    }
    totals
}

/// The sum for each channel of sums for each channel of several rows.
fn folded(part: &[f32], channels: usize) -> Vec<f64> {
    let mut sums = vec![0.0; channels];
    for row in part.chunks_exact(channels) {
        sums.iter_mut()
            .zip(row)
            .for_each(|(sum, value)| *sum += f64::from(*value));
    }
    sums
}

/// Mean and variance (of the population) of each channel of `x` `[rows, channels]`.
///
/// # Panics
/// When `x` does not consist of whole rows, at least one.
pub fn statistics(x: &[f32], channels: usize) -> (Vec<f32>, Vec<f32>) {
    assert!(
        channels > 0 && !x.is_empty() && x.len().is_multiple_of(channels),
        "whole rows"
    );
    // Squares of differences from some element lose fewer digits than squares.
    let shift = &x[..channels];
    let repeated = Repeated::new(shift);
    let [sum, squares] = sums(x.len(), channels, |range, sum, squares| {
        for rows in x[range].chunks(repeated.values.len()) {
            add_moments(rows, &repeated.values, sum, squares);
        }
    });
    let rows = (x.len() / channels) as f64;
    let mean = |channel: usize| sum[channel] / rows;
    let variance = |channel: usize| (squares[channel] / rows - mean(channel).powi(2)).max(0.0);
    (
        (0..channels)
            .map(|channel| (mean(channel) + f64::from(shift[channel])) as f32)
            .collect(),
        (0..channels).map(|channel| variance(channel) as f32).collect(),
    )
}

/// `y = a * x + b`, and what is below `low` becomes `low` (0 for Relu, minus infinity for nothing).
///
/// # Panics
/// When the slices are not rows of the same channels.
pub fn apply(x: &[f32], line: Line<'_>, low: f32, y: &mut [f32]) {
    let channels = line.a.len();
    assert!(
        x.len() == y.len() && line.b.len() == channels && x.len().is_multiple_of(channels.max(1)),
        "rows"
    );
    let (a, b) = (Repeated::new(line.a), Repeated::new(line.b));
    let period = a.values.len();
    let piece = (PIECE / period.max(1)).max(1) * period.max(1);
    y.par_chunks_mut(piece)
        .zip(x.par_chunks(piece))
        .for_each(|(y, x)| {
            for (y, x) in y.chunks_mut(period).zip(x.chunks(period)) {
                apply_rows(x, &a.values, &b.values, low, y);
            }
        });
}

/// For each channel the sum of `dy` and that of `dy * (x - mean)`; where `a * x + b` of `mask` is not above zero, `dy` counts as
/// zero: the gradient of Relu behind the normalization.
///
/// # Panics
/// When the slices are not rows of the same channels.
pub fn gradient_sums(dy: &[f32], x: &[f32], mean: &[f32], mask: Option<Line<'_>>) -> [Vec<f64>; 2] {
    let channels = mean.len();
    assert!(
        x.len() == dy.len() && x.len().is_multiple_of(channels.max(1)),
        "rows"
    );
    let mean = Repeated::new(mean);
    let (a, b) = masks(channels, mask);
    let period = mean.values.len();
    sums(x.len(), channels, |range, sum, products| {
        for (dy, x) in dy[range.clone()].chunks(period).zip(x[range].chunks(period)) {
            add_products(dy, x, &mean.values, &a.values, &b.values, sum, products);
        }
    })
}

/// `dx = of_dy * dy + of_x * x + of_one` for each channel, with `dy` zero where the mask says so.
///
/// # Panics
/// When the slices are not rows of the same channels.
pub fn gradient(
    dy: &[f32],
    x: &[f32],
    [of_dy, of_x, of_one]: [&[f32]; 3],
    mask: Option<Line<'_>>,
    dx: &mut [f32],
) {
    let channels = of_dy.len();
    assert!(
        x.len() == dy.len() && dx.len() == dy.len() && x.len().is_multiple_of(channels.max(1)),
        "rows"
    );
    let factors = [of_dy, of_x, of_one].map(Repeated::new);
    let (a, b) = masks(channels, mask);
    let period = factors[0].values.len();
    let piece = (PIECE / period.max(1)).max(1) * period.max(1);
    let parts = dx
        .par_chunks_mut(piece)
        .zip(dy.par_chunks(piece))
        .zip(x.par_chunks(piece));
    parts.for_each(|((dx, dy), x)| {
        let rows = dx.chunks_mut(period).zip(dy.chunks(period)).zip(x.chunks(period));
        for ((dx, dy), x) in rows {
            let [of_dy, of_x, of_one] = &factors;
            combine(
                dy,
                x,
                &of_dy.values,
                &of_x.values,
                &of_one.values,
                &a.values,
                &b.values,
                dx,
            );
        }
    });
}

/// The line of a mask, or one that is above zero everywhere.
fn masks(channels: usize, mask: Option<Line<'_>>) -> (Repeated, Repeated) {
    match mask {
        Some(line) => (Repeated::new(line.a), Repeated::new(line.b)),
        None => (
            Repeated::new(&vec![0.0; channels]),
            Repeated::new(&vec![1.0; channels]),
        ),
    }
}

vectorized! {
    fn add_moments(x: &[f32], shift: &[f32], sum: &mut [f32], squares: &mut [f32]) {
        let len = x.len();
        let (shift, sum, squares) = (&shift[..len], &mut sum[..len], &mut squares[..len]);
        for i in 0..len {
            let difference = x[i] - shift[i];
            sum[i] += difference;
            squares[i] += difference * difference;
        }
    }

    fn apply_rows(x: &[f32], a: &[f32], b: &[f32], low: f32, y: &mut [f32]) {
        let len = x.len();
        let (a, b, y) = (&a[..len], &b[..len], &mut y[..len]);
        for i in 0..len {
            let value = a[i] * x[i] + b[i];
            y[i] = if value < low { low } else { value };
        }
    }

    fn add_products(
        dy: &[f32],
        x: &[f32],
        mean: &[f32],
        a: &[f32],
        b: &[f32],
        sum: &mut [f32],
        products: &mut [f32],
    ) {
        let len = x.len();
        let (dy, mean, a, b) = (&dy[..len], &mean[..len], &a[..len], &b[..len]);
        let (sum, products) = (&mut sum[..len], &mut products[..len]);
        for i in 0..len {
            let gradient = if a[i] * x[i] + b[i] > 0.0 { dy[i] } else { 0.0 };
            sum[i] += gradient;
            products[i] += gradient * (x[i] - mean[i]);
        }
    }

    fn combine(
        dy: &[f32],
        x: &[f32],
        of_dy: &[f32],
        of_x: &[f32],
        of_one: &[f32],
        a: &[f32],
        b: &[f32],
        dx: &mut [f32],
    ) {
        let len = x.len();
        let (dy, a, b, dx) = (&dy[..len], &a[..len], &b[..len], &mut dx[..len]);
        let (of_dy, of_x, of_one) = (&of_dy[..len], &of_x[..len], &of_one[..len]);
        for i in 0..len {
            let gradient = if a[i] * x[i] + b[i] > 0.0 { dy[i] } else { 0.0 };
            dx[i] = of_dy[i] * gradient + (of_x[i] * x[i] + of_one[i]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    fn column(x: &[f32], channels: usize, channel: usize) -> Vec<f64> {
        x.iter()
            .skip(channel)
            .step_by(channels)
            .map(|&x| f64::from(x))
            .collect()
    }

    #[test]
    fn statistics_are_those_of_the_definition() {
        for (rows, channels) in [(1, 1), (7, 3), (5000, 16), (1500, 70), (300, 600)] {
            let x: Vec<f32> = values(rows * channels, 5)
                .iter()
                .map(|x| x * 0.1 + 30.0)
                .collect();
            let (mean, variance) = statistics(&x, channels);
            for channel in 0..channels {
                let column = column(&x, channels, channel);
                let exact = column.iter().sum::<f64>() / rows as f64;
                let spread = column.iter().map(|x| (x - exact).powi(2)).sum::<f64>() / rows as f64;
                assert!((f64::from(mean[channel]) - exact).abs() < 4e-6, "{rows} rows");
                assert!(
                    (f64::from(variance[channel]) - spread).abs() < 1e-5 * spread + 1e-8,
                    "{rows} rows"
                );
            }
        }
    }

    #[test]
    fn lines_sums_and_gradients_are_those_of_the_definition() {
        for (rows, channels) in [(3, 1), (900, 16), (40, 70), (21, 600)] {
            let (x, dy) = (values(rows * channels, 1), values(rows * channels, 2));
            let [a, b, c, mean] = [3, 4, 5, 6].map(|seed| values(channels, seed));
            let line = Line { a: &a, b: &b };
            let mut y = vec![f32::NAN; x.len()];
            apply(&x, line, 0.0, &mut y);
            let mut dx = vec![f32::NAN; x.len()];
            for mask in [None, Some(line)] {
                gradient(&dy, &x, [&a, &b, &c], mask, &mut dx);
                let [sum, products] = gradient_sums(&dy, &x, &mean, mask);
                let masked = |i: usize| {
                    if mask.is_some() && a[i % channels] * x[i] + b[i % channels] <= 0.0 {
                        0.0
                    } else {
                        dy[i]
                    }
                };
                for channel in 0..channels {
                    let rows = (channel..x.len()).step_by(channels);
                    let exact: f64 = rows.clone().map(|i| f64::from(masked(i))).sum();
                    let product: f64 = rows
                        .map(|i| f64::from(masked(i)) * f64::from(x[i] - mean[channel]))
                        .sum();
                    assert!(
                        (sum[channel] - exact).abs() < 1e-4 && (products[channel] - product).abs() < 1e-4
                    );
                }
                for i in 0..x.len() {
                    let channel = i % channels;
                    let expected = a[channel] * masked(i) + (b[channel] * x[i] + c[channel]);
                    assert!((dx[i] - expected).abs() < 1e-6);
                    assert_eq!(y[i], (a[channel] * x[i] + b[channel]).max(0.0));
                }
            }
        }
    }

    #[test]
    fn threads_do_not_change_sums() {
        let x = values(200_000, 9);
        let of_threads = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| statistics(&x, 20))
        };
        assert_eq!(of_threads(1), of_threads(3));
    }
}
