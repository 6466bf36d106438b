//! The activations of ONNX Runtime's fused ops.

use bantam_graph::Op;
use bantam_graph::ops::{HardSigmoid, LeakyRelu, Unary};
use bantam_tensor::Tensor;

use crate::inputs::{Argument, Inputs};
use crate::{Context, OpError};

/// An activation that an attribute names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum FusedActivation {
    None,
    Clamp { low: f32, high: f32 },
    Tanh,
    Sigmoid,
    LeakyRelu { alpha: f32 },
    HardSigmoid { alpha: f32, beta: f32 },
}

impl FusedActivation {
    /// The activation of this name with its parameters in ONNX Runtime's order.
    pub(super) fn parse(name: &str, parameters: &[f32]) -> Result<FusedActivation, OpError> {
        let parameter = |index: usize, default: f32| parameters.get(index).copied().unwrap_or(default);
        Ok(match name {
            "" => FusedActivation::None,
            "Relu" => FusedActivation::Clamp {
                low: 0.0,
                high: f32::INFINITY,
            },
            "Clip" => FusedActivation::Clamp {
                low: parameter(0, f32::NEG_INFINITY),
                high: parameter(1, f32::INFINITY),
            },
            "Tanh" => FusedActivation::Tanh,
            "Sigmoid" => FusedActivation::Sigmoid,
            "LeakyRelu" => FusedActivation::LeakyRelu {
                alpha: parameter(0, 0.01),
            },
            "HardSigmoid" => FusedActivation::HardSigmoid {
                alpha: parameter(0, 0.2),
                beta: parameter(1, 0.5),
            },
            _ => return Err(OpError::Unsupported(format!("the activation `{name}`"))),
        })
    }

    /// The bounds, if it does nothing but clamp to bounds that are in order.
    pub(super) fn clamp(self) -> Option<(f32, f32)> {
        match self {
            FusedActivation::None => Some((f32::NEG_INFINITY, f32::INFINITY)),
            FusedActivation::Clamp { low, high } => Some((low, high)),
            _ => None,
        }
    }

    /// The activation of every element.
    pub(super) fn apply(self, x: Tensor, context: &Context) -> Result<Tensor, OpError> {
        let op: Op = match self {
            FusedActivation::None => return Ok(x),
            FusedActivation::Clamp { low, high } => {
                return super::convolution::clamped(x, low, high, context);
            }
            FusedActivation::Tanh => Unary::Tanh.into(),
            FusedActivation::Sigmoid => Unary::Sigmoid.into(),
            FusedActivation::LeakyRelu { alpha } => LeakyRelu { alpha }.into(),
            FusedActivation::HardSigmoid { alpha, beta } => HardSigmoid { alpha, beta }.into(),
        };
        let outputs = super::evaluate(&op, &mut Inputs::new(vec![Some(Argument::Last(x))]), 1, context)?;
        outputs
            .into_iter()
            .next()
            .flatten()
            .ok_or_else(|| OpError::value("an activation without a result"))
    }
}
