//! 3 x 3 convolution with a quarter of the products: Winograd's F(4 x 4, 3 x 3).
//!
//! A tile of 4 x 4 outputs sees 6 x 6 inputs. These are transformed, multiplied by the transformed kernel element by
//! element (a matrix product over the channels for each of the 36 positions), and transformed back: 36 products for what
//! takes 144 directly (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015). Rounding errors are
//! about ten times those of the direct form; the tests hold them below 4e-6 of the sum of the products' magnitudes.

pub(super) mod transform;

use self::transform::{
    Destination, IN, Image, KERNEL, OUT, OfInputs, POSITIONS, of_kernel, outputs, spaced, transform_tiles,
};
use super::Geometry;
use super::blocks::Blocks;
use super::dense::{Tile, most_pixels};
use super::packed::{Epilogue, Finish};
use super::source::Unit;
use crate::Isa;
use crate::scratch::Scratch;
use crate::simd::{Factor, Kernel, Operand, Plain, ProductKernel, Simd, run};
use rayon::prelude::*;

/// Transformed input elements of a unit of work: they stay in the second-level cache, mostly.
const SCRATCH: usize = 128 * 1024;
/// Tiles of a unit of work: enough to go through all weights for.
const TILES: std::ops::Range<usize> = 24..64;
/// Bytes of weights for each tile at most: they are read once for a few tiles, from a far cache.
const WEIGHTS_OF_TILE: usize = 1 << 20;

/// Channels that are worth transforming, on either side.
const LEAST_CHANNELS: usize = 4;

/// Whether this form is possible and likely to be faster than the direct one.
pub(super) fn pays_off(geometry: &Geometry) -> bool {
    let one = |list: &[usize]| list.iter().all(|&step| step == 1);
    if geometry.kernel != [3, 3]
        || !one(&geometry.strides)
        || !one(&geometry.dilations)
        || geometry.groups != 1
    {
        return false;
    }
    let (rows, columns) = (geometry.output[0].div_ceil(OUT), geometry.output[1].div_ceil(OUT));
    let computed = rows * columns * OUT * OUT;
    let weights = POSITIONS * geometry.channels * geometry.out_channels * size_of::<f32>();
    geometry.channels >= LEAST_CHANNELS
        && geometry.out_channels >= LEAST_CHANNELS
        && computed * 5 <= geometry.output_plane() * 8
        && geometry.batch.saturating_mul(rows * columns) >= weights / WEIGHTS_OF_TILE
}

/// Transformed weights, arranged for the microkernel; what is transformed is rounded to factors of this type.
#[derive(Debug)]
pub(super) struct Winograd<T> {
    /// Of one position.
    blocks: Blocks,
    /// `[position][block]...`
    weights: Vec<T>,
    /// For each lane of all vectors: the transform back starts from it.
    bias: Vec<f32>,
}

impl<T: Factor> Winograd<T> {
    /// From weights of shape `[out_channels, channels, 3, 3]`.
    ///
    /// # Panics
    /// When the channels do not fill lanes.
    pub(super) fn new(isa: Isa, weights: &[f32], shape: &[usize], bias: &[f32]) -> Winograd<T> {
        assert!(shape[1].is_multiple_of(T::DEPTH), "whole lanes of channels");
        let flat = [shape[0], shape[1], 1];
        let blocks = Blocks::new(&flat, 1, 1, isa.lanes(), T::DEPTH);
        let mut transformed = vec![0.0; POSITIONS * blocks.vectors() * blocks.vector_len()];
        let (all, to) = (&blocks, &mut transformed);
        run(
            isa,
            Kernels {
                weights,
                blocks: all,
                to,
            },
        );
        let mut factors = vec![T::default(); transformed.len()];
        let (from, to) = (&transformed, &mut factors);
        T::run(
            isa,
            Join {
                blocks: &blocks,
                from,
                to,
            },
        );
        Winograd {
            weights: factors,
            bias: blocks.arrange(bias),
            blocks,
        }
    }

