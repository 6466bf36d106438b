//! GGUF's formats of 32 elements: a 16-bit scale, for some a 16-bit offset, then codes.
//!
//! Codes of 4 bits lie in 16 bytes, element `j` in the low bits of byte `j` and element `16 + j` in the high bits; a fifth
//! bit of each lies before them, in 32 bits. Rounding, and the product with the inverse of the scale as it is before it
//! becomes a 16-bit float, are llama.cpp's.

use super::fit::{AffineSearch, fit_affine, fit_symmetric};
use super::search::best_of;
use super::{
    BlockFamily, BlockFormat, F16_MAX, GroupGrid, bounded_block, exact_scale, extreme, f16_at, f16_bytes,
    moved_codes,
};

/// Elements of a block.
const LEN: usize = 32;

/// `1 / scale`; 0 where that is not finite.
#[inline(always)]
pub fn inverse(scale: f32) -> f32 {
    let inverse = 1.0 / scale;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// Codes around a middle: `(code - middle) * scale`; the extreme element of the block has code 0.
#[derive(Debug)]
pub struct Symmetric32 {
    name: &'static str,
    summary: &'static str,
    /// Bits of a code, 4 or 5.
    pub bits: u32,
}

/// Codes of 4 bits around 8.
pub static Q4_0: Symmetric32 = Symmetric32 {
    name: "q4_0",
    summary: "32 codes of 4 bits, 16-bit scale",
    bits: 4,
};
/// Codes of 5 bits around 16.
pub static Q5_0: Symmetric32 = Symmetric32 {
    name: "q5_0",
    summary: "32 codes of 5 bits, 16-bit scale",
    bits: 5,
};

impl Symmetric32 {
    /// The code of 0.
    #[inline(always)]
    pub fn middle(&self) -> f32 {
        (1u32 << (self.bits - 1)) as f32
    }

    /// The largest magnitude that can be encoded.
    pub fn limit(&self) -> f32 {
        F16_MAX * self.middle()
    }

    fn encode_at(&self, x: &[f32; LEN], scale: f32, bytes: &mut [u8]) {
        let (inverse, middle) = (inverse(scale), self.middle());
        let highest = 2.0 * middle - 1.0;
        // Ties away from the extreme element's end.
        let codes = x.map(|x| (x * inverse + (middle + 0.5)).min(highest) as u8);
        bytes[..2].copy_from_slice(&f16_bytes(scale));
        pack_32(self.bits, &codes, &mut bytes[2..]);
    }
}

impl BlockFormat for Symmetric32 {
    fn name(&self) -> &'static str {
        self.name
    }
    fn summary(&self) -> &'static str {
        self.summary
    }
    fn source(&self) -> &'static str {
        "GGUF"
    }
    fn block_len(&self) -> usize {
        LEN
    }
    fn block_bytes(&self) -> usize {
        2 + packed_32(self.bits)
    }
    fn uses_importance(&self) -> bool {
        true
    }
    fn largest_error(&self) -> f32 {
        // There is no code for the extreme element's opposite: a whole step.
        1.0 / self.middle() + 0.5 / 1024.0
    }
    fn encode_block(&self, values: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
        let x: [f32; LEN] = bounded_block(values, self.limit());
        let Some(importance) = importance else {
            return self.encode_at(&x, extreme(&x) / -self.middle(), bytes);
        };
        let (weights, mut codes) = (spread_weights(&x, importance), [0; LEN]);
        let scale = fit_symmetric(&x, &weights, self.middle(), &mut codes);
        bytes[..2].copy_from_slice(&f16_bytes(scale));
        pack_32(self.bits, &codes, &mut bytes[2..]);
    }
    fn encode_block_searched(&self, values: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
        let x: [f32; LEN] = bounded_block(values, self.limit());
        let scale = extreme(&x) / -self.middle();
        // Codes from one more than there are to three fewer on the extreme element's side, and the other way around.
        let factors = (0..=64).map(|step| 1.25 - step as f32 / 128.0);
        let candidates = factors.flat_map(|factor| [scale * factor, -scale * factor]);
        best_of(self, &x, importance, bytes, candidates, |scale, bytes| {
            self.encode_at(&x, f16_at(&f16_bytes(scale)), bytes);
        });
    }
    fn encode_exactly(&self, codes: &[i32], grid: GroupGrid, bytes: &mut [u8]) -> bool {
        let middle = self.middle() as i32;
        let codes = moved_codes(codes, middle - grid.zero_point as i32, 2 * middle - 1);
        let (Some(codes), Some(scale)) = (codes, exact_scale(grid.scale)) else {
            return false;
        };
        bytes[..2].copy_from_slice(&scale);
        pack_32(self.bits, &codes, &mut bytes[2..]);
        true
    }
    fn decode_block(&self, bytes: &[u8], values: &mut [f32]) {
        let (scale, middle) = (f16_at(bytes), self.middle());
        let codes = unpack_32(self.bits, &bytes[2..]);
        for (value, code) in values[..LEN].iter_mut().zip(codes) {
            *value = (f32::from(code) - middle) * scale;
        }
    }
    fn family(&self) -> BlockFamily<'_> {
        BlockFamily::Symmetric32(self)
    }
}

