//! How the formats of 256 elements lie in bytes.

#![allow(
    clippy::needless_range_loop,
    reason = "elements of one index lie in several arrays"
)]

use super::affine_k::{AffineParts, LEN, PARTS};
use super::symmetric_k::{NOTHING, SymmetricParts};
use super::{f16_at, f16_bytes};

/// A block of codes of 2, 4 or 5 bits with offsets, in the order of the file.
#[inline(always)]
pub fn pack_affine(bits: u32, parts: &AffineParts, bytes: &mut [u8]) {
    let ([a, b], [c, d]) = (f16_bytes(parts.scale), f16_bytes(parts.offset));
    let scales = [a, b, c, d];
    if bits == 2 {
        for part in 0..PARTS {
            bytes[part] = parts.scales[part] | parts.offsets[part] << 4;
        }
        pack_2(&parts.codes, &mut bytes[16..80]);
        bytes[80..84].copy_from_slice(&scales);
        return;
    }
    bytes[..4].copy_from_slice(&scales);
    pack_sixes(&parts.scales, &parts.offsets, &mut bytes[4..16]);
    let low = if bits == 5 { 48 } else { 16 };
    if bits == 5 {
        for index in 0..32 {
            let high = |half: usize| parts.codes[half * 32 + index] >> 4 << half;
            bytes[16 + index] = (0..8).fold(0, |byte, half| byte | high(half));
        }
    }
    for (codes, bytes) in parts
        .codes
        .chunks_exact(64)
        .zip(bytes[low..low + 128].chunks_exact_mut(32))
    {
        for index in 0..32 {
            bytes[index] = codes[index] & 15 | codes[index + 32] << 4;
        }
    }
}

/// What [`pack_affine`] packed.
#[inline(always)]
pub fn unpack_affine(bits: u32, bytes: &[u8]) -> AffineParts {
    let at = if bits == 2 { 80 } else { 0 };
    let (scale, offset) = (f16_at(&bytes[at..]), f16_at(&bytes[at + 2..]));
    let mut parts = AffineParts {
        scale,
        offset,
        scales: [0; PARTS],
        offsets: [0; PARTS],
        codes: [0; LEN],
    };
    if bits == 2 {
        for part in 0..PARTS {
            (parts.scales[part], parts.offsets[part]) = (bytes[part] & 15, bytes[part] >> 4);
        }
        unpack_2(&bytes[16..80], &mut parts.codes);
        return parts;
    }
    unpack_sixes(&bytes[4..16], &mut parts.scales, &mut parts.offsets);
    let low = if bits == 5 { 48 } else { 16 };
    for (codes, bytes) in parts
        .codes
        .chunks_exact_mut(64)
        .zip(bytes[low..low + 128].chunks_exact(32))
    {
        for index in 0..32 {
            (codes[index], codes[index + 32]) = (bytes[index] & 15, bytes[index] >> 4);
        }
    }
    if bits == 5 {
        let high = &bytes[16..48];
        for (half, codes) in parts.codes.chunks_exact_mut(32).enumerate() {
            for index in 0..32 {
                codes[index] |= (high[index] >> half & 1) << 4;
            }
        }
    }
    parts
}

/// A block of codes of 3 or 6 bits, in the order of the file.
#[inline(always)]
pub fn pack_symmetric(bits: u32, parts: &SymmetricParts, bytes: &mut [u8]) {
    if bits == 6 {
        return pack_q6(parts, bytes);
    }
    // The high bits of codes: bit `n` of byte `i` is that of element `32 n + i`.
    for index in 0..32 {
        let high = |group: usize| (parts.codes[group * 32 + index] >> 2) << group;
        bytes[index] = (0..8).fold(0, |byte, group| byte | high(group));
    }
    pack_2(&parts.codes, &mut bytes[32..96]);
    let scales = parts.scales.map(|scale| (i32::from(scale) + 32) as u8);
    for index in 0..8 {
        bytes[96 + index] = scales[index] & 15 | scales[index + 8] << 4;
    }
    for index in 0..4 {
        let high = |group: usize| (scales[group * 4 + index] >> 4) << (2 * group);
        bytes[104 + index] = high(0) | high(1) | high(2) | high(3);
    }
    bytes[108..110].copy_from_slice(&f16_bytes(parts.scale));
}

