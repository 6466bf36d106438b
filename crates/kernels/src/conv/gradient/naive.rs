//! The gradients by their definition, data with the channels second: the oracles of the fast forms.

use super::super::{Geometry, advance, input_index};
use crate::real::Real;

/// Calls `work` for each product of a convolution with the flat indices of the input, the weight and the output, data
/// with the channels second.
fn for_each_product(geometry: &Geometry, mut work: impl FnMut(usize, usize, usize)) {
    let (group_channels, group_out) = (geometry.group_channels(), geometry.group_out_channels());
    let (plane, out_plane) = (geometry.input_plane(), geometry.output_plane());
    let taps: usize = geometry.kernel.iter().product();
    if out_plane == 0 || taps == 0 {
        return;
    }
    let mut output = vec![0; geometry.output.len()];
    for pixel in 0..out_plane {
        let mut kernel = vec![0; geometry.kernel.len()];
        for tap in 0..taps {
            if let Some(seen) = input_index(geometry, &output, &kernel) {
                for image in 0..geometry.batch {
                    for out in 0..geometry.out_channels {
                        let first = out / group_out * group_channels;
                        for channel in 0..group_channels {
                            work(
                                (image * geometry.channels + first + channel) * plane + seen,
                                (out * group_channels + channel) * taps + tap,
                                (image * geometry.out_channels + out) * out_plane + pixel,
                            );
                        }
                    }
                }
            }
            advance(&mut kernel, &geometry.kernel);
        }
        advance(&mut output, &geometry.output);
    }
}

/// Adds to `dx` `[batch, channels, input...]` the gradient of the input for the gradient `dy` of the output.
///
/// # Panics
/// When the slices do not have the sizes of the geometry.
pub fn naive_input<T: Real>(geometry: &Geometry, dy: &[T], weights: &[T], dx: &mut [T]) {
    for_each_product(geometry, |x, weight, y| dx[x] += dy[y] * weights[weight]);
}

/// Adds to `dw` `[out_channels, channels of a group, kernel...]` the gradient of the weights.
///
/// # Panics
/// When the slices do not have the sizes of the geometry.
pub fn naive_weights<T: Real>(geometry: &Geometry, x: &[T], dy: &[T], dw: &mut [T]) {
    for_each_product(geometry, |at, weight, y| dw[weight] += dy[y] * x[at]);
}