/// Codes from the smallest element up: `code * scale + offset`.
#[derive(Debug)]
pub struct Affine32 {
    name: &'static str,
    summary: &'static str,
    /// Bits of a code, 4 or 5.
    pub bits: u32,
}

/// Codes of 4 bits.
pub static Q4_1: Affine32 = Affine32 {
    name: "q4_1",
    summary: "32 codes of 4 bits, 16-bit scale and offset",
    bits: 4,
};
/// Codes of 5 bits.
pub static Q5_1: Affine32 = Affine32 {
    name: "q5_1",
    summary: "32 codes of 5 bits, 16-bit scale and offset",
    bits: 5,
};

impl Affine32 {
    /// The largest magnitude that can be encoded.
    pub const LIMIT: f32 = F16_MAX;

    /// The largest code.
    #[inline(always)]
    pub fn highest(&self) -> f32 {
        ((1u32 << self.bits) - 1) as f32
    }

    fn encode_at(&self, x: &[f32; LEN], (scale, offset): (f32, f32), bytes: &mut [u8]) {
        let (inverse, highest) = (inverse(scale), self.highest());
        let codes = x.map(|x| ((x - offset) * inverse + 0.5).clamp(0.0, highest) as u8);
        self.store(scale, offset, &codes, bytes);
    }

    fn store(&self, scale: f32, offset: f32, codes: &[u8; LEN], bytes: &mut [u8]) {
        bytes[..2].copy_from_slice(&f16_bytes(scale));
        bytes[2..4].copy_from_slice(&f16_bytes(offset));
        pack_32(self.bits, codes, &mut bytes[4..]);
    }
}

