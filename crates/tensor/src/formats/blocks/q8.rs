//! GGUF's format of 32 codes of 8 bits.

use super::legacy::inverse;
use super::search::best_of;
use super::{
    BlockFamily, BlockFormat, F16_MAX, GroupGrid, bounded_block, exact_scale, extreme, f16_at, f16_bytes,
    moved_codes,
};

/// Elements of a block.
const LEN: usize = 32;

/// [`Q8_0`].
#[derive(Debug)]
pub struct Q8Zero;

/// Codes of 8 bits from -127 to 127 in two's complement, behind the scale: the largest magnitude over 127.
pub static Q8_0: Q8Zero = Q8Zero;

impl Q8Zero {
    /// The largest magnitude that can be encoded.
    pub const LIMIT: f32 = F16_MAX * 127.0;
}

impl BlockFormat for Q8Zero {
    fn name(&self) -> &'static str {
        "q8_0"
    }
    fn summary(&self) -> &'static str {
        "32 codes of 8 bits, 16-bit scale"
    }
    fn source(&self) -> &'static str {
        "GGUF"
    }
    fn block_len(&self) -> usize {
        LEN
    }
    fn block_bytes(&self) -> usize {
        2 + LEN
    }
    fn largest_error(&self) -> f32 {
        // Half a step, and 127 steps times half a unit of the 16-bit scale.
        0.5 / 127.0 + 0.5 / 1024.0
    }
    fn encode_block(&self, values: &[f32], _importance: Option<&[f32]>, bytes: &mut [u8]) {
        let x: [f32; LEN] = bounded_block(values, Self::LIMIT);
        let scale = extreme(&x).abs() / 127.0;
        encode_q8(&x, scale, bytes);
    }
    fn encode_block_searched(&self, values: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
        let x: [f32; LEN] = bounded_block(values, Self::LIMIT);
        let scale = extreme(&x).abs() / 127.0;
        let candidates = (0..=32).map(|step| scale * (1.0 + (step as f32 - 24.0) / 512.0));
        best_of(self, &x, importance, bytes, candidates, |scale, bytes| {
            // The codes nearest with the scale that is stored.
            encode_q8(&x, f16_at(&f16_bytes(scale)), bytes);
        });
    }
    fn encode_exactly(&self, codes: &[i32], grid: GroupGrid, bytes: &mut [u8]) -> bool {
        let codes = moved_codes::<LEN>(codes, 128 - grid.zero_point as i32, 255);
        let (Some(codes), Some(scale)) = (codes, exact_scale(grid.scale)) else {
            return false;
        };
        bytes[..2].copy_from_slice(&scale);
        for (byte, code) in bytes[2..2 + LEN].iter_mut().zip(codes) {
            *byte = code.wrapping_sub(128);
        }
        true
    }
    fn decode_block(&self, bytes: &[u8], values: &mut [f32]) {
        let scale = f16_at(bytes);
        for (value, &code) in values[..LEN].iter_mut().zip(&bytes[2..2 + LEN]) {
            *value = f32::from(code as i8) * scale;
        }
    }
    fn family(&self) -> BlockFamily<'_> {
        BlockFamily::Q8Zero(self)
    }
}

fn encode_q8(x: &[f32; LEN], scale: f32, bytes: &mut [u8]) {
    let inverse = inverse(scale);
    bytes[..2].copy_from_slice(&f16_bytes(scale));
    for (code, x) in bytes[2..2 + LEN].iter_mut().zip(x) {
        // Ties away from zero.
        *code = (x * inverse).round() as i8 as u8;
    }
}
