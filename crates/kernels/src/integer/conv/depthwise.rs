//! Windows over one channel, for each channel: vectors of channels, four taps of a column of the window at a time.

use super::Target;
use super::dense::scale;
use crate::conv::source::{Source, Unit};
use crate::conv::{Geometry, input_index};
use crate::integer::{DEPTH, LANES};

/// Channels that the wide kernel takes at once.
pub(super) const CHANNELS: usize = 4 * LANES;

/// Where the wide kernel keeps a channel of a block: unpacking bytes within quarters of a vector leaves them so.
pub(super) fn lane(channel: usize) -> usize {
    channel % 16 / 4 * LANES + channel / 16 * 4 + channel % 4
}

/// The filters of a depthwise convolution.
#[derive(Clone, Debug)]
pub(super) struct Depthwise {
    channels: usize,
    kernel: Vec<usize>,
    /// `[taps, channels]`.
    codes: Vec<i8>,
    /// For kernels of two dimensions: `[block of channels][column][rows / 4][64 lanes][4 rows]`, zeros where there is none.
    interleaved: Vec<i8>,
}

impl Depthwise {
    pub(super) fn new(weights: &[i8], kernel: &[usize], channels: usize) -> Depthwise {
        let taps: usize = kernel.iter().product();
        let mut codes = vec![0; weights.len()];
        for (index, &code) in weights.iter().enumerate() {
            codes[index % taps * channels + index / taps] = code;
        }
        let mut interleaved = Vec::new();
        if let &[height, width] = kernel {
            let quads = height.div_ceil(DEPTH);
            interleaved = vec![0; channels.div_ceil(CHANNELS) * width * quads * CHANNELS * DEPTH];
            for (index, &code) in weights.iter().enumerate() {
                let (channel, row, column) = (index / taps, index % taps / width, index % width);
                let block = channel / CHANNELS * width + column;
                let quad = (block * quads + row / DEPTH) * CHANNELS + lane(channel % CHANNELS);
                interleaved[quad * DEPTH + row % DEPTH] = code;
            }
        }
        Depthwise {
            channels,
            kernel: kernel.to_vec(),
            codes,
            interleaved,
        }
    }

    /// Whether the wide kernel runs.
    fn is_wide(&self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self.kernel.len() == 2 && super::avx512::available();
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// One number per channel in the order of the kernel.
    pub(super) fn arrange<T: Copy + Default>(&self, values: &[T]) -> Vec<T> {
        if !self.is_wide() {
            return values.to_vec();
        }
        let mut lanes = vec![T::default(); self.channels.next_multiple_of(CHANNELS)];
        for (channel, &value) in values.iter().enumerate() {
            lanes[channel / CHANNELS * CHANNELS + lane(channel % CHANNELS)] = value;
        }
        lanes
    }

    /// The sums of a unit.
    pub(super) fn multiply(
        &self,
        source: &Source<'_, u8>,
        unit: Unit,
        starts: &[i32],
        mut target: Target<'_>,
    ) {
        #[cfg(target_arch = "x86_64")]
        if self.is_wide() && source.geometry.input.len() == 2 {
            return self.multiply_wide(source, unit, starts, target);
        }
        self.multiply_plain(source, unit, starts, &mut target);
    }

    /// The plain form: the oracle of the wide one.
    fn multiply_plain(&self, source: &Source<'_, u8>, unit: Unit, starts: &[i32], target: &mut Target<'_>) {
        let (geometry, channels) = (&source.geometry, self.channels);
        let image = unit.image * geometry.input_plane() * channels;
        let mut sums = vec![0; channels];
        for_each_pixel(geometry, unit, |pixel, output| {
            sums.copy_from_slice(starts);
            let mut kernel = vec![0; self.kernel.len()];
            for codes in self.codes.chunks_exact(channels) {
                match input_index(geometry, output, &kernel) {
                    Some(index) => {
                        let x = &source.x[image + index * channels..][..channels];
                        add_products(x, codes, &mut sums);
                    }
                    None => add_multiples(source.zero, codes, &mut sums),
                }
                crate::conv::advance(&mut kernel, &self.kernel);
            }
            let range = pixel * channels..(pixel + 1) * channels;
            match target {
                Target::Codes { y, to } => to.to.apply(&sums, to.scales, &mut y[range]),
                Target::Reals { y, scales, bias } => scale(&sums, scales, bias, &mut y[range]),
                Target::Sums(y) => y[range].copy_from_slice(&sums),
            }
        });
    }

    #[cfg(target_arch = "x86_64")]
    fn multiply_wide(&self, source: &Source<'_, u8>, unit: Unit, starts: &[i32], mut target: Target<'_>) {
        let geometry = &source.geometry;
        let (width, pixels) = (geometry.input[1], geometry.output[1]);
        let image = unit.image * geometry.input_plane() * self.channels;
        let mut columns = Columns::default();
        let block_codes = self.kernel[1] * self.kernel[0].div_ceil(DEPTH) * CHANNELS * DEPTH;
        for first in (0..self.channels).step_by(CHANNELS) {
            let codes = &self.interleaved[first / CHANNELS * block_codes..][..block_codes];
            for index in 0..unit.rows {
                let start_of = |tap: usize| {
                    let padded = (unit.first + index) * geometry.strides[0] + tap * geometry.dilations[0];
                    let row = padded.checked_sub(geometry.pads[0])?;
                    (row < geometry.input[0]).then_some(image + row * width * self.channels + first)
                };
                let row = Row {
                    x: source.x,
                    rows: (0..self.kernel[0]).map(start_of).collect(),
                    width,
                    stride: self.channels,
                    channels: (self.channels - first).min(CHANNELS),
                    zero: source.zero,
                    pad: geometry.pads[1],
                    kernel: self.kernel[1],
                    dilation: geometry.dilations[1],
                    step: geometry.strides[1],
                    codes,
                    starts: &starts[first..][..CHANNELS],
                    lanes: first,
                    first: index * pixels * self.channels + first,
                    pixels,
                    out_stride: self.channels,
                };
                super::avx512::depthwise_row(&row, &mut columns, &mut target);
            }
        }
    }
}

/// Calls `body(index in the unit, position)` for each output pixel of a unit.
fn for_each_pixel(geometry: &Geometry, unit: Unit, mut body: impl FnMut(usize, &[usize])) {
    let mut position = vec![0; geometry.output.len()];
    position[0] = unit.first;
    let pixels = unit.rows * geometry.output[1..].iter().product::<usize>();
    for pixel in 0..pixels {
        body(pixel, &position);
        crate::conv::advance(&mut position, &geometry.output);
    }
}

/// One row of output pixels of up to [`CHANNELS`] channels.
pub(super) struct Row<'a> {
    pub(super) x: &'a [u8],
    /// For each row of the kernel, where the input's row begins, with the first channel; `None` in the padding.
    pub(super) rows: Vec<Option<usize>>,
    /// Pixels of an input row.
    pub(super) width: usize,
    /// Bytes from pixel to pixel.
    pub(super) stride: usize,
    pub(super) channels: usize,
    pub(super) zero: u8,
    /// Padding before the first pixel.
    pub(super) pad: usize,
    /// Columns of the kernel.
    pub(super) kernel: usize,
    pub(super) dilation: usize,
    /// Input columns from output pixel to output pixel.
    pub(super) step: usize,
    pub(super) codes: &'a [i8],
    /// For each lane.
    pub(super) starts: &'a [i32],
    /// The first lane among the scales.
    pub(super) lanes: usize,
    /// Where the first channel of the first pixel goes.
    pub(super) first: usize,
    pub(super) pixels: usize,
    pub(super) out_stride: usize,
}

