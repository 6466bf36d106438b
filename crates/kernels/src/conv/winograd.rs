//! 3 x 3 convolution with a quarter of the products: Winograd's F(4 x 4, 3 x 3).
//!
//! A tile of 4 x 4 outputs sees 6 x 6 inputs. These are transformed, multiplied by the transformed kernel element by
//! element (a matrix product over the channels for each of the 36 positions), and transformed back: 36 products for what
//! takes 144 directly (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015). Rounding errors are
//! about ten times those of the direct form; the tests hold them below 4e-6 of the sum of the products' magnitudes.

use super::Geometry;
use super::blocks::Blocks;
use super::dense::{Tile, most_pixels};
use super::packed::{Epilogue, Finish};
use super::source::{Unit, balanced};
use crate::Isa;
use crate::scratch::Scratch;
use crate::simd::{Kernel, Simd, run};
use rayon::prelude::*;

/// Outputs of a tile along each side.
const OUT: usize = 4;
/// Inputs that a tile sees along each side.
const IN: usize = OUT + 2;
/// Positions of a transformed tile.
const POSITIONS: usize = IN * IN;

/// What each transformed row takes of the three rows of the kernel.
const KERNEL: [[f64; 3]; IN] = [
    [0.25, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

/// Transformed input elements of a unit of work: they stay in the second-level cache, mostly.
const SCRATCH: usize = 128 * 1024;
/// Tiles of a unit of work: enough to go through all weights for.
const TILES: std::ops::Range<usize> = 24..64;
/// Bytes of weights for each tile at most: they are read once for a few tiles, from a far cache.
const WEIGHTS_OF_TILE: usize = 1 << 20;

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
    geometry.channels >= 16
        && geometry.out_channels >= 16
        && computed * 5 <= geometry.output_plane() * 8
        && geometry.batch.saturating_mul(rows * columns) >= weights / WEIGHTS_OF_TILE
}

/// Transformed weights, arranged for the microkernel.
#[derive(Debug)]
pub(super) struct Winograd {
    /// Of one position.
    blocks: Blocks,
    /// `[position][block]...`
    weights: Vec<f32>,
    /// For each lane of all vectors: the transform back starts from it.
    bias: Vec<f32>,
}

impl Winograd {
    /// From weights of shape `[out_channels, channels, 3, 3]`.
    pub(super) fn new(isa: Isa, weights: &[f32], shape: &[usize], bias: &[f32]) -> Winograd {
        let flat = [shape[0], shape[1], 1];
        let blocks = Blocks::new(&flat, 1, 1, isa.lanes(), 1);
        let count = weights.len() / 9;
        let mut transformed = vec![0.0; POSITIONS * count];
        transform_kernels(weights, &mut transformed);
        let planes = transformed.par_chunks_exact(count.max(1));
        let packed: Vec<Vec<f32>> = planes.map(|values| blocks.pack(values, &flat)).collect();
        Winograd {
            weights: packed.concat(),
            bias: blocks.arrange(bias),
            blocks,
        }
    }

    pub(super) fn run(
        &self,
        isa: Isa,
        geometry: &Geometry,
        x: &[f32],
        epilogue: Epilogue<'_>,
        y: &mut [f32],
    ) {
        let row = geometry.output[1] * geometry.out_channels;
        let image = row * geometry.output[0];
        if y.is_empty() {
            return;
        }
        let (rows, columns) = (geometry.output[0].div_ceil(OUT), geometry.output[1].div_ceil(OUT));
        let most = (SCRATCH / (POSITIONS * geometry.channels)).clamp(TILES.start, TILES.end);
        let even = (geometry.batch * rows * columns).div_ceil(2 * rayon::current_num_threads());
        let at_a_time = match geometry.batch {
            1 => balanced(
                rows,
                2 * most.min(even).div_ceil(columns),
                rayon::current_num_threads(),
            ),
            _ => most.min(even).div_ceil(columns).max(1),
        };
        let of_image = |(index, y): (usize, &mut [f32])| {
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
                run(
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

/// Kernels that are transformed together.
const TOGETHER: usize = 8;

crate::vectorize::vectorized! {
    /// Kernels of 3 x 3 to `[position][kernel]`.
    fn transform_kernels(kernels: &[f32], transformed: &mut [f32]) {
        let count = kernels.len() / 9;
        for first in (0..count).step_by(TOGETHER) {
            let lanes = TOGETHER.min(count - first);
            let mut taps = [[0f64; TOGETHER]; 9];
            for lane in 0..lanes {
                for (tap, taps) in taps.iter_mut().enumerate() {
                    taps[lane] = f64::from(kernels[(first + lane) * 9 + tap]);
                }
            }
            for row in 0..IN {
                let mut down = [[0f64; TOGETHER]; 3];
                for (column, down) in down.iter_mut().enumerate() {
                    for lane in 0..TOGETHER {
                        down[lane] = KERNEL[row][0] * taps[column][lane]
                            + KERNEL[row][1] * taps[3 + column][lane]
                            + KERNEL[row][2] * taps[6 + column][lane];
                    }
                }
                for column in 0..IN {
                    let [a, b, c] = KERNEL[column];
                    let mut values = [0f32; TOGETHER];
                    for lane in 0..TOGETHER {
                        values[lane] = (a * down[0][lane] + b * down[1][lane] + c * down[2][lane]) as f32;
                    }
                    let at = (row * IN + column) * count + first;
                    transformed[at..at + lanes].copy_from_slice(&values[..lanes]);
                }
            }
        }
    }
}

struct Job<'a> {
    winograd: &'a Winograd,
    isa: Isa,
    geometry: &'a Geometry,
    x: &'a [f32],
    unit: Unit,
    finish: Finish,
    /// The unit's part of the output.
    y: *mut f32,
}

impl Kernel for Job<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (blocks, channels) = (&self.winograd.blocks, self.geometry.channels);
        let columns = self.geometry.output[1].div_ceil(OUT);
        let tiles = self.unit.rows.div_ceil(OUT) * columns;
        // One vector more, because whole vectors are written at the end too.
        let mut inputs = Scratch::<f32>::take(POSITIONS * tiles * channels + S::LANES);
        let widest = blocks.vectors().min(super::blocks::WIDEST) * S::LANES;
        let mut products = Scratch::<f32>::take(POSITIONS * tiles * widest);
        for tile in 0..tiles {
            // SAFETY: the caller has the instruction set; `inputs` has room for the tile at each position.
            unsafe { self.transform_tile::<S>(tile, columns, tiles, &mut inputs) };
        }
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
                            x: inputs.as_ptr().add(position * tiles * channels),
                            windows: &windows[range.clone()],
                            runs: &[0],
                            steps: channels,
                            weights: self.winograd.weights[weights..].as_ptr(),
                            bias: nothing.as_ptr(),
                            y: products.as_mut_ptr(),
                            place: (position * tiles + range.start) * widest,
                            stride: widest,
                            filters: block.width * S::LANES,
                            finish: Finish {
                                residual: std::ptr::null(),
                                low: f32::NEG_INFINITY,
                                high: f32::INFINITY,
                            },
                        };
                        tile.run::<S>(block.width);
                    }
                }
            }
            for tile in 0..tiles {
                for vector in 0..block.width {
                    let lane = block.filter + vector * S::LANES;
                    // SAFETY: as above; the outputs of the tile that exist lie in `y`.
                    unsafe {
                        let from = products.as_ptr().add(tile * widest + vector * S::LANES);
                        self.finish_tile::<S>(from, tiles * widest, tile, columns, lane);
                    }
                }
            }
        }
    }
}

