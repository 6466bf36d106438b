//! The activation functions that recurrent cells may use.

use crate::elementwise::activation as functions;
use crate::elementwise::function::tanh;
use crate::real::Real;

/// An activation function with its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(
    missing_docs,
    reason = "the names and parameters are those of the specification"
)]
pub enum CellActivation {
    Affine { alpha: f32, beta: f32 },
    Relu,
    LeakyRelu { alpha: f32 },
    ThresholdedRelu { alpha: f32 },
    Tanh,
    ScaledTanh { alpha: f32, beta: f32 },
    Sigmoid,
    HardSigmoid { alpha: f32, beta: f32 },
    Elu { alpha: f32 },
    Softsign,
    Softplus,
}

impl CellActivation {
    /// The function of this name (in any case), with the next of the given parameters or its defaults.
    pub fn parse(
        name: &str,
        alphas: &mut impl Iterator<Item = f32>,
        betas: &mut impl Iterator<Item = f32>,
    ) -> Option<CellActivation> {
        let mut alpha = |default: f32| alphas.next().unwrap_or(default);
        let mut beta = |default: f32| betas.next().unwrap_or(default);
        Some(match name.to_ascii_lowercase().as_str() {
            "affine" => CellActivation::Affine {
                alpha: alpha(1.0),
                beta: beta(0.0),
            },
            "relu" => CellActivation::Relu,
            "leakyrelu" => CellActivation::LeakyRelu { alpha: alpha(0.01) },
            "thresholdedrelu" => CellActivation::ThresholdedRelu { alpha: alpha(1.0) },
            "tanh" => CellActivation::Tanh,
            "scaledtanh" => CellActivation::ScaledTanh {
                alpha: alpha(1.0),
                beta: beta(1.0),
            },
            "sigmoid" => CellActivation::Sigmoid,
            "hardsigmoid" => CellActivation::HardSigmoid {
                alpha: alpha(0.2),
                beta: beta(0.5),
            },
            "elu" => CellActivation::Elu { alpha: alpha(1.0) },
            "softsign" => CellActivation::Softsign,
            "softplus" => CellActivation::Softplus,
            _ => return None,
        })
    }

    /// Applies the function to every element, after clipping to `[-clip, clip]`.
    pub(crate) fn apply<T: Real>(self, y: &mut [T], clip: Option<f32>) {
        let real = |value: f32| T::from_f64(f64::from(value));
        if let Some(clip) = clip {
            functions::clip(y, real(-clip), real(clip));
        }
        match self {
            CellActivation::Affine { alpha, beta } => affine(y, real(alpha), real(beta)),
            CellActivation::Relu => functions::relu(y),
            CellActivation::LeakyRelu { alpha } => functions::leaky_relu(y, real(alpha)),
            CellActivation::ThresholdedRelu { alpha } => functions::thresholded_relu(y, real(alpha)),
            CellActivation::Tanh => tanh(y),
            CellActivation::ScaledTanh { alpha, beta } => {
                affine(y, real(beta), T::ZERO);
                tanh(y);
                affine(y, real(alpha), T::ZERO);
            }
            CellActivation::Sigmoid => functions::sigmoid(y),
            CellActivation::HardSigmoid { alpha, beta } => {
                functions::hard_sigmoid(y, real(alpha), real(beta))
            }
            CellActivation::Elu { alpha } => functions::exponential_linear(y, real(alpha), T::ONE, T::ONE),
            CellActivation::Softsign => functions::softsign(y),
            CellActivation::Softplus => functions::softplus(y),
        }
    }
}

fn affine<T: Real>(y: &mut [T], alpha: T, beta: T) {
    y.iter_mut().for_each(|y| *y = *y * alpha + beta);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_match_their_formulas() {
        type Case = (&'static str, fn(f64) -> f64);
        // Parameters 0.3 (alpha) and 0.7 (beta) where the function takes them.
        let cases: [Case; 11] = [
            ("Affine", |x| 0.3 * x + 0.7),
            ("Relu", |x| x.max(0.0)),
            ("LeakyRelu", |x| if x < 0.0 { 0.3 * x } else { x }),
            ("ThresholdedRelu", |x| if x > 0.3 { x } else { 0.0 }),
            ("Tanh", f64::tanh),
            ("ScaledTanh", |x| 0.3 * (0.7 * x).tanh()),
            ("Sigmoid", |x| 1.0 / (1.0 + (-x).exp())),
            ("HardSigmoid", |x| (0.3 * x + 0.7).clamp(0.0, 1.0)),
            ("Elu", |x| if x < 0.0 { 0.3 * (x.exp() - 1.0) } else { x }),
            ("Softsign", |x| x / (1.0 + x.abs())),
            ("softplus", |x| (1.0 + x.exp()).ln()),
        ];
        let x: Vec<f64> = (-20..20).map(|i| f64::from(i) * 0.2).collect();
        for (name, formula) in cases {
            let mut y = x.clone();
            let (mut alphas, mut betas) = ([0.3].into_iter(), [0.7].into_iter());
            CellActivation::parse(name, &mut alphas, &mut betas)
                .unwrap()
                .apply(&mut y, Some(3.0));
            for (x, y) in x.iter().zip(y) {
                // The parameters are rounded to `f32`.
                assert!(
                    (y - formula(x.clamp(-3.0, 3.0))).abs() < 1e-6,
                    "{name}({x}) = {y}"
                );
            }
        }
        assert_eq!(
            CellActivation::parse("Swish", &mut [].into_iter(), &mut [].into_iter()),
            None
        );
    }
}
