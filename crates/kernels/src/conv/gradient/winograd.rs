//! The gradient of 3 x 3 weights with a quarter of the products: the transpose of Winograd's F(4 x 4, 3 x 3).
//!
//! The forward form is linear in the kernel; its transpose multiplies the transformed inputs of a tile by the transformed
//! gradients of its outputs, adds this up over all tiles for each of the 36 positions, and transforms the sums back once.

use std::ops::Range;

use rayon::prelude::*;

use super::Write;
use super::outer::Outer;
use super::sums::Division;
use crate::Isa;
use crate::conv::Geometry;
use crate::conv::blocks::Blocks;
pub(super) use crate::conv::winograd::pays_off;
use crate::conv::winograd::transform::{
    Destination, IN, Image, KERNEL, OUT, OfInputs, OfOutputGradients, POSITIONS, Pixels, kernel_gradients,
    spaced, transform_tiles,
};
use crate::scratch::Scratch;
use crate::simd::{Factor, Kernel, Operand, ProductKernel, Simd, run};

const TAPS: usize = KERNEL * KERNEL;

/// Sums that a task makes at most, if transformed rows can be told apart: they stay in the second-level cache.
const SUMS: usize = 200 * 1024;
/// Transformed elements that are multiplied at once: they stay in the second-level cache.
const SCRATCH: usize = 96 * 1024;
/// Tiles that are multiplied at once.
const TILES: Range<usize> = 16..64;
/// Fewer tiles are not worth a chunk of their own, which has all sums.
const CHUNK: usize = 128;
/// Chunks at most.
const CHUNKS: usize = 8;
/// Tasks that are worth having.
const TASKS: usize = 4;

/// Transformed tiles are rounded to factors of type `T`.
pub(super) fn weight<T: Factor>(
    isa: Isa,
    geometry: &Geometry,
    x: &[T],
    dy: &[T],
    write: Write,
    dw: &mut [f32],
) {
    let isa = T::isa(isa);
    let shape = [geometry.out_channels, geometry.channels, 1];
    let blocks = Blocks::new(&shape, 1, 1, isa.lanes(), 1);
    let position_len = blocks.vectors() * blocks.vector_len();
    let tiles = Tiles::new(geometry);
    let chunks = (tiles.count() / CHUNK).clamp(1, CHUNKS);
    let parts = [1, 2, 3]
        .into_iter()
        .find(|parts| POSITIONS * position_len / parts <= SUMS && parts * chunks >= TASKS)
        .unwrap_or(IN);
    let rows = IN / parts;
    let division = Division {
        parts: vec![rows * IN * position_len; parts],
        chunks,
    };
    let sums = division.sum(|chunk, part, sums| {
        let job = Job {
            isa,
            geometry,
            x,
            dy,
            blocks: &blocks,
            tiles: &tiles,
            chunk: tiles.count() * chunk / chunks..tiles.count() * (chunk + 1) / chunks,
            rows: part * rows..(part + 1) * rows,
            sums,
        };
        T::run(isa, job);
    });
    let vectors: Vec<usize> = (blocks.each())
        .flat_map(|block| vec![block.vector; block.width])
        .collect();
    let of_vector = isa.lanes() * geometry.taps();
    dw.par_chunks_mut(of_vector).enumerate().for_each(|(vector, dw)| {
        let first = vectors[vector];
        let width = vectors.iter().filter(|&&other| other == first).count();
        let job = Kernels {
            sums: &sums[first * blocks.vector_len() + (vector - first) * isa.lanes()..],
            position_len,
            step: width * isa.lanes(),
            write,
            channels: geometry.channels,
            dw,
        };
        run(isa, job);
    });
}

/// The tiles of all images.
struct Tiles {
    batch: usize,
    rows: usize,
    columns: usize,
}

impl Tiles {
    fn new(geometry: &Geometry) -> Tiles {
        Tiles {
            batch: geometry.batch,
            rows: geometry.output[0].div_ceil(OUT),
            columns: geometry.output[1].div_ceil(OUT),
        }
    }

    fn count(&self) -> usize {
        self.batch * self.rows * self.columns
    }

    /// The image of a tile, and the row and column of its first output.
    fn place(&self, tile: usize) -> (usize, usize, usize) {
        let (row, column) = (tile / self.columns, tile % self.columns);
        (row / self.rows, row % self.rows * OUT, column * OUT)
    }
}

struct Job<'a, T> {
    isa: Isa,
    geometry: &'a Geometry,
    x: &'a [T],
    dy: &'a [T],
    blocks: &'a Blocks,
    tiles: &'a Tiles,
    chunk: Range<usize>,
    /// Rows of transformed tiles.
    rows: Range<usize>,
    /// `[position of the rows][block]...`
    sums: &'a mut [f32],
}

