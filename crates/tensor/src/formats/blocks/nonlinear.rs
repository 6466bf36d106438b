//! GGUF's formats of 32 codes of 4 bits that stand for unevenly spaced values. Codes lie as in `legacy`.

use super::fit::GROUP_EPSILON;
use super::legacy::{pack_32, unpack_32};
use super::search::best_of;
use super::{BlockFormat, F16_MAX, bounded_block, extreme, f16_at, f16_bytes};

/// Elements of a block.
const LEN: usize = 32;

/// [`IQ4_NL`].
#[derive(Debug)]
pub struct Nonlinear4;

/// 16 values from -127 to 113, close together near zero, times a 16-bit scale.
pub static IQ4_NL: Nonlinear4 = Nonlinear4;

/// What the codes stand for.
const LEVELS: [f32; 16] = [
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0,
];

/// The code of the nearest level, of two as near the higher.
fn nearest_level(x: f32) -> usize {
    let above = LEVELS.iter().position(|&level| level > x).unwrap_or(LEVELS.len());
    if above == 0 || above == LEVELS.len() {
        return above.min(LEVELS.len() - 1);
    }
    if x - LEVELS[above - 1] < LEVELS[above] - x {
        above - 1
    } else {
        above
    }
}

/// Sums of a fit: `(sum(w q x), sum(w q q))` for the levels `q` nearest to `x * inverse`.
fn sums(x: &[f32; LEN], weights: &[f32; LEN], inverse: f32) -> (f32, f32) {
    let (mut qx, mut qq) = (0.0, 0.0);
    for (x, weight) in x.iter().zip(weights) {
        let level = LEVELS[nearest_level(inverse * x)];
        qx += weight * level * x;
        qq += weight * level * level;
    }
    (qx, qq)
}

/// The scale with the least weighted squared error of those that bring the extreme element to one of the levels -134 to
/// -120, or 127 (the search of llama.cpp's `quantize_row_iq4_nl_impl`).
fn fit(x: &[f32; LEN], weights: &[f32; LEN]) -> f32 {
    let extreme = extreme(x);
    if extreme.abs() < GROUP_EPSILON {
        return 0.0;
    }
    let (qx, qq) = sums(x, weights, 1.0 / (-extreme / LEVELS[0]));
    let mut scale = if qq > 0.0 { qx / qq } else { 0.0 };
    let mut best = scale * qx;
    for step in -7..=7 {
        let (qx, qq) = sums(x, weights, (step as f32 + LEVELS[0]) / extreme);
        if qq > 0.0 && qx * qx > best * qq {
            scale = qx / qq;
            best = scale * qx;
        }
    }
    scale
}

fn encode_at(x: &[f32; LEN], (scale, stored): (f32, [u8; 2]), bytes: &mut [u8]) {
    let inverse = super::legacy::inverse(scale);
    bytes[..2].copy_from_slice(&stored);
    pack_32(4, &x.map(|x| nearest_level(inverse * x) as u8), &mut bytes[2..]);
}

impl BlockFormat for Nonlinear4 {
    fn name(&self) -> &'static str {
        "iq4_nl"
    }
    fn summary(&self) -> &'static str {
        "32 codes of 4 bits for uneven values, 16-bit scale"
    }
    fn source(&self) -> &'static str {
        "GGUF"
    }
    fn block_len(&self) -> usize {
        LEN
    }
    fn block_bytes(&self) -> usize {
        18
    }
    fn uses_importance(&self) -> bool {
        true
    }
    fn largest_error(&self) -> f32 {
        // The widest gap is 24 of 113, and the extreme element may lie past the ends by the fit's freedom.
        0.25
    }
    fn repeats(&self) -> bool {
        // The scale is fitted anew.
        false
    }
    fn encode_block(&self, values: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
        let x: [f32; LEN] = bounded_block(values, F16_MAX * 113.0);
        let mean = x.iter().fold(0.0, |sum, x| sum + x * x) * (2.0 / LEN as f32);
        let weights = match importance {
            Some(importance) => std::array::from_fn(|i| importance[i] * (mean + x[i] * x[i]).sqrt()),
            None => x.map(|x| x * x),
        };
        let scale = fit(&x, &weights);
        encode_at(&x, (scale, f16_bytes(scale)), bytes);
    }
    fn encode_block_searched(&self, values: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
        let x: [f32; LEN] = bounded_block(values, F16_MAX * 113.0);
        let scale = extreme(&x) / LEVELS[0];
        let factors = (0..=64).map(|step| 1.25 - step as f32 / 128.0);
        let candidates = factors.flat_map(|factor| [scale * factor, -scale * factor]);
        best_of(self, &x, importance, bytes, candidates, |scale, bytes| {
            let stored = f16_bytes(scale);
            encode_at(&x, (f16_at(&stored), stored), bytes);
        });
    }
    fn decode_block(&self, bytes: &[u8], values: &mut [f32]) {
        let scale = f16_at(bytes);
        for (value, code) in values[..LEN].iter_mut().zip(unpack_32(4, &bytes[2..])) {
            *value = scale * LEVELS[usize::from(code)];
        }
    }
}

