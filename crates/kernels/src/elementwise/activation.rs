//! Activation functions, as the ONNX specification defines them. `NaN` stays `NaN`.

use super::fast;
use crate::real::Real;
use crate::vectorize::vectorized;

/// `1 / (1 + exp(-x))`; `f32` within 4 units in the last place.
pub fn sigmoid<T: Real>(y: &mut [T]) {
    match T::as_single(y) {
        Some(single) => fast::sigmoid(single),
        None => sigmoid_plain(y),
    }
}

/// `x * sigmoid(alpha * x)`.
pub fn swish<T: Real>(y: &mut [T], alpha: T) {
    match T::as_single(y) {
        Some(single) => fast::swish(single, alpha.to_f64() as f32),
        None => swish_plain(y, alpha),
    }
}

/// `x / 2 * (1 + erf(x / sqrt(2)))`.
pub fn gelu<T: Real>(y: &mut [T]) {
    match T::as_single(y) {
        Some(single) => fast::gelu(single),
        None => gelu_plain(y),
    }
}

/// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))`.
pub fn gelu_tanh<T: Real>(y: &mut [T]) {
    match T::as_single(y) {
        Some(single) => fast::gelu_tanh(single),
        None => gelu_tanh_plain(y),
    }
}

vectorized! {
    fn gelu_tanh_plain<T: Real>(y: &mut [T]) {
        let scale = T::from_f64((2.0 / std::f64::consts::PI).sqrt());
        let (half, cubic) = (T::from_f64(0.5), T::from_f64(0.044_715));
        for y in y.iter_mut() {
            let x = *y;
            *y = half * x * (T::ONE + (scale * (x + cubic * x * x * x)).tanh());
        }
    }

    fn gelu_plain<T: Real>(y: &mut [T]) {
        let (half, scale) = (T::from_f64(0.5), T::from_f64(std::f64::consts::FRAC_1_SQRT_2));
        for y in y.iter_mut() {
            *y = half * *y * (T::ONE + (*y * scale).erf());
        }
    }

    fn swish_plain<T: Real>(y: &mut [T], alpha: T) {
        for y in y.iter_mut() {
            *y = *y * (alpha * *y).sigmoid();
        }
    }

    fn sigmoid_plain<T: Real>(y: &mut [T]) {
        for y in y.iter_mut() {
            *y = y.sigmoid();
        }
    }

    /// `max(x, 0)`.
    pub fn relu<T: Real>(y: &mut [T]) {
        for y in y.iter_mut() {
            *y = if *y < T::ZERO { T::ZERO } else { *y };
        }
    }

    /// `min(high, max(x, low))`.
    pub fn clip<T: Real>(y: &mut [T], low: T, high: T) {
        for y in y.iter_mut() {
            let raised = if *y < low { low } else { *y };
            *y = if raised > high { high } else { raised };
        }
    }

    /// `max(0, min(1, alpha * x + beta))`.
    pub fn hard_sigmoid<T: Real>(y: &mut [T], alpha: T, beta: T) {
        for y in y.iter_mut() {
            *y = hard_sigmoid_of(*y, alpha, beta);
        }
    }

    /// `x * max(0, min(1, x / 6 + 1 / 2))`.
    pub fn hard_swish<T: Real>(y: &mut [T]) {
        let (alpha, beta) = (T::from_f64(1.0 / 6.0), T::from_f64(0.5));
        for y in y.iter_mut() {
            *y = *y * hard_sigmoid_of(*y, alpha, beta);
        }
    }

    /// `x < 0 ? alpha * x : x`.
    pub fn leaky_relu<T: Real>(y: &mut [T], alpha: T) {
        for y in y.iter_mut() {
            *y = if *y < T::ZERO { alpha * *y } else { *y };
        }
    }

    /// `x < 0 ? alpha * (exp(x / width) - 1) : gamma * x`: Elu, Selu and Celu by their parameters.
    pub fn exponential_linear<T: Real>(y: &mut [T], alpha: T, gamma: T, width: T) {
        for y in y.iter_mut() {
            *y = if *y < T::ZERO { alpha * ((*y / width).exp() - T::ONE) } else { gamma * *y };
        }
    }

    /// `x > alpha ? x : 0`.
    pub fn thresholded_relu<T: Real>(y: &mut [T], alpha: T) {
        for y in y.iter_mut() {
            *y = if *y <= alpha { T::ZERO } else { *y };
        }
    }

    /// `x < -lambda ? x + bias : x > lambda ? x - bias : 0`.
    pub fn shrink<T: Real>(y: &mut [T], bias: T, lambda: T) {
        for y in y.iter_mut() {
            let shrunk = if *y > lambda { *y - bias } else { T::ZERO };
            *y = if *y < -lambda { *y + bias } else { shrunk };
        }
    }

    /// `x / (1 + |x|)`.
    pub fn softsign<T: Real>(y: &mut [T]) {
        for y in y.iter_mut() {
            *y = *y / (T::ONE + y.abs());
        }
    }

    /// `log(1 + exp(x))`.
    pub fn softplus<T: Real>(y: &mut [T]) {
        for y in y.iter_mut() {
            *y = softplus_of(*y);
        }
    }

    /// `x * tanh(softplus(x))`.
    pub fn mish<T: Real>(y: &mut [T]) {
        for y in y.iter_mut() {
            *y = *y * softplus_of(*y).tanh();
        }
    }

}

