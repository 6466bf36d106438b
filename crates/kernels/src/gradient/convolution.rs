//! The gradient of a convolution's weights, by the definition. That of its input is
//! [`crate::conv::convolve_transposed`].

use rayon::prelude::*;

use crate::Real;
use crate::conv::{Geometry, advance};

/// `dw[m, c, tap] = sum over images and positions of dy[n, m, position] * x[n, c, position * stride + tap * dilation - pad]`,
/// for `dy` of the geometry's output and `x` of its input.
///
/// # Panics
/// When the slices do not have the lengths that `geometry` gives.
pub fn weight_gradient<T: Real>(geometry: &Geometry, dy: &[T], x: &[T], dw: &mut [T]) {
    assert!(
        geometry.fits(x.len(), dw.len(), dy.len()),
        "slices do not fit {geometry:?}"
    );
    let (taps, plane) = (geometry.taps(), geometry.output_plane());
    if taps == 0 {
        return;
    }
    dw.par_chunks_mut(taps).enumerate().for_each(|(channel, dw)| {
        let group = channel / geometry.group_out_channels();
        let mut sums = vec![0.0; taps];
        for image in 0..geometry.batch {
            let dy = &dy[(image * geometry.out_channels + channel) * plane..][..plane];
            let first = image * geometry.channels + group * geometry.group_channels();
            for (c, sums) in sums
                .chunks_exact_mut(taps / geometry.group_channels())
                .enumerate()
            {
                let x = &x[(first + c) * geometry.input_plane()..][..geometry.input_plane()];
                add_plane(geometry, dy, x, sums);
            }
        }
        dw.iter_mut()
            .zip(sums)
            .for_each(|(dw, sum)| *dw = T::from_f64(sum));
    });
}

/// Adds the products of one channel of `dy` and one of `x` for each tap.
fn add_plane<T: Real>(geometry: &Geometry, dy: &[T], x: &[T], sums: &mut [f64]) {
    let last = geometry.input.len() - 1;
    let (width, row) = (geometry.input[last], geometry.output[last]);
    if row == 0 {
        return;
    }
    let mut position = vec![0; last];
    for dy in dy.chunks_exact(row) {
        let mut tap = vec![0; last];
        for sums in sums.chunks_exact_mut(geometry.kernel[last]) {
            if let Some(start) = row_start(geometry, &position, &tap) {
                add_row(geometry, dy, &x[start..start + width], sums);
            }
            advance(&mut tap, &geometry.kernel[..last]);
        }
        advance(&mut position, &geometry.output[..last]);
    }
}

/// Where the input's row starts that a row of the output sees by way of a tap; `None` in the padding.
fn row_start(geometry: &Geometry, position: &[usize], tap: &[usize]) -> Option<usize> {
    let mut flat = 0;
    for axis in 0..position.len() {
        let padded = position[axis] * geometry.strides[axis] + tap[axis] * geometry.dilations[axis];
        let index = padded
            .checked_sub(geometry.pads[axis])
            .filter(|&index| index < geometry.input[axis])?;
        flat = flat * geometry.input[axis] + index;
    }
    Some(flat * geometry.input[position.len()])
}

fn add_row<T: Real>(geometry: &Geometry, dy: &[T], x: &[T], sums: &mut [f64]) {
    let last = geometry.input.len() - 1;
    let (stride, pad) = (geometry.strides[last], geometry.pads[last]);
    for (tap, sum) in sums.iter_mut().enumerate() {
        let shift = tap * geometry.dilations[last];
        let first = pad.saturating_sub(shift).div_ceil(stride).min(dy.len());
        let end = (x.len() + pad)
            .saturating_sub(shift)
            .div_ceil(stride)
            .min(dy.len());
        if first < end {
            let seen = x[first * stride + shift - pad..].iter().step_by(stride);
            let products = dy[first..end].iter().zip(seen);
            *sum += products.fold(T::ZERO, |sum, (&dy, &x)| sum + dy * x).to_f64();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv::convolve;

    /// The convolution is linear in the weights: a unit weight gives the derivative of y with respect to it.
    #[test]
    fn the_gradient_is_that_of_the_definition() {
        let geometry = Geometry {
            batch: 2,
            channels: 4,
            out_channels: 6,
            groups: 2,
            input: vec![5, 7],
            kernel: vec![3, 2],
            strides: vec![2, 1],
            dilations: vec![1, 3],
            pads: vec![1, 2],
            output: vec![3, 6],
        };
        let pattern = |count: usize, step: usize| -> Vec<f64> {
            (0..count).map(|i| (i * step % 23) as f64 / 7.0 - 1.5).collect()
        };
        let x = pattern(2 * 4 * 35, 11);
        let dy = pattern(2 * 6 * 18, 5);
        let mut dw = vec![0.0; 6 * 2 * 6];
        weight_gradient(&geometry, &dy, &x, &mut dw);
        for (index, got) in dw.iter().enumerate() {
            let mut unit = vec![0.0; dw.len()];
            unit[index] = 1.0;
            let mut y = vec![0.0; dy.len()];
            convolve(&geometry, &x, &unit, None, &mut y);
            let expected: f64 = y.iter().zip(&dy).map(|(y, dy)| y * dy).sum();
            assert!(
                (got - expected).abs() < 1e-12,
                "weight {index}: {got}, not {expected}"
            );
        }
    }
}
