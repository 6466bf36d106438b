//! Elementary functions that the compiler vectorizes. The others (trigonometry, logarithms) are the standard library's.

use super::fast;
use crate::real::Real;
use crate::vectorize::vectorized;

/// e to the power of x; `f32` within 2 units in the last place.
pub fn exp<T: Real>(y: &mut [T]) {
    match T::as_single(y) {
        Some(single) => fast::exp(single),
        None => exp_plain(y),
    }
}

/// Hyperbolic tangent; `f32` within 3 units in the last place.
pub fn tanh<T: Real>(y: &mut [T]) {
    match T::as_single(y) {
        Some(single) => fast::tanh(single),
        None => tanh_plain(y),
    }
}

/// The error function; `f32` within 3 units in the last place.
pub fn erf<T: Real>(y: &mut [T]) {
    match T::as_single(y) {
        Some(single) => fast::erf(single),
        None => erf_plain(y),
    }
}

vectorized! {
    fn erf_plain<T: Real>(y: &mut [T]) {
        for y in y.iter_mut() {
            *y = y.erf();
        }
    }

    fn tanh_plain<T: Real>(y: &mut [T]) {
        for y in y.iter_mut() {
            *y = y.tanh();
        }
    }

    fn exp_plain<T: Real>(y: &mut [T]) {
        for y in y.iter_mut() {
            *y = y.exp();
        }
    }

    /// Magnitude.
    pub fn abs<T: Real>(y: &mut [T]) {
        for y in y.iter_mut() {
            *y = y.abs();
        }
    }

    /// Negation.
    pub fn negate<T: Real>(y: &mut [T]) {
        for y in y.iter_mut() {
            *y = -*y;
        }
    }

    /// `1 / x`.
    pub fn reciprocal<T: Real>(y: &mut [T]) {
        for y in y.iter_mut() {
            *y = T::ONE / *y;
        }
    }

    /// Square root.
    pub fn sqrt<T: Real>(y: &mut [T]) {
        for y in y.iter_mut() {
            *y = y.sqrt();
        }
    }

    /// Largest integer that is not larger.
    pub fn floor<T: Real>(y: &mut [T]) {
        for y in y.iter_mut() {
            *y = y.floor();
        }
    }

    /// Smallest integer that is not smaller.
    pub fn ceil<T: Real>(y: &mut [T]) {
        for y in y.iter_mut() {
            *y = y.ceil();
        }
    }

    /// Nearest integer, ties to even.
    pub fn round<T: Real>(y: &mut [T]) {
        for y in y.iter_mut() {
            *y = y.round_ties_even();
        }
    }

    /// -1, 0 or 1.
    pub fn sign<T: Real>(y: &mut [T]) {
        for y in y.iter_mut() {
            let positive = if *y > T::ZERO { T::ONE } else { *y };
            *y = if *y < T::ZERO { -T::ONE } else { positive };
        }
    }

}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_a_few_values() {
        type Kernel = fn(&mut [f32]);
        let cases: [(&str, Kernel, [f32; 5]); 7] = [
            ("abs", abs, [2.5, 1.5, 0.0, 0.25, 4.0]),
            ("negate", negate, [2.5, 1.5, 0.0, -0.25, -4.0]),
            (
                "reciprocal",
                reciprocal,
                [-0.4, -1.0 / 1.5, f32::INFINITY, 4.0, 0.25],
            ),
            ("floor", floor, [-3.0, -2.0, 0.0, 0.0, 4.0]),
            ("ceil", ceil, [-2.0, -1.0, 0.0, 1.0, 4.0]),
            ("round", round, [-2.0, -2.0, 0.0, 0.0, 4.0]),
            ("sign", sign, [-1.0, -1.0, 0.0, 1.0, 1.0]),
        ];
        for (name, kernel, expected) in cases {
            let mut y = [-2.5, -1.5, 0.0, 0.25, 4.0];
            kernel(&mut y);
            assert_eq!(y, expected, "{name}");
        }
    }

    #[test]
    fn sign_of_not_a_number_is_not_a_number() {
        let mut y = [f32::NAN, f64::INFINITY as f32];
        sign(&mut y);
        assert!(y[0].is_nan() && y[1] == 1.0);
    }
}
