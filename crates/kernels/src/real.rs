//! [`Real`]: the floating-point types that kernels compute in, with functions that the compiler can vectorize.

use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub};

use bantam_tensor::Element;

use crate::elementwise::{erf_f32, tanh_f32};

/// A floating-point type that kernels compute in: `f32`, or `f64` for models that ask for it.
pub trait Real:
    Element
    + Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + MulAssign
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Minus infinity.
    const NEG_INFINITY: Self;
    /// The nearest value of this type.
    fn from_f64(value: f64) -> Self;
    /// The same value, wider.
    fn to_f64(self) -> f64;
    /// e to the power of `self`: `f32` within 2 units in the last place, without branches.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Natural logarithm of `1 + self`.
    fn ln_1p(self) -> Self;
    /// Hyperbolic tangent: `f32` within 3 units in the last place, without branches.
    fn tanh(self) -> Self;
    /// The error function: `f32` within 3 units in the last place, without branches.
    fn erf(self) -> Self;
    /// Square root, correctly rounded.
    fn sqrt(self) -> Self;
    /// `self` to the power of `exponent`.
    fn powf(self, exponent: Self) -> Self;
    /// Largest integer that is not larger.
    fn floor(self) -> Self;
    /// Smallest integer that is not smaller.
    fn ceil(self) -> Self;
    /// Nearest integer, ties to even.
    fn round_ties_even(self) -> Self;
    /// Magnitude.
    fn abs(self) -> Self;
    /// True for not-a-number.
    fn is_nan(self) -> bool;
    /// The same elements if they are `f32`, for kernels that have a form of their own for these.
    fn as_single(values: &mut [Self]) -> Option<&mut [f32]>;

    /// The larger of two; `other` when `self` is not a number.
    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        if self > other { self } else { other }
    }

    /// `1 / (1 + exp(-self))`.
    #[inline(always)]
    fn sigmoid(self) -> Self {
        Self::ONE / (Self::ONE + (-self).exp())
    }
}

/// Declares the methods that the standard library has under the same name.
macro_rules! standard {
    ($real:ty) => {
        const ZERO: $real = 0.0;
        const ONE: $real = 1.0;
        const NEG_INFINITY: $real = <$real>::NEG_INFINITY;

        #[inline(always)]
        fn from_f64(value: f64) -> $real {
            value as $real
        }
        #[inline(always)]
        fn to_f64(self) -> f64 {
            self as f64
        }
        #[inline(always)]
        fn ln(self) -> $real {
            <$real>::ln(self)
        }
        #[inline(always)]
        fn ln_1p(self) -> $real {
            <$real>::ln_1p(self)
        }
        #[inline(always)]
        fn sqrt(self) -> $real {
            <$real>::sqrt(self)
        }
        #[inline(always)]
        fn powf(self, exponent: $real) -> $real {
            <$real>::powf(self, exponent)
        }
        #[inline(always)]
        fn floor(self) -> $real {
            <$real>::floor(self)
        }
        #[inline(always)]
        fn ceil(self) -> $real {
            <$real>::ceil(self)
        }
        #[inline(always)]
        fn round_ties_even(self) -> $real {
            <$real>::round_ties_even(self)
        }
        #[inline(always)]
        fn abs(self) -> $real {
            <$real>::abs(self)
        }
        #[inline(always)]
        fn is_nan(self) -> bool {
            <$real>::is_nan(self)
        }
    };
}

impl Real for f32 {
    standard!(f32);

    #[inline(always)]
    fn exp(self) -> f32 {
        exp_f32(self)
    }
    #[inline(always)]
    fn tanh(self) -> f32 {
        tanh_f32(self)
    }
    #[inline(always)]
    fn erf(self) -> f32 {
        erf_f32(self)
    }
    fn as_single(values: &mut [f32]) -> Option<&mut [f32]> {
        Some(values)
    }
}

impl Real for f64 {
    standard!(f64);

    #[inline(always)]
    fn exp(self) -> f64 {
        f64::exp(self)
    }
    #[inline(always)]
    fn tanh(self) -> f64 {
        f64::tanh(self)
    }
    #[inline(always)]
    fn erf(self) -> f64 {
        libm::erf(self)
    }
    fn as_single(_: &mut [f64]) -> Option<&mut [f32]> {
        None
    }
}

/// `exp(x)` for `f32`, within 2 units in the last place; 0 below about -104, infinity above about 88.72.
///
/// With `n = round(x / ln 2)`, `exp(x) = 2^n * exp(r)`, `|r| <= ln 2 / 2`: a polynomial of degree 7 for `exp(r)`, and two
/// factors for `2^n` so that subnormal results round once. The polynomial is the one of Cephes' `expf`.
#[inline(always)]
pub fn exp_f32(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to an integer, which then lies in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Comparisons written so that NaN stays NaN.
    let x = if x < -105.0 { -105.0 } else { x };
    let x = if x > 89.0 { 89.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let exponent = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let value = p * (r * r) + r + 1.0;
    let half = exponent >> 1;
    value * power_of_two(half) * power_of_two(exponent.wrapping_sub(half))
}

/// `2^n` for `-126 <= n <= 127`.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        let mut worst = 0.0f64;
        let mut bits = 0u32;
        // Every 5003rd float of both signs.
        while bits < f32::INFINITY.to_bits() {
            for x in [f32::from_bits(bits), -f32::from_bits(bits)] {
                let (got, exact) = (exp_f32(x), f64::from(x).exp());
                if exact < f64::from(f32::MIN_POSITIVE) {
                    assert!(
                        (f64::from(got) - exact).abs() <= 2.0 * 1.5e-45,
                        "exp({x}) = {got}"
                    );
                } else if exact >= f64::from(f32::MAX) {
                    assert_eq!(got, f32::INFINITY, "exp({x})");
                } else {
                    let unit =
                        f64::from(f32::from_bits((exact as f32).to_bits() + 1)) - f64::from(exact as f32);
                    worst = worst.max(((f64::from(got) - exact) / unit).abs());
                }
            }
            bits += 5003;
        }
        assert!(worst <= 2.0, "worst error {worst} units");
        assert!(exp_f32(f32::NAN).is_nan());
        assert_eq!(exp_f32(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp_f32(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp_f32(0.0), 1.0);
    }
}
