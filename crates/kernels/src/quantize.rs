//! Reals to codes and back: `real = (code - zero_point) * scale`.
//!
//! Rounding is to nearest, ties to even, and codes saturate, as ONNX `QuantizeLinear` has it. Division and products are
//! in `f32`, in the order of ONNX Runtime, so that codes agree with its codes.

use rayon::prelude::*;

use crate::vectorize::vectorized;

/// A type that holds codes.
pub trait Code: Copy + Send + Sync + 'static {
    /// Smallest code.
    const MIN: i32;
    /// Largest code.
    const MAX: i32;
    /// The code of a number in range.
    fn from_i32(code: i32) -> Self;
    /// The code as a number.
    fn to_i32(self) -> i32;
}

macro_rules! codes { ($($t:ty),*) => { $(impl Code for $t {
    const MIN: i32 = <$t>::MIN as i32;
    const MAX: i32 = <$t>::MAX as i32;
    #[inline(always)]
    fn from_i32(code: i32) -> Self { code as $t }
    #[inline(always)]
    fn to_i32(self) -> i32 { i32::from(self) }
})* } }
codes!(i8, u8, i16, u16);

/// Scale and zero point of a run of codes, and the codes that may be used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// Distance between neighbouring reals.
    pub scale: f32,
    /// The code of zero.
    pub zero_point: i32,
    /// Smallest code.
    pub min: i32,
    /// Largest code.
    pub max: i32,
}

impl Grid {
    /// All codes of a type.
    pub fn of<T: Code>(scale: f32, zero_point: i32) -> Grid {
        Grid {
            scale,
            zero_point,
            min: T::MIN,
            max: T::MAX,
        }
    }
}

/// `1.5 * 2^23`: added to a float of magnitude below 2^22, it leaves the nearest integer, ties to even, in the low bits.
const ROUNDER: f32 = 12_582_912.0;

/// Rounds to the nearest integer, ties to even; only for magnitudes below 2^22.
#[inline(always)]
pub(crate) fn round_even(value: f32) -> i32 {
    ((value + ROUNDER).to_bits() as i32).wrapping_sub(ROUNDER.to_bits() as i32)
}

/// Saturates and rounds a quotient. NaN becomes the smallest code.
#[inline(always)]
fn to_code(quotient: f32, grid: &Grid) -> i32 {
    let (low, high) = (
        (grid.min - grid.zero_point) as f32,
        (grid.max - grid.zero_point) as f32,
    );
    let above = if quotient > low { quotient } else { low };
    let within = if above < high { above } else { high };
    round_even(within).wrapping_add(grid.zero_point)
}

