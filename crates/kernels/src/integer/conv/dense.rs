//! Windows over several channels: weights in blocks of up to 64 output channels, multiplied with a few pixels at a time.

use super::Target;
use crate::conv::blocks::{Blocks, WIDEST};
use crate::conv::source::{Source, Unit};
use crate::integer::{DEPTH, LANES};

/// The filters of a dense convolution.
#[derive(Clone, Debug)]
pub(super) struct Dense {
    pub(super) blocks: Blocks,
    codes: Vec<i8>,
}

impl Dense {
    pub(super) fn new(weights: &[i8], shape: &[usize], groups: usize, dilation: usize) -> Dense {
        let blocks = Blocks::new(shape, groups, dilation, LANES, DEPTH);
        Dense {
            codes: blocks.pack(weights, shape),
            blocks,
        }
    }

    /// The sums of a unit.
    pub(super) fn multiply(
        &self,
        source: &Source<'_, u8>,
        unit: Unit,
        starts: &[i32],
        mut target: Target<'_>,
    ) {
        let (bytes, windows) = source.windows(unit);
        let blocks = &self.blocks;
        let out_channels = blocks.groups * blocks.filters;
        assert!(
            target.len() == windows.len() * out_channels,
            "a sum per pixel and filter"
        );
        let kernel = kernel();
        for at in blocks.each() {
            let lanes = at.vector * LANES..(at.vector + at.width) * LANES;
            let codes = at.vector * blocks.vector_len()..(at.vector + at.width) * blocks.vector_len();
            kernel(Block {
                bytes: &bytes[at.group * blocks.channels..],
                windows: &windows,
                runs: &source.runs,
                steps: blocks.steps,
                codes: &self.codes[codes],
                width: at.width,
                starts: &starts[lanes.clone()],
                place: Place {
                    first: at.group * blocks.filters + at.filter,
                    filters: at.filters,
                    stride: out_channels,
                    lanes,
                },
                target: &mut target,
            });
        }
    }
}

/// All pixels of a unit by one block of output channels. Every run of every window lies in `bytes`; there are `LANES * width`
/// starts, and `LANES * DEPTH * width` codes for each step of each run.
pub(super) struct Block<'a, 't> {
    pub(super) bytes: &'a [u8],
    pub(super) windows: &'a [usize],
    pub(super) runs: &'a [usize],
    pub(super) steps: usize,
    pub(super) codes: &'a [i8],
    /// Vectors of the block.
    pub(super) width: usize,
    pub(super) starts: &'a [i32],
    pub(super) place: Place,
    pub(super) target: &'a mut Target<'t>,
}

/// Where the results of a block go.
pub(super) struct Place {
    /// The first filter of the first pixel.
    pub(super) first: usize,
    /// Number of filters.
    pub(super) filters: usize,
    /// From pixel to pixel.
    pub(super) stride: usize,
    /// The filters' lanes, in the order of the starts.
    pub(super) lanes: std::ops::Range<usize>,
}

/// How blocks are computed.
pub(super) type Kernel = fn(Block<'_, '_>);

fn kernel() -> Kernel {
    #[cfg(target_arch = "x86_64")]
    {
        if super::avx512::available() {
            return super::avx512::dense;
        }
        if super::avx2::available() {
            return super::avx2::dense;
        }
    }
    plain
}

/// The plain form: the oracle of the others.
fn plain(block: Block<'_, '_>) {
    let mut sums = [0; LANES * WIDEST];
    let Block { place, target, .. } = block;
    let step = LANES * DEPTH * block.width;
    for (pixel, window) in block.windows.iter().enumerate() {
        let sums = &mut sums[..block.starts.len()];
        sums.copy_from_slice(block.starts);
        let codes = block.codes.chunks_exact((step * block.steps).max(1));
        for (run, codes) in block.runs.iter().zip(codes) {
            let bytes = &block.bytes[window + run..][..block.steps * DEPTH];
            add_products(bytes, codes, sums);
        }
        place.put(pixel, sums, target);
    }
}

impl Block<'_, '_> {
    /// Asserts that everything lies in its slice.
    pub(super) fn check(&self) {
        let reach = self.windows.iter().max().unwrap_or(&0) + self.runs.iter().max().unwrap_or(&0);
        assert!(
            reach + self.steps * DEPTH <= self.bytes.len(),
            "windows within the source"
        );
        let lanes = self.width * LANES;
        assert!(
            self.codes.len() == self.runs.len() * self.steps * lanes * DEPTH && self.starts.len() == lanes,
            "codes and starts of a block"
        );
        let place = &self.place;
        let end = place.first + self.windows.len().saturating_sub(1) * place.stride + place.filters;
        let scales = self.target.has_scales(place.lanes.end);
        assert!(
            end <= self.target.len() && place.filters <= lanes && place.lanes.len() == lanes && scales,
            "results within the output"
        );
    }
}

impl Place {
    /// Writes the sums of one pixel.
    pub(super) fn put(&self, pixel: usize, sums: &[i32], target: &mut Target<'_>) {
        let first = self.first + pixel * self.stride;
        let (sums, range) = (&sums[..self.filters], first..first + self.filters);
        match target {
            Target::Codes { y, to } => {
                let scales = &to.scales[self.lanes.clone()][..self.filters];
                to.to.apply(sums, scales, &mut y[range]);
            }
            Target::Reals { y, scales, bias } => {
                let lanes = self.lanes.start..self.lanes.start + self.filters;
                scale(sums, &scales[lanes.clone()], &bias[lanes], &mut y[range]);
            }
            Target::Sums(y) => y[range].copy_from_slice(sums),
        }
    }
}

/// `sums * scales + bias`.
pub(super) fn scale(sums: &[i32], scales: &[f32], bias: &[f32], y: &mut [f32]) {
    for (index, y) in y.iter_mut().enumerate() {
        *y = sums[index] as f32 * scales[index] + bias[index];
    }
}

crate::vectorize::vectorized! {
    /// Adds to each sum the products of all bytes, four at a time, with the codes of its lane.
    fn add_products(bytes: &[u8], codes: &[i8], sums: &mut [i32]) {
        for (bytes, codes) in bytes.as_chunks::<4>().0.iter().zip(codes.chunks_exact(sums.len() * 4)) {
            for (sum, codes) in sums.iter_mut().zip(codes.as_chunks::<4>().0) {
                for (byte, code) in bytes.iter().zip(codes) {
                    *sum = sum.wrapping_add(i32::from(*byte) * i32::from(*code));
                }
            }
        }
    }
}