/// [`MXFP4_GGUF`].
#[derive(Debug)]
pub struct GgufMxfp4;

/// OCP MXFP4 as GGUF stores it: the shared exponent, then 32 codes. llama.cpp rounds ties towards zero.
pub static MXFP4_GGUF: GgufMxfp4 = GgufMxfp4;

/// Twice the magnitudes of FP4 E2M1.
const DOUBLED: [f32; 8] = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0];

/// The largest magnitude that can be encoded: 12 times `2^124`.
const LARGEST: f32 = 12.0 * (1u128 << 124) as f32;

/// Half of `2^(exponent - 127)`.
fn half_power(exponent: u8) -> f32 {
    2f64.powi(i32::from(exponent) - 128) as f32
}

fn nearest_doubled(x: f32, scale: f32) -> u8 {
    let (mut best, mut least) = (0, x.abs());
    let signed = (0..16u8).map(|code| (code, decode_doubled(code) * scale));
    for (code, level) in signed.filter(|&(code, _)| code % 8 != 0) {
        let error = (level - x).abs();
        if error < least {
            (best, least) = (code, error);
        }
    }
    best
}

fn decode_doubled(code: u8) -> f32 {
    let magnitude = DOUBLED[usize::from(code & 7)];
    if code > 7 { -magnitude } else { magnitude }
}

impl BlockFormat for GgufMxfp4 {
    fn name(&self) -> &'static str {
        "mxfp4-gguf"
    }
    fn summary(&self) -> &'static str {
        "32 floats E2M1, power-of-two scale, in GGUF's order"
    }
    fn source(&self) -> &'static str {
        "GGUF"
    }
    fn block_len(&self) -> usize {
        LEN
    }
    fn block_bytes(&self) -> usize {
        17
    }
    fn largest_error(&self) -> f32 {
        // The largest magnitude is 4 to 8 times the scale, the largest level 6.
        0.25
    }
    fn encode_block(&self, values: &[f32], _importance: Option<&[f32]>, bytes: &mut [u8]) {
        let x: [f32; LEN] = bounded_block(values, LARGEST);
        let largest = extreme(&x).abs();
        // As a 32-bit float: just below a power of two it is rounded up to it.
        let exponent = (f64::from(largest).log2() as f32).floor();
        encode_mxfp4(
            &x,
            if largest > 0.0 {
                (exponent + 125.0) as u8
            } else {
                0
            },
            bytes,
        );
    }
    fn encode_block_searched(&self, values: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
        let x: [f32; LEN] = bounded_block(values, LARGEST);
        self.encode_block(&x, None, bytes);
        let near = [bytes[0].saturating_add(1).min(254), bytes[0].saturating_sub(1)];
        best_of(
            self,
            &x,
            importance,
            bytes,
            near.into_iter(),
            |exponent, bytes| {
                encode_mxfp4(&x, exponent, bytes);
            },
        );
    }
    fn decode_block(&self, bytes: &[u8], values: &mut [f32]) {
        let scale = half_power(bytes[0]);
        for (value, code) in values[..LEN].iter_mut().zip(unpack_32(4, &bytes[1..])) {
            *value = decode_doubled(code) * scale;
        }
    }
}

fn encode_mxfp4(x: &[f32; LEN], exponent: u8, bytes: &mut [u8]) {
    let scale = half_power(exponent);
    bytes[0] = exponent;
    pack_32(4, &x.map(|x| nearest_doubled(x, scale)), &mut bytes[1..]);
}
