//! Integers of 1 to 16 bits.

use super::{FormatKind, NumberFormat};
use crate::DType;

/// A two's complement or unsigned integer.
#[derive(Debug)]
pub struct Integer {
    name: &'static str,
    summary: &'static str,
    bits: u32,
    signed: bool,
    storage: DType,
}

macro_rules! integers {
    ($($constant:ident $name:literal $bits:literal $signed:literal $storage:ident $summary:literal;)*) => {
        $(#[doc = $summary]
        pub static $constant: Integer =
            Integer { name: $name, summary: $summary, bits: $bits, signed: $signed, storage: DType::$storage };)*
    };
}

integers! {
    INT16  "int16"  16 true  I16 "16-bit signed integers, -32768..32767";
    UINT16 "uint16" 16 false U16 "16-bit unsigned integers, 0..65535";
    INT8   "int8"   8  true  I8  "8-bit signed integers, -128..127";
    UINT8  "uint8"  8  false U8  "8-bit unsigned integers, 0..255";
    INT7   "int7"   7  true  I8  "7-bit signed integers in bytes, -64..63: products of two pairs never saturate 16 bits on CPUs without VNNI";
    UINT7  "uint7"  7  false U8  "7-bit unsigned integers in bytes, 0..127: for CPUs without VNNI";
    INT4   "int4"   4  true  I4  "4-bit signed integers, -8..7, two per byte";
    UINT4  "uint4"  4  false U4  "4-bit unsigned integers, 0..15, two per byte";
    INT6   "int6"   6  true  I8  "6-bit signed integers in bytes, -32..31";
    UINT6  "uint6"  6  false U8  "6-bit unsigned integers in bytes, 0..63";
    INT5   "int5"   5  true  I8  "5-bit signed integers in bytes, -16..15";
    UINT5  "uint5"  5  false U8  "5-bit unsigned integers in bytes, 0..31";
    INT3   "int3"   3  true  I4  "3-bit signed integers in 4 bits, -4..3";
    UINT3  "uint3"  3  false U4  "3-bit unsigned integers in 4 bits, 0..7";
    INT2   "int2"   2  true  I4  "2-bit signed integers in 4 bits, -2..1";
    UINT2  "uint2"  2  false U4  "2-bit unsigned integers in 4 bits, 0..3";
    UINT1  "uint1"  1  false U4  "1-bit unsigned integers in 4 bits, 0 and 1";
}

impl NumberFormat for Integer {
    fn name(&self) -> &'static str {
        self.name
    }
    fn summary(&self) -> &'static str {
        self.summary
    }
    fn kind(&self) -> FormatKind {
        FormatKind::Integer
    }
    fn bits(&self) -> u32 {
        self.bits
    }
    fn storage(&self) -> DType {
        self.storage
    }
    fn min_code(&self) -> i32 {
        if self.signed { -(1 << (self.bits - 1)) } else { 0 }
    }
    fn max_code(&self) -> i32 {
        if self.signed {
            (1 << (self.bits - 1)) - 1
        } else {
            (1 << self.bits) - 1
        }
    }
    fn max_value(&self) -> f32 {
        self.max_code() as f32
    }
    fn encode(&self, value: f32) -> u16 {
        // `as` maps NaN to 0.
        let code = (value.round_ties_even() as i32).clamp(self.min_code(), self.max_code());
        code as u16 & (u16::MAX >> (16 - self.storage.bits()))
    }
    fn decode(&self, code: u16) -> f32 {
        let unused = 16 - self.storage.bits() as u32;
        if self.signed {
            f32::from((code << unused) as i16 >> unused)
        } else {
            f32::from(code)
        }
    }
}
