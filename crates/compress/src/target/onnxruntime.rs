//! ONNX Runtime on x86-64 CPUs.

use super::OpRole::{Arithmetic, Join, Movement, Product};
use super::{BiasForm, MOVES, Memory, Others, Preference, ResidualAdd, ScaleForm, Target};

/// What to know about activations in 8-bit floats.
const FLOATS: &str = "they are computed with these in float, and drops a Relu before them unless the session is opened with basic optimizations (ORT_ENABLE_BASIC): this is for runtimes with kernels for them, such as TensorRT";

/// The CPU execution provider turns DequantizeLinear -> op -> QuantizeLinear into its QLinear kernels. Convolutions
/// need a quantized output for that; Gemm and MatMul can give floats. Its kernels multiply unsigned activations by
/// signed weights; signed activations and weights with zero points take slower paths, often slower than float. A Relu or
/// Clip goes only where the lowest code stands for its lower bound, so values joined by Concat keep their own scales.
///
/// Left out because float is faster or the integer form inexact: Softmax (18 dB on a row of 56), Resize, DepthToSpace
/// and SpaceToDepth (no integer kernel).
pub(super) static ONNXRUNTIME: Target = Target {
    name: "onnxruntime",
    summary: "ONNX Runtime, CPU execution provider",
    activations: Preference {
        format: "uint8",
        symmetric: false,
    },
    activation_formats: &[
        ("uint8", None),
        (
            "uint7",
            Some(
                "7-bit codes reach past the upper bound of Clip (ReLU6), which is then not fused and runs slower than float; prefer `--activations uint8` on CPUs with VNNI",
            ),
        ),
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
        ("f8e4m3fn", Some(FLOATS)),
        ("f8e5m2", Some(FLOATS)),
    ],
    symmetric_activations: Some(
        "Relu and Clip are not fused with symmetric activations and run slower than float; prefer `--symmetric-activations=false`",
    ),
    asymmetric_activations: None,
    weights: Preference {
        format: "int8",
        symmetric: true,
    },
    weight_formats: &[
        ("int8", None),
        ("int7", None),
        (
            "uint8",
            Some("unsigned weights run as slow as float or slower; prefer `--weights int8`"),
        ),
    ],
    asymmetric_weights: Some(
        "weights with zero points take slower kernels, per channel often far slower than float; prefer `--symmetric-weights=true`",
    ),
    requantizes: true,
    bias: BiasForm::Int32,
    residual_add: ResidualAdd::BothInputs,
    roles: &[
        MOVES,
        &[
            ("Conv", Product { output: true }),
            ("Gemm", Product { output: false }),
            ("MatMul", Product { output: false }),
            ("Add", Arithmetic),
            ("Mul", Arithmetic),
            ("AveragePool", Arithmetic),
            ("GlobalAveragePool", Arithmetic),
            ("Sigmoid", Arithmetic),
            ("LeakyRelu", Arithmetic),
            ("Concat", Join),
            ("Split", Movement),
            ("Expand", Movement),
            ("Tile", Movement),
        ],
    ],
    others: Others::Float,
    one_scale_weights: &[],
    fixed_outputs: &[],
    scales: ScaleForm::Any,
    channel_multiple: 16,
    folds_constants: true,
    sparsity: &[],
    memory: Memory::ANY,
    rates: None,
};