    pub(super) fn run(&self, isa: Isa, geometry: &Geometry, x: &[T], epilogue: Epilogue<'_, T>, y: &mut [T]) {
        let row = geometry.output[1] * geometry.out_channels;
        let image = row * geometry.output[0];
        if y.is_empty() {
            return;
        }
        let (rows, columns) = (geometry.output[0].div_ceil(OUT), geometry.output[1].div_ceil(OUT));
        let scratch = SCRATCH * size_of::<f32>() / size_of::<T>();
        let most = (scratch / (POSITIONS * geometry.channels)).clamp(TILES.start, TILES.end);
        let even = (geometry.batch * rows * columns).div_ceil(2 * rayon::current_num_threads());
        let at_a_time = most.min(even).div_ceil(columns).max(1);
        let of_image = |(index, y): (usize, &mut [T])| {
            let parts = y.par_chunks_mut(at_a_time * OUT * row).enumerate();
            parts.for_each(|(part, y)| {
                let unit = Unit {
                    image: index,
                    first: part * at_a_time * OUT,
                    rows: y.len() / row,
                };
                let (to, len) = (y.as_mut_ptr(), y.len());
                let finish = Finish::new(epilogue, to, len, index * image + unit.first * row);
                let winograd = self;
                T::run(
                    isa,
                    Job {
                        winograd,
                        isa,
                        geometry,
                        x,
                        unit,
                        finish,
                        y: to,
                    },
                );
                epilogue.activate(y);
            });
        };
        y.par_chunks_mut(image).enumerate().for_each(of_image);
    }
}

/// Transforms kernels, a vector of filters at a time.
struct Kernels<'a> {
    /// `[filters, channels, 3, 3]`.
    weights: &'a [f32],
    blocks: &'a Blocks,
    /// `[position][block]...`
    to: &'a mut [f32],
}

impl Kernel for Kernels<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        const TAPS: usize = KERNEL * KERNEL;
        let (blocks, channels) = (self.blocks, self.blocks.channels);
        let position_len = blocks.vectors() * blocks.vector_len();
        assert!(
            self.weights.len() == blocks.filters * channels * TAPS
                && self.to.len() == POSITIONS * position_len
                && blocks.lanes == S::LANES,
            "whole kernels, and a place for each"
        );
        let mut taps = [[0.0f32; LANES]; TAPS];
        for block in blocks.each() {
            for index in 0..block.width * channels {
                let (vector, channel) = (index % block.width, index / block.width);
                let first = block.filter + vector * S::LANES;
                for lane in 0..S::LANES.min(blocks.filters - first) {
                    let kernel = &self.weights[((first + lane) * channels + channel) * TAPS..][..TAPS];
                    taps.iter_mut()
                        .zip(kernel)
                        .for_each(|(tap, &weight)| tap[lane] = weight);
                }
                let to = &mut self.to[block.vector * blocks.vector_len() + index * S::LANES..];
                // SAFETY: the caller has the instruction set; a vector exists in `to` at each position, as asserted.
                unsafe { transform_kernels::<S>(&taps, to.as_mut_ptr(), position_len) };
            }
        }
    }
}

/// The most lanes that a vector has.
const LANES: usize = 16;

/// # Safety
/// As for [`Simd`]; `to` has room for a vector at each position, `step` from each other.
#[inline(always)]
unsafe fn transform_kernels<S: Simd>(taps: &[[f32; LANES]; KERNEL * KERNEL], to: *mut f32, step: usize) {
    // SAFETY: the caller's promise; no vector has more than `LANES` lanes.
    unsafe {
        let mut half = [[S::splat(0.0); KERNEL]; IN];
        for column in 0..KERNEL {
            let mut g = [S::splat(0.0); KERNEL];
            for (row, value) in g.iter_mut().enumerate() {
                *value = S::load(taps[row * KERNEL + column].as_ptr());
            }
            for (row, value) in of_kernel::<S>(g).into_iter().enumerate() {
                half[row][column] = value;
            }
        }
        for (row, half) in half.into_iter().enumerate() {
            for (column, value) in of_kernel::<S>(half).into_iter().enumerate() {
                S::store(to.add((row * IN + column) * step), value);
            }
        }
    }
}

