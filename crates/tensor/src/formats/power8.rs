//! [`F8E8M0`]: powers of two, for scales.

use super::{FormatKind, NumberFormat};
use crate::DType;

/// [`F8E8M0`].
#[derive(Debug)]
pub struct PowerOfTwo8;

/// `2^(code - 127)`, code 255 is NaN; neither zero nor sign (OCP Microscaling Formats v1.0, section 5.4.1).
pub static F8E8M0: PowerOfTwo8 = PowerOfTwo8;

/// The value of a code.
pub(super) fn decode_e8m0(code: u8) -> f32 {
    match code {
        0 => f32::MIN_POSITIVE / 2.0,
        255 => f32::NAN,
        code => f32::from_bits(u32::from(code) << 23),
    }
}

/// The exponent of a positive number: `floor(log2(x))`, exact, at least -127.
#[inline(always)]
pub fn floor_log2(x: f32) -> i32 {
    (x.to_bits() >> 23 & 255) as i32 - 127
}

impl NumberFormat for PowerOfTwo8 {
    fn name(&self) -> &'static str {
        "f8e8m0"
    }
    fn summary(&self) -> &'static str {
        "8-bit powers of two, 2^-127..2^127, for scales"
    }
    fn kind(&self) -> FormatKind {
        FormatKind::Float
    }
    fn bits(&self) -> u32 {
        8
    }
    fn storage(&self) -> DType {
        DType::F8E8M0
    }
    fn min_code(&self) -> i32 {
        0
    }
    fn max_code(&self) -> i32 {
        0
    }
    fn max_value(&self) -> f32 {
        decode_e8m0(254)
    }
    fn encode(&self, value: f32) -> u16 {
        if value.is_nan() {
            return 255;
        }
        let below = floor_log2(value.max(0.0)).clamp(-127, 127);
        let (low, high) = ((below + 127) as u8, (below + 128).min(254) as u8);
        let (below, above) = (value - decode_e8m0(low), decode_e8m0(high) - value);
        u16::from(if below < above || (below == above && low % 2 == 0) {
            low
        } else {
            high
        })
    }
    fn decode(&self, code: u16) -> f32 {
        decode_e8m0(code as u8)
    }
}
