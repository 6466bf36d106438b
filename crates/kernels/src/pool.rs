//! Pooling: maxima, means and p-norms over sliding windows.

mod channels_last;
pub mod gradient;

use std::ops::Range;

use bantam_tensor::Element;
use rayon::prelude::*;

use crate::Real;
use crate::conv::advance;
pub use channels_last::{global_average_channels_last, max_channels_last};

/// Windows over one dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Elements of the input.
    pub input: usize,
    /// Elements that a window sees.
    pub kernel: usize,
    /// Steps from window to window, at least 1.
    pub stride: usize,
    /// Steps between the elements that a window sees, at least 1.
    pub dilation: usize,
    /// Padding before the input.
    pub before: usize,
    /// Padding after the input.
    pub after: usize,
    /// Number of windows.
    pub output: usize,
}

impl Axis {
    /// The windows whose element `tap` lies in the input.
    fn windows_seeing(&self, tap: usize) -> Range<usize> {
        let shift = tap * self.dilation;
        let end = (self.input + self.before)
            .saturating_sub(shift)
            .div_ceil(self.stride)
            .min(self.output);
        self.before.saturating_sub(shift).div_ceil(self.stride).min(end)..end
    }

    /// Where element `tap` of window `window` lies, counted from the start of the padding.
    fn padded(&self, window: usize, tap: usize) -> usize {
        window * self.stride + tap * self.dilation
    }

    /// Number of elements that a window sees, in the input or also in the padding.
    pub(crate) fn count(&self, window: usize, with_padding: bool) -> usize {
        let range = match with_padding {
            true => 0..self.before + self.input + self.after,
            false => self.before..self.before + self.input,
        };
        (0..self.kernel)
            .filter(|&tap| range.contains(&self.padded(window, tap)))
            .count()
    }
}

/// Calls `visit` for each element of the windows in one row of windows (fixed but for the last dimension), in
/// row-major order of the elements: with the windows that see it in the input, and the flat index in the input for
/// the first of them. For the next windows the index grows by the stride.
pub(crate) fn visit_row(axes: &[Axis], row: &[usize], mut visit: impl FnMut(Range<usize>, usize)) {
    let (last, leading) = axes.split_last().expect("at least one dimension");
    let kernel: Vec<usize> = leading.iter().map(|axis| axis.kernel).collect();
    let mut tap = vec![0; leading.len()];
    loop {
        let index = leading.iter().enumerate().try_fold(0, |flat, (i, axis)| {
            let index = axis
                .padded(row[i], tap[i])
                .checked_sub(axis.before)
                .filter(|&i| i < axis.input)?;
            Some(flat * axis.input + index)
        });
        if let Some(index) = index {
            for tap in 0..last.kernel {
                let windows = last.windows_seeing(tap);
                if !windows.is_empty() {
                    let first = last.padded(windows.start, tap) - last.before;
                    visit(windows, index * last.input + first);
                }
            }
        }
        if !advance(&mut tap, &kernel) {
            return;
        }
    }
}

/// Elements of one channel of the input and of the output.
pub(crate) fn planes(axes: &[Axis], x: usize, y: usize) -> (usize, usize) {
    assert!(
        axes.iter().all(|axis| axis.stride > 0 && axis.dilation > 0),
        "steps are positive"
    );
    let (input, output) = (
        axes.iter().map(|a| a.input).product(),
        axes.iter().map(|a| a.output).product::<usize>(),
    );
    let channels = y.checked_div(output).unwrap_or(0);
    assert!(!axes.is_empty() && channels * output == y, "whole channels");
    assert!(output == 0 || channels * input == x, "an input for each output");
    (input, output)
}

