//! Floats of 16 bits.

use super::minifloat::{Minifloat, Specials};
use crate::DType;

/// IEEE 754 binary16.
pub static F16: Minifloat = Minifloat {
    name: "f16",
    summary: "16-bit floats, 5 exponent bits, largest 65504",
    exponent_bits: 5,
    mantissa_bits: 10,
    bias: 15,
    specials: Specials::Ieee,
    storage: DType::F16,
};

/// The upper half of a 32-bit float.
pub static BF16: Minifloat = Minifloat {
    name: "bf16",
    summary: "16-bit floats, 8 exponent bits: the range of 32-bit floats",
    exponent_bits: 8,
    mantissa_bits: 7,
    bias: 127,
    specials: Specials::Ieee,
    storage: DType::BF16,
};
