//! Groups of integers: a scale, for unsigned codes the code of zero, then codes packed from the low bits up:
//! `value = (code - zero_point) * scale`. The last group of a row may be shorter.

use super::scaled::row_bytes;
use super::search::best_of;
use super::{BlockFamily, BlockFormat, F16_MAX, bounded, f16_at, f16_bytes};
use crate::formats::{pack_into, unpack_into};

/// The facts of a format.
#[derive(Clone, Debug)]
pub struct IntegerGroups {
    name: &'static str,
    summary: &'static str,
    /// Bits of a code, 2 to 8.
    pub bits: u32,
    len: usize,
    /// A byte with the code of zero lies behind the scale, and codes are unsigned; else two's complement.
    pub zero_point: bool,
    /// The scale has 32 bits instead of 16.
    pub wide_scale: bool,
}

/// Scale and zero point of a group, as they are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupGrid {
    /// Distance of neighbouring values; 0 for a group of zeros.
    pub scale: f32,
    /// The code of zero.
    pub zero_point: f32,
}

macro_rules! groups {
    ($($constant:ident $name:literal $bits:literal $len:literal $zero_point:literal $summary:literal;)*) => {
        $(#[doc = $summary]
        pub static $constant: IntegerGroups = IntegerGroups {
            name: $name,
            summary: $summary,
            bits: $bits,
            len: $len,
            zero_point: $zero_point,
            wide_scale: false,
        };)*
    };
}

groups! {
    INT8_G128 "int8-g128" 8 128 false "128 signed codes of 8 bits, 16-bit scale";
    UINT8_G128 "uint8-g128" 8 128 true "128 unsigned codes of 8 bits, 16-bit scale, zero point";
    INT7_G128 "int7-g128" 7 128 false "128 signed codes of 7 bits, 16-bit scale";
    INT6_G128 "int6-g128" 6 128 false "128 signed codes of 6 bits, 16-bit scale";
    INT5_G128 "int5-g128" 5 128 false "128 signed codes of 5 bits, 16-bit scale";
    INT4_G128 "int4-g128" 4 128 false "128 signed codes of 4 bits, 16-bit scale";
    INT4_G32 "int4-g32" 4 32 false "32 signed codes of 4 bits, 16-bit scale";
    UINT4_G128 "uint4-g128" 4 128 true "128 unsigned codes of 4 bits, 16-bit scale, zero point";
    UINT4_G32 "uint4-g32" 4 32 true "32 unsigned codes of 4 bits, 16-bit scale, zero point";
    INT3_G128 "int3-g128" 3 128 false "128 signed codes of 3 bits, 16-bit scale";
    UINT3_G128 "uint3-g128" 3 128 true "128 unsigned codes of 3 bits, 16-bit scale, zero point";
    INT2_G64 "int2-g64" 2 64 false "64 signed codes of 2 bits, 16-bit scale";
    UINT2_G64 "uint2-g64" 2 64 true "64 unsigned codes of 2 bits, 16-bit scale, zero point";
}

impl IntegerGroups {
    /// Groups of `len` codes of 2 to 8 bits.
    ///
    /// # Panics
    /// When `len` is 0 or `bits` is not from 2 to 8.
    pub fn new(bits: u32, len: usize, zero_point: bool, wide_scale: bool) -> IntegerGroups {
        assert!(
            (2..=8).contains(&bits) && len > 0,
            "groups of codes of 2 to 8 bits"
        );
        IntegerGroups {
            name: "integer-groups",
            summary: "groups of integers",
            bits,
            len,
            zero_point,
            wide_scale,
        }
    }

    /// The smallest and the largest code.
    #[inline(always)]
    pub fn codes(&self) -> (f32, f32) {
        let count = (1u32 << self.bits) as f32;
        if self.zero_point {
            (0.0, count - 1.0)
        } else {
            (-count / 2.0, count / 2.0 - 1.0)
        }
    }

    /// The largest magnitude that can be encoded.
    pub fn limit(&self) -> f32 {
        let largest = if self.wide_scale {
            f32::MAX / 1024.0
        } else {
            F16_MAX
        };
        // With a zero point, the whole range is at most the largest magnitude.
        if self.zero_point {
            largest * 0.5
        } else {
            largest * self.codes().1
        }
    }

    /// Bytes before the codes.
    pub fn header_bytes(&self) -> usize {
        2 + 2 * usize::from(self.wide_scale) + usize::from(self.zero_point)
    }

    /// The nearest scale that can be stored; 0 for one that is too small to divide by.
    #[inline(always)]
    pub fn stored_scale(&self, scale: f32) -> f32 {
        let stored = match self.wide_scale {
            true => scale,
            false => f16_at(&f16_bytes(scale)),
        };
        if stored.is_normal() { stored } else { 0.0 }
    }

    /// Elements of a group.
    pub fn group_len(&self) -> usize {
        self.len
    }

