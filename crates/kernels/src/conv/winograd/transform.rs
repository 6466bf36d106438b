//! The transforms of Winograd's F(4 x 4, 3 x 3): of inputs, kernels and products, and of gradients, which take the
//! transposes of the same matrices.

use std::ops::Range;

use crate::simd::{Operand, Simd};

/// Outputs of a tile along each side.
pub(in crate::conv) const OUT: usize = 4;
/// Inputs that a tile sees along each side.
pub(in crate::conv) const IN: usize = OUT + 2;
/// Elements of a kernel along each side.
pub(in crate::conv) const KERNEL: usize = 3;
/// Positions of a transformed tile.
pub(in crate::conv) const POSITIONS: usize = IN * IN;

/// The distance between positions of so many transformed elements each: not a large power of two, for then all positions
/// would compete for the same few places of the first-level cache.
pub(in crate::conv) fn spaced<T>(elements: usize) -> usize {
    let line = 64 / size_of::<T>();
    elements.next_multiple_of(line) + line
}

/// One image, `[height, width, channels]`.
#[derive(Clone, Copy)]
pub(in crate::conv) struct Image<'a, T> {
    pixels: &'a [T],
    height: usize,
    width: usize,
    channels: usize,
}

impl<'a, T> Image<'a, T> {
    /// # Panics
    /// When the sizes are not those of the pixels.
    pub(in crate::conv) fn new(
        pixels: &'a [T],
        height: usize,
        width: usize,
        channels: usize,
    ) -> Image<'a, T> {
        assert_eq!(pixels.len(), height * width * channels, "whole pixels");
        Image {
            pixels,
            height,
            width,
            channels,
        }
    }

    /// The pixels of a tile, `outside` where there is none. Positions above and left of the image have wrapped around.
    #[inline(always)]
    pub(in crate::conv) fn tile<const N: usize>(
        &self,
        top: usize,
        left: usize,
        outside: *const T,
    ) -> Pixels<T, N> {
        let mut tile = [[outside; N]; N];
        for (row, pointers) in tile.iter_mut().enumerate() {
            let row = top.wrapping_add(row);
            if row >= self.height {
                continue;
            }
            for (column, pointer) in pointers.iter_mut().enumerate() {
                let column = left.wrapping_add(column);
                if column < self.width {
                    let pixel = row * self.width + column;
                    *pointer = self.pixels.as_ptr().wrapping_add(pixel * self.channels);
                }
            }
        }
        tile
    }
}

/// What is done to each column and then to each row of a tile.
pub(in crate::conv) trait Transform<S: Simd, const N: usize> {
    /// # Safety
    /// As for [`Simd`].
    unsafe fn apply(d: [S::V; N]) -> [S::V; IN];
}

/// Where transformed tiles go.
#[derive(Clone, Copy)]
pub(in crate::conv) struct Destination<T> {
    /// The first channel of the tile at the first position.
    pub(in crate::conv) to: *mut T,
    /// From position to position.
    pub(in crate::conv) step: usize,
}

/// The pixels that a tile sees.
pub(in crate::conv) type Pixels<T, const N: usize> = [[*const T; N]; N];

/// Transforms all channels of a tile and stores those rows of the result, channel after channel; or of two tiles, whose
/// elements stand next to each other.
///
/// # Safety
/// As for [`Simd`]; pointers are valid for `channels` elements, as is the destination at each position of the rows, for
/// each tile.
#[inline(always)]
pub(in crate::conv) unsafe fn transform_tiles<
    S: Simd,
    O: Operand<S>,
    T: Transform<S, N>,
    const N: usize,
    const TILES: usize,
>(
    tiles: &[Pixels<O::Element, N>; TILES],
    channels: usize,
    rows: Range<usize>,
    destination: Destination<O::Element>,
) {
    let mut channel = 0;
    // SAFETY: the caller's promise; the last vector is read and written only as far as it goes.
    unsafe {
        while channel + S::LANES <= channels {
            transform_vector::<S, O, T, N, TILES, true>(tiles, channel, S::LANES, rows.clone(), destination);
            channel += S::LANES;
        }
        if channel < channels {
            let lanes = channels - channel;
            transform_vector::<S, O, T, N, TILES, false>(tiles, channel, lanes, rows, destination);
        }
    }
}

/// # Safety
/// As for [`transform_tiles`], for `lanes` elements from `channel` on: a vector if it is `WHOLE`.
#[inline(always)]
unsafe fn transform_vector<
    S: Simd,
    O: Operand<S>,
    T: Transform<S, N>,
    const N: usize,
    const TILES: usize,
    const WHOLE: bool,
