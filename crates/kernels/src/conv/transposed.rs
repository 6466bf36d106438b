//! Transposed convolution: each input element is spread over a window of the output.

use rayon::prelude::*;

use super::Geometry;
use super::geometry::advance;
use crate::Real;

/// `y = bias +` every element of `x` times the weights, `[channels, out_channels / groups, kernel...]`, at the window
/// that it belongs to. `geometry` is that of the convolution whose transpose this is, with its input and output
/// exchanged: `x` has its `input` size and `y` its `output` size, and `pads` are cut from `y`.
///
/// # Panics
/// When the slices do not have the lengths that `geometry` gives.
pub fn convolve_transposed<T: Real>(
    geometry: &Geometry,
    x: &[T],
    weights: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
) {
    let kernel: usize = geometry.kernel.iter().product();
    let weights_len = geometry.channels * geometry.group_out_channels() * kernel;
    // The weights have as many elements as those of a convolution, in another order.
    assert!(weights_len == weights.len(), "weights do not fit {geometry:?}");
    let convolution_weights = geometry.out_channels * geometry.taps();
    assert!(
        geometry.fits(x.len(), convolution_weights, y.len()),
        "slices do not fit {geometry:?}"
    );
    assert!(
        bias.is_none_or(|bias| bias.len() == geometry.out_channels),
        "one bias for each output channel"
    );
    let plane = geometry.output_plane();
    if plane == 0 {
        return;
    }
    y.par_chunks_mut(plane).enumerate().for_each(|(index, y)| {
        let (image, channel) = (index / geometry.out_channels, index % geometry.out_channels);
        let (group, within) = (
            channel / geometry.group_out_channels(),
            channel % geometry.group_out_channels(),
        );
        y.fill(bias.map_or(T::ZERO, |bias| bias[channel]));
        for group_channel in 0..geometry.group_channels() {
            let channel = group * geometry.group_channels() + group_channel;
            let x = &x[(image * geometry.channels + channel) * geometry.input_plane()..];
            let weights = &weights[(channel * geometry.group_out_channels() + within) * kernel..][..kernel];
            spread_plane(geometry, &x[..geometry.input_plane()], weights, y);
        }
    });
}

/// Adds what one channel of the input contributes to one channel of the output.
fn spread_plane<T: Real>(geometry: &Geometry, x: &[T], weights: &[T], y: &mut [T]) {
    let last = geometry.input.len() - 1;
    let row = geometry.input[last];
    if x.is_empty() {
        return;
    }
    let mut tap = vec![0; last + 1];
    for &weight in weights {
        let mut position = vec![0; last];
        for x in x.chunks_exact(row) {
            if let Some(start) = row_start(geometry, &position, &tap) {
                let shift = tap[last] * geometry.dilations[last];
                let y = &mut y[start..start + geometry.output[last]];
                spread_row(x, weight, geometry.strides[last], shift, geometry.pads[last], y);
            }
            advance(&mut position, &geometry.input[..last]);
        }
        advance(&mut tap, &geometry.kernel);
    }
}

/// The start of the output row that an input row's elements go to by way of a tap, `None` if it is cut off.
fn row_start(geometry: &Geometry, position: &[usize], tap: &[usize]) -> Option<usize> {
    let mut flat = 0;
    for axis in 0..position.len() {
        let spread = position[axis] * geometry.strides[axis] + tap[axis] * geometry.dilations[axis];
        let index = spread
            .checked_sub(geometry.pads[axis])
            .filter(|&i| i < geometry.output[axis])?;
        flat = flat * geometry.output[axis] + index;
    }
    Some(flat * geometry.output[position.len()])
}

/// `y[i * stride + shift - pad] += x[i] * weight`, where that is in `y`.
fn spread_row<T: Real>(x: &[T], weight: T, stride: usize, shift: usize, pad: usize, y: &mut [T]) {
    let first = pad.saturating_sub(shift).div_ceil(stride).min(x.len());
    let end = (y.len() + pad)
        .saturating_sub(shift)
        .div_ceil(stride)
        .min(x.len());
    if first >= end {
        return;
    }
    let y = &mut y[first * stride + shift - pad..];
    y.iter_mut()
        .step_by(stride)
        .zip(&x[first..end])
        .for_each(|(y, &x)| *y += x * weight);
}
