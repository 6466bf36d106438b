//! Windows over several channels: weights in blocks of up to 64 output channels, multiplied with a few pixels at a time.

use super::source::Source;
use super::{Target, Unit};
use crate::integer::{DEPTH, LANES};

/// Most vectors of output channels in a block.
const WIDEST: usize = 4;

/// Weights `[group][block][run][step][vector of the block][16 output channels][4 codes]`, zeros where there is none.
#[derive(Clone, Debug)]
pub(super) struct Dense {
    codes: Vec<i8>,
    groups: usize,
    /// Output channels of a group.
    filters: usize,
    /// Input channels of a group.
    channels: usize,
    /// Groups of four codes in a run.
    steps: usize,
    runs: usize,
    /// A run goes over the last dimension of the kernel too.
    pub(super) merged: bool,
}

impl Dense {
    pub(super) fn new(weights: &[i8], shape: &[usize], groups: usize, dilation: usize) -> Dense {
        let (channels, kernel) = (shape[1], &shape[2..]);
        let taps: usize = kernel.iter().product();
        let last = kernel[kernel.len() - 1];
        let merged = groups == 1 && dilation == 1;
        let run = if merged { channels * last } else { channels };
        let runs = if merged { taps / last.max(1) } else { taps };
        let mut dense = Dense {
            codes: Vec::new(),
            groups,
            filters: shape[0] / groups,
            channels,
            steps: run.div_ceil(DEPTH),
            runs,
            merged,
        };
        let mut codes = vec![0; groups * dense.vectors() * dense.vector_bytes()];
        for (index, &code) in weights.iter().enumerate() {
            let (out, channel, tap) = (index / (channels * taps), index / taps % channels, index % taps);
            let (run, at) = match merged {
                true => (tap / last, tap % last * channels + channel),
                false => (tap, channel),
            };
            codes[dense.place(out, run, at)] = code;
        }
        dense.codes = codes;
        dense
    }

    /// Where a code lies.
    fn place(&self, out: usize, run: usize, at: usize) -> usize {
        let (group, filter) = (out / self.filters, out % self.filters);
        let vector = filter / LANES;
        let (first, width) = self
            .blocks()
            .find(|(first, width)| vector < first + width)
            .unwrap_or((0, 1));
        let block = (group * self.vectors() + first) * self.vector_bytes();
        let step = (run * self.steps + at / DEPTH) * width + vector - first;
        block + (step * LANES + filter % LANES) * DEPTH + at % DEPTH
    }

    /// Vectors of output channels in a group.
    fn vectors(&self) -> usize {
        self.filters.div_ceil(LANES)
    }

    /// Bytes of the weights of one vector of output channels.
    fn vector_bytes(&self) -> usize {
        self.runs * self.steps * LANES * DEPTH
    }

    /// First vector and number of vectors of each block; about equal, because narrow blocks cost more for each channel.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let vectors = self.vectors();
        let count = vectors.div_ceil(WIDEST);
        (0..count).map(move |block| {
            let (first, end) = (vectors * block / count, vectors * (block + 1) / count);
            (first, end - first)
        })
    }

    /// One number for each lane of all vectors.
    pub(super) fn arrange<T: Copy + Default>(&self, values: &[T]) -> Vec<T> {
        let mut lanes = vec![T::default(); self.groups * self.vectors() * LANES];
        for (lanes, values) in lanes
            .chunks_exact_mut((self.vectors() * LANES).max(1))
            .zip(values.chunks_exact(self.filters.max(1)))
        {
            lanes[..self.filters].copy_from_slice(values);
        }
        lanes
    }

    /// The sums of a unit.
    pub(super) fn multiply(&self, source: &Source<'_>, unit: Unit, starts: &[i32], mut target: Target<'_>) {
        let (bytes, windows) = source.windows(unit);
        let out_channels = self.groups * self.filters;
        assert!(
            target.len() == windows.len() * out_channels,
            "a sum per pixel and filter"
        );
        let reach = windows.iter().max().unwrap_or(&0) + source.runs.iter().max().unwrap_or(&0);
        let last_group = (self.groups - 1) * self.channels;
        assert!(
            source.runs.len() == self.runs && reach + last_group + self.steps * DEPTH <= bytes.len(),
            "windows that lie in the source"
        );
        let kernel = kernel();
        for group in 0..self.groups {
            let bytes = &bytes[group * self.channels..];
            for (first, width) in self.blocks() {
                let vector = group * self.vectors() + first;
                let codes = &self.codes[vector * self.vector_bytes()..][..width * self.vector_bytes()];
                let lanes = vector * LANES..(vector + width) * LANES;
                let filters = (self.filters - first * LANES).min(width * LANES);
                let tiles = windows.len().div_ceil(kernel.most_pixels[width - 1]);
                for tile in 0..tiles {
                    let from = windows.len() * tile / tiles;
                    let to = windows.len() * (tile + 1) / tiles;
                    (kernel.run)(Tile {
                        bytes,
                        windows: &windows[from..to],
                        runs: &source.runs,
                        steps: self.steps,
                        codes,
                        width,
                        starts: &starts[lanes.clone()],
                        place: Place {
                            first: from * out_channels + group * self.filters + first * LANES,
                            filters,
                            stride: out_channels,
                            lanes: lanes.clone(),
                        },
                        target: &mut target,
                    });
                }
            }
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