vectorized! {
    fn quantize_chunk<T: crate::quantize::Code>(x: &[f32], grid: &Grid, codes: &mut [T]) {
        for (code, x) in codes.iter_mut().zip(x) {
            *code = T::from_i32(to_code(x / grid.scale, grid));
        }
    }

    /// Reals to codes as [`quantize`] does it, with one scale and zero point per element (the columns of a matrix); the
    /// grid says which codes may be used.
    pub fn quantize_columns<T: crate::quantize::Code>(
        x: &[f32],
        scales: &[f32],
        zero_points: &[i32],
        grid: &Grid,
        codes: &mut [T],
    ) {
        for (((code, x), scale), zero_point) in codes.iter_mut().zip(x).zip(scales).zip(zero_points) {
            let grid = Grid { zero_point: *zero_point, ..*grid };
            *code = T::from_i32(to_code(x / scale, &grid));
        }
    }

    fn dequantize_chunk<T: crate::quantize::Code>(codes: &[T], scale: f32, zero_point: i32, x: &mut [f32]) {
        for (x, code) in x.iter_mut().zip(codes) {
            *x = code.to_i32().wrapping_sub(zero_point) as f32 * scale;
        }
    }

    /// Sums of products to codes: `round((sum + bias) * scale) + zero_point`.
    pub fn requantize<T: crate::quantize::Code>(sums: &[i32], bias: i32, grid: &Grid, codes: &mut [T]) {
        for (code, sum) in codes.iter_mut().zip(sums) {
            *code = T::from_i32(to_code(sum.wrapping_add(bias) as f32 * grid.scale, grid));
        }
    }

    /// As [`requantize`] without bias, with one scale per element (the columns of a product).
    pub fn requantize_columns<T: crate::quantize::Code>(sums: &[i32], scales: &[f32], grid: &Grid, codes: &mut [T]) {
        for ((code, sum), scale) in codes.iter_mut().zip(sums).zip(scales) {
            *code = T::from_i32(to_code(*sum as f32 * scale, grid));
        }
    }

    /// Sums of codes as codes: `round(a * a_scale + b * b_scale + offset)`, saturated. All in the scale of the result,
    /// zero points moved into the offset.
    pub fn add<T: crate::quantize::Code>(a: &[T], a_scale: f32, b: &[T], b_scale: f32, offset: f32, codes: &mut [T]) {
        let grid = Grid::of::<T>(1.0, 0);
        for ((code, a), b) in codes.iter_mut().zip(a).zip(b) {
            let sum = a_scale * a.to_i32() as f32 + (b_scale * b.to_i32() as f32 + offset);
            *code = T::from_i32(to_code(sum, &grid));
        }
    }

    /// Products of codes as codes: `round((a - a_zero) * (b - b_zero) * scale) + zero_point`, saturated.
    pub fn multiply<T: crate::quantize::Code>(a: &[T], a_zero: i32, b: &[T], b_zero: i32, grid: &Grid, codes: &mut [T]) {
        for ((code, a), b) in codes.iter_mut().zip(a).zip(b) {
            let product = a.to_i32().wrapping_sub(a_zero).wrapping_mul(b.to_i32().wrapping_sub(b_zero));
            *code = T::from_i32(to_code(product as f32 * grid.scale, grid));
        }
    }

    /// Sum of codes; wraps around beyond 32 bits.
    pub fn sum<T: crate::quantize::Code>(x: &[T]) -> i32 {
        let mut sum = 0i32;
        for x in x {
            sum = sum.wrapping_add(x.to_i32());
        }
        sum
    }

    /// Sums of the columns of `x` `[rows, sums.len()]`, less a zero point.
    pub fn sum_rows<T: crate::quantize::Code>(x: &[T], zero_point: i32, sums: &mut [i32]) {
        for x in x.chunks_exact(sums.len()) {
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum = sum.wrapping_add(x.to_i32().wrapping_sub(zero_point));
            }
        }
    }

    fn least_and_greatest(x: &[f32]) -> (f32, f32) {
        let (mut low, mut high) = ([0.0f32; 16], [0.0f32; 16]);
        let (chunks, rest) = x.as_chunks::<16>();
        for chunk in chunks {
            for lane in 0..16 {
                low[lane] = if chunk[lane] < low[lane] { chunk[lane] } else { low[lane] };
                high[lane] = if chunk[lane] > high[lane] { chunk[lane] } else { high[lane] };
            }
        }
        let low = low.iter().chain(rest).copied().fold(0.0, f32::min);
        (low, high.iter().chain(rest).copied().fold(0.0, f32::max))
    }
}

/// Elements that one task handles.
const CHUNK: usize = 1 << 15;

/// Reals to codes: `round(x / scale) + zero_point`, saturated. NaN becomes the smallest code.
pub fn quantize<T: Code>(x: &[f32], grid: &Grid, codes: &mut [T]) {
    if x.len() <= CHUNK {
        return quantize_chunk(x, grid, codes);
    }
    codes
        .par_chunks_mut(CHUNK)
        .zip(x.par_chunks(CHUNK))
        .for_each(|(codes, x)| quantize_chunk(x, grid, codes));
}