    /// The grid whose codes span `low..=high`, which holds zero; with signed codes, whose largest code is the larger
    /// magnitude.
    #[inline(always)]
    pub fn grid(&self, low: f32, high: f32) -> GroupGrid {
        let (min, max) = self.codes();
        let scale = if self.zero_point {
            (high - low) / (max - min)
        } else {
            high.max(-low) / max
        };
        let scale = self.stored_scale(scale);
        if scale == 0.0 {
            return GroupGrid {
                scale: 0.0,
                zero_point: 0.0,
            };
        }
        let zero_point = if self.zero_point {
            (-low / scale).round_ties_even().clamp(min, max)
        } else {
            0.0
        };
        GroupGrid { scale, zero_point }
    }

    /// The code of a value, as a number: the nearest, ties to even.
    #[inline(always)]
    pub fn code(&self, x: f32, grid: GroupGrid) -> f32 {
        let (min, max) = self.codes();
        if grid.scale == 0.0 {
            return 0.0;
        }
        super::round_between(x / grid.scale, min - grid.zero_point, max - grid.zero_point) + grid.zero_point
    }

    /// Stores the grid before the codes.
    #[inline(always)]
    pub fn store(&self, grid: GroupGrid, bytes: &mut [u8]) {
        if self.wide_scale {
            bytes[..4].copy_from_slice(&grid.scale.to_le_bytes());
        } else {
            bytes[..2].copy_from_slice(&f16_bytes(grid.scale));
        }
        if self.zero_point {
            bytes[self.header_bytes() - 1] = grid.zero_point as u8;
        }
    }

    /// The grid before the codes.
    #[inline(always)]
    pub fn load(&self, bytes: &[u8]) -> GroupGrid {
        let scale = match self.wide_scale {
            true => f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            false => f16_at(bytes),
        };
        let zero_point = if self.zero_point {
            f32::from(bytes[self.header_bytes() - 1])
        } else {
            0.0
        };
        GroupGrid { scale, zero_point }
    }

    /// The number that the bits of a code stand for.
    #[inline(always)]
    pub fn number(&self, code: u8) -> f32 {
        let sign = 1u8 << (self.bits - 1);
        if self.zero_point {
            f32::from(code)
        } else {
            f32::from(code ^ sign) - f32::from(sign)
        }
    }

    fn encode_at(&self, x: &[f32], grid: GroupGrid, bytes: &mut [u8]) {
        self.store(grid, bytes);
        let codes = x.iter().map(|&x| self.code(x, grid) as i32 as u8);
        pack_into(self.bits as usize, codes, &mut bytes[self.header_bytes()..]);
    }

    fn bounded(&self, values: &[f32]) -> Vec<f32> {
        assert!(values.len() <= self.len, "values of a group");
        let limit = self.limit();
        values.iter().map(|&value| bounded(value, limit)).collect()
    }
}

/// The smallest and the largest element, widened to hold zero.
fn range(x: &[f32]) -> (f32, f32) {
    x.iter().fold((0.0, 0.0), |(low, high): (f32, f32), &x| {
        (low.min(x), high.max(x))
    })
}

impl BlockFormat for IntegerGroups {
    fn name(&self) -> &'static str {
        self.name
    }
    fn summary(&self) -> &'static str {
        self.summary
    }
    fn source(&self) -> &'static str {
        "ONNX"
    }
    fn block_len(&self) -> usize {
        self.len
    }
    fn block_bytes(&self) -> usize {
        self.header_bytes() + (self.len * self.bits as usize).div_ceil(8)
    }
    fn row_bytes(&self, len: usize) -> Option<usize> {
        row_bytes(self, self.header_bytes(), self.bits, len)
    }
    fn largest_error(&self) -> f32 {
        let (min, max) = self.codes();
        // Half a step of a range of at most 2; the zero point is rounded by as much.
        let step = if self.zero_point {
            2.0 / (max - min)
        } else {
            0.5 / max
        };
        step + 2.0 / 2048.0
    }
    fn repeats(&self) -> bool {
        // With a zero point, the ends of the range move with it.
        !self.zero_point
    }
    fn encode_block(&self, values: &[f32], _importance: Option<&[f32]>, bytes: &mut [u8]) {
        let x = self.bounded(values);
        let (low, high) = range(&x);
        self.encode_at(&x, self.grid(low, high), bytes);
    }
    /// Tries narrower ranges: clips outliers where that lowers the error.
    fn encode_block_searched(&self, values: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
        let x = self.bounded(values);
        let (low, high) = range(&x);
        let shares = (1..=40).map(|step| 1.0 - step as f32 / 64.0);
        let grids = shares.map(|share| self.grid(low * share, high * share));
        best_of(self, &x, importance, bytes, grids, |grid, bytes| {
            self.encode_at(&x, grid, bytes)
        });
    }
    fn decode_block(&self, bytes: &[u8], values: &mut [f32]) {
        let (grid, mut codes) = (self.load(bytes), vec![0; values.len()]);
        unpack_into(self.bits as usize, &bytes[self.header_bytes()..], &mut codes);
        for (value, code) in values.iter_mut().zip(codes) {
            *value = (self.number(code) - grid.zero_point) * grid.scale;
        }
    }
    fn family(&self) -> BlockFamily<'_> {
        BlockFamily::Integer(self)
    }
}
