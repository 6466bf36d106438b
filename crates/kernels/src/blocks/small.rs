//! GGUF's formats of 32 elements.

use bantam_tensor::formats::blocks::{Affine32, Q8Zero, Symmetric32, bounded, inverse, pack_32, unpack_32};
use half::f16;

use crate::vectorize::vectorized;

/// Elements of a block.
const LEN: usize = 32;
/// The largest finite 16-bit float.
const F16_MAX: f32 = 65504.0;

#[inline(always)]
fn f16_bytes(value: f32) -> [u8; 2] {
    f16::from_f32(value.clamp(-F16_MAX, F16_MAX)).to_le_bytes()
}

#[inline(always)]
fn f16_at(bytes: &[u8]) -> f32 {
    f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

/// A bounded block with its least and greatest element.
#[inline(always)]
fn read(x: &[f32], limit: f32) -> ([f32; LEN], f32, f32) {
    let mut block = [0.0; LEN];
    for (to, x) in block.iter_mut().zip(x) {
        *to = bounded(*x, limit);
    }
    let (mut low, mut high) = ([f32::MAX; 16], [f32::MIN; 16]);
    for chunk in block.as_chunks::<16>().0 {
        for lane in 0..16 {
            low[lane] = if chunk[lane] < low[lane] {
                chunk[lane]
            } else {
                low[lane]
            };
            high[lane] = if chunk[lane] > high[lane] {
                chunk[lane]
            } else {
                high[lane]
            };
        }
    }
    let (mut least, mut greatest) = (low[0], high[0]);
    for lane in 1..16 {
        least = if low[lane] < least { low[lane] } else { least };
        greatest = if high[lane] > greatest {
            high[lane]
        } else {
            greatest
        };
    }
    (block, least, greatest)
}

/// Rounds to the nearest integer, ties away from zero, for magnitudes below 2^22.
#[inline(always)]
fn round_away(value: f32) -> i32 {
    // The largest float below a half: with a half itself, the number just below it would become 1.
    const HALF: f32 = 0.499_999_97;
    to_integer(value + HALF.copysign(value))
}

/// Without its fraction.
#[inline(always)]
fn to_integer(value: f32) -> i32 {
    // SAFETY: bounded values times an inverse scale are finite and within a few hundred.
    unsafe { value.to_int_unchecked::<i32>() }
}

/// The first of the elements that are the extreme in magnitude, or of the zeros that are the least.
#[inline(always)]
fn first_of(block: &[f32; LEN], a: f32, b: f32) -> f32 {
    for &x in block {
        if x == a || x == b {
            return x;
        }
    }
    a
}

vectorized! {
    pub(super) fn encode_q8(x: &[f32], bytes: &mut [u8]) {
        for (x, bytes) in x.chunks_exact(LEN).zip(bytes.chunks_exact_mut(2 + LEN)) {
            let (block, low, high) = read(x, Q8Zero::LIMIT);
            let scale = if high > -low { high } else { -low }.abs() / 127.0;
            let inverse = inverse(scale);
            let (head, codes) = bytes.split_at_mut(2);
            head.copy_from_slice(&f16_bytes(scale));
            for index in 0..LEN {
                codes[index] = round_away(block[index] * inverse) as u8;
            }
        }
    }

    pub(super) fn encode_symmetric(format: &Symmetric32, x: &[f32], bytes: &mut [u8]) {
        let (middle, limit) = (format.middle(), format.limit());
        let size = bytes.len() / (x.len() / LEN).max(1);
        for (x, bytes) in x.chunks_exact(LEN).zip(bytes.chunks_exact_mut(size)) {
            let (block, low, high) = read(x, limit);
            let extreme = if high > -low {
                high
            } else if -low > high {
                low
            } else if high == 0.0 {
                0.0
            } else {
                first_of(&block, low, high)
            };
            let scale = extreme / -middle;
            let inverse = inverse(scale);
            let mut codes = [0u8; LEN];
            for index in 0..LEN {
                let shifted = block[index] * inverse + (middle + 0.5);
                let highest = 2.0 * middle - 1.0;
                codes[index] = to_integer(if shifted < highest { shifted } else { highest }) as u8;
            }
            bytes[..2].copy_from_slice(&f16_bytes(scale));
            pack_32(format.bits, &codes, &mut bytes[2..]);
        }
    }

    pub(super) fn encode_affine(format: &Affine32, x: &[f32], bytes: &mut [u8]) {
        let highest = format.highest();
        let size = bytes.len() / (x.len() / LEN).max(1);
        for (x, bytes) in x.chunks_exact(LEN).zip(bytes.chunks_exact_mut(size)) {
            let (block, low, high) = read(x, Affine32::LIMIT);
            let low = if low == 0.0 { first_of(&block, 0.0, 0.0) } else { low };
            let scale = (high - low) / highest;
            let inverse = inverse(scale);
            let mut codes = [0u8; LEN];
            for index in 0..LEN {
                let shifted = (block[index] - low) * inverse + 0.5;
                codes[index] = to_integer(if shifted < highest { shifted } else { highest }) as u8;
            }
            bytes[..2].copy_from_slice(&f16_bytes(scale));
            bytes[2..4].copy_from_slice(&f16_bytes(low));
            pack_32(format.bits, &codes, &mut bytes[4..]);
        }
    }

    pub(super) fn decode_q8(bytes: &[u8], values: &mut [f32]) {
        for (values, bytes) in values.chunks_exact_mut(LEN).zip(bytes.chunks_exact(2 + LEN)) {
            let scale = f16_at(bytes);
            for (value, code) in values.iter_mut().zip(&bytes[2..]) {
                *value = f32::from(*code as i8) * scale;
            }
        }
    }

    pub(super) fn decode_symmetric(format: &Symmetric32, bytes: &[u8], values: &mut [f32]) {
        let (middle, size) = (format.middle(), bytes.len() / (values.len() / LEN).max(1));
        for (values, bytes) in values.chunks_exact_mut(LEN).zip(bytes.chunks_exact(size)) {
            let (scale, codes) = (f16_at(bytes), unpack_32(format.bits, &bytes[2..]));
            for (value, code) in values.iter_mut().zip(codes) {
                *value = (f32::from(code) - middle) * scale;
            }
        }
    }

    pub(super) fn decode_affine(format: &Affine32, bytes: &[u8], values: &mut [f32]) {
        let size = bytes.len() / (values.len() / LEN).max(1);
        for (values, bytes) in values.chunks_exact_mut(LEN).zip(bytes.chunks_exact(size)) {
            let (scale, offset) = (f16_at(bytes), f16_at(&bytes[2..]));
            for (value, code) in values.iter_mut().zip(unpack_32(format.bits, &bytes[4..])) {
                *value = f32::from(code) * scale + offset;
            }
        }
    }
}
