//! Block formats: a few elements that share scales, and how they lie in bytes.
//!
//! To add one: a row of facts in the file of its family, or a file with an `impl BlockFormat`, and a line in
//! [`BLOCK_FORMATS`]. The conformance tests in `tests/formats` then hold for it.

mod affine_k;
mod fit;
mod integer;
mod layout_k;
mod learned;
mod legacy;
mod nonlinear;
mod q8;
mod refine_k;
mod scaled;
mod search;
mod symmetric_k;
mod ternary;

pub use affine_k::{AffineK, AffineParts, Q2_K, Q4_K, Q5_K};
pub use fit::{AffineSearch, GROUP_EPSILON, fit_affine, fit_symmetric, round_between};
pub use integer::{
    GroupGrid, INT2_G64, INT3_G128, INT4_G32, INT4_G128, INT5_G128, INT6_G128, INT7_G128, INT8_G128,
    IntegerGroups, UINT2_G64, UINT3_G128, UINT4_G32, UINT4_G128, UINT8_G128,
};
pub use layout_k::{pack_affine, pack_symmetric, unpack_affine, unpack_symmetric};
pub use learned::{CODEBOOK3_G256, CODEBOOK4_G256, CodebookGroups};
pub use legacy::{Affine32, Q4_0, Q4_1, Q5_0, Q5_1, Symmetric32, inverse, pack_32, unpack_32};
pub use nonlinear::{GgufMxfp4, IQ4_NL, MXFP4_GGUF, Nonlinear4};
pub use q8::{Q8_0, Q8Zero};
pub use scaled::{
    APOT4_B64, BINARY_B256, LOG4_B64, MXFP4, MXFP6_E2M3, MXFP6_E3M2, MXFP8_E4M3, MXFP8_E5M2, MXINT8, NF4_B64,
    NVFP4, ScaleRule, ScaleType, ScaledBlocks, TERNARY_B256, mean_magnitude,
};
pub use symmetric_k::{Q3_K, Q6_K, SymmetricK, SymmetricParts};
pub use ternary::{TQ1_0, TQ2_0, TernaryK};

use half::f16;

/// A block format: a row of facts and the scalar conversion that every fast path is tested against.
///
/// Encoding takes any floats: NaN counts as 0, and what is beyond the largest value of the format (infinities too) as
/// that value. Decoding takes any bytes; scales that are NaN or infinite give such values.
pub trait BlockFormat: std::fmt::Debug + Send + Sync {
    /// The name that users write.
    fn name(&self) -> &'static str;
    /// One line for lists.
    fn summary(&self) -> &'static str;
    /// Where the format is defined.
    fn source(&self) -> &'static str;
    /// Elements of a block.
    fn block_len(&self) -> usize;
    /// Bytes of a whole block.
    fn block_bytes(&self) -> usize;
    /// Bytes of a row of `len` elements; `None` when the row does not end with a block and the format has no shorter
    /// ones, or on overflow.
    fn row_bytes(&self, len: usize) -> Option<usize> {
        let whole = len.is_multiple_of(self.block_len());
        whole
            .then_some(len / self.block_len())?
            .checked_mul(self.block_bytes())
    }
    /// True when encoding looks at importance.
    fn uses_importance(&self) -> bool {
        false
    }
    /// The largest error of an element when the block's largest magnitude is 1 and importance is not used, for scales
    /// far from the ends of their range.
    fn largest_error(&self) -> f32;
    /// True when encoding what was decoded gives the same values again.
    fn repeats(&self) -> bool {
        true
    }
    /// Encodes one block as its publisher does. `importance` has a weight of at least 0 for each element: how much its
    /// squared error counts.
    ///
    /// # Panics
    /// When `values` is not a block (or, if there are such, a shorter last one), or the other slices do not fit it.
    fn encode_block(&self, values: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]);
    /// As [`BlockFormat::encode_block`], looking longer for scales with a lower (weighted) squared error; never higher
    /// than that of `encode_block`.
    ///
    /// # Panics
    /// As `encode_block`.
    fn encode_block_searched(&self, values: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
        self.encode_block(values, importance, bytes);
    }
    /// Writes the block whose values are `(code - grid.zero_point) * grid.scale`, with codes as they are and the scale (and offset) as 16 bits
    /// say them; false, and nothing is written, where the format has no such block.
    ///
    /// # Panics
    /// When the slices are no block.
    fn encode_exactly(&self, _codes: &[i32], _grid: GroupGrid, _bytes: &mut [u8]) -> bool {
        false
    }
    /// The values of one block.
    ///
    /// # Panics
    /// When the slices are no block.
    fn decode_block(&self, bytes: &[u8], values: &mut [f32]);
    /// The family and its facts, for those who have a fast path for it.
    fn family(&self) -> BlockFamily<'_> {
        BlockFamily::Other
    }
    /// Bits of an element, scales included.
    fn bits_per_weight(&self) -> f64 {
        8.0 * self.block_bytes() as f64 / self.block_len() as f64
    }
}

