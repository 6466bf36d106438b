//! GGUF's formats of three values, for networks trained so (BitNet b1.58, TriLM): 256 codes 0, 1, 2 for -1, 0, 1 times a
//! 16-bit scale, the largest magnitude, which lies behind the codes.

use super::legacy::inverse;
use super::{BlockFormat, F16_MAX, bounded_block, extreme, f16_at, f16_bytes};

/// Elements of a block.
const LEN: usize = 256;

/// A format of three values.
#[derive(Debug)]
pub struct TernaryK {
    name: &'static str,
    summary: &'static str,
    /// Runs of bytes: their number, and the elements of each byte, which lie this number apart.
    runs: &'static [(usize, usize)],
    /// Codes are digits of base 3 instead of 2 bits.
    digits: bool,
}

/// Five codes in a byte.
pub static TQ1_0: TernaryK = TernaryK {
    name: "tq1_0",
    summary: "256 ternary codes, five in a byte, 16-bit scale",
    runs: &[(32, 5), (16, 5), (4, 4)],
    digits: true,
};
/// Four codes in a byte.
pub static TQ2_0: TernaryK = TernaryK {
    name: "tq2_0",
    summary: "256 ternary codes, four in a byte, 16-bit scale",
    runs: &[(32, 4), (32, 4)],
    digits: false,
};

impl TernaryK {
    fn code_bytes(&self) -> usize {
        self.runs.iter().map(|run| run.0).sum()
    }

    /// A byte of up to five codes. The digits are a fraction of 243 in 256ths, rounded up, so that multiplying by 3 brings
    /// one digit after the other above the byte.
    fn join(&self, codes: impl Iterator<Item = u8>) -> u8 {
        if !self.digits {
            return codes
                .enumerate()
                .fold(0, |byte, (index, code)| byte | code << (2 * index));
        }
        let padded = codes.chain(std::iter::repeat(0)).take(5);
        let number = padded.fold(0u16, |number, code| number * 3 + u16::from(code));
        (number * 256).div_ceil(243) as u8
    }

    fn part(&self, byte: u8, index: usize) -> u8 {
        if !self.digits {
            return byte >> (2 * index) & 3;
        }
        let shifted = byte.wrapping_mul([1, 3, 9, 27, 81][index]);
        ((u16::from(shifted) * 3) >> 8) as u8
    }
}

impl BlockFormat for TernaryK {
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
        self.code_bytes() + 2
    }
    fn largest_error(&self) -> f32 {
        // Half a step; the scale's half unit.
        0.5 + 0.5 / 1024.0
    }
    fn encode_block(&self, values: &[f32], _importance: Option<&[f32]>, bytes: &mut [u8]) {
        let x: [f32; LEN] = bounded_block(values, F16_MAX);
        let scale = extreme(&x).abs();
        let inverse = inverse(scale);
        let (mut at, mut first) = (0, 0);
        for &(count, parts) in self.runs {
            for index in 0..count {
                let elements = (0..parts).map(|part| x[first + part * count + index]);
                bytes[at + index] = self.join(elements.map(|x| ((x * inverse).round() + 1.0) as u8));
            }
            at += count;
            first += count * parts;
        }
        bytes[at..at + 2].copy_from_slice(&f16_bytes(scale));
    }
    fn decode_block(&self, bytes: &[u8], values: &mut [f32]) {
        let scale = f16_at(&bytes[self.code_bytes()..]);
        let (mut at, mut first) = (0, 0);
        for &(count, parts) in self.runs {
            for (index, part) in (0..count).flat_map(|index| (0..parts).map(move |part| (index, part))) {
                let code = self.part(bytes[at + index], part);
                values[first + part * count + index] = (f32::from(code) - 1.0) * scale;
            }
            at += count;
            first += count * parts;
        }
    }
}
