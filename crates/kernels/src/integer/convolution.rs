//! Convolution of codes: columns of patches, packed tile by tile, times the filters.

use rayon::prelude::*;

use super::panel::{self, WIDEST};
use super::patches::Patches;
use super::{DEPTH, LANES, ROWS};
use crate::conv::Geometry;

/// The filters of a convolution in the order in which the kernels read them.
#[derive(Clone, Debug)]
pub struct Filters {
    /// `[out_channels, depth]`, taps by kernel position and then by channel, padded with zeros.
    codes: Vec<i8>,
    /// Sum of each filter.
    sums: Vec<i32>,
    depth: usize,
}

impl Filters {
    /// Filters from signed weights `[out_channels, channels, kernel...]`, `channels` being those of one group.
    ///
    /// # Panics
    /// When there are not as many weights as filters and channels go into.
    pub fn new(weights: &[i8], out_channels: usize, channels: usize) -> Filters {
        let taps = weights.len() / out_channels.max(1);
        let (depth, positions) = (taps.next_multiple_of(DEPTH), taps / channels.max(1));
        assert_eq!(weights.len(), out_channels * channels * positions, "as many weights as the sizes say");
        let mut codes = vec![0; depth * out_channels];
        if taps > 0 {
            for (filter, weights) in codes.chunks_exact_mut(depth).zip(weights.chunks_exact(taps)) {
                for tap in 0..taps {
                    filter[tap] = weights[tap % channels * positions + tap / channels];
                }
            }
        }
        let sum = |out: usize| codes[out * depth..][..depth].iter().map(|&code| i32::from(code)).sum();
        let sums = (0..out_channels).map(sum).collect();
        Filters { codes, sums, depth }
    }
}

/// The zero points of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct ZeroPoints<'a> {
    /// Of the input; also what the padding holds.
    pub x: u8,
    /// Of the filters: one, or one per output channel.
    pub weights: &'a [i32],
}

impl ZeroPoints<'_> {
    fn of_filter(&self, out_channel: usize) -> i32 {
        if self.weights.len() == 1 { self.weights[0] } else { self.weights[out_channel] }
    }
}

/// Writes through one pointer from several threads, to places that do not overlap.
struct Places<T>(*mut T);

// SAFETY: see `convolve`: every place is written by one task only.
unsafe impl<T: Send> Sync for Places<T> {}

/// Convolves `x` `[batch, channels, input...]`. `finish(out_channel, sums, y)` turns stretches of exact sums of
/// `(x - zero) * (weight - zero)` into elements of `y` `[batch, out_channels, output...]`.
///
/// # Panics
/// When the slices do not have the sizes of the geometry.
pub fn convolve<T: Send>(
    geometry: &Geometry,
    x: &[u8],
    filters: &Filters,
    zeros: ZeroPoints<'_>,
    finish: impl Fn(usize, &[i32], &mut [T]) + Sync,
    y: &mut [T],
) {
    let weights = geometry.taps() * geometry.out_channels;
    assert!(geometry.fits(x.len(), weights, y.len()), "slices that fit the geometry");
    if y.is_empty() {
        return;
    }
    assert_eq!(filters.sums.len(), geometry.out_channels, "as many filters as output channels");
    assert_eq!(filters.depth, geometry.taps().next_multiple_of(DEPTH), "filters of the size of a patch");
    assert!(zeros.weights.len() == 1 || zeros.weights.len() == geometry.out_channels, "a zero point per filter");
    let plane = geometry.output_plane();
    let tiles = plane.div_ceil(WIDEST);
    let places = Places(y.as_mut_ptr());
    let task = |index: usize| {
        let places = &places;
        let (tile, rest) = (index % tiles, index / tiles);
        let (group, image) = (rest % geometry.groups, rest / geometry.groups);
        let (start, end) = (tile * WIDEST, plane.min((tile + 1) * WIDEST));
        let patches = Patches::new(geometry, x, zeros.x, image, group, start..end);
        for_each_row(geometry, &patches, filters, group, zeros, |out_channel, sums| {
            let at = (image * geometry.out_channels + out_channel) * plane + start;
            // SAFETY: `at..at + end - start` lies in `y` (its size was asserted), and no other task has the same image,
            // output channel and tile.
            let y = unsafe { std::slice::from_raw_parts_mut(places.0.add(at), end - start) };
            finish(out_channel, &sums[..end - start], y);
        });
    };
    (0..geometry.batch * geometry.groups * tiles).into_par_iter().for_each(task);
}

