//! The functions of `special` and the activations made of them, for `f32`, with vectors and fused products.
//!
//! The formulas are those of [`super::special`] and `exp_f32`, which are their oracles.

use crate::Isa;
use crate::simd::{Kernel, Simd, run};

/// A function of one vector.
trait Function: Copy {
    /// # Safety
    /// As for [`Simd`].
    unsafe fn of<S: Simd>(self, x: S::V) -> S::V;
}

/// A function of every element, in place.
struct Each<'a, F> {
    function: F,
    y: &'a mut [f32],
}

impl<F: Function> Kernel for Each<'_, F> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (whole, len) = (self.y.len() / S::LANES * S::LANES, self.y.len());
        let y = self.y.as_mut_ptr();
        // SAFETY: all places are within `y`; the caller has the instruction set.
        unsafe {
            for at in (0..whole).step_by(S::LANES) {
                S::store(y.add(at), self.function.of::<S>(S::load(y.add(at))));
            }
            let rest = len - whole;
            if rest > 0 {
                let x = S::load_first(y.add(whole), rest);
                S::store_first(y.add(whole), self.function.of::<S>(x), rest);
            }
        }
    }
}

/// Declares `pub(super) fn name(y: &mut [f32], parameters)` by the formula for one vector.
macro_rules! functions {
    ($($(#[$meta:meta])* $name:ident / $vector:ident <$s:ident>($x:ident $(, $parameter:ident)*) $body:block)*) => {$(
        #[derive(Clone, Copy)]
        #[allow(non_camel_case_types, reason = "named after the function")]
        struct $vector { $($parameter: f32),* }

        impl Function for $vector {
            #[inline(always)]
            unsafe fn of<$s: Simd>(self, $x: $s::V) -> $s::V {
                // SAFETY: the caller's promise.
                unsafe {
                    $(let $parameter = $s::splat(self.$parameter);)*
                    $body
                }
            }
        }

        $(#[$meta])*
        pub(super) fn $name(y: &mut [f32] $(, $parameter: f32)*) {
            run(Isa::best(), Each { function: $vector { $($parameter),* }, y });
        }
    )*};
}

functions! {
    /// e to the power of x, within 2 units in the last place.
    exp / Exp<S>(x) { exp_of::<S>(x) }

    /// `1 / (1 + exp(-x))`.
    sigmoid / Sigmoid<S>(x) { S::divide(S::splat(1.0), one_and_exp_of_minus::<S>(x)) }

    /// `x * sigmoid(alpha * x)`.
    swish / Swish<S>(x, alpha) { S::divide(x, one_and_exp_of_minus::<S>(S::multiply(alpha, x))) }

    /// The hyperbolic tangent, within 3 units in the last place.
    tanh / Tanh<S>(x) { tanh_of::<S>(x) }

    /// The error function, within 3 units in the last place.
    erf / Erf<S>(x) { erf_of::<S>(x) }

    /// `x / 2 * (1 + erf(x / sqrt(2)))`.
    gelu / Gelu<S>(x) {
        let erf = erf_of::<S>(S::multiply(x, S::splat(std::f32::consts::FRAC_1_SQRT_2)));
        let half = S::multiply(x, S::splat(0.5));
        S::multiply_add(half, erf, half)
    }

    /// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))`.
    gelu_tanh / GeluTanh<S>(x) {
        let cubic = S::multiply(S::multiply(x, x), S::splat(0.044_715));
        let inner = S::multiply(S::multiply_add(cubic, x, x), S::splat(0.797_884_6));
        let half = S::multiply(x, S::splat(0.5));
        S::multiply_add(half, tanh_of::<S>(inner), half)
    }
}

/// `c[0] * x^(n - 1) + ... + c[n - 1]`.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
unsafe fn polynomial<S: Simd, const N: usize>(coefficients: [f32; N], x: S::V) -> S::V {
    // SAFETY: the caller's promise.
    unsafe {
        let mut value = S::splat(coefficients[0]);
        for coefficient in &coefficients[1..] {
            value = S::multiply_add(value, x, S::splat(*coefficient));
        }
        value
    }
}

/// # Safety
/// As for [`Simd`].
#[inline(always)]
unsafe fn exp_of<S: Simd>(x: S::V) -> S::V {
    // Adding 1.5 * 2^23 rounds to an integer.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const COEFFICIENTS: [f32; 6] = [
        1.987_569_1e-4,
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ];
    // SAFETY: the caller's promise.
    unsafe {
        let x = S::at_most(S::at_least(x, S::splat(-105.0)), S::splat(89.0));
        let round = S::splat(ROUND);
        let n = S::subtract(
            S::multiply_add(x, S::splat(std::f32::consts::LOG2_E), round),
            round,
        );
        let r = S::negative_multiply_add(n, S::splat(LN_2_HIGH), x);
        let r = S::negative_multiply_add(n, S::splat(LN_2_LOW), r);
        let p = polynomial::<S, 6>(COEFFICIENTS, r);
        let value = S::add(S::multiply_add(p, S::multiply(r, r), r), S::splat(1.0));
        S::scale(value, n)
    }
}

/// `1 + exp(-x)`.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
unsafe fn one_and_exp_of_minus<S: Simd>(x: S::V) -> S::V {
    // SAFETY: the caller's promise.
    unsafe {
        let minus = S::subtract(S::splat(0.0), x);
        S::add(S::splat(1.0), exp_of::<S>(minus))
    }
}

/// As [`super::tanh_f32`].
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
unsafe fn tanh_of<S: Simd>(x: S::V) -> S::V {
    const COEFFICIENTS: [f32; 5] = [
        -5.704_988_7e-3,
        2.063_909e-2,
        -5.373_971_6e-2,
        1.333_144_2e-1,
        -3.333_328e-1,
    ];
    // SAFETY: the caller's promise.
    unsafe {
        let magnitude = S::magnitude(x);
        let square = S::multiply(x, x);
        let p = polynomial::<S, 5>(COEFFICIENTS, square);
        let small = S::multiply_add(S::multiply(p, square), magnitude, magnitude);
        let exp = exp_of::<S>(S::add(magnitude, magnitude));
        let one = S::splat(1.0);
        let large = S::subtract(one, S::divide(S::splat(2.0), S::add(exp, one)));
        S::with_sign(S::if_less(magnitude, S::splat(0.625), small, large), x)
    }
}

/// As [`super::erf_f32`].
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
unsafe fn erf_of<S: Simd>(x: S::V) -> S::V {
    const SMALL: [f32; 6] = [
        -5.967_617e-4,
        4.991_194_2e-3,
        -2.676_813_5e-2,
        1.128_199_25e-1,
        -3.761_253_4e-1,
        1.283_791_7e-1,
    ];
    const LARGE: [f32; 7] = [
        -1.728_534_7e-5,
        3.831_974_7e-4,
        -3.883_964_4e-3,
        2.425_462_2e-2,
        -1.067_778_8e-1,
        -6.348_467e-1,
        -1.287_175_1e-1,
    ];
    // SAFETY: the caller's promise.
    unsafe {
        // Beyond 4 the result is 1.
        let magnitude = S::at_most(S::magnitude(x), S::splat(4.0));
        let square = S::multiply(magnitude, magnitude);
        let small = S::multiply_add(polynomial::<S, 6>(SMALL, square), magnitude, magnitude);
        let q = polynomial::<S, 7>(LARGE, magnitude);
        let large = S::subtract(
            S::splat(1.0),
            exp_of::<S>(S::multiply_add(
                q,
                magnitude,
                S::subtract(S::splat(0.0), magnitude),
            )),
        );
        S::with_sign(S::if_less(magnitude, S::splat(0.927_734_4), small, large), x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Real;

    type Formula = fn(f64) -> f64;

    /// The largest distance from a formula in `f64`, in units in the last place, over many floats of both signs.
    fn worst<F: Function>(isa: Isa, function: F, formula: Formula, smallest: f64) -> f64 {
        let bits = (0..f32::INFINITY.to_bits()).step_by(20_011).map(f32::from_bits);
        let x: Vec<f32> = bits.flat_map(|x| [x, -x]).collect();
        let mut y = x.clone();
        run(isa, Each { function, y: &mut y });
        let error = |(x, y): (&f32, &f32)| {
            let exact = formula(f64::from(*x));
            let nearest = exact as f32;
            if nearest.abs() <= smallest as f32 || !nearest.is_finite() {
                assert!((f64::from(*y) - exact).abs() <= smallest || f64::from(*y) == exact || *y == nearest);
                return 0.0;
            }
            let unit = f64::from(f32::from_bits(nearest.abs().to_bits() + 1)) - f64::from(nearest.abs());
            (f64::from(*y) - exact).abs() / unit
        };
        x.iter().zip(&y).map(error).fold(0.0, f64::max)
    }

    #[test]
    fn every_function_is_near_its_formula_with_every_instruction_set() {
        let tiny = f64::from(f32::MIN_POSITIVE);
        for isa in Isa::available() {
            let errors = [
                (worst(isa, Exp {}, f64::exp, tiny), 2.0),
                (worst(isa, Sigmoid {}, Real::sigmoid, tiny), 4.0),
                (worst(isa, Tanh {}, f64::tanh, tiny), 3.0),
                (worst(isa, Erf {}, libm::erf, tiny), 3.0),
            ];
            for (index, (error, bound)) in errors.into_iter().enumerate() {
                assert!(error <= bound, "function {index} on {isa:?}: {error} units");
            }
        }
    }

    #[test]
    fn activations_are_near_their_formulas() {
        let x: Vec<f32> = (-3000..=3000).map(|i| i as f32 / 150.0).collect();
        // As a share of the magnitude of x: small results are differences of larger numbers.
        let check = |kernel: fn(&mut [f32]), formula: Formula| {
            let mut y = x.clone();
            kernel(&mut y);
            for (x, y) in x.iter().zip(&y) {
                let (x, exact) = (f64::from(*x), formula(f64::from(*x)));
                assert!(
                    (f64::from(*y) - exact).abs() <= 4e-7 * x.abs(),
                    "{y} for {exact} at {x}"
                );
            }
        };
        check(gelu, |x| x / 2.0 * (1.0 + libm::erf(x / 2f64.sqrt())));
        check(gelu_tanh, |x| {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
            x / 2.0 * (1.0 + inner.tanh())
        });
        check(|y| swish(y, 1.702), |x| x * (1.702 * x).sigmoid());
    }

    #[test]
    fn special_values_and_short_slices() {
        for len in 0..40 {
            let mut y = vec![1.0; len];
            exp(&mut y);
            assert!(y.iter().all(|y| (y - std::f32::consts::E).abs() < 1e-6));
        }
        let edges = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0];
        let all = |kernel: fn(&mut [f32])| {
            let mut y = edges;
            kernel(&mut y);
            assert!(y[0].is_nan());
            [y[1], y[2], y[3]]
        };
        assert_eq!(all(exp), [f32::INFINITY, 0.0, 1.0]);
        assert_eq!(all(sigmoid), [1.0, 0.0, 0.5]);
        assert_eq!(all(tanh), [1.0, -1.0, 0.0]);
        assert_eq!(all(erf), [1.0, -1.0, 0.0]);
    }
}