/// Rounds transformed kernels to factors, those of a lane next to each other.
struct Join<'a, T> {
    blocks: &'a Blocks,
    /// `[position][block][channel][vector][lane]`.
    from: &'a [f32],
    /// `[position][block][step][vector][lane][element of the step]`.
    to: &'a mut [T],
}

impl<T: Factor> ProductKernel<T> for Join<'_, T> {
    #[inline(always)]
    unsafe fn run<S: Simd, O: Operand<S, Element = T>>(self) {
        let blocks = self.blocks;
        let position_len = blocks.vectors() * blocks.vector_len();
        assert!(
            self.from.len() == self.to.len()
                && self.to.len() == POSITIONS * position_len
                && blocks.vector_len() == blocks.steps * T::DEPTH * S::LANES,
            "a place for each"
        );
        for position in 0..POSITIONS {
            for block in blocks.each() {
                let first = position * position_len + block.vector * blocks.vector_len();
                let channel = block.width * S::LANES;
                for step in 0..blocks.steps {
                    for vector in 0..block.width {
                        let from = first + step * T::DEPTH * channel + vector * S::LANES;
                        let to = first + (step * channel + vector * S::LANES) * T::DEPTH;
                        // SAFETY: the caller has the instruction set; the channels of the step exist.
                        unsafe {
                            let from = self.from.as_ptr().add(from);
                            let values = [0, (T::DEPTH - 1) * channel].map(|at| S::load(from.add(at)));
                            O::store_joined(self.to.as_mut_ptr().add(to), values, S::LANES);
                        }
                    }
                }
            }
        }
    }
}

struct Job<'a, T> {
    winograd: &'a Winograd<T>,
    isa: Isa,
    geometry: &'a Geometry,
    x: &'a [T],
    unit: Unit,
    finish: Finish<T>,
    /// The unit's part of the output.
    y: *mut T,
}

impl<T: Factor> ProductKernel<T> for Job<'_, T> {
    #[inline(always)]
    unsafe fn run<S: Simd, O: Operand<S, Element = T>>(self) {
        let (blocks, channels) = (&self.winograd.blocks, self.geometry.channels);
        let columns = self.geometry.output[1].div_ceil(OUT);
        let tiles = self.unit.rows.div_ceil(OUT) * columns;
        let input_step = spaced::<T>(tiles * channels);
        let mut inputs = Scratch::<T>::take(POSITIONS * input_step);
        let widest = blocks.vectors().min(super::blocks::WIDEST) * S::LANES;
        let product_step = spaced::<f32>(tiles * widest);
        let mut products = Scratch::<f32>::take(POSITIONS * product_step);
        // SAFETY: the caller has the instruction set.
        unsafe { self.transform_inputs::<S, O>(tiles, input_step, &mut inputs) };
        let windows: Vec<usize> = (0..tiles).map(|tile| tile * channels).collect();
        let nothing = vec![0.0f32; widest];
        let position_len = blocks.vectors() * blocks.vector_len();
        // All tiles of the unit by one block after the other.
        for block in blocks.each() {
            let most = most_pixels(self.isa)[block.width - 1];
            let parts = tiles.div_ceil(most);
            for position in 0..POSITIONS {
                let weights = position * position_len + block.vector * blocks.vector_len();
                for part in 0..parts {
                    let range = tiles * part / parts..tiles * (part + 1) / parts;
                    // SAFETY: the caller has the instruction set; the tiles of a position lie in `inputs`, its weights
                    // exist, and `products` has room for the widest block of each tile.
                    unsafe {
                        let tile = Tile {
                            x: inputs.as_ptr().add(position * input_step),
                            windows: &windows[range.clone()],
                            runs: &[0],
                            steps: blocks.steps,
                            weights: self.winograd.weights[weights..].as_ptr(),
                            bias: nothing.as_ptr(),
                            y: products.as_mut_ptr(),
                            place: position * product_step + range.start * widest,
                            stride: widest,
                            filters: block.width * S::LANES,
                            finish: Finish {
                                residual: std::ptr::null(),
                                low: f32::NEG_INFINITY,
                                high: f32::INFINITY,
                            },
                        };
                        tile.run::<S, O, Plain>(block.width);
                    }
                }
            }
            for tile in 0..tiles {
                for vector in 0..block.width {
                    let lane = block.filter + vector * S::LANES;
                    // SAFETY: as above; the outputs of the tile that exist lie in `y`.
                    unsafe {
                        let from = products.as_ptr().add(tile * widest + vector * S::LANES);
                        self.finish_tile::<S, O>(from, product_step, tile, columns, lane);
                    }
                }
            }
        }
    }
}

