//! ONNX Runtime on x86-64 CPUs.

use super::OpRole::{Activation, Arithmetic, Movement, Product};
use super::{BiasForm, Preference, ResidualAdd, Target};

/// The CPU execution provider turns DequantizeLinear -> op -> QuantizeLinear into its QLinear kernels. Convolutions
/// need a quantized output for that; Gemm and MatMul can give floats. Its kernels multiply unsigned activations by
/// signed weights; signed activations take a path that is slower than float.
pub(super) static ONNXRUNTIME: Target = Target {
    name: "onnxruntime",
    summary: "ONNX Runtime, CPU execution provider",
    activations: Preference {
        format: "uint8",
        symmetric: false,
    },
    activation_formats: &[
        ("uint8", None),
        ("uint7", None),
        (
            "int8",
            Some(
                "convolutions with signed activations run slower than float on x86-64; prefer `--activations uint8`",
            ),
        ),
        (
            "int7",
            Some(
                "convolutions with signed activations run slower than float on x86-64; prefer `--activations uint8`",
            ),
        ),
    ],
    weights: Preference {
        format: "int8",
        symmetric: true,
    },
    symmetric_only: false,
    bias: BiasForm::Int32,
    residual_add: ResidualAdd::BothInputs,
    roles: &[
        ("Conv", Product { output: true }),
        ("Gemm", Product { output: false }),
        ("MatMul", Product { output: false }),
        ("Add", Arithmetic),
        ("Mul", Arithmetic),
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
        ("Split", Movement),
        ("Pad", Movement),
        ("DepthToSpace", Movement),
        ("SpaceToDepth", Movement),
        ("Relu", Activation),
        ("Clip", Activation),
    ],
};