impl Row<'_> {
    /// Groups of four rows of the kernel.
    pub(super) fn quads(&self) -> usize {
        self.rows.len().div_ceil(DEPTH)
    }

    /// Columns of the padded input that the pixels see.
    pub(super) fn columns(&self) -> usize {
        let reach = self.kernel.saturating_sub(1) * self.dilation;
        self.pixels.saturating_sub(1) * self.step + reach + 1
    }

    /// Asserts that everything lies in its slice.
    pub(super) fn check(&self, target: &Target<'_>) {
        let reads = self.rows.iter().flatten().all(|start| {
            self.width == 0 || start + (self.width - 1) * self.stride + self.channels <= self.x.len()
        });
        assert!(reads && self.channels <= CHANNELS, "rows within the input");
        let codes = self.kernel * self.quads() * CHANNELS * DEPTH;
        assert!(
            self.codes.len() == codes && self.starts.len() == CHANNELS,
            "complete filters"
        );
        let end = self.first + self.pixels.saturating_sub(1) * self.out_stride + self.channels;
        let scales = target.has_scales(self.lanes + CHANNELS);
        assert!(
            self.pixels > 0 && end <= target.len() && scales,
            "results within the output"
        );
    }
}

/// Room for interleaved columns.
#[derive(Default)]
pub(super) struct Columns(Vec<[u8; CHANNELS * DEPTH]>);

impl Columns {
    /// Makes room for so many quads.
    pub(super) fn resize(&mut self, quads: usize) {
        self.0.resize(quads.max(self.0.len()), [0; CHANNELS * DEPTH]);
    }

    pub(super) fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr().cast()
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }
}

crate::vectorize::vectorized! {
    fn add_products(x: &[u8], codes: &[i8], sums: &mut [i32]) {
        for ((sum, x), code) in sums.iter_mut().zip(x).zip(codes) {
            *sum = sum.wrapping_add(i32::from(*x) * i32::from(*code));
        }
    }
    fn add_multiples(x: u8, codes: &[i8], sums: &mut [i32]) {
        for (sum, code) in sums.iter_mut().zip(codes) {
            *sum = sum.wrapping_add(i32::from(x) * i32::from(*code));
        }
    }
}
