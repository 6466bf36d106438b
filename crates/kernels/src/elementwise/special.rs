//! Transcendental functions of `f32` without branches, so that the compiler can vectorize them.

use crate::exp_f32;

/// `tanh(x)` for `f32`, within 3 units in the last place.
///
/// Below 0.625 the polynomial of Cephes' `tanhf`; above, `1 - 2 / (exp(2 x) + 1)`.
#[inline(always)]
pub fn tanh_f32(x: f32) -> f32 {
    let magnitude = x.abs();
    let square = x * x;
    let mut p = -5.704_988_7e-3;
    p = p * square + 2.063_909e-2;
    p = p * square - 5.373_971_6e-2;
    p = p * square + 1.333_144_2e-1;
    p = p * square - 3.333_328e-1;
    let small = p * square * magnitude + magnitude;
    let large = 1.0 - 2.0 / (exp_f32(2.0 * magnitude) + 1.0);
    (if magnitude < 0.625 { small } else { large }).copysign(x)
}

/// The error function for `f32`, within 3 units in the last place.
///
/// Minimax polynomials by N. Juffa (public domain): for the function itself below 0.927734375, for the logarithm of
/// its complement above.
#[inline(always)]
pub fn erf_f32(x: f32) -> f32 {
    let magnitude = x.abs();
    let square = x * x;
    let mut p = -5.967_617e-4;
    p = p * square + 4.991_194_2e-3;
    p = p * square - 2.676_813_5e-2;
    p = p * square + 1.128_199_25e-1;
    p = p * square - 3.761_253_4e-1;
    p = p * square + 1.283_791_7e-1;
    let small = p * x + x;
    let mut q = -1.728_534_7e-5 * magnitude + 3.831_974_7e-4;
    q = q * square + (-3.883_964_4e-3 * magnitude + 2.425_462_2e-2);
    q = q * magnitude - 1.067_778_8e-1;
    q = q * magnitude - 6.348_467e-1;
    q = q * magnitude - 1.287_175_1e-1;
    // Beyond 4 the result is 1 and the polynomial would overflow.
    let exponent = if magnitude < 4.0 {
        q * magnitude - magnitude
    } else {
        -100.0
    };
    let large = 1.0 - exp_f32(exponent);
    let value = if magnitude < 0.927_734_4 {
        small
    } else {
        large.copysign(x)
    };
    if x.is_nan() { x } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks a function on every 1009th float up to `limit`, both signs; gives the worst error in units.
    fn worst_error(function: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, limit: f32) -> f64 {
        let mut worst = 0.0f64;
        let mut bits = f32::MIN_POSITIVE.to_bits();
        while bits < limit.to_bits() {
            let x = f32::from_bits(bits);
            let (got, exact) = (function(x), exact(f64::from(x)));
            let nearest = exact as f32;
            let unit = f64::from(f32::from_bits(nearest.to_bits() + 1)) - f64::from(nearest);
            worst = worst.max(((f64::from(got) - exact) / unit).abs());
            assert_eq!(function(-x), -got, "not odd at {x}");
            bits += 1009;
        }
        worst
    }

    #[test]
    fn tanh_is_within_three_units_in_the_last_place() {
        let worst = worst_error(tanh_f32, f64::tanh, 100.0);
        assert!(worst <= 3.0, "worst error {worst} units");
        assert_eq!(tanh_f32(f32::NEG_INFINITY), -1.0);
        assert!(tanh_f32(f32::NAN).is_nan());
        assert_eq!(tanh_f32(-0.0).to_bits(), (-0.0f32).to_bits());
    }

    #[test]
    fn erf_is_within_three_units_in_the_last_place() {
        let worst = worst_error(erf_f32, libm::erf, 100.0);
        assert!(worst <= 3.0, "worst error {worst} units");
        assert_eq!(erf_f32(f32::INFINITY), 1.0);
        assert!(erf_f32(f32::NAN).is_nan());
        assert_eq!(erf_f32(-0.0).to_bits(), (-0.0f32).to_bits());
    }
}