/// What [`pack_symmetric`] packed.
#[inline(always)]
pub fn unpack_symmetric(bits: u32, bytes: &[u8]) -> SymmetricParts {
    if bits == 6 {
        return unpack_q6(bytes);
    }
    let mut parts = SymmetricParts {
        scale: f16_at(&bytes[108..]),
        ..NOTHING
    };
    unpack_2(&bytes[32..96], &mut parts.codes);
    for (group, codes) in parts.codes.chunks_exact_mut(32).enumerate() {
        for (code, byte) in codes.iter_mut().zip(bytes) {
            *code |= (byte >> group & 1) << 2;
        }
    }
    for part in 0..PARTS {
        let low = bytes[96 + part % 8] >> (4 * (part / 8)) & 15;
        let high = bytes[104 + part % 4] >> (2 * (part / 4)) & 3;
        parts.scales[part] = (low | high << 4) as i8 - 32;
    }
    parts
}

/// Four codes of 2 bits in a byte: of 128 elements, those 32 apart.
#[inline(always)]
fn pack_2(codes: &[u8; LEN], bytes: &mut [u8]) {
    for (codes, bytes) in codes.chunks_exact(128).zip(bytes.chunks_exact_mut(32)) {
        for (index, byte) in bytes.iter_mut().enumerate() {
            let code = |quarter: usize| (codes[quarter * 32 + index] & 3) << (2 * quarter);
            *byte = code(0) | code(1) | code(2) | code(3);
        }
    }
}

/// The codes that [`pack_2`] packed.
#[inline(always)]
fn unpack_2(bytes: &[u8], codes: &mut [u8; LEN]) {
    for (codes, bytes) in codes.chunks_exact_mut(128).zip(bytes.chunks_exact(32)) {
        for (quarter, codes) in codes.chunks_exact_mut(32).enumerate() {
            for (code, byte) in codes.iter_mut().zip(bytes) {
                *code = byte >> (2 * quarter) & 3;
            }
        }
    }
}

/// Eight scales and eight offsets of 6 bits in 12 bytes: the first four of each whole, with the high bits of the last
/// four above them; then the low bits of the last four.
#[inline(always)]
fn pack_sixes(scales: &[u8; PARTS], offsets: &[u8; PARTS], bytes: &mut [u8]) {
    for index in 0..4 {
        let (scale, offset) = (scales[index + 4], offsets[index + 4]);
        bytes[index] = scales[index] | (scale >> 4) << 6;
        bytes[index + 4] = offsets[index] | (offset >> 4) << 6;
        bytes[index + 8] = scale & 15 | offset << 4;
    }
}

#[inline(always)]
fn unpack_sixes(bytes: &[u8], scales: &mut [u8; PARTS], offsets: &mut [u8; PARTS]) {
    for index in 0..4 {
        (scales[index], offsets[index]) = (bytes[index] & 63, bytes[index + 4] & 63);
        scales[index + 4] = bytes[index + 8] & 15 | (bytes[index] >> 6) << 4;
        offsets[index + 4] = bytes[index + 8] >> 4 | (bytes[index + 4] >> 6) << 4;
    }
}

/// Of 128 elements, the low 4 bits of those 64 apart share a byte, and the high 2 bits of those 32 apart.
#[inline(always)]
fn pack_q6(parts: &SymmetricParts, bytes: &mut [u8]) {
    for (half, codes) in parts.codes.chunks_exact(128).enumerate() {
        let low = &mut bytes[half * 64..][..64];
        for (index, byte) in low.iter_mut().enumerate() {
            *byte = codes[index] & 15 | codes[index + 64] << 4;
        }
        let high = &mut bytes[128 + half * 32..][..32];
        for (index, byte) in high.iter_mut().enumerate() {
            let bits = |quarter: usize| codes[quarter * 32 + index] >> 4 << (2 * quarter);
            *byte = bits(0) | bits(1) | bits(2) | bits(3);
        }
    }
    for (byte, scale) in bytes[192..208].iter_mut().zip(parts.scales) {
        *byte = scale as u8;
    }
    bytes[208..210].copy_from_slice(&f16_bytes(parts.scale));
}

#[inline(always)]
fn unpack_q6(bytes: &[u8]) -> SymmetricParts {
    let mut parts = SymmetricParts {
        scale: f16_at(&bytes[208..]),
        ..NOTHING
    };
    for (half, codes) in parts.codes.chunks_exact_mut(128).enumerate() {
        let (low, high) = (&bytes[half * 64..][..64], &bytes[128 + half * 32..][..32]);
        for index in 0..64 {
            codes[index] = low[index] & 15;
            codes[index + 64] = low[index] >> 4;
        }
        for (quarter, codes) in codes.chunks_exact_mut(32).enumerate() {
            for (code, byte) in codes.iter_mut().zip(high) {
                *code |= (byte >> (2 * quarter) & 3) << 4;
            }
        }
    }
    for (scale, byte) in parts.scales.iter_mut().zip(&bytes[192..208]) {
        *scale = *byte as i8;
    }
    parts
}