impl BlockFormat for Affine32 {
    fn name(&self) -> &'static str {
        self.name
    }
    fn summary(&self) -> &'static str {
        self.summary
    }
    fn source(&self) -> &'static str {
        "GGUF"
    }
    fn block_len(&self) -> usize {
        LEN
    }
    fn block_bytes(&self) -> usize {
        4 + packed_32(self.bits)
    }
    fn uses_importance(&self) -> bool {
        true
    }
    fn largest_error(&self) -> f32 {
        // Half a step of the range, at most 2; half a unit of both 16-bit numbers.
        1.0 / self.highest() + 1.5 / 1024.0
    }
    fn repeats(&self) -> bool {
        // The range of what was decoded is rounded once more.
        false
    }
    fn encode_block(&self, values: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
        let x: [f32; LEN] = bounded_block(values, Self::LIMIT);
        let Some(importance) = importance else {
            let low = x
                .iter()
                .copied()
                .fold(f32::MAX, |low, x| if x < low { x } else { low });
            let high = x
                .iter()
                .copied()
                .fold(-f32::MAX, |high, x| if x > high { x } else { high });
            return self.encode_at(&x, ((high - low) / self.highest(), low), bytes);
        };
        let search = AffineSearch {
            max_code: self.highest(),
            first: -0.9,
            step: 0.05,
            steps: 36,
            absolute: false,
        };
        let (weights, mut codes) = (spread_weights(&x, importance), [0; LEN]);
        let (scale, offset) = fit_affine(&x, &weights, &search, &mut codes);
        self.store(scale, -offset, &codes, bytes);
    }
    fn encode_block_searched(&self, values: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
        let x: [f32; LEN] = bounded_block(values, Self::LIMIT);
        let low = x.iter().copied().fold(f32::MAX, f32::min);
        let high = x.iter().copied().fold(-f32::MAX, f32::max);
        let (middle, half) = ((low + high) / 2.0, (high - low) / 2.0);
        let inset = |step: i32| half * (1.0 - step as f32 / 24.0);
        let ends = (-1..=7).flat_map(|a| (-1..=7).map(move |b| (a, b)));
        let lines = ends.map(|(a, b)| {
            let (low, high) = (middle - inset(a), middle + inset(b));
            ((high - low) / self.highest(), low)
        });
        best_of(self, &x, importance, bytes, lines, |(scale, offset), bytes| {
            let stored = (f16_at(&f16_bytes(scale)), f16_at(&f16_bytes(offset)));
            self.encode_at(&x, stored, bytes);
        });
    }
    /// Signed codes are moved above zero; what is not a whole number of 16-bit steps in the offset is rounded away.
    fn encode_exactly(&self, codes: &[i32], grid: GroupGrid, bytes: &mut [u8]) -> bool {
        let highest = self.highest() as i32;
        let negative = codes.iter().any(|code| *code < 0);
        let middle = if negative { (highest + 1) / 2 } else { 0 };
        let offset = -(grid.zero_point + middle as f32) * grid.scale;
        let codes = moved_codes(codes, middle, highest);
        let (Some(codes), Some(_), true) = (codes, exact_scale(grid.scale), offset.abs() <= F16_MAX) else {
            return false;
        };
        self.store(grid.scale, offset, &codes, bytes);
        true
    }
    fn decode_block(&self, bytes: &[u8], values: &mut [f32]) {
        let (scale, offset) = (f16_at(bytes), f16_at(&bytes[2..]));
        let codes = unpack_32(self.bits, &bytes[4..]);
        for (value, code) in values[..LEN].iter_mut().zip(codes) {
            *value = f32::from(code) * scale + offset;
        }
    }
    fn family(&self) -> BlockFamily<'_> {
        BlockFamily::Affine32(self)
    }
}

/// llama.cpp's weights: importance times the root of the mean square plus the square. There the mean is the row's, here
/// the block's.
fn spread_weights(x: &[f32; LEN], importance: &[f32]) -> [f32; LEN] {
    assert_eq!(importance.len(), LEN, "importance of a block");
    let mean = x.iter().map(|x| x * x).sum::<f32>() / LEN as f32;
    std::array::from_fn(|index| importance[index] * (mean + x[index] * x[index]).sqrt())
}

/// Bytes of 32 codes.
const fn packed_32(bits: u32) -> usize {
    if bits == 5 { 20 } else { 16 }
}

/// 32 codes of 4 or 5 bits as the module describes.
#[inline(always)]
pub fn pack_32(bits: u32, codes: &[u8; LEN], bytes: &mut [u8]) {
    let mut at = 0;
    if bits == 5 {
        let mut high = 0u32;
        for (index, code) in codes.iter().enumerate() {
            high |= u32::from(code >> 4) << index;
        }
        bytes[..4].copy_from_slice(&high.to_le_bytes());
        at = 4;
    }
    for (index, byte) in bytes[at..at + 16].iter_mut().enumerate() {
        *byte = codes[index] & 15 | codes[index + 16] << 4;
    }
}

/// The codes that [`pack_32`] packed.
#[inline(always)]
pub fn unpack_32(bits: u32, bytes: &[u8]) -> [u8; LEN] {
    let (high, low) = match bits {
        5 => (
            u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            &bytes[4..20],
        ),
        _ => (0, &bytes[..16]),
    };
    let mut codes = [0; LEN];
    for index in 0..16 {
        codes[index] = low[index] & 15 | (((high >> index) & 1) as u8) << 4;
        codes[index + 16] = low[index] >> 4 | (((high >> (index + 16)) & 1) as u8) << 4;
    }
    codes
}