impl Job<'_> {
    /// Transforms the inputs of a tile.
    ///
    /// # Safety
    /// As for [`Simd`]; `inputs` holds all tiles at each position, and one vector more.
    #[inline(always)]
    unsafe fn transform_tile<S: Simd>(&self, tile: usize, columns: usize, tiles: usize, inputs: &mut [f32]) {
        let (geometry, channels) = (self.geometry, self.geometry.channels);
        let (height, width) = (geometry.input[0], geometry.input[1]);
        let top = self.unit.first + tile / columns * OUT;
        let left = tile % columns * OUT;
        // Null in the padding.
        let mut seen = [std::ptr::null::<f32>(); POSITIONS];
        for (index, seen) in seen.iter_mut().enumerate() {
            let row = (top + index / IN).checked_sub(geometry.pads[0]);
            let column = (left + index % IN).checked_sub(geometry.pads[1]);
            if let (Some(row), Some(column)) = (row, column)
                && row < height
                && column < width
            {
                let pixel = (self.unit.image * height + row) * width + column;
                *seen = self.x[pixel * channels..][..channels].as_ptr();
            }
        }
        let mut channel = 0;
        while channel < channels {
            // SAFETY: `lanes` channels of each pixel; whole vectors are written, the last of which reach into the next
            // tile, which is written later, or past the end of all positions.
            unsafe {
                let lanes = (channels - channel).min(S::LANES);
                let mut rows = [[S::splat(0.0); IN]; IN];
                for (row, values) in rows.iter_mut().enumerate() {
                    let mut d = [S::splat(0.0); IN];
                    for (column, value) in d.iter_mut().enumerate() {
                        let from = seen[row * IN + column];
                        if !from.is_null() {
                            *value = if lanes == S::LANES {
                                S::load(from.add(channel))
                            } else {
                                S::load_first(from.add(channel), lanes)
                            };
                        }
                    }
                    *values = transform::<S>(d);
                }
                for column in 0..IN {
                    let mut d = [S::splat(0.0); IN];
                    for (value, row) in d.iter_mut().zip(&rows) {
                        *value = row[column];
                    }
                    for (row, value) in transform::<S>(d).into_iter().enumerate() {
                        let place = ((row * IN + column) * tiles + tile) * channels + channel;
                        let to = inputs.as_mut_ptr().add(place);
                        if lanes == S::LANES {
                            S::store(to, value);
                        } else {
                            S::store_first(to, value, lanes);
                        }
                    }
                }
                channel += lanes;
            }
        }
    }

    /// Transforms a vector of filters of a tile back, and stores it.
    ///
    /// # Safety
    /// As for [`Simd`]; `from` holds a vector at each position.
    #[inline(always)]
    unsafe fn finish_tile<S: Simd>(
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
                *values = transform_back::<S>(m);
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
                for (row, value) in transform_back::<S>(m).into_iter().enumerate() {
                    if top + row >= self.unit.rows {
                        break;
                    }
                    let pixel = (top + row) * geometry.output[1] + left + column;
                    let at = pixel * filters + lane;
                    self.finish
                        .store::<S>(S::add(value, bias), self.y, at, filters - lane);
                }
            }
        }
    }
}