/// Calls `work` for each row of windows: with its channel's input, its position, and its output.
fn for_rows<T: Sync, Y: Send>(
    axes: &[Axis],
    x: &[T],
    y: &mut [Y],
    work: impl Fn(usize, &[T], &[usize], &mut [Y]) + Sync,
) {
    let (input, output) = planes(axes, x.len(), y.len());
    let sizes: Vec<usize> = axes.iter().map(|axis| axis.output).collect();
    if y.is_empty() {
        return;
    }
    y.par_chunks_mut(output).enumerate().for_each(|(channel, y)| {
        let x = &x[channel * input..(channel + 1) * input];
        let mut row = vec![0; sizes.len() - 1];
        for y in y.chunks_exact_mut(sizes[sizes.len() - 1]) {
            work(channel, x, &row, y);
            advance(&mut row, &sizes[..sizes.len() - 1]);
        }
    });
}

/// The largest element of each window; `none` where it sees no element. `x` and `y` are `[channels, spatial...]`.
///
/// # Panics
/// When the slices do not fit the sizes.
pub fn max<T: Element>(axes: &[Axis], x: &[T], none: T, y: &mut [T]) {
    let stride = axes.last().map_or(1, |axis| axis.stride);
    for_rows(axes, x, y, |_, x, row, y| {
        let mut seen = vec![false; y.len()];
        y.fill(none);
        visit_row(axes, row, |windows, first| {
            let elements = x[first..].iter().step_by(stride);
            let (y, seen) = (&mut y[windows.clone()], &mut seen[windows]);
            for ((y, seen), &x) in y.iter_mut().zip(seen).zip(elements) {
                *y = if !*seen || x > *y { x } else { *y };
                *seen = true;
            }
        });
    });
}

/// For each window the flat index in `x` of its largest element, the first of equal ones; -1 where it sees none.
///
/// # Panics
/// When the slices do not fit the sizes.
pub fn max_indices<T: Element>(axes: &[Axis], x: &[T], indices: &mut [i64]) {
    let stride = axes.last().map_or(1, |axis| axis.stride);
    let (input, _) = planes(axes, x.len(), indices.len());
    for_rows(axes, x, indices, |channel, x, row, indices| {
        indices.fill(-1);
        visit_row(axes, row, |windows, first| {
            for (step, index) in indices[windows].iter_mut().enumerate() {
                let candidate = first + step * stride;
                if *index < 0 || x[candidate] > x[*index as usize] {
                    *index = candidate as i64;
                }
            }
        });
        indices
            .iter_mut()
            .filter(|index| **index >= 0)
            .for_each(|index| *index += (channel * input) as i64);
    });
}

/// The mean of each window: of its elements in the input, or with those in the padding as zeros.
///
/// # Panics
/// When the slices do not fit the sizes.
pub fn average<T: Real>(axes: &[Axis], x: &[T], with_padding: bool, y: &mut [T]) {
    sum_of(axes, x, y, |x| x);
    let counts: Vec<Vec<usize>> = axes
        .iter()
        .map(|axis| {
            (0..axis.output)
                .map(|window| axis.count(window, with_padding))
                .collect()
        })
        .collect();
    let (last, leading) = counts.split_last().expect("checked by `sum_of`");
    for_rows(axes, x, y, |_, _, row, y| {
        let rows: usize = row
            .iter()
            .zip(leading)
            .map(|(&window, counts)| counts[window])
            .product();
        for (y, &columns) in y.iter_mut().zip(last) {
            // A window that sees nothing has mean 0.
            *y = *y / T::from_f64((rows * columns).max(1) as f64);
        }
    });
}

/// The p-norm of each window's elements in the input.
///
/// # Panics
/// When the slices do not fit the sizes.
pub fn norm<T: Real>(axes: &[Axis], x: &[T], p: u32, y: &mut [T]) {
    let exponent = T::from_f64(f64::from(p));
    match p {
        1 => sum_of(axes, x, y, |x| x.abs()),
        2 => {
            sum_of(axes, x, y, |x| x * x);
            y.iter_mut().for_each(|y| *y = y.sqrt());
        }
        _ => {
            sum_of(axes, x, y, |x| x.abs().powf(exponent));
            y.iter_mut().for_each(|y| *y = y.powf(T::ONE / exponent));
        }
    }
}

