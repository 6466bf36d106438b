//! Slopes of the activations of cells.

use crate::gradient::activation as slopes;
use crate::real::Real;
use crate::recurrent::CellActivation;

/// Multiplies `dy` by the slope of an activation at its arguments, which it clips to `[-clip, clip]` first.
pub(super) fn back<T: Real>(activation: CellActivation, dy: &mut [T], arguments: &[T], clip: Option<f32>) {
    let real = |value: f32| T::from_f64(f64::from(value));
    if let Some(clip) = clip {
        slopes::clip(dy, arguments, real(-clip), real(clip));
    }
    let mut values = arguments.to_vec();
    activation.apply(&mut values, clip);
    match activation {
        CellActivation::Affine { alpha, .. } => dy.iter_mut().for_each(|dy| *dy *= real(alpha)),
        CellActivation::Relu => slopes::relu(dy, arguments),
        CellActivation::LeakyRelu { alpha } => slopes::leaky_relu(dy, arguments, real(alpha)),
        CellActivation::ThresholdedRelu { alpha } => slopes::thresholded_relu(dy, arguments, real(alpha)),
        CellActivation::Tanh => slopes::tanh(dy, &values),
        CellActivation::ScaledTanh { alpha, beta } => {
            // y = alpha * t, so its slope is alpha * beta * (1 - t^2).
            for (dy, &y) in dy.iter_mut().zip(&values) {
                *dy = *dy * real(beta) * (real(alpha) - y * y / real(alpha));
            }
        }
        CellActivation::Sigmoid => slopes::sigmoid(dy, &values),
        CellActivation::HardSigmoid { alpha, beta } => {
            slopes::hard_sigmoid(dy, arguments, real(alpha), real(beta))
        }
        CellActivation::Elu { alpha } => {
            slopes::exponential_linear(dy, arguments, real(alpha), T::ONE, T::ONE)
        }
        CellActivation::Softsign => slopes::softsign(dy, arguments),
        CellActivation::Softplus => slopes::softplus(dy, arguments),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_those_of_the_functions() {
        let names = [
            "Affine",
            "Relu",
            "LeakyRelu",
            "ThresholdedRelu",
            "Tanh",
            "ScaledTanh",
            "Sigmoid",
            "HardSigmoid",
            "Elu",
            "Softsign",
            "Softplus",
        ];
        let x: Vec<f64> = (-20..20).map(|i| f64::from(i) * 0.17 + 0.03).collect();
        for name in names {
            let activation =
                CellActivation::parse(name, &mut [0.3].into_iter(), &mut [0.7].into_iter()).unwrap();
            let mut dy = vec![2.0; x.len()];
            back(activation, &mut dy, &x, Some(2.5));
            let at = |shift: f64| {
                let mut y: Vec<f64> = x.iter().map(|x| x + shift).collect();
                activation.apply(&mut y, Some(2.5));
                y
            };
            for ((got, (up, down)), x) in dy.iter().zip(at(1e-6).into_iter().zip(at(-1e-6))).zip(&x) {
                let expected = 2.0 * (up - down) / 2e-6;
                assert!(
                    (got - expected).abs() < 1e-6,
                    "{name}'({x}) = {got}, not {expected}"
                );
            }
        }
    }
}
