//! NVIDIA TensorRT, explicit quantization.

use super::OpRole::{Activation, Arithmetic, Movement, Product};
use super::{BiasForm, Preference, ResidualAdd, Target};

/// TensorRT takes signed, symmetric codes with zero point 0 only, weights per channel, biases in float, and advises
/// Q/DQ on the inputs of products and on the residual input of an addition (Developer Guide, "Working with Quantized
/// Types", "Q/DQ Layer-Placement Recommendations").
pub(super) static TENSORRT: Target = Target {
    name: "tensorrt",
    summary: "NVIDIA TensorRT, explicit quantization with Q/DQ",
    activations: Preference {
        format: "int8",
        symmetric: true,
    },
    activation_formats: &[("int8", None)],
    symmetric_activations: None,
    asymmetric_activations: Some("activations with zero points are refused"),
    weights: Preference {
        format: "int8",
        symmetric: true,
    },
    weight_formats: &[("int8", None), ("int7", None)],
    asymmetric_weights: Some("weights with zero points are refused"),
    requantizes: false,
    bias: BiasForm::Float,
    residual_add: ResidualAdd::FusedIntoProduct,
    roles: &[
        ("Conv", Product { output: false }),
        ("ConvTranspose", Product { output: false }),
        ("Gemm", Product { output: false }),
        ("MatMul", Product { output: false }),
        ("Add", Arithmetic),
        ("AveragePool", Arithmetic),
        ("GlobalAveragePool", Arithmetic),
        ("Concat", Movement),
        ("MaxPool", Movement),
        ("Reshape", Movement),
        ("Flatten", Movement),
        ("Transpose", Movement),
        ("Squeeze", Movement),
        ("Unsqueeze", Movement),
        ("Slice", Movement),
        ("Pad", Movement),
        ("Relu", Activation),
        ("Clip", Activation),
    ],
};
