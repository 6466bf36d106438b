//! Windows over one channel, for each channel, in two dimensions: vectors of channels, some pixels of a row at a time.

use std::ops::Range;

use super::Geometry;
use super::packed::{Epilogue, Finish};
use super::source::{Source, Unit};
use crate::Isa;
use crate::simd::{Kernel, Plain, Simd, run};

/// Weights arranged for the microkernel.
#[derive(Debug)]
pub(super) struct Depthwise {
    /// `[rows, columns, channels]`.
    weights: Vec<f32>,
    bias: Vec<f32>,
}

/// Pixels that are computed together.
const PIXELS: usize = 6;
/// Vectors of channels that are computed together.
const VECTORS: usize = 2;

impl Depthwise {
    /// From weights of shape `[channels, 1, rows, columns]`.
    pub(super) fn new(weights: &[f32], shape: &[usize], bias: &[f32]) -> Depthwise {
        let (channels, taps) = (shape[0], shape[2] * shape[3]);
        let mut arranged = vec![0.0; weights.len()];
        for (index, &weight) in weights.iter().enumerate() {
            arranged[index % taps * channels + index / taps] = weight;
        }
        Depthwise {
            weights: arranged,
            bias: bias.to_vec(),
        }
    }

    pub(super) fn run(&self, isa: Isa, source: &Source<'_, f32>, epilogue: Epilogue<'_>, y: &mut [f32]) {
        let row = source.geometry.output[1..].iter().product::<usize>() * self.bias.len();
        let image = row * source.geometry.output[0];
        source.for_units(y, |unit, y| {
            let (to, len) = (y.as_mut_ptr(), y.len());
            let finish = Finish::new(epilogue, to, len, unit.image * image + unit.first * row);
            let (depthwise, geometry, x) = (self, &source.geometry, source.x);
            run(
                isa,
                Job {
                    depthwise,
                    geometry,
                    x,
                    unit,
                    finish,
                    y: to,
                },
            );
            epilogue.activate(y);
        });
    }
}

struct Job<'a> {
    depthwise: &'a Depthwise,
    geometry: &'a Geometry,
    x: &'a [f32],
    unit: Unit,
    finish: Finish<f32>,
    /// The unit's part of the output.
    y: *mut f32,
}

/// One row of output pixels.
struct Row<'a> {
    job: &'a Job<'a>,
    /// For each row of the kernel that lies in the input, its weights and the input's row.
    rows: Vec<(*const f32, *const f32)>,
    /// Where the first channel of the first pixel goes.
    first: usize,
}

impl Kernel for Job<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let geometry = self.geometry;
        // A window of one element may have become a list of pixels.
        let rank = geometry.output.len();
        let (width, pixels) = (geometry.input[rank - 1], geometry.output[rank - 1]);
        let (height, kernel) = match rank {
            2 => (geometry.input[0], geometry.kernel[0]),
            _ => (1, 1),
        };
        let channels = self.depthwise.bias.len();
        let image = self.unit.image * geometry.input_plane() * channels;
        let units = if rank == 2 { self.unit.rows } else { 1 };
        for index in 0..units {
            let of_kernel = |tap: usize| {
                let row = match rank {
                    2 => ((self.unit.first + index) * geometry.strides[0] + tap * geometry.dilations[0])
                        .checked_sub(geometry.pads[0])?,
                    _ => 0,
                };
                let weights = tap * geometry.kernel[rank - 1] * channels;
                (row < height).then(|| {
                    let x = &self.x[image + row * width * channels..][..width * channels];
                    (self.depthwise.weights[weights..].as_ptr(), x.as_ptr())
                })
            };
            let row = Row {
                job: &self,
                rows: (0..kernel).filter_map(of_kernel).collect(),
                first: index * pixels * channels,
            };
            let range = if rank == 2 {
                0..pixels
            } else {
                self.unit.first..self.unit.first + self.unit.rows
            };
            // SAFETY: the caller has the instruction set; the rows lie in the input, and `y` holds the row's pixels.
            unsafe { row.run::<S>(range) };
        }
    }
}