impl<T: Factor> ProductKernel<T> for Job<'_, T> {
    #[inline(always)]
    unsafe fn run<S: Simd, O: Operand<S, Element = T>>(mut self) {
        let channels = self.geometry.channels;
        let row = self.blocks.vectors() * S::LANES;
        let positions = self.rows.len() * IN;
        let scratch = SCRATCH * size_of::<f32>() / size_of::<T>();
        let most = (scratch / (positions * (channels + row))).clamp(TILES.start, TILES.end);
        // Tiles that stand next to each other in lanes count as one group.
        let most = most / T::DEPTH;
        let mut inputs = Scratch::<T>::take(positions * spaced::<T>(most * channels * T::DEPTH));
        let mut gradients = Scratch::<T>::take(positions * spaced::<T>(most * row * T::DEPTH));
        let windows: Vec<usize> = (0..most).map(|group| group * channels * T::DEPTH).collect();
        let outside = vec![T::default(); channels.max(self.geometry.out_channels)];
        let (start, end) = (self.chunk.start, self.chunk.end);
        let groups = (end - start).div_ceil(T::DEPTH);
        let units = groups.div_ceil(most);
        for unit in 0..units {
            let part = groups * unit / units..groups * (unit + 1) / units;
            let tiles = start + part.start * T::DEPTH..end.min(start + part.end * T::DEPTH);
            // SAFETY: the caller has the instruction set; there are at most `most` groups in a unit.
            unsafe {
                self.transform::<S, O>(tiles, &outside, &mut inputs, &mut gradients);
                self.multiply::<S, O>(&windows[..part.len()], &inputs, &gradients);
            }
        }
    }
}

impl<T: Factor> Job<'_, T> {
    /// Transforms the inputs of some tiles to `[position][group of tiles][channel][tile]`, and the gradients of their outputs
    /// to `[position][group of tiles][vector][lane][tile]`, with unspecified values in the lanes where there is no channel.
    ///
    /// # Safety
    /// As for [`Simd`].
    #[inline(always)]
    unsafe fn transform<S: Simd, O: Operand<S, Element = T>>(
        &self,
        tiles: Range<usize>,
        outside: &[T],
        inputs: &mut [T],
        gradients: &mut [T],
    ) {
        let geometry = self.geometry;
        let (channels, filters) = (geometry.channels, geometry.out_channels);
        let row = self.blocks.vectors() * S::LANES;
        let (groups, positions) = (tiles.len().div_ceil(T::DEPTH), self.rows.len() * IN);
        let (input_group, gradient_group) = (channels * T::DEPTH, row * T::DEPTH);
        assert!(
            outside.len() >= channels.max(filters)
                && inputs.len() >= positions * spaced::<T>(groups * input_group)
                && gradients.len() >= positions * spaced::<T>(groups * gradient_group),
            "room for all tiles"
        );
        for group in 0..groups {
            let first = tiles.start + group * T::DEPTH;
            let [one, other] = [first, first + T::DEPTH - 1].map(|tile| match tiles.contains(&tile) {
                true => self.pixels(tile, outside),
                false => ([[outside.as_ptr(); IN]; IN], [[outside.as_ptr(); OUT]; OUT]),
            });
            // SAFETY: the caller has the instruction set; pixels and what is outside have all channels, and there is
            // room for those of the group at each position, as asserted.
            unsafe {
                let to_inputs = Destination {
                    to: inputs.as_mut_ptr().add(group * input_group),
                    step: spaced::<T>(groups * input_group),
                };
                let to_gradients = Destination {
                    to: gradients.as_mut_ptr().add(group * gradient_group),
                    step: spaced::<T>(groups * gradient_group),
                };
                let rows = || self.rows.clone();
                if T::DEPTH == 1 {
                    transform_tiles::<S, O, OfInputs, IN, 1>(&[one.0], channels, rows(), to_inputs);
                    transform_tiles::<S, O, OfOutputGradients, OUT, 1>(
                        &[one.1],
                        filters,
                        rows(),
                        to_gradients,
                    );
                } else {
                    let (x, dy) = ([one.0, other.0], [one.1, other.1]);
                    transform_tiles::<S, O, OfInputs, IN, 2>(&x, channels, rows(), to_inputs);
                    transform_tiles::<S, O, OfOutputGradients, OUT, 2>(&dy, filters, rows(), to_gradients);
                }
            }
        }
    }

    /// The inputs and the gradients of the outputs of a tile.
    #[inline(always)]
    fn pixels(&self, tile: usize, outside: &[T]) -> (Pixels<T, IN>, Pixels<T, OUT>) {
        let geometry = self.geometry;
        let (channels, filters) = (geometry.channels, geometry.out_channels);
        let (plane, plane_of_y) = (
            geometry.input_plane() * channels,
            geometry.output_plane() * filters,
        );
        let (image, top, left) = self.tiles.place(tile);
        let x = &self.x[image * plane..][..plane];
        let x = Image::new(x, geometry.input[0], geometry.input[1], channels);
        let dy = &self.dy[image * plane_of_y..][..plane_of_y];
        let dy = Image::new(dy, geometry.output[0], geometry.output[1], filters);
        let (above, before) = (
            top.wrapping_sub(geometry.pads[0]),
            left.wrapping_sub(geometry.pads[1]),
        );
        (
            x.tile::<IN>(above, before, outside.as_ptr()),
            dy.tile::<OUT>(top, left, outside.as_ptr()),
        )
    }

    /// Adds the products of transformed inputs and gradients to the sums.
    ///
    /// # Safety
    /// As for [`Simd`].
    #[inline(always)]
    unsafe fn multiply<S: Simd, O: Operand<S, Element = T>>(
        &mut self,
        windows: &[usize],
        inputs: &[T],
        gradients: &[T],
    ) {
        let (blocks, channels) = (self.blocks, self.geometry.channels);
        let row = blocks.vectors() * S::LANES;
        let (count, positions) = (windows.len(), self.rows.len() * IN);
        let input_step = spaced::<T>(count * channels * T::DEPTH);
        let gradient_step = spaced::<T>(count * row * T::DEPTH);
        let position_len = blocks.vectors() * blocks.vector_len();
        assert!(
            inputs.len() >= positions * input_step
                && gradients.len() >= positions * gradient_step
                && self.sums.len() == positions * position_len
                && blocks.vector_len() == channels * S::LANES,
            "whole tiles, and a sum for each channel and filter"
        );
        for position in 0..positions {
            for block in blocks.each() {
                // SAFETY: the caller has the instruction set; the tiles of a position, and the sums of a block at it, lie
                // in the slices, as asserted.
                unsafe {
                    let outer = Outer {
                        x: inputs.as_ptr().add(position * input_step),
                        windows,
                        dy: gradients
                            .as_ptr()
                            .add(position * gradient_step + block.vector * S::LANES * T::DEPTH),
                        dy_step: row * T::DEPTH,
                        width: block.width,
                    };
                    let sums = position * position_len + block.vector * blocks.vector_len();
                    outer.run::<S, O>(self.isa, channels, self.sums.as_mut_ptr().add(sums));
                }
            }
        }
    }
}

