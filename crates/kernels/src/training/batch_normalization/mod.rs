//! Batch normalization by the statistics of the batch, of rows of channels (data with their channels last), in
//! `f32`; values may be stored in BF16.
//!
//! With `inv_std = 1 / sqrt(variance + epsilon)`, `a = scale * inv_std` and `b = bias - mean * a`, the output is
//! `y = a * x + b`; its gradient is a combination of `dy`, `x` and 1 for each channel (Ioffe and Szegedy 2015, section 3).

#[cfg(test)]
mod tests;

use std::ops::Range;

use rayon::prelude::*;

use crate::stored::Stored;
use crate::vectorize::vectorized;

/// Elements that one task takes; sums within are `f32`, across tasks `f64`.
const PIECE: usize = 1 << 15;
/// Rows are taken several at a time until they have so many elements, so that a sum does not wait for the one before.
const TOGETHER: usize = 512;

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
    add: impl Fn(Range<usize>, &mut [f32], &mut [f32]) + Sync,
) -> [Vec<f64>; 2] {
    let period = channels * TOGETHER.div_ceil(channels.max(1));
    let piece = piece(period);
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
pub fn statistics<T: Stored>(x: &[T], channels: usize) -> (Vec<f32>, Vec<f32>) {
    assert!(
        channels > 0 && !x.is_empty() && x.len().is_multiple_of(channels),
        "whole rows"
    );
    // Squares of differences from some element lose fewer digits than squares.
    let shift: Vec<f32> = x[..channels].iter().map(|value| value.widened()).collect();
    let repeated = Repeated::new(&shift);
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

/// The factors and addends of a normalization.
///
/// # Panics
/// When the slices differ in length.
pub fn line(scale: &[f32], bias: &[f32], mean: &[f32], inv_std: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let channels = scale.len();
    assert!(
        [bias.len(), mean.len(), inv_std.len()] == [channels; 3],
        "numbers for each channel"
    );
    let a: Vec<f32> = scale
        .iter()
        .zip(inv_std)
        .map(|(scale, inv_std)| scale * inv_std)
        .collect();
    let b = (0..channels).map(|channel| bias[channel] - mean[channel] * a[channel]);
    let b = b.collect();
    (a, b)
}

/// `y = a * x + b`, plus the residual, clamped to the bounds (0 and infinity for Relu).
///
/// # Panics
/// When the slices are not rows of the same channels.
pub fn apply<T: Stored>(x: &[T], line: Line<'_>, residual: Option<&[T]>, bounds: [f32; 2], y: &mut [T]) {
    let channels = line.a.len();
    assert!(
        x.len() == y.len()
            && line.b.len() == channels
            && x.len().is_multiple_of(channels.max(1))
            && residual.is_none_or(|residual| residual.len() == x.len()),
        "rows"
    );
    let (a, b) = (Repeated::new(line.a), Repeated::new(line.b));
    let period = a.values.len().max(1);
    let piece = piece(period);
    y.par_chunks_mut(piece).enumerate().for_each(|(index, y)| {
        for (part, y) in y.chunks_mut(period).enumerate() {
            let start = index * piece + part * period;
            let x = &x[start..][..y.len()];
            match residual {
                Some(residual) => {
                    apply_onto(x, &a.values, &b.values, &residual[start..][..y.len()], bounds, y)
                }
                None => apply_rows(x, &a.values, &b.values, bounds, y),
            }
        }
    });
}

/// Elements that a task takes.
fn piece(period: usize) -> usize {
    (PIECE / period).max(1) * period
}

/// Where the gradient of the output counts as zero: the gradient of Relu or Clip behind the normalization.
#[derive(Clone, Copy, Debug)]
pub enum Mask<'a, T = f32> {
    /// Nowhere.
    None,
    /// Where `a * x + b` is not strictly within the bounds.
    Line(Line<'a>, [f32; 2]),
    /// Where these outputs are not strictly within the bounds: needed when something was added before the clamp.
    Output(&'a [T], [f32; 2]),
}

/// What gradients are made of: rows of the same channels.
#[derive(Clone, Copy, Debug)]
pub struct Backward<'a, T = f32> {
    /// The gradient of the output.
    pub dy: &'a [T],
    /// The input of the normalization.
    pub x: &'a [T],
    /// What of `dy` counts.
    pub mask: Mask<'a, T>,
}

/// Sums over the rows for each channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Sums {
    /// Of `dy`: the gradient of the bias.
    pub dy: Vec<f64>,
    /// Of `dy * (x - mean)`: times `inv_std`, the gradient of the scale.
    pub products: Vec<f64>,
}

/// `dx = dy * of_dy + x * of_x + of_one`, for each channel.
#[derive(Clone, Debug)]
pub struct Factors {
    /// Of the output's gradient.
    pub of_dy: Vec<f32>,
    /// Of the input.
    pub of_x: Vec<f32>,
    /// Added.
    pub of_one: Vec<f32>,
}

impl Factors {
    /// For the statistics of a batch of `rows` rows, which depend on x:
    /// `dx = scale * inv_std * (dy - mean(dy) - (x - mean) * inv_std^2 * mean(dy * (x - mean)))`.
    ///
    /// # Panics
    /// When the slices differ in length.
    pub fn new(sums: &Sums, rows: usize, scale: &[f32], mean: &[f32], inv_std: &[f32]) -> Factors {
        let channels = scale.len();
        assert!(
            [mean.len(), inv_std.len(), sums.dy.len(), sums.products.len()] == [channels; 4],
            "numbers for each channel"
        );
        let mut factors = Factors {
            of_dy: Vec::with_capacity(channels),
            of_x: Vec::with_capacity(channels),
            of_one: Vec::with_capacity(channels),
        };
        let rows = rows as f64;
        for channel in 0..channels {
            let inv_std = f64::from(inv_std[channel]);
            let of_dy = f64::from(scale[channel]) * inv_std;
            let of_x = -of_dy * inv_std * inv_std * sums.products[channel] / rows;
            let of_one = -of_dy * sums.dy[channel] / rows - of_x * f64::from(mean[channel]);
            factors.of_dy.push(of_dy as f32);
            factors.of_x.push(of_x as f32);
            factors.of_one.push(of_one as f32);
        }
        factors
    }
}

impl Factors {
    /// For statistics that do not depend on x: `dx = scale * inv_std * dy`.
    pub fn frozen(scale: &[f32], inv_std: &[f32]) -> Factors {
        let of_dy: Vec<f32> = scale
            .iter()
            .zip(inv_std)
            .map(|(scale, inv_std)| scale * inv_std)
            .collect();
        let zeros = vec![0.0; of_dy.len()];
        Factors {
            of_dy,
            of_x: zeros.clone(),
            of_one: zeros,
        }
    }
}

impl<T: Stored> Backward<'_, T> {
    /// # Panics
    /// When the slices are not rows of so many channels.
    fn check(&self, channels: usize) {
        let mask = match self.mask {
            Mask::None => true,
            Mask::Line(line, _) => line.a.len() == channels && line.b.len() == channels,
            Mask::Output(y, _) => y.len() == self.x.len(),
        };
        assert!(
            mask && channels > 0 && self.x.len() == self.dy.len() && self.x.len().is_multiple_of(channels),
            "rows of the same channels"
        );
    }

    /// The sums that gradients need.
    ///
    /// # Panics
    /// When the slices are not rows of the same channels.
    pub fn sums(&self, mean: &[f32]) -> Sums {
        self.check(mean.len());
        let (means, line) = (Repeated::new(mean), self.line());
        let period = means.values.len();
        let [dy, products] = sums(self.x.len(), mean.len(), |range, sum, products| {
            let mut buffer = vec![T::default(); period];
            for start in range.clone().step_by(period) {
                let range = start..range.end.min(start + period);
                let dy = self.masked(range.clone(), line.as_ref(), &mut buffer);
                add_products(dy, &self.x[range], &means.values, sum, products);
            }
        });
        Sums { dy, products }
    }

    /// The gradient of the input; and in `masked`, what of `dy` counts: the gradient of what was added before Relu.
    ///
    /// # Panics
    /// When the slices are not rows of the same channels.
    pub fn input(&self, factors: &Factors, masked: Option<&mut [T]>, dx: &mut [T]) {
        let channels = factors.of_dy.len();
        self.check(channels);
        assert!(
            dx.len() == self.x.len()
                && masked.as_ref().is_none_or(|masked| masked.len() == dx.len())
                && [factors.of_x.len(), factors.of_one.len()] == [channels; 2],
            "rows of the same channels"
        );
        let line = self.line();
        let [of_dy, of_x, of_one] =
            [&factors.of_dy, &factors.of_x, &factors.of_one].map(|values| Repeated::new(values));
        let period = of_dy.values.len();
        let piece = piece(period);
        let masked: Vec<Option<&mut [T]>> = match masked {
            Some(masked) => masked.chunks_mut(piece).map(Some).collect(),
            None => (0..dx.len().div_ceil(piece)).map(|_| None).collect(),
        };
        let parts = dx.par_chunks_mut(piece).zip(masked).enumerate();
        parts.for_each(|(index, (dx, mut masked))| {
            let mut buffer = vec![T::default(); period];
            for (part, dx) in dx.chunks_mut(period).enumerate() {
                let start = index * piece + part * period;
                let range = start..start + dx.len();
                let dy = self.masked(range.clone(), line.as_ref(), &mut buffer);
                if let Some(masked) = &mut masked {
                    masked[part * period..][..dy.len()].copy_from_slice(dy);
                }
                let x = &self.x[range];
                combine(dy, x, &of_dy.values, &of_x.values, &of_one.values, dx);
            }
        });
    }

    fn line(&self) -> Option<[Repeated; 2]> {
        match self.mask {
            Mask::Line(line, _) => Some([line.a, line.b].map(Repeated::new)),
            Mask::None | Mask::Output(..) => None,
        }
    }

    /// What counts of some elements of `dy`, the first of which belongs to the first channel.
    fn masked<'a>(
        &'a self,
        range: Range<usize>,
        line: Option<&[Repeated; 2]>,
        buffer: &'a mut [T],
    ) -> &'a [T] {
        let dy = &self.dy[range.clone()];
        let buffer = &mut buffer[..dy.len()];
        match (self.mask, line) {
            (Mask::Output(y, bounds), _) => mask_by_output(dy, &y[range], bounds, buffer),
            (Mask::Line(_, bounds), Some([a, b])) => {
                mask_by_line(dy, &self.x[range], &a.values, &b.values, bounds, buffer);
            }
            _ => return dy,
        }
        buffer
    }
}

