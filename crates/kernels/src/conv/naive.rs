//! The definition of convolution, for every floating-point type and any number of dimensions.

use rayon::prelude::*;

use super::Geometry;
use super::geometry::{advance, input_index};
use crate::Real;

/// `y = x * weights + bias`, the sums in the order of the weights.
///
/// # Panics
/// When the slices do not have the lengths that `geometry` gives.
pub fn convolve<T: Real>(geometry: &Geometry, x: &[T], weights: &[T], bias: Option<&[T]>, y: &mut [T]) {
    assert!(
        geometry.fits(x.len(), weights.len(), y.len()),
        "slices do not fit {geometry:?}"
    );
    assert!(
        bias.is_none_or(|bias| bias.len() == geometry.out_channels),
        "one bias for each output channel"
    );
    let (plane, taps) = (geometry.output_plane(), geometry.taps());
    if plane == 0 {
        return;
    }
    y.par_chunks_mut(plane).enumerate().for_each(|(index, y)| {
        let (image, channel) = (index / geometry.out_channels, index % geometry.out_channels);
        let group = channel / geometry.group_out_channels();
        let first = (image * geometry.channels + group * geometry.group_channels()) * geometry.input_plane();
        let x = &x[first..first + geometry.group_channels() * geometry.input_plane()];
        let weights = &weights[channel * taps..(channel + 1) * taps];
        convolve_plane(
            geometry,
            x,
            weights,
            bias.map_or(T::ZERO, |bias| bias[channel]),
            y,
        );
    });
}

/// One channel of the output from the channels of its group.
fn convolve_plane<T: Real>(geometry: &Geometry, x: &[T], weights: &[T], bias: T, y: &mut [T]) {
    let kernel_size = geometry.kernel.iter().product::<usize>();
    let mut position = vec![0; geometry.output.len()];
    for y in y {
        let mut sum = T::ZERO;
        for channel in 0..geometry.group_channels() {
            let mut tap = vec![0; position.len()];
            for flat in 0..kernel_size {
                if let Some(index) = input_index(geometry, &position, &tap) {
                    let weight = weights[channel * kernel_size + flat];
                    sum += weight * x[channel * geometry.input_plane() + index];
                }
                advance(&mut tap, &geometry.kernel);
            }
        }
        *y = sum + bias;
        advance(&mut position, &geometry.output);
    }
}