/// Six inputs in a row, transformed.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
unsafe fn transform<S: Simd>(d: [S::V; IN]) -> [S::V; IN] {
    // SAFETY: the caller's promise.
    unsafe {
        let (two, four, five) = (S::splat(2.0), S::splat(4.0), S::splat(5.0));
        let even = S::negative_multiply_add(four, d[2], d[4]);
        let odd = S::negative_multiply_add(four, d[1], d[3]);
        let difference = S::subtract(d[4], d[2]);
        let other = S::subtract(d[3], d[1]);
        [
            S::multiply_add(four, d[0], S::negative_multiply_add(five, d[2], d[4])),
            S::add(even, odd),
            S::subtract(even, odd),
            S::multiply_add(two, other, difference),
            S::negative_multiply_add(two, other, difference),
            S::multiply_add(four, d[1], S::negative_multiply_add(five, d[3], d[5])),
        ]
    }
}

/// Six products in a row, transformed to four outputs.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
unsafe fn transform_back<S: Simd>(m: [S::V; IN]) -> [S::V; OUT] {
    // SAFETY: the caller's promise.
    unsafe {
        let (two, four, eight) = (S::splat(2.0), S::splat(4.0), S::splat(8.0));
        let (sum, difference) = (S::add(m[1], m[2]), S::subtract(m[1], m[2]));
        let (sum2, difference2) = (S::add(m[3], m[4]), S::subtract(m[3], m[4]));
        [
            S::add(S::add(m[0], sum), sum2),
            S::multiply_add(two, difference2, difference),
            S::multiply_add(four, sum2, sum),
            S::add(S::multiply_add(eight, difference2, difference), m[5]),
        ]
    }
}
