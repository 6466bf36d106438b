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
        for at in blocks.tiles(windows.len(), kernel.most_pixels) {
            let lanes = at.vector * LANES..(at.vector + at.width) * LANES;
            let codes = at.vector * blocks.vector_len()..(at.vector + at.width) * blocks.vector_len();
            (kernel.run)(Tile {
                bytes: &bytes[at.group * blocks.channels..],
                windows: &windows[at.pixels.clone()],
                runs: &source.runs,
                steps: blocks.steps,
                codes: &self.codes[codes],
                width: at.width,
                starts: &starts[lanes.clone()],
                place: Place {
                    first: at.pixels.start * out_channels + at.group * blocks.filters + at.filter,
                    filters: at.filters,
                    stride: out_channels,
                    lanes,
                },
                target: &mut target,
            });
        }
    }
}

/// Some pixels by one block of output channels. Every run of every window lies in `bytes`; there are `LANES * width`
/// starts, and `LANES * DEPTH * width` codes for each step of each run.
pub(super) struct Tile<'a, 't> {
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

/// Where the results of a tile go.
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

/// How tiles are computed.
pub(super) struct Kernel {
    /// Most pixels of a tile, by the number of vectors less one.
    pub(super) most_pixels: [usize; WIDEST],
    pub(super) run: fn(Tile<'_, '_>),
}

fn kernel() -> Kernel {
    #[cfg(target_arch = "x86_64")]
    {
        if super::avx512::available() {
            return super::avx512::DENSE;
        }
        if super::avx2::available() {
            return super::avx2::DENSE;
        }
    }
    PLAIN
}

/// The plain form: the oracle of the others.
pub(super) const PLAIN: Kernel = Kernel {
    most_pixels: [8; WIDEST],
    run: plain,
};

fn plain(tile: Tile<'_, '_>) {
    let mut sums = [0; LANES * WIDEST];
    let Tile { place, target, .. } = tile;
    for (pixel, window) in tile.windows.iter().enumerate() {
        let sums = &mut sums[..tile.starts.len()];
        sums.copy_from_slice(tile.starts);
        let step = LANES * DEPTH * tile.width;
        let runs = tile
            .runs
            .iter()
            .zip(tile.codes.chunks_exact((step * tile.steps).max(1)));
        for (run, codes) in runs {
            let bytes = &tile.bytes[window + run..][..tile.steps * DEPTH];
            add_products(bytes, codes, sums);
        }
        place.put(pixel, sums, target);
    }
}

impl Place {
    /// Writes the sums of one pixel.
    pub(super) fn put(&self, pixel: usize, sums: &[i32], target: &mut Target<'_>) {
        let first = self.first + pixel * self.stride;
        let (sums, range) = (&sums[..self.filters], first..first + self.filters);
        match target {
            Target::Codes { y, to, scales } => {
                to.apply(sums, &scales[self.lanes.clone()][..self.filters], &mut y[range]);
            }
            Target::Sums(y) => y[range].copy_from_slice(sums),
        }
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