#[inline(always)]
fn hard_sigmoid_of<T: Real>(x: T, alpha: T, beta: T) -> T {
    let line = alpha * x + beta;
    let raised = if line < T::ZERO { T::ZERO } else { line };
    if raised > T::ONE { T::ONE } else { raised }
}

/// `log(1 + exp(x))` without overflow: `max(x, 0) + log(1 + exp(-|x|))`.
#[inline(always)]
fn softplus_of<T: Real>(x: T) -> T {
    let positive = if x < T::ZERO { T::ZERO } else { x };
    positive + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks a kernel in both precisions against a formula in `f64`, on a range of values longer than any vector.
    fn check(
        name: &str,
        single: impl Fn(&mut [f32]),
        double: impl Fn(&mut [f64]),
        formula: impl Fn(f64) -> f64,
    ) {
        let x: Vec<f64> = (-300..=300).map(|i| f64::from(i) / 16.0).collect();
        let mut y32: Vec<f32> = x.iter().map(|&x| x as f32).collect();
        let mut y64 = x.clone();
        single(&mut y32);
        double(&mut y64);
        for ((&x, &y32), &y64) in x.iter().zip(&y32).zip(&y64) {
            let expected = formula(x);
            let scale = expected.abs().max(1e-3);
            assert!(
                (f64::from(y32) - expected).abs() <= 2e-6 * scale.max(0.1),
                "{name}({x}) = {y32}, not {expected}"
            );
            assert!(
                (y64 - expected).abs() <= 1e-12 * scale,
                "{name}({x}) = {y64}, not {expected}"
            );
        }
        let mut nan = [f32::NAN; 3];
        single(&mut nan);
        assert!(nan.iter().all(|y| y.is_nan()), "{name}(NaN) = {nan:?}");
    }

    #[test]
    fn activations_match_their_formulas() {
        check("relu", relu, relu, |x| x.max(0.0));
        check(
            "clip",
            |y| clip(y, -1.5, 2.0),
            |y| clip(y, -1.5, 2.0),
            |x| x.clamp(-1.5, 2.0),
        );
        check("sigmoid", sigmoid, sigmoid, |x| 1.0 / (1.0 + (-x).exp()));
        check(
            "swish",
            |y| swish(y, 1.5),
            |y| swish(y, 1.5),
            |x| x / (1.0 + (-1.5 * x).exp()),
        );
        let hard = |x: f64| (x / 6.0 + 0.5).clamp(0.0, 1.0);
        check(
            "hard_sigmoid",
            |y| hard_sigmoid(y, 1.0 / 6.0, 0.5),
            |y| hard_sigmoid(y, 1.0 / 6.0, 0.5),
            hard,
        );
        check("hard_swish", hard_swish, hard_swish, |x| x * hard(x));
        check(
            "leaky_relu",
            |y| leaky_relu(y, 0.125),
            |y| leaky_relu(y, 0.125),
            |x| x.max(0.125 * x),
        );
        let elu = |x: f64| {
            if x < 0.0 {
                2.0 * ((x / 4.0).exp() - 1.0)
            } else {
                3.0 * x
            }
        };
        check(
            "elu",
            |y| exponential_linear(y, 2.0, 3.0, 4.0),
            |y| exponential_linear(y, 2.0, 3.0, 4.0),
            elu,
        );
        let threshold = |x: f64| if x > 1.0 { x } else { 0.0 };
        check(
            "thresholded_relu",
            |y| thresholded_relu(y, 1.0),
            |y| thresholded_relu(y, 1.0),
            threshold,
        );
        check("softsign", softsign, softsign, |x| x / (1.0 + x.abs()));
        check("softplus", softplus, softplus, |x| x.exp().ln_1p());
        check("mish", mish, mish, |x| x * x.exp().ln_1p().tanh());
        check("gelu", gelu, gelu, |x| {
            0.5 * x * (1.0 + libm::erf(x / 2f64.sqrt()))
        });
        let inner = |x: f64| (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
        check("gelu_tanh", gelu_tanh, gelu_tanh, |x| {
            0.5 * x * (1.0 + inner(x).tanh())
        });
    }

    #[test]
    fn shrink_has_three_pieces() {
        let mut y = [-2.0f32, -0.5, 0.0, 0.5, 2.0];
        shrink(&mut y, 0.25, 1.0);
        assert_eq!(y, [-1.75, 0.0, 0.0, 0.0, 1.75]);
    }

    #[test]
    fn softplus_does_not_overflow() {
        let mut y = [1000.0f32, -1000.0];
        softplus(&mut y);
        assert_eq!(y, [1000.0, 0.0]);
    }
}
