//! 8-bit floats (Micikevicius et al. 2022, "FP8 formats for deep learning"; the UZ forms: Noune et al. 2022).

use super::minifloat::{Minifloat, Specials};
use crate::DType;

/// Largest value 448, no infinities.
pub static F8E4M3FN: Minifloat = Minifloat {
    name: "f8e4m3fn",
    summary: "8-bit floats, 4 exponent bits, largest 448, no infinities",
    exponent_bits: 4,
    mantissa_bits: 3,
    bias: 7,
    specials: Specials::AllOnesIsNan,
    storage: DType::F8E4M3FN,
};

/// Largest value 240, one zero, one NaN.
pub static F8E4M3FNUZ: Minifloat = Minifloat {
    name: "f8e4m3fnuz",
    summary: "8-bit floats, 4 exponent bits, largest 240, one zero",
    exponent_bits: 4,
    mantissa_bits: 3,
    bias: 8,
    specials: Specials::NegativeZeroIsNan,
    storage: DType::F8E4M3FNUZ,
};

/// Largest value 57344, with infinities.
pub static F8E5M2: Minifloat = Minifloat {
    name: "f8e5m2",
    summary: "8-bit floats, 5 exponent bits, largest 57344, with infinities",
    exponent_bits: 5,
    mantissa_bits: 2,
    bias: 15,
    specials: Specials::Ieee,
    storage: DType::F8E5M2,
};

/// Largest value 57344, one zero, one NaN.
pub static F8E5M2FNUZ: Minifloat = Minifloat {
    name: "f8e5m2fnuz",
    summary: "8-bit floats, 5 exponent bits, largest 57344, one zero",
    exponent_bits: 5,
    mantissa_bits: 2,
    bias: 16,
    specials: Specials::NegativeZeroIsNan,
    storage: DType::F8E5M2FNUZ,
};
