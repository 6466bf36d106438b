//! Deformable convolution of images: each tap of the kernel reads at a learned offset, between elements.

use rayon::prelude::*;

use super::Geometry;
use crate::Real;
use crate::matmul::{Number, Onto, Product, multiply_batch};

/// Where taps read, and how much each counts.
#[derive(Clone, Copy, Debug)]
pub struct Deformation<'a, T> {
    /// Input channels are divided in this many groups that share offsets.
    pub groups: usize,
    /// Rows and columns added to each tap's position: `[batch, groups, taps of the kernel, 2, output...]`.
    pub offsets: &'a [T],
    /// Factors, `[batch, groups, taps of the kernel, output...]`.
    pub mask: Option<&'a [T]>,
}

/// Elements of columns that are computed at a time.
const COLUMNS: usize = 1 << 20;

/// `y = x`, read at deformed positions, `* weights + bias`; `geometry` has two spatial dimensions.
///
/// # Panics
/// When the slices do not have the lengths that `geometry` gives.
pub fn convolve_deformable<T: Real + Number>(
    geometry: &Geometry,
    deformation: &Deformation<'_, T>,
    x: &[T],
    weights: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
) {
    assert!(
        geometry.fits(x.len(), weights.len(), y.len()),
        "slices do not fit {geometry:?}"
    );
    assert_eq!(geometry.output.len(), 2, "deformable convolutions are of images");
    let (plane, taps) = (geometry.output_plane(), geometry.taps());
    let points: usize =
        geometry.kernel.iter().product::<usize>() * plane * deformation.groups * geometry.batch;
    assert_eq!(
        deformation.offsets.len(),
        2 * points,
        "two offsets for each tap and output"
    );
    assert!(
        deformation.mask.is_none_or(|mask| mask.len() == points),
        "a factor for each tap and output"
    );
    assert!(
        bias.is_none_or(|bias| bias.len() == geometry.out_channels),
        "one bias for each output channel"
    );
    if y.is_empty() {
        return;
    }
    let out_channels = geometry.group_out_channels();
    y.par_chunks_mut(out_channels * plane)
        .enumerate()
        .for_each(|(index, y)| {
            let (image, group) = (index / geometry.groups, index % geometry.groups);
            for (channel, y) in y.chunks_exact_mut(plane).enumerate() {
                y.fill(bias.map_or(T::ZERO, |bias| bias[group * out_channels + channel]));
            }
            let weights = &weights[group * out_channels * taps..(group + 1) * out_channels * taps];
            let at_a_time = (COLUMNS / taps.max(1)).max(1);
            for first in (0..plane).step_by(at_a_time) {
                let positions = first..plane.min(first + at_a_time);
                let count = positions.len();
                let columns = columns(geometry, deformation, x, image, group, positions);
                let product = Product {
                    rows: out_channels,
                    columns: count,
                    depth: taps,
                    a_strides: [taps, 1],
                    b_strides: [count, 1],
                };
                let mut sums = vec![T::ZERO; out_channels * count];
                multiply_batch(
                    &product,
                    &[[0, 0]],
                    [weights, &columns],
                    T::ONE,
                    Onto::Nothing,
                    &mut sums,
                );
                for (y, sums) in y.chunks_exact_mut(plane).zip(sums.chunks_exact(count)) {
                    y[first..first + count]
                        .iter_mut()
                        .zip(sums)
                        .for_each(|(y, &sum)| *y += sum);
                }
            }
        });
}

/// What each tap of a group reads for each position: `[taps, positions]`.
fn columns<T: Real>(
    geometry: &Geometry,
    deformation: &Deformation<'_, T>,
    x: &[T],
    image: usize,
    group: usize,
    positions: std::ops::Range<usize>,
) -> Vec<T> {
    let (plane, width) = (geometry.output_plane(), geometry.output[1]);
    let (input_plane, kernel) = (geometry.input_plane(), geometry.kernel[0] * geometry.kernel[1]);
    let mut columns = Vec::with_capacity(geometry.taps() * positions.len());
    for group_channel in 0..geometry.group_channels() {
        let channel = group * geometry.group_channels() + group_channel;
        let values = &x[(image * geometry.channels + channel) * input_plane..][..input_plane];
        let offset_group = channel / (geometry.channels / deformation.groups).max(1);
        for tap in 0..kernel {
            let point = (image * deformation.groups + offset_group) * kernel + tap;
            let at = |axis: usize, output: usize, tap: usize, offset: T| {
                let padded = output * geometry.strides[axis] + tap * geometry.dilations[axis];
                T::from_f64(padded as f64 - geometry.pads[axis] as f64) + offset
            };
            for position in positions.clone() {
                let down = deformation.offsets[2 * point * plane + position];
                let along = deformation.offsets[(2 * point + 1) * plane + position];
                let row = at(0, position / width, tap / geometry.kernel[1], down);
                let column = at(1, position % width, tap % geometry.kernel[1], along);
                let factor = deformation
                    .mask
                    .map_or(T::ONE, |mask| mask[point * plane + position]);
                columns.push(factor * interpolated(values, &geometry.input, row, column));
            }
        }
    }
    columns
}

/// The value between four elements; those outside of the image are 0.
fn interpolated<T: Real>(values: &[T], size: &[usize], row: T, column: T) -> T {
    let (top, left) = (row.floor(), column.floor());
    let (down, along) = (row - top, column - left);
    let element = |row: T, column: T| {
        let index = |position: T, size: usize| {
            let inside = position >= T::ZERO && position < T::from_f64(size as f64);
            inside.then(|| position.to_f64() as usize)
        };
        match (index(row, size[0]), index(column, size[1])) {
            (Some(row), Some(column)) => values[row * size[1] + column],
            _ => T::ZERO,
        }
    };
    let (bottom, right) = (top + T::ONE, left + T::ONE);
    let above = (T::ONE - along) * element(top, left) + along * element(top, right);
    let below = (T::ONE - along) * element(bottom, left) + along * element(bottom, right);
    (T::ONE - down) * above + down * below
}
