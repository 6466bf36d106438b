//! Floats of 6 bits (OCP Microscaling Formats v1.0, section 5.3.2): no infinities, no NaN. Codes lie in bytes.

use super::minifloat::{Minifloat, Specials};
use crate::DType;

/// Largest value 7.5.
pub static F6E2M3: Minifloat = Minifloat {
    name: "f6e2m3",
    summary: "6-bit floats, 2 exponent bits, largest 7.5",
    exponent_bits: 2,
    mantissa_bits: 3,
    bias: 1,
    specials: Specials::None,
    storage: DType::U8,
};

/// Largest value 28.
pub static F6E3M2: Minifloat = Minifloat {
    name: "f6e3m2",
    summary: "6-bit floats, 3 exponent bits, largest 28",
    exponent_bits: 3,
    mantissa_bits: 2,
    bias: 3,
    specials: Specials::None,
    storage: DType::U8,
};