>(
    tiles: &[Pixels<O::Element, N>; TILES],
    channel: usize,
    lanes: usize,
    rows: Range<usize>,
    destination: Destination<O::Element>,
) {
    let lanes = if WHOLE { S::LANES } else { lanes };
    // SAFETY: the caller's promise.
    unsafe {
        let mut halves = [[[S::splat(0.0); N]; IN]; TILES];
        for (tile, half) in tiles.iter().zip(&mut halves) {
            *half = transform_columns::<S, O, T, N>(tile, channel, lanes);
        }
        let first = rows.start;
        for row in rows {
            let mut results = [[S::splat(0.0); IN]; TILES];
            for (result, half) in results.iter_mut().zip(&halves) {
                *result = T::apply(half[row]);
            }
            for column in 0..IN {
                let position = (row - first) * IN + column;
                let to = destination.to.add(position * destination.step + channel * TILES);
                match TILES {
                    1 => O::store(to, results[0][column], lanes),
                    _ => O::store_joined(to, [results[0][column], results[TILES - 1][column]], lanes),
                }
            }
        }
    }
}

/// # Safety
/// As for [`transform_vector`].
#[inline(always)]
unsafe fn transform_columns<S: Simd, O: Operand<S>, T: Transform<S, N>, const N: usize>(
    tile: &Pixels<O::Element, N>,
    channel: usize,
    lanes: usize,
) -> [[S::V; N]; IN] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut half = [[S::splat(0.0); N]; IN];
        for column in 0..N {
            let mut d = [S::splat(0.0); N];
            for (value, row) in d.iter_mut().zip(tile) {
                *value = O::widen(row[column].add(channel), lanes);
            }
            for (row, value) in T::apply(d).into_iter().enumerate() {
                half[row][column] = value;
            }
        }
        half
    }
}

/// Of six inputs.
pub(in crate::conv) struct OfInputs;

impl<S: Simd> Transform<S, IN> for OfInputs {
    #[inline(always)]
    unsafe fn apply(d: [S::V; IN]) -> [S::V; IN] {
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
}

/// Of the gradient of four outputs: the transpose of [`outputs`].
pub(in crate::conv) struct OfOutputGradients;

impl<S: Simd> Transform<S, OUT> for OfOutputGradients {
    #[inline(always)]
    unsafe fn apply(d: [S::V; OUT]) -> [S::V; IN] {
        // SAFETY: the caller's promise.
        unsafe {
            let (two, four) = (S::splat(2.0), S::splat(4.0));
            let (even, odd) = (S::add(d[0], d[2]), S::add(d[1], d[3]));
            let even2 = S::multiply_add(four, d[2], d[0]);
            let odd2 = S::multiply_add(four, d[3], d[1]);
            [
                d[0],
                S::add(even, odd),
                S::subtract(even, odd),
                S::multiply_add(two, odd2, even2),
                S::negative_multiply_add(two, odd2, even2),
                d[3],
            ]
        }
    }
}

/// Six products in a row, transformed to four outputs.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
pub(in crate::conv) unsafe fn outputs<S: Simd>(m: [S::V; IN]) -> [S::V; OUT] {
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

/// Three elements of a kernel in a row, transformed.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
pub(in crate::conv) unsafe fn of_kernel<S: Simd>(g: [S::V; KERNEL]) -> [S::V; IN] {
    // SAFETY: the caller's promise.
    unsafe {
        let sixth = S::splat(1.0 / 6.0);
        let outer = S::multiply(sixth, S::add(g[0], g[2]));
        let wide = S::multiply_add(S::splat(1.0 / 24.0), g[0], S::multiply(sixth, g[2]));
        let middle = S::multiply(sixth, g[1]);
        let half = S::multiply(S::splat(1.0 / 12.0), g[1]);
        [
            S::multiply(S::splat(0.25), g[0]),
            S::subtract(S::subtract(S::splat(0.0), outer), middle),
            S::subtract(middle, outer),
            S::add(wide, half),
            S::subtract(wide, half),
            g[2],
        ]
    }
}

/// Six sums in a row, transformed to the gradients of three elements of a kernel: the transpose of [`of_kernel`].
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
pub(in crate::conv) unsafe fn kernel_gradients<S: Simd>(m: [S::V; IN]) -> [S::V; KERNEL] {
    // SAFETY: the caller's promise.
    unsafe {
        let (sixth, twelfth) = (S::splat(1.0 / 6.0), S::splat(1.0 / 12.0));
        let (sum, difference) = (S::add(m[1], m[2]), S::subtract(m[2], m[1]));
        let (sum2, difference2) = (S::add(m[3], m[4]), S::subtract(m[3], m[4]));
        let first = S::negative_multiply_add(sixth, sum, S::multiply(S::splat(0.25), m[0]));
        let middle = S::multiply(twelfth, difference2);
        [
            S::multiply_add(S::splat(1.0 / 24.0), sum2, first),
            S::multiply_add(sixth, difference, middle),
            S::multiply_add(sixth, S::subtract(sum2, sum), m[5]),
        ]
    }
}
