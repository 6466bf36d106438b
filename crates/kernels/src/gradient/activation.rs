//! Slopes of activations. Each function multiplies `dy` by the slope at the values beside it.

use crate::real::Real;
use crate::stored::Stored;
use crate::vectorize::vectorized;

/// Declares functions that replace each element of `dy` by an expression of it and of the value beside it.
macro_rules! slopes {
    ($($(#[$meta:meta])* $name:ident ($dy:ident, $value:ident $(, $parameter:ident)*) $result:expr)*) => {
        vectorized! {$(
            $(#[$meta])*
            pub fn $name<T: Real>(dy: &mut [T], values: &[T] $(, $parameter: T)*) {
                for (slot, &$value) in dy.iter_mut().zip(values) {
                    let $dy = *slot;
                    *slot = $result;
                }
            }
        )*}
    };
}

vectorized! {
    /// As [`relu`], of values that are stored in any type.
    pub fn stored_relu<T: Stored>(dy: &mut [T], y: &[T]) {
        for (dy, y) in dy.iter_mut().zip(y) {
            *dy = if y.widened() > 0.0 { *dy } else { T::default() };
        }
    }
}

slopes! {
    /// Of y: 1 where it is positive, else 0.
    relu(dy, y) if y > T::ZERO { dy } else { T::ZERO }

    /// Of y: `y * (1 - y)`.
    sigmoid(dy, y) dy * (y * (T::ONE - y))

    /// Of y: `1 - y^2`.
    tanh(dy, y) dy * (T::ONE - y * y)

    /// `x < 0 ? alpha / width * exp(x / width) : gamma`: Elu, Selu and Celu by their parameters.
    exponential_linear(dy, x, alpha, gamma, width) dy * if x < T::ZERO { alpha / width * (x / width).exp() } else { gamma }

    /// `x < 0 ? alpha : 1`.
    leaky_relu(dy, x, alpha) if x < T::ZERO { alpha * dy } else { dy }

    /// `alpha` where `0 < alpha * x + beta < 1`, else 0.
    hard_sigmoid(dy, x, alpha, beta) {
        let line = alpha * x + beta;
        if line > T::ZERO && line < T::ONE { alpha * dy } else { T::ZERO }
    }

    /// `x <= -3 ? 0 : x >= 3 ? 1 : x / 3 + 1 / 2`.
    hard_swish(dy, x) {
        let three = T::from_f64(3.0);
        let middle = x / three + T::from_f64(0.5);
        let right = if x < three { middle } else { T::ONE };
        dy * if x > -three { right } else { T::ZERO }
    }

    /// 1 above `alpha`, else 0.
    thresholded_relu(dy, x, alpha) if x > alpha { dy } else { T::ZERO }

    /// 1 outside of `-lambda..=lambda`, else 0.
    shrink(dy, x, lambda) if x > lambda || x < -lambda { dy } else { T::ZERO }

    /// Of `x / 2 * (1 + erf(x / sqrt(2)))`.
    gelu(dy, x) {
        let (half, scale) = (T::from_f64(0.5), T::from_f64(std::f64::consts::FRAC_1_SQRT_2));
        let density = T::from_f64(0.5 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2);
        dy * (half * (T::ONE + (x * scale).erf()) + x * density * (-half * x * x).exp())
    }

    /// Of `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))`.
    gelu_tanh(dy, x) {
        let (half, cubic) = (T::from_f64(0.5), T::from_f64(0.044_715));
        let scale = T::from_f64(std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2);
        let t = (scale * (x + cubic * x * x * x)).tanh();
        let inner = scale * (T::ONE + T::from_f64(3.0) * cubic * x * x);
        dy * (half * (T::ONE + t) + half * x * (T::ONE - t * t) * inner)
    }

    /// Of `x * sigmoid(alpha * x)`.
    swish(dy, x, alpha) {
        let s = (alpha * x).sigmoid();
        dy * (s + alpha * x * s * (T::ONE - s))
    }

    /// Of `x * tanh(log(1 + exp(x)))`.
    mish(dy, x) {
        let positive = if x < T::ZERO { T::ZERO } else { x };
        let t = (positive + (-x.abs()).exp().ln_1p()).tanh();
        dy * (t + x * x.sigmoid() * (T::ONE - t * t))
    }

    /// `sigmoid(x)`.
    softplus(dy, x) dy * x.sigmoid()

    /// `1 / (1 + |x|)^2`.
    softsign(dy, x) {
        let size = T::ONE + x.abs();
        dy / (size * size)
    }

    /// 1 strictly within the bounds, else 0; y may take the place of x.
    clip(dy, x, low, high) if x <= low || x >= high { T::ZERO } else { dy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elementwise::activation as forward;

    type Slope = fn(&mut [f64], &[f64]);
    type Function = fn(&mut [f64]);

    #[test]
    fn slopes_are_those_of_the_functions() {
        let of_x: &[(&str, Slope, Function)] = &[
            (
                "elu",
                |d, x| exponential_linear(d, x, 2.0, 3.0, 4.0),
                |y| forward::exponential_linear(y, 2.0, 3.0, 4.0),
            ),
            (
                "leaky_relu",
                |d, x| leaky_relu(d, x, 0.1),
                |y| forward::leaky_relu(y, 0.1),
            ),
            (
                "hard_sigmoid",
                |d, x| hard_sigmoid(d, x, 0.2, 0.5),
                |y| forward::hard_sigmoid(y, 0.2, 0.5),
            ),
            ("hard_swish", hard_swish, forward::hard_swish),
            (
                "thresholded_relu",
                |d, x| thresholded_relu(d, x, 1.01),
                |y| forward::thresholded_relu(y, 1.01),
            ),
            (
                "shrink",
                |d, x| shrink(d, x, 1.01),
                |y| forward::shrink(y, 0.3, 1.01),
            ),
            ("gelu", gelu, forward::gelu),
            ("gelu_tanh", gelu_tanh, forward::gelu_tanh),
            ("swish", |d, x| swish(d, x, 1.5), |y| forward::swish(y, 1.5)),
            ("mish", mish, forward::mish),
            ("softplus", softplus, forward::softplus),
            ("softsign", softsign, forward::softsign),
            (
                "clip",
                |d, x| clip(d, x, -1.01, 2.01),
                |y| forward::clip(y, -1.01, 2.01),
            ),
        ];
        // No point lies on a kink.
        let x: Vec<f64> = (-80..80).map(|i| f64::from(i) / 16.0 + 0.031).collect();
        for (name, slope, function) in of_x {
            let mut dy = vec![2.0; x.len()];
            slope(&mut dy, &x);
            let step = 1e-6;
            let at = |shift: f64| {
                let mut y: Vec<f64> = x.iter().map(|x| x + shift).collect();
                function(&mut y);
                y
            };
            for ((&got, (up, down)), x) in dy.iter().zip(at(step).into_iter().zip(at(-step))).zip(&x) {
                let expected = 2.0 * (up - down) / (2.0 * step);
                assert!(
                    (got - expected).abs() < 1e-7,
                    "{name}'({x}) = {got}, not {expected}"
                );
            }
        }
    }
}
