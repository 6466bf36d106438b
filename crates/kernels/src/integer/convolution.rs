//! Convolution of codes: windows are read where they lie, in an input laid out for it.

use std::ops::Range;

use rayon::prelude::*;

use super::layout::Layout;
use super::panel::{self, Columns, Offsets, WIDEST};
use super::{DEPTH, LANES, ROWS};
use crate::conv::Geometry;

/// The filters of a convolution in the order in which the kernels read them.
#[derive(Clone, Debug)]
pub struct Filters {
    /// `[out_channels, channels / together, taps, together]`, missing channels being zeros.
    codes: Vec<i8>,
    /// Sum of each filter.
    sums: Vec<i32>,
    /// Codes of one filter.
    depth: usize,
    /// Channels that are next to each other: one where a filter has one channel, else [`DEPTH`].
    together: usize,
}

impl Filters {
    /// Filters from signed weights `[out_channels, channels, kernel...]`, `channels` being those of one group.
    ///
    /// # Panics
    /// When there are not as many weights as filters and channels go into.
    pub fn new(weights: &[i8], out_channels: usize, channels: usize) -> Filters {
        let size = weights.len() / out_channels.max(1);
        let taps = size / channels.max(1);
        assert_eq!(
            weights.len(),
            out_channels * channels * taps,
            "as many weights as the sizes say"
        );
        let together = if channels == 1 { 1 } else { DEPTH };
        let depth = channels.next_multiple_of(together) * taps;
        let mut codes = vec![0; depth * out_channels];
        for (index, &weight) in weights.iter().enumerate() {
            let (out, channel, tap) = (index / size, index % size / taps, index % taps);
            codes[out * depth + (channel / together * taps + tap) * together + channel % together] = weight;
        }
        let sum = |out: usize| {
            codes[out * depth..][..depth]
                .iter()
                .map(|&code| i32::from(code))
                .sum()
        };
        let sums = (0..out_channels).map(sum).collect();
        Filters {
            codes,
            sums,
            depth,
            together,
        }
    }

    fn filter(&self, out_channel: usize) -> &[i8] {
        &self.codes[out_channel * self.depth..][..self.depth]
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
        if self.weights.len() == 1 {
            self.weights[0]
        } else {
            self.weights[out_channel]
        }
    }
}

/// Writes through one pointer from several threads, to places that do not overlap.
struct Places<T>(*mut T);

// SAFETY: see `convolve`: every place is written by one task only.
unsafe impl<T: Send> Sync for Places<T> {}

/// Positions of the virtual plane that one task takes at most, unless a row has more.
const BLOCK: usize = 512;

/// Convolves `x` `[batch, channels, input...]`. `finish(out_channel, sums, y)` turns stretches of exact sums of
/// `(x - zero) * (weight - zero)` into elements of `y` `[batch, out_channels, output...]`.
///
/// # Panics
/// When the slices do not have the sizes of the geometry.
pub fn convolve<T: Copy + Default + Send>(
    geometry: &Geometry,
    x: &[u8],
    filters: &Filters,
    zeros: ZeroPoints<'_>,
    finish: impl Fn(usize, &[i32], &mut [T]) + Sync,
    y: &mut [T],
) {
    let weights = geometry.taps() * geometry.out_channels;
    assert!(
        geometry.fits(x.len(), weights, y.len()),
        "slices that fit the geometry"
    );
    if y.is_empty() {
        return;
    }
    assert_eq!(
        filters.sums.len(),
        geometry.out_channels,
        "as many filters as output channels"
    );
    assert!(
        zeros.weights.len() == 1 || zeros.weights.len() == geometry.out_channels,
        "a zero point per filter"
    );
    let layout = Layout::new(geometry, filters.together);
    let depth = geometry.group_channels().next_multiple_of(filters.together) * layout.taps().len();
    assert_eq!(filters.depth, depth, "filters of the size of a window");
    let groups = geometry.group_channels().div_ceil(filters.together);
    let distances = |group: usize| {
        layout
            .taps()
            .iter()
            .map(move |tap| (group, tap * filters.together))
    };
    let offset = |(group, distance): (usize, usize)| group * layout.group_bytes() + distance;
    let offsets = Offsets::new((0..groups).flat_map(distances).map(offset).collect());
    let (plane, width) = (
        geometry.output_plane(),
        geometry.output[geometry.output.len() - 1],
    );
    let (rows, rows_of_block) = (plane / width, (BLOCK / layout.row()).max(1));
    let places = Places(y.as_mut_ptr());
    let channels = geometry.group_channels() * geometry.input_plane();
    let of_group = |index: usize| {
        let (group, image) = (index % geometry.groups, index / geometry.groups);
        let x = layout.fill(geometry, &x[index * channels..][..channels], zeros.x);
        let block = |first: usize| {
            let places = &places;
            let block_rows = first..rows.min(first + rows_of_block);
            let block = Block {
                geometry,
                layout: &layout,
                offsets: &offsets,
                x: &x,
                starts: block_rows
                    .clone()
                    .map(|row| layout.start_of_row(geometry, row))
                    .collect(),
                rows: block_rows,
            };
            let mut results = vec![T::default(); block.positions()];
            block.for_each_channel(filters, group, zeros, |out_channel, sums| {
                let at = (image * geometry.out_channels + out_channel) * plane + first * width;
                // SAFETY: these are whole rows from `first` on, so that the places lie in `y` (its size was asserted);
                // no other task has the same image, output channel and rows.
                let y = unsafe { std::slice::from_raw_parts_mut(places.0.add(at), block.rows.len() * width) };
                if sums.len() == y.len() {
                    return finish(out_channel, sums, y);
                }
                finish(out_channel, sums, &mut results);
                for (y, start) in y.chunks_exact_mut(width).zip(&block.starts) {
                    y.copy_from_slice(&results[start - block.starts[0]..][..width]);
                }
            });
        };
        let blocks = rows.div_ceil(rows_of_block);
        if blocks == 1 {
            block(0)
        } else {
            (0..blocks).into_par_iter().for_each(|b| block(b * rows_of_block))
        }
    };
    (0..geometry.batch * geometry.groups)
        .into_par_iter()
        .for_each(of_group);
}