impl<T: Factor> Job<'_, T> {
    /// Transforms the inputs of all tiles, to positions that are `step` from each other.
    ///
    /// # Safety
    /// As for [`Simd`].
    #[inline(always)]
    unsafe fn transform_inputs<S: Simd, O: Operand<S, Element = T>>(
        &self,
        tiles: usize,
        step: usize,
        inputs: &mut [T],
    ) {
        let (geometry, channels) = (self.geometry, self.geometry.channels);
        assert!(
            tiles * channels <= step && inputs.len() >= POSITIONS * step,
            "room for all tiles"
        );
        let columns = geometry.output[1].div_ceil(OUT);
        let plane = geometry.input_plane() * channels;
        let image = &self.x[self.unit.image * plane..][..plane];
        let image = Image::new(image, geometry.input[0], geometry.input[1], channels);
        let outside = vec![T::default(); channels];
        for tile in 0..tiles {
            let top = (self.unit.first + tile / columns * OUT).wrapping_sub(geometry.pads[0]);
            let left = (tile % columns * OUT).wrapping_sub(geometry.pads[1]);
            let pixels = image.tile::<IN>(top, left, outside.as_ptr());
            // SAFETY: the caller has the instruction set; pixels and `outside` have all channels, and `inputs` has room
            // for those of the tile at each position, as asserted.
            unsafe {
                let destination = Destination {
                    to: inputs.as_mut_ptr().add(tile * channels),
                    step,
                };
                transform_tiles::<S, O, OfInputs, IN, 1>(&[pixels], channels, 0..IN, destination);
            }
        }
    }

    /// Transforms a vector of filters of a tile back, and stores it.
    ///
    /// # Safety
    /// As for [`Simd`]; `from` holds a vector at each position.
    #[inline(always)]
    unsafe fn finish_tile<S: Simd, O: Operand<S, Element = T>>(
        &self,
        from: *const f32,
        step: usize,
        tile: usize,
        columns: usize,
        lane: usize,
    ) {
        let geometry = self.geometry;
        let filters = geometry.out_channels;
        let (top, left) = (tile / columns * OUT, tile % columns * OUT);
        // SAFETY: the caller's promise; outputs outside of the unit's rows and of the width are left out.
        unsafe {
            let mut rows = [[S::splat(0.0); OUT]; IN];
            for (row, values) in rows.iter_mut().enumerate() {
                let mut m = [S::splat(0.0); IN];
                for (column, value) in m.iter_mut().enumerate() {
                    *value = S::load(from.add((row * IN + column) * step));
                }
                *values = outputs::<S>(m);
            }
            let bias = S::load(self.winograd.bias.as_ptr().add(lane));
            for column in 0..OUT {
                let mut m = [S::splat(0.0); IN];
                for (value, row) in m.iter_mut().zip(&rows) {
                    *value = row[column];
                }
                if left + column >= geometry.output[1] {
                    break;
                }
                for (row, value) in outputs::<S>(m).into_iter().enumerate() {
                    if top + row >= self.unit.rows {
                        break;
                    }
                    let pixel = (top + row) * geometry.output[1] + left + column;
                    let at = pixel * filters + lane;
                    self.finish
                        .store::<S, O>(S::add(value, bias), self.y, at, filters - lane);
                }
            }
        }
    }
}