impl Row<'_> {
    /// Columns of the kernel that an output pixel sees in the input.
    fn columns(&self, pixel: usize) -> Range<usize> {
        let geometry = self.job.geometry;
        let axis = geometry.output.len() - 1;
        let (pad, dilation) = (geometry.pads[axis], geometry.dilations[axis]);
        let at = pixel * geometry.strides[axis];
        let first = pad.saturating_sub(at).div_ceil(dilation);
        let end = (geometry.input[axis] + pad).saturating_sub(at).div_ceil(dilation);
        let end = end.min(geometry.kernel[axis]);
        first.min(end)..end
    }

    /// # Safety
    /// As for [`Simd`]; the row's pointers are valid for whole rows.
    #[inline(always)]
    unsafe fn run<S: Simd>(&self, pixels: Range<usize>) {
        let kernel = self.job.geometry.kernel[self.job.geometry.kernel.len() - 1];
        let mut pixel = pixels.start;
        while pixel < pixels.end {
            let last = pixel + PIXELS - 1;
            let whole =
                last < pixels.end && self.columns(pixel) == (0..kernel) && self.columns(last) == (0..kernel);
            // SAFETY: the columns lie in the input, as `columns` says.
            unsafe {
                if whole {
                    self.channels::<S, PIXELS>(pixel, pixel - pixels.start, 0..kernel);
                    pixel += PIXELS;
                } else {
                    self.channels::<S, 1>(pixel, pixel - pixels.start, self.columns(pixel));
                    pixel += 1;
                }
            }
        }
    }

    /// # Safety
    /// As for [`Row::run`]; the columns of `P` pixels lie in the input.
    #[inline(always)]
    unsafe fn channels<S: Simd, const P: usize>(&self, pixel: usize, at: usize, columns: Range<usize>) {
        let channels = self.job.depthwise.bias.len();
        let mut channel = 0;
        // SAFETY: the caller's promise; vectors within the channels, the last one read only as far as it goes.
        unsafe {
            while channel + VECTORS * S::LANES <= channels {
                self.tile::<S, P, VECTORS, true>(pixel, at, columns.clone(), channel);
                channel += VECTORS * S::LANES;
            }
            while channel + S::LANES <= channels {
                self.tile::<S, P, 1, true>(pixel, at, columns.clone(), channel);
                channel += S::LANES;
            }
            if channel < channels {
                self.tile::<S, P, 1, false>(pixel, at, columns, channel);
            }
        }
    }

    /// # Safety
    /// As for [`Row::channels`]; `V` vectors of channels exist from `channel` on, or unless `WHOLE`, one in part.
    #[inline(always)]
    unsafe fn tile<S: Simd, const P: usize, const V: usize, const WHOLE: bool>(
        &self,
        pixel: usize,
        at: usize,
        columns: Range<usize>,
        channel: usize,
    ) {
        let geometry = self.job.geometry;
        let axis = geometry.output.len() - 1;
        let channels = self.job.depthwise.bias.len();
        let left = channels - channel;
        // SAFETY: the caller's promise.
        unsafe {
            // A macro, because a closure need not be compiled for the instruction set.
            macro_rules! load {
                ($from:expr) => {
                    if WHOLE {
                        S::load($from)
                    } else {
                        S::load_first($from, left)
                    }
                };
            }
            let mut sums = [[S::splat(0.0); V]; P];
            for vector in 0..V {
                let bias = load!(self.job.depthwise.bias.as_ptr().add(channel + vector * S::LANES));
                sums.iter_mut().for_each(|sums| sums[vector] = bias);
            }
            let step = geometry.strides[axis] * channels;
            for &(weights, x) in &self.rows {
                for column in columns.clone() {
                    let seen = pixel * geometry.strides[axis] + column * geometry.dilations[axis]
                        - geometry.pads[axis];
                    let x = x.add(seen * channels + channel);
                    let weights = weights.add(column * channels + channel);
                    let mut vectors = [S::splat(0.0); V];
                    for (vector, value) in vectors.iter_mut().enumerate() {
                        *value = load!(weights.add(vector * S::LANES));
                    }
                    for (pixel, sums) in sums.iter_mut().enumerate() {
                        for (vector, sum) in sums.iter_mut().enumerate() {
                            let x = load!(x.add(pixel * step + vector * S::LANES));
                            *sum = S::multiply_add(x, vectors[vector], *sum);
                        }
                    }
                }
            }
            for (pixel, sums) in sums.into_iter().enumerate() {
                for (vector, sum) in sums.into_iter().enumerate() {
                    let first = self.first + (at + pixel) * channels + channel + vector * S::LANES;
                    self.job
                        .finish
                        .store::<S, Plain>(sum, self.job.y, first, left - vector * S::LANES);
                }
            }
        }
    }
}