/// Transforms the sums for one vector of filters back.
struct Kernels<'a> {
    /// From the first lane at the first position on.
    sums: &'a [f32],
    position_len: usize,
    /// From channel to channel.
    step: usize,
    write: Write,
    channels: usize,
    /// `[filters of the vector, channels, 3, 3]`.
    dw: &'a mut [f32],
}

/// The most lanes that a vector has.
const LANES: usize = 16;

impl Kernel for Kernels<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let filter = self.channels * TAPS;
        assert!(
            self.sums.len()
                >= (POSITIONS - 1) * self.position_len + (self.channels - 1) * self.step + S::LANES
                && self.dw.len() <= S::LANES * filter,
            "a sum for each lane"
        );
        let mut taps = [[0.0f32; LANES]; TAPS];
        for channel in 0..self.channels {
            // SAFETY: the caller has the instruction set; a vector exists at each position, as asserted.
            unsafe {
                let from = self.sums.as_ptr().add(channel * self.step);
                transform_back::<S>(from, self.position_len, &mut taps);
            }
            for (lane, filter) in self.dw.chunks_exact_mut(filter).enumerate() {
                let kernel = &mut filter[channel * TAPS..][..TAPS];
                for (weight, tap) in kernel.iter_mut().zip(&taps) {
                    *weight = match self.write {
                        Write::Replace => tap[lane],
                        Write::Add => *weight + tap[lane],
                    };
                }
            }
        }
    }
}

/// # Safety
/// As for [`Simd`]; `from` holds a vector at each position, `step` from each other.
#[inline(always)]
unsafe fn transform_back<S: Simd>(from: *const f32, step: usize, taps: &mut [[f32; LANES]; TAPS]) {
    // SAFETY: the caller's promise; no vector has more than `LANES` lanes.
    unsafe {
        let mut half = [[S::splat(0.0); IN]; KERNEL];
        for column in 0..IN {
            let mut m = [S::splat(0.0); IN];
            for (row, value) in m.iter_mut().enumerate() {
                *value = S::load(from.add((row * IN + column) * step));
            }
            for (row, value) in kernel_gradients::<S>(m).into_iter().enumerate() {
                half[row][column] = value;
            }
        }
        for (row, half) in half.into_iter().enumerate() {
            for (column, value) in kernel_gradients::<S>(half).into_iter().enumerate() {
                S::store(taps[row * KERNEL + column].as_mut_ptr(), value);
            }
        }
    }
}
