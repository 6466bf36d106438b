//! Floating-point formats of at most 16 bits, from their parameters.

use super::{FloatLayout, FormatKind, NumberFormat};
use crate::DType;

/// What the codes with all exponent bits set mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Specials {
    /// Infinities and NaNs as in IEEE 754.
    Ieee,
    /// Only the code with all bits set is NaN ("FN": finite).
    AllOnesIsNan,
    /// Only the code of negative zero is NaN ("FNUZ": finite, unsigned zero).
    NegativeZeroIsNan,
    /// Every code is a number.
    None,
}

/// A small float: sign, `exponent_bits`, `mantissa_bits`, subnormals.
#[derive(Debug)]
pub struct Minifloat {
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) exponent_bits: u32,
    pub(super) mantissa_bits: u32,
    pub(super) bias: i32,
    pub(super) specials: Specials,
    pub(super) storage: DType,
}

/// OCP Microscaling Formats v1.0, section 5.3.3: no infinity, no NaN, largest value 6.
pub static F4E2M1: Minifloat = Minifloat {
    name: "f4e2m1",
    summary: "4-bit floats: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives",
    exponent_bits: 2,
    mantissa_bits: 1,
    bias: 1,
    specials: Specials::None,
    storage: DType::F4E2M1,
};

impl Minifloat {
    fn sign_shift(&self) -> u32 {
        self.exponent_bits + self.mantissa_bits
    }

    /// The code of the largest finite magnitude.
    fn max_magnitude(&self) -> u16 {
        let all = (1u16 << self.sign_shift()) - 1;
        match self.specials {
            Specials::Ieee => all - (1 << self.mantissa_bits),
            Specials::AllOnesIsNan => all - 1,
            Specials::NegativeZeroIsNan | Specials::None => all,
        }
    }

    fn nan_code(&self) -> Option<u16> {
        let all = (1u16 << self.sign_shift()) - 1;
        match self.specials {
            // The quiet bit alone would do; all ones is what ONNX and ml_dtypes readers accept as well.
            Specials::Ieee => Some(all),
            Specials::AllOnesIsNan => Some(all),
            Specials::NegativeZeroIsNan => Some(1 << self.sign_shift()),
            Specials::None => None,
        }
    }

    fn magnitude(&self, code: u16) -> f32 {
        let mantissa = i32::from(code & ((1 << self.mantissa_bits) - 1));
        let exponent = i32::from(code >> self.mantissa_bits);
        let (significand, power) = if exponent == 0 {
            (mantissa, 1 - self.bias)
        } else {
            (mantissa + (1 << self.mantissa_bits), exponent - self.bias)
        };
        // In two factors: one alone may be below the normal numbers.
        let power = power - self.mantissa_bits as i32;
        significand as f32 * 2f32.powi(power / 2) * 2f32.powi(power - power / 2)
    }

    /// The code of the magnitude nearest to `x >= 0`, ties to even, saturating. Codes are ordered as their values.
    fn encode_magnitude(&self, x: f32) -> u16 {
        let (mut low, mut high) = (0, self.max_magnitude());
        if x >= self.magnitude(high) {
            return high;
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.magnitude(middle) <= x {
                low = middle
            } else {
                high = middle
            }
        }
        let (below, above) = (x - self.magnitude(low), self.magnitude(high) - x);
        if below < above || (below == above && low % 2 == 0) {
            low
        } else {
            high
        }
    }
}

impl NumberFormat for Minifloat {
    fn name(&self) -> &'static str {
        self.name
    }
    fn summary(&self) -> &'static str {
        self.summary
    }
    fn kind(&self) -> FormatKind {
        FormatKind::Float
    }
    fn bits(&self) -> u32 {
        1 + self.sign_shift()
    }
    fn storage(&self) -> DType {
        self.storage
    }
    fn min_code(&self) -> i32 {
        0
    }
    fn max_code(&self) -> i32 {
        0
    }
    fn float_layout(&self) -> Option<FloatLayout> {
        let unsigned_zero = self.specials == Specials::NegativeZeroIsNan;
        (!unsigned_zero).then_some(FloatLayout {
            mantissa_bits: self.mantissa_bits,
            bias: self.bias,
        })
    }
    fn max_value(&self) -> f32 {
        self.magnitude(self.max_magnitude())
    }
    fn encode(&self, value: f32) -> u16 {
        if value.is_nan() {
            return self.nan_code().unwrap_or(self.max_magnitude());
        }
        let magnitude = self.encode_magnitude(value.abs());
        let unsigned_zero = magnitude == 0 && self.specials == Specials::NegativeZeroIsNan;
        if value.is_sign_negative() && !unsigned_zero {
            magnitude | 1 << self.sign_shift()
        } else {
            magnitude
        }
    }
    fn decode(&self, code: u16) -> f32 {
        let negative = code >> self.sign_shift() & 1 == 1;
        let magnitude = code & ((1 << self.sign_shift()) - 1);
        let is_nan = match self.specials {
            Specials::NegativeZeroIsNan => negative && magnitude == 0,
            Specials::None => false,
            Specials::Ieee => magnitude > self.max_magnitude() + 1,
            Specials::AllOnesIsNan => magnitude > self.max_magnitude(),
        };
        let value = if is_nan {
            f32::NAN
        } else if self.specials == Specials::Ieee && magnitude == self.max_magnitude() + 1 {
            f32::INFINITY
        } else {
            self.magnitude(magnitude)
        };
        if negative && !is_nan { -value } else { value }
    }
}