/// Some rows of the output of one group of one image.
struct Block<'a> {
    geometry: &'a Geometry,
    layout: &'a Layout,
    /// Where each four codes of a window lie, from its first position on.
    offsets: &'a Offsets,
    x: &'a [u8],
    rows: Range<usize>,
    /// The first position of each row in the virtual plane.
    starts: Vec<usize>,
}

impl Block<'_> {
    /// Calls `emit(out channel, sums)` for every filter of a group; zero points are taken off the sums, which are those
    /// of all positions from the start of the first row to the end of the last one.
    fn for_each_channel(
        &self,
        filters: &Filters,
        group: usize,
        zeros: ZeroPoints<'_>,
        mut emit: impl FnMut(usize, &[i32]),
    ) {
        let out_channels = self.geometry.group_out_channels();
        let first = group * out_channels;
        let of_patches = if zeros.weights.iter().any(|&zero| zero != 0) {
            self.sums_of_patches(filters)
        } else {
            vec![]
        };
        let stride = self.stride();
        let mut sums = vec![0; ROWS * stride];
        for first in (first..first + out_channels).step_by(ROWS) {
            let rows = ROWS.min(group * out_channels + out_channels - first);
            let codes = &filters.codes[first * filters.depth..][..rows * filters.depth];
            let mut start = [0; ROWS];
            for (start, out_channel) in start[..rows].iter_mut().zip(first..) {
                let zero = zeros.of_filter(out_channel);
                let taps = self.geometry.taps() as i32;
                let filter = filters.sums[out_channel].wrapping_sub(zero.wrapping_mul(taps));
                *start = filter.wrapping_mul(i32::from(zeros.x)).wrapping_neg();
            }
            self.multiply(codes, filters.together, &start[..rows], &mut sums);
            for (out_channel, sums) in (first..first + rows).zip(sums.chunks_exact_mut(stride)) {
                let sums = &mut sums[..self.positions()];
                let zero = zeros.of_filter(out_channel);
                for (sum, patch) in sums.iter_mut().zip(&of_patches) {
                    *sum = sum.wrapping_sub(zero.wrapping_mul(*patch));
                }
                emit(out_channel, sums);
            }
        }
    }

    /// Positions of the virtual plane from the start of the first row to the end of the last one.
    fn positions(&self) -> usize {
        match (self.starts.first(), self.starts.last()) {
            (Some(first), Some(last)) => last + self.width() - first,
            _ => 0,
        }
    }

    /// Room for the sums of one filter: kernels write whole panels.
    fn stride(&self) -> usize {
        self.positions().next_multiple_of(LANES)
    }

    fn width(&self) -> usize {
        self.geometry.output[self.geometry.output.len() - 1]
    }

    /// For each output position, the sum of what its window sees: a filter of ones.
    fn sums_of_patches(&self, filters: &Filters) -> Vec<i32> {
        let channels = self.geometry.group_channels();
        let ones = vec![1i8; self.geometry.taps()];
        let ones = Filters::new(&ones, 1, channels);
        let mut sums = vec![0; self.stride()];
        self.multiply(ones.filter(0), filters.together, &[0], &mut sums);
        sums
    }

    /// The sums of some filters at all positions, those of each filter [`Block::stride`] after those of the one before,
    /// beginning with `start`.
    fn multiply(&self, codes: &[i8], together: usize, start: &[i32], sums: &mut [i32]) {
        let stride = self.stride();
        if codes.is_empty() {
            let sums = sums.chunks_exact_mut(stride.max(1)).zip(start);
            return sums.for_each(|(sums, start)| sums.fill(*start));
        }
        if together == 1 {
            return self.multiply_taps(codes, start, sums);
        }
        // Tiles of about the same width: narrow ones cost more for each column.
        let panels = stride / LANES;
        let tiles = stride.div_ceil(WIDEST);
        for tile in 0..tiles {
            let (from, to) = (panels * tile / tiles, panels * (tile + 1) / tiles);
            let first = from * LANES;
            let columns = Columns {
                codes: &self.x[(self.starts[0] + first) * DEPTH..],
                offsets: self.offsets,
                panels: to - from,
                panel_stride: LANES * DEPTH,
            };
            let to = panel::Sums {
                values: &mut sums[first..],
                stride,
                start,
            };
            panel::multiply_signed_rows(codes, columns, to);
        }
    }

    /// As [`Block::multiply`] where a filter has one channel.
    fn multiply_taps(&self, codes: &[i8], start: &[i32], sums: &mut [i32]) {
        let (taps, stride) = (self.layout.taps(), self.stride());
        let filters = codes.chunks_exact(taps.len()).zip(start);
        for ((filter, start), sums) in filters.zip(sums.chunks_exact_mut(stride)) {
            let sums = &mut sums[..self.positions()];
            weighted_sum(&self.x[self.starts[0]..], taps, filter, *start, sums);
        }
    }
}

