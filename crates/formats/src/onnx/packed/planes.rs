//! Codes as planes of bits.

use std::ops::RangeInclusive;

use bantam_tensor::{DType, Tensor};

/// Codes that share a byte of a plane.
pub(super) const GROUP: usize = 8;

/// How codes are sums: what is added to all of them, and what each plane's bits are worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Planes {
    pub(super) worth: Vec<i32>,
    pub(super) offset: i32,
}

impl Planes {
    /// Number of planes.
    pub(super) fn bits(&self) -> usize {
        self.worth.len()
    }

    /// The sums that codes of a tensor of 4 or 8 bits are; `None` where planes save nothing.
    pub(super) fn of(tensor: &Tensor) -> Option<Planes> {
        let wide = tensor.dtype().bits() == 8;
        let (low, high, step) = range(tensor)?;
        // What was 8 bits wide when it was written is so again when it is read: five planes at least say so.
        let plain = twos_complement(low, high).max(if wide { 5 } else { 1 });
        let steps = (high - low) / step;
        let shifted = (i32::BITS - steps.leading_zeros()).max(1);
        let planes = match plain <= shifted || wide {
            true => Planes::plain(plain, low < 0),
            false => Planes {
                worth: (0..shifted).map(|plane| step << plane).collect(),
                offset: low,
            },
        };
        (planes.bits() < tensor.dtype().bits()).then_some(planes)
    }

    fn plain(bits: u32, signed: bool) -> Planes {
        let mut worth: Vec<i32> = (0..bits).map(|plane| 1 << plane).collect();
        if let Some(last) = worth.last_mut().filter(|_| signed) {
            *last = -*last;
        }
        Planes { worth, offset: 0 }
    }

    /// The planes' bytes, `[groups of 8 codes, planes]`; what is missing in the last group are zeros.
    pub(super) fn encode(&self, tensor: &Tensor) -> Vec<u8> {
        let groups = tensor.len().div_ceil(GROUP);
        let mut bytes = vec![0u8; groups * self.bits()];
        for index in 0..tensor.len() {
            let raw = self.raw(code(tensor, index));
            let at = index / GROUP * self.bits();
            for (plane, byte) in bytes[at..at + self.bits()].iter_mut().enumerate() {
                *byte |= ((raw >> plane & 1) as u8) << (index % GROUP);
            }
        }
        bytes
    }

    /// The bits that make a code.
    fn raw(&self, code: i32) -> i32 {
        match self.worth[0] {
            // Two's complement: the bits are there.
            1 if self.offset == 0 => code,
            step => (code - self.offset) / step,
        }
    }

    /// The bytes of the codes that bytes of planes stand for, `count` of them; `None` where one is not among these.
    pub(super) fn decode(
        &self,
        bytes: &[u8],
        count: usize,
        codes_of_type: &RangeInclusive<i32>,
    ) -> Option<Vec<u8>> {
        let mut codes = Vec::with_capacity(count);
        for planes in bytes.chunks_exact(self.bits()) {
            for place in 0..GROUP.min(count - codes.len()) {
                let bits = planes.iter().zip(&self.worth);
                let sum: i32 = bits
                    .map(|(byte, worth)| i32::from(byte >> place & 1) * worth)
                    .sum();
                let code = sum + self.offset;
                codes.push(codes_of_type.contains(&code).then_some(code as u8)?);
            }
        }
        Some(codes)
    }
}

/// Bits of the two's complement, or of the number where none is below zero.
fn twos_complement(low: i32, high: i32) -> u32 {
    let magnitude = |code: i32| i32::BITS - if code < 0 { !code } else { code }.leading_zeros();
    magnitude(low).max(magnitude(high)) + u32::from(low < 0)
}

/// The smallest and the largest code, and the largest step that leads from one to all others.
fn range(tensor: &Tensor) -> Option<(i32, i32, i32)> {
    let mut used = [false; 512];
    (0..tensor.len()).for_each(|index| used[(code(tensor, index) + 256) as usize] = true);
    let codes = || (-256..256).filter(|code| used[(code + 256) as usize]);
    let (low, high) = (codes().next()?, codes().next_back()?);
    let step = codes().fold(0, |step, code| greatest_common_divisor(code - low, step));
    Some((low, high, step.max(1)))
}

fn greatest_common_divisor(a: i32, b: i32) -> i32 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

/// A code of a tensor of 4 or 8 bits.
fn code(tensor: &Tensor, index: usize) -> i32 {
    let bytes = tensor.as_bytes();
    let nibble = || i32::from(bytes[index / 2] >> (4 * (index % 2)) & 15);
    match tensor.dtype() {
        DType::I8 => i32::from(bytes[index].cast_signed()),
        DType::I4 => (nibble() ^ 8) - 8,
        DType::U4 => nibble(),
        _ => i32::from(bytes[index]),
    }
}

/// Bits of every byte, `[256, 8]`, the lowest first.
pub(super) fn table() -> Vec<i8> {
    let bits = |byte: usize| (0..GROUP).map(move |place| (byte >> place & 1) as i8);
    (0..256).flat_map(bits).collect()
}