/// Codes to reals: `(code - zero_point) * scale`.
pub fn dequantize<T: Code>(codes: &[T], scale: f32, zero_point: i32, x: &mut [f32]) {
    if x.len() <= CHUNK {
        return dequantize_chunk(codes, scale, zero_point, x);
    }
    let chunks = x.par_chunks_mut(CHUNK).zip(codes.par_chunks(CHUNK));
    chunks.for_each(|(x, codes)| dequantize_chunk(codes, scale, zero_point, x));
}

/// The smallest and the largest element, widened to hold zero; NaN is passed over.
pub fn range_with_zero(x: &[f32]) -> (f32, f32) {
    let parts = x.par_chunks(CHUNK).map(least_and_greatest);
    parts.reduce(|| (0.0, 0.0), |a, b| (a.0.min(b.0), a.1.max(b.1)))
}

/// Scale and zero point for the whole range of `x` in unsigned bytes (ONNX `DynamicQuantizeLinear`).
pub fn dynamic_grid(x: &[f32]) -> Grid {
    let (low, high) = range_with_zero(x);
    let scale = if high == low { 1.0 } else { (high - low) / 255.0 };
    let zero_point = (-low / scale).clamp(0.0, 255.0).round_ties_even() as i32;
    Grid::of::<u8>(scale, zero_point)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, in plain `f64`-free scalar code.
    fn expected(x: f32, grid: &Grid) -> i32 {
        let quotient = x / grid.scale;
        let low = (grid.min - grid.zero_point) as f32;
        if quotient.is_nan() {
            return grid.min;
        }
        let bounded = quotient.clamp(low, (grid.max - grid.zero_point) as f32);
        bounded.round_ties_even() as i32 + grid.zero_point
    }

    fn check<T: Code>(scale: f32, zero_point: i32) {
        let special = [
            0.0,
            -0.0,
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            1e30,
            -1e30,
            f32::MIN_POSITIVE,
        ];
        let x: Vec<f32> = special
            .into_iter()
            .chain((-70_000..70_000).map(|i| i as f32 * scale / 2.0))
            .collect();
        let grid = Grid::of::<T>(scale, zero_point);
        let mut codes = vec![T::from_i32(0); x.len()];
        quantize(&x, &grid, &mut codes);
        for (x, code) in x.iter().zip(&codes) {
            assert_eq!(code.to_i32(), expected(*x, &grid), "{x} with {grid:?}");
        }
        let mut back = vec![0.0; x.len()];
        dequantize(&codes, scale, zero_point, &mut back);
        for (code, back) in codes.iter().zip(&back) {
            assert_eq!(*back, (code.to_i32() - zero_point) as f32 * scale);
        }
    }

    #[test]
    fn codes_are_the_nearest_even_and_saturate() {
        for scale in [1.0, 0.5, 0.1, 3.7e-3, 2.0e5] {
            check::<u8>(scale, 0);
            check::<u8>(scale, 128);
            check::<i8>(scale, -128);
            check::<i8>(scale, 5);
            check::<i16>(scale, 0);
            check::<u16>(scale, 65_535);
        }
    }

    #[test]
    fn sums_become_codes() {
        let sums = [i32::MIN + 2, -1002, -7, -5, -2, 1, 3, 998, i32::MAX - 2];
        let mut codes = [0u8; 9];
        requantize(&sums, 2, &Grid::of::<u8>(0.5, 10), &mut codes);
        assert_eq!(codes, [0, 0, 8, 8, 10, 12, 12, 255, 255]);
    }

    #[test]
    fn the_range_holds_zero_and_does_not_depend_on_the_split() {
        let x: Vec<f32> = (0..100_003).map(|i| ((i * 7919) % 1000) as f32 + 1.0).collect();
        assert_eq!(range_with_zero(&x), (0.0, 1000.0));
        assert_eq!(range_with_zero(&[f32::NAN, -3.0, 2.0]), (-3.0, 2.0));
        let grid = dynamic_grid(&[-1.0, 0.0, 254.0]);
        assert_eq!((grid.scale, grid.zero_point), (1.0, 1));
        assert_eq!(dynamic_grid(&[]).scale, 1.0);
    }
}