/// Calls `emit(out channel, sums)` for every filter of a group; the sums are those of the patches, zero points taken off.
fn for_each_row(
    geometry: &Geometry,
    patches: &Patches,
    filters: &Filters,
    group: usize,
    zeros: ZeroPoints<'_>,
    mut emit: impl FnMut(usize, &[i32]),
) {
    let (depth, width) = (filters.depth, patches.width());
    let out_channels = geometry.group_out_channels();
    let mut sums = [0; ROWS * WIDEST];
    for first in (0..out_channels).step_by(ROWS) {
        let rows = ROWS.min(out_channels - first);
        let first = group * out_channels + first;
        let sums = &mut sums[..rows * width];
        if depth == 0 {
            sums.fill(0);
        } else {
            let codes = &filters.codes[first * depth..][..rows * depth];
            panel::multiply_signed_rows(codes, depth, patches.codes(), sums);
        }
        for (out_channel, sums) in (first..).zip(sums.chunks_exact_mut(width)) {
            let zero = zeros.of_filter(out_channel);
            let filter = filters.sums[out_channel].wrapping_sub(zero.wrapping_mul(geometry.taps() as i32));
            let offset = filter.wrapping_mul(i32::from(zeros.x));
            sums.iter_mut().for_each(|sum| *sum = sum.wrapping_sub(offset));
            if zero != 0 {
                let columns = sums.iter_mut().zip(patches.sums());
                columns.for_each(|(sum, patch)| *sum = sum.wrapping_sub(zero.wrapping_mul(*patch)));
            }
            emit(out_channel, sums);
        }
    }
}

const _: () = assert!(WIDEST.is_multiple_of(LANES));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv;
    use crate::integer::tests::codes;
    use crate::integer::to_signed;

    fn geometry(batch: usize, channels: [usize; 3], input: &[usize], kernel: &[usize], step: [usize; 3]) -> Geometry {
        let [stride, dilation, pad] = step;
        let size = |axis: usize| (input[axis] + 2 * pad - (kernel[axis] - 1) * dilation - 1) / stride + 1;
        Geometry {
            batch,
            channels: channels[0],
            out_channels: channels[1],
            groups: channels[2],
            input: input.to_vec(),
            kernel: kernel.to_vec(),
            strides: vec![stride; input.len()],
            dilations: vec![dilation; input.len()],
            pads: vec![pad; input.len()],
            output: (0..input.len()).map(size).collect(),
        }
    }

    #[test]
    fn sums_are_those_of_a_convolution_of_reals() {
        let cases = [
            geometry(2, [3, 8, 1], &[9, 11], &[3, 3], [1, 1, 1]),
            geometry(1, [4, 7, 1], &[12, 13], &[3, 2], [2, 1, 1]),
            geometry(1, [16, 9, 1], &[10, 10], &[1, 1], [1, 1, 0]),
            geometry(2, [6, 4, 2], &[8, 9], &[3, 3], [1, 2, 2]),
            geometry(1, [5, 5, 5], &[7, 17], &[3, 3], [1, 1, 1]),
            geometry(1, [5, 10, 5], &[9, 9], &[5, 5], [3, 1, 2]),
            geometry(2, [3, 4, 1], &[40], &[5], [2, 1, 2]),
            geometry(1, [2, 3, 1], &[5, 6, 7], &[2, 3, 2], [1, 1, 1]),
            geometry(1, [2, 3, 1], &[2, 2], &[5, 5], [1, 1, 2]),
        ];
        for (case, geometry) in cases.iter().enumerate() {
            let weights = to_signed(&codes(geometry.taps() * geometry.out_channels, case as u32));
            let x = codes(geometry.batch * geometry.channels * geometry.input_plane(), 7);
            let mut y = vec![0; geometry.batch * geometry.out_channels * geometry.output_plane()];
            for (zero, zeros) in [(0, vec![0]), (17, vec![0]), (200, vec![-3]), (9, (0..geometry.out_channels as i32).collect())] {
                let filters = Filters::new(&weights, geometry.out_channels, geometry.group_channels());
                let points = ZeroPoints { x: zero, weights: &zeros };
                convolve(geometry, &x, &filters, points, |_, sums, y| y.copy_from_slice(sums), &mut y);
                // Exact in f64.
                let real_x: Vec<f64> = x.iter().map(|&code| f64::from(code) - f64::from(zero)).collect();
                let real = |(index, &code): (usize, &i8)| f64::from(code) - f64::from(points.of_filter(index / geometry.taps()));
                let real_weights: Vec<f64> = weights.iter().enumerate().map(real).collect();
                let mut expected = vec![0.0; y.len()];
                conv::convolve(geometry, &real_x, &real_weights, None, &mut expected);
                assert!(y.iter().zip(&expected).all(|(y, e)| f64::from(*y) == *e), "case {case}, zero {zero} {zeros:?}");
            }
        }
    }
}