fn sum_of<T: Real>(axes: &[Axis], x: &[T], y: &mut [T], term: impl Fn(T) -> T + Sync) {
    let stride = axes.last().map_or(1, |axis| axis.stride);
    for_rows(axes, x, y, |_, x, row, y| {
        y.fill(T::ZERO);
        visit_row(axes, row, |windows, first| {
            let elements = x[first..].iter().step_by(stride);
            y[windows]
                .iter_mut()
                .zip(elements)
                .for_each(|(y, &x)| *y += term(x));
        });
    });
}

/// The mean of each channel of `channel` elements. The sum is made of 16 interleaved ones, added in order.
pub fn global_average<T: Real>(channel: usize, x: &[T], y: &mut [T]) {
    let count = T::from_f64(channel.max(1) as f64);
    for_channels(channel, x, y, |x| lanes_sum(x, |x| x) / count);
}

/// The largest element of each channel.
pub fn global_max<T: Element>(channel: usize, x: &[T], none: T, y: &mut [T]) {
    for_channels(channel, x, y, |x| {
        let first = x.first().copied().unwrap_or(none);
        x.iter()
            .fold(first, |largest, &x| if x > largest { x } else { largest })
    });
}

/// The p-norm of each channel.
pub fn global_norm<T: Real>(channel: usize, x: &[T], p: u32, y: &mut [T]) {
    let exponent = T::from_f64(f64::from(p));
    for_channels(channel, x, y, |x| match p {
        1 => lanes_sum(x, |x| x.abs()),
        2 => lanes_sum(x, |x| x * x).sqrt(),
        _ => lanes_sum(x, |x| x.abs().powf(exponent)).powf(T::ONE / exponent),
    });
}

fn for_channels<T: Element>(channel: usize, x: &[T], y: &mut [T], reduce: impl Fn(&[T]) -> T + Sync) {
    assert_eq!(
        Some(x.len()),
        y.len().checked_mul(channel),
        "one result for each channel"
    );
    if channel == 0 {
        return y.iter_mut().for_each(|y| *y = reduce(&[]));
    }
    let at_a_time = (1usize << 14).div_ceil(channel);
    y.par_chunks_mut(at_a_time)
        .zip(x.par_chunks(at_a_time * channel))
        .for_each(|(y, x)| {
            y.iter_mut()
                .zip(x.chunks_exact(channel))
                .for_each(|(y, x)| *y = reduce(x));
        });
}