crate::vectorize::vectorized! {
    /// `sums[i]` is `start` and the sum over taps of `weight * x[i + tap]`.
    fn weighted_sum(x: &[u8], taps: &[usize], weights: &[i8], start: i32, sums: &mut [i32]) {
        sums.fill(start);
        for (tap, weight) in taps.iter().zip(weights) {
            let weight = i32::from(*weight);
            for (sum, x) in sums.iter_mut().zip(&x[*tap..]) {
                *sum = sum.wrapping_add(weight.wrapping_mul(i32::from(*x)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv;
    use crate::integer::tests::codes;
    use crate::integer::to_signed;

    fn geometry(
        batch: usize,
        channels: [usize; 3],
        input: &[usize],
        kernel: &[usize],
        step: [usize; 3],
    ) -> Geometry {
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
            geometry(2, [9, 4, 1], &[40], &[5], [1, 1, 2]),
            geometry(1, [9, 4, 1], &[1, 40], &[1, 7], [1, 2, 6]),
            geometry(1, [2, 3, 1], &[5, 6, 7], &[2, 3, 2], [1, 1, 1]),
            geometry(1, [2, 3, 1], &[2, 2], &[5, 5], [1, 1, 2]),
        ];
        for (case, geometry) in cases.iter().enumerate() {
            let weights = to_signed(&codes(geometry.taps() * geometry.out_channels, case as u32));
            let x = codes(geometry.batch * geometry.channels * geometry.input_plane(), 7);
            let mut y = vec![0; geometry.batch * geometry.out_channels * geometry.output_plane()];
            for (zero, zeros) in [
                (0, vec![0]),
                (17, vec![0]),
                (200, vec![-3]),
                (9, (0..geometry.out_channels as i32).collect()),
            ] {
                let filters = Filters::new(&weights, geometry.out_channels, geometry.group_channels());
                let points = ZeroPoints {
                    x: zero,
                    weights: &zeros,
                };
                convolve(
                    geometry,
                    &x,
                    &filters,
                    points,
                    |_, sums, y| y.copy_from_slice(sums),
                    &mut y,
                );
                // Exact in f64.
                let real_x: Vec<f64> = x.iter().map(|&code| f64::from(code) - f64::from(zero)).collect();
                let real = |(index, &code): (usize, &i8)| {
                    f64::from(code) - f64::from(points.of_filter(index / geometry.taps()))
                };
                let real_weights: Vec<f64> = weights.iter().enumerate().map(real).collect();
                let mut expected = vec![0.0; y.len()];
                conv::convolve(geometry, &real_x, &real_weights, None, &mut expected);
                assert!(
                    y.iter().zip(&expected).all(|(y, e)| f64::from(*y) == *e),
                    "case {case}, zero {zero} {zeros:?}"
                );
            }
        }
    }
}