/// The families of block formats that have fast paths.
#[derive(Clone, Copy, Debug)]
pub enum BlockFamily<'a> {
    /// [`Q8_0`].
    Q8Zero(&'a Q8Zero),
    /// [`Q4_0`] and [`Q5_0`].
    Symmetric32(&'a Symmetric32),
    /// [`Q4_1`] and [`Q5_1`].
    Affine32(&'a Affine32),
    /// [`Q2_K`], [`Q4_K`] and [`Q5_K`].
    AffineK(&'a AffineK),
    /// [`Q3_K`] and [`Q6_K`].
    SymmetricK(&'a SymmetricK),
    /// Microscaling formats, NF4 and others: codes behind one scale.
    Scaled(&'a ScaledBlocks<'a>),
    /// Groups of integers.
    Integer(&'a IntegerGroups),
    /// None of these.
    Other,
}

/// Every block format, with its usual block length.
pub static BLOCK_FORMATS: &[&dyn BlockFormat] = &[
    &Q8_0,
    &Q4_0,
    &Q4_1,
    &Q5_0,
    &Q5_1,
    &Q2_K,
    &Q3_K,
    &Q4_K,
    &Q5_K,
    &Q6_K,
    &IQ4_NL,
    &TQ1_0,
    &TQ2_0,
    &MXFP4_GGUF,
    &MXFP8_E4M3,
    &MXFP8_E5M2,
    &MXFP6_E2M3,
    &MXFP6_E3M2,
    &MXFP4,
    &MXINT8,
    &NVFP4,
    &NF4_B64,
    &LOG4_B64,
    &APOT4_B64,
    &TERNARY_B256,
    &BINARY_B256,
    &CODEBOOK4_G256,
    &CODEBOOK3_G256,
    &INT8_G128,
    &UINT8_G128,
    &INT7_G128,
    &INT6_G128,
    &INT5_G128,
    &INT4_G128,
    &INT4_G32,
    &UINT4_G128,
    &UINT4_G32,
    &INT3_G128,
    &UINT3_G128,
    &INT2_G64,
    &UINT2_G64,
];

/// The block format with this name.
pub fn block_format_by_name(name: &str) -> Option<&'static dyn BlockFormat> {
    BLOCK_FORMATS.iter().copied().find(|format| format.name() == name)
}

/// The largest finite 16-bit float.
const F16_MAX: f32 = 65504.0;

/// The nearest 16-bit float that is finite; bits in the order of files.
#[inline(always)]
fn f16_bytes(value: f32) -> [u8; 2] {
    f16::from_f32(value.clamp(-F16_MAX, F16_MAX)).to_le_bytes()
}

/// A scale in 16 bits, if they can say one of its size.
fn exact_scale(scale: f32) -> Option<[u8; 2]> {
    let stored = f16::from_f32(scale);
    // Numbers below the normal ones lose bits.
    stored.is_normal().then_some(stored.to_le_bytes())
}

/// The codes moved by `middle`, if all are from zero to `highest` then.
fn moved_codes<const N: usize>(codes: &[i32], middle: i32, highest: i32) -> Option<[u8; N]> {
    assert_eq!(codes.len(), N, "codes of a block");
    let moved = |code: &i32| code.checked_add(middle);
    let fits = codes
        .iter()
        .all(|code| moved(code).is_some_and(|code| (0..=highest).contains(&code)));
    fits.then(|| std::array::from_fn(|index| (codes[index] + middle) as u8))
}

/// The 16-bit float at the start of `bytes`.
#[inline(always)]
fn f16_at(bytes: &[u8]) -> f32 {
    f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

/// What an encoder sees of a value: NaN is 0, and nothing is beyond `limit`.
#[inline(always)]
pub fn bounded(value: f32, limit: f32) -> f32 {
    let number = if value.is_nan() { 0.0 } else { value };
    let below = if number < limit { number } else { limit };
    if below > -limit { below } else { -limit }
}

/// A block of `N` values, [`bounded`].
fn bounded_block<const N: usize>(values: &[f32], limit: f32) -> [f32; N] {
    assert_eq!(values.len(), N, "values of a block");
    std::array::from_fn(|index| bounded(values[index], limit))
}

/// The first element of the largest magnitude; 0 for none.
fn extreme(x: &[f32]) -> f32 {
    x.iter().fold(
        0.0,
        |best: f32, &value| if value.abs() > best.abs() { value } else { best },
    )
}

/// `sum(weight * (decoded - x)^2)`, weights 1 where there are none; in f64, in order.
fn weighted_error(x: &[f32], decoded: &[f32], weights: Option<&[f32]>) -> f64 {
    let square = |(x, y): (&f32, &f32)| (f64::from(*x) - f64::from(*y)).powi(2);
    let squares = x.iter().zip(decoded).map(square);
    match weights {
        Some(weights) => squares
            .zip(weights)
            .map(|(square, &weight)| square * f64::from(weight))
            .sum(),
        None => squares.sum(),
    }
}