#[inline(always)]
fn lanes_sum<T: Real>(x: &[T], term: impl Fn(T) -> T) -> T {
    let mut lanes = [T::ZERO; 16];
    let chunks = x.chunks_exact(16);
    let rest = chunks.remainder();
    for chunk in chunks {
        lanes
            .iter_mut()
            .zip(chunk)
            .for_each(|(lane, &x)| *lane += term(x));
    }
    lanes.iter_mut().zip(rest).for_each(|(lane, &x)| *lane += term(x));
    lanes.into_iter().fold(T::ZERO, |sum, lane| sum + lane)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(
        input: usize,
        kernel: usize,
        stride: usize,
        dilation: usize,
        before: usize,
        after: usize,
    ) -> Axis {
        let output = (input + before + after - (kernel - 1) * dilation - 1) / stride + 1;
        Axis {
            input,
            kernel,
            stride,
            dilation,
            before,
            after,
            output,
        }
    }

    /// Every element that a window sees, written out.
    fn seen(axes: &[Axis], window: &[usize]) -> Vec<usize> {
        let mut indices = Vec::new();
        let kernel: Vec<usize> = axes.iter().map(|axis| axis.kernel).collect();
        let mut tap = vec![0; axes.len()];
        loop {
            let index = axes.iter().enumerate().try_fold(0, |flat, (i, a)| {
                let index = (window[i] * a.stride + tap[i] * a.dilation).checked_sub(a.before)?;
                (index < a.input).then_some(flat * a.input + index)
            });
            indices.extend(index);
            if !advance(&mut tap, &kernel) {
                return indices;
            }
        }
    }

    #[test]
    fn windows_of_all_kinds() {
        let cases: &[&[Axis]] = &[
            &[axis(7, 3, 1, 1, 0, 0)],
            &[axis(9, 3, 2, 2, 1, 1)],
            &[axis(5, 2, 3, 1, 2, 3)],
            &[axis(6, 3, 2, 1, 1, 1), axis(9, 2, 2, 1, 0, 1)],
            &[
                axis(4, 2, 1, 1, 1, 0),
                axis(3, 2, 1, 2, 1, 1),
                axis(20, 5, 1, 1, 2, 2),
            ],
        ];
        for axes in cases {
            let (input, output): (Vec<usize>, Vec<usize>) = axes.iter().map(|a| (a.input, a.output)).unzip();
            let (input, output_len) = (input.iter().product::<usize>(), output.iter().product::<usize>());
            let x: Vec<f64> = (0..2 * input).map(|i| ((i * 7919) % 101) as f64 - 60.0).collect();
            let (mut largest, mut mean, mut norms) = (
                vec![0.0; 2 * output_len],
                vec![0.0; 2 * output_len],
                vec![0.0; 2 * output_len],
            );
            let mut indices = vec![0; 2 * output_len];
            max(axes, &x, f64::MIN, &mut largest);
            max_indices(axes, &x, &mut indices);
            average(axes, &x, false, &mut mean);
            norm(axes, &x, 3, &mut norms);
            let mut window = vec![0; axes.len()];
            for index in 0..output_len {
                for channel in 0..2 {
                    let seen: Vec<f64> = seen(axes, &window)
                        .iter()
                        .map(|i| x[channel * input + i])
                        .collect();
                    let at = channel * output_len + index;
                    let expected = seen.iter().copied().fold(f64::MIN, f64::max);
                    assert_eq!(largest[at], expected, "{axes:?} {window:?}");
                    if indices[at] >= 0 {
                        assert_eq!(x[indices[at] as usize], expected);
                    }
                    let sum: f64 = seen.iter().sum();
                    assert!(
                        (mean[at] - sum / seen.len().max(1) as f64).abs() < 1e-9,
                        "{axes:?} {window:?}"
                    );
                    let cubes: f64 = seen.iter().map(|x| x.abs().powi(3)).sum();
                    assert!((norms[at] - cubes.cbrt()).abs() < 1e-9, "{axes:?} {window:?}");
                }
                advance(&mut window, &output);
            }
        }
    }

    #[test]
    fn padding_counts_as_zeros_but_not_beyond() {
        // The last window reaches one element past the padding.
        let axis = Axis {
            input: 3,
            kernel: 2,
            stride: 2,
            dilation: 1,
            before: 0,
            after: 0,
            output: 2,
        };
        let mut y = [0.0f32; 2];
        average(&[axis], &[2.0, 4.0, 6.0], true, &mut y);
        assert_eq!(y, [3.0, 6.0]);
        average(&[Axis { after: 1, ..axis }], &[2.0, 4.0, 6.0], true, &mut y);
        assert_eq!(y, [3.0, 3.0]);
    }

    #[test]
    fn the_first_of_equal_maxima() {
        let mut indices = [0; 2];
        max_indices(&[axis(3, 2, 1, 1, 0, 0)], &[5u8, 5, 5], &mut indices);
        assert_eq!(indices, [0, 1]);
    }

    #[test]
    fn whole_channels() {
        let x: Vec<f32> = (0..70).map(|i| i as f32).collect();
        let mut y = [0.0; 2];
        global_average(35, &x, &mut y);
        assert_eq!(y, [17.0, 52.0]);
        global_max(35, &x, f32::MIN, &mut y);
        assert_eq!(y, [34.0, 69.0]);
        global_norm(35, &[-1.0f32; 70], 1, &mut y);
        assert_eq!(y, [35.0, 35.0]);
    }
}