vectorized! {
    fn add_moments<T: Stored>(x: &[T], shift: &[f32], sum: &mut [f32], squares: &mut [f32]) {
        let len = x.len();
        let (shift, sum, squares) = (&shift[..len], &mut sum[..len], &mut squares[..len]);
        for i in 0..len {
            let difference = x[i].widened() - shift[i];
            sum[i] += difference;
            squares[i] += difference * difference;
        }
    }

    fn apply_rows<T: Stored>(x: &[T], a: &[f32], b: &[f32], bounds: [f32; 2], y: &mut [T]) {
        let (len, [low, high]) = (x.len(), bounds);
        let (a, b, y) = (&a[..len], &b[..len], &mut y[..len]);
        for i in 0..len {
            let value = a[i] * x[i].widened() + b[i];
            let value = if value < low { low } else { value };
            y[i] = T::rounded(if value > high { high } else { value });
        }
    }

    fn apply_onto<T: Stored>(x: &[T], a: &[f32], b: &[f32], residual: &[T], bounds: [f32; 2], y: &mut [T]) {
        let (len, [low, high]) = (x.len(), bounds);
        let (a, b, residual, y) = (&a[..len], &b[..len], &residual[..len], &mut y[..len]);
        for i in 0..len {
            let value = a[i] * x[i].widened() + b[i] + residual[i].widened();
            let value = if value < low { low } else { value };
            y[i] = T::rounded(if value > high { high } else { value });
        }
    }

    fn mask_by_output<T: Stored>(dy: &[T], y: &[T], bounds: [f32; 2], masked: &mut [T]) {
        let [low, high] = bounds;
        for ((masked, dy), y) in masked.iter_mut().zip(dy).zip(y) {
            let y = y.widened();
            *masked = if (y > low) & (y < high) { *dy } else { T::default() };
        }
    }

    fn mask_by_line<T: Stored>(dy: &[T], x: &[T], a: &[f32], b: &[f32], bounds: [f32; 2], masked: &mut [T]) {
        let (len, [low, high]) = (x.len(), bounds);
        let (dy, a, b, masked) = (&dy[..len], &a[..len], &b[..len], &mut masked[..len]);
        for i in 0..len {
            let y = a[i] * x[i].widened() + b[i];
            masked[i] = if (y > low) & (y < high) { dy[i] } else { T::default() };
        }
    }

    fn add_products<T: Stored>(dy: &[T], x: &[T], mean: &[f32], sum: &mut [f32], products: &mut [f32]) {
        let len = x.len();
        let (dy, mean) = (&dy[..len], &mean[..len]);
        let (sum, products) = (&mut sum[..len], &mut products[..len]);
        for i in 0..len {
            let dy = dy[i].widened();
            sum[i] += dy;
            products[i] += dy * (x[i].widened() - mean[i]);
        }
    }

    fn combine<T: Stored>(dy: &[T], x: &[T], of_dy: &[f32], of_x: &[f32], of_one: &[f32], dx: &mut [T]) {
        let len = x.len();
        let (dy, dx) = (&dy[..len], &mut dx[..len]);
        let (of_dy, of_x, of_one) = (&of_dy[..len], &of_x[..len], &of_one[..len]);
        for i in 0..len {
            dx[i] = T::rounded(of_dy[i] * dy[i].widened() + (of_x[i] * x[i].widened() + of_one[i]));
        }
    }
}
