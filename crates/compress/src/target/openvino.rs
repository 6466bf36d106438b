//! OpenVINO on x86-64 CPUs.

use super::OpRole::{Arithmetic, Movement, Product};
use super::{BiasForm, MOVES, Memory, Others, Preference, ResidualAdd, ScaleForm, Target};

const SIGNED: &str = "convolutions of concatenated signed activations came out wrong in OpenVINO 2026.4; prefer `--activations uint8`";
const ZERO_POINTS: &str =
    "weights that are unsigned or have zero points can run slower than float; prefer symmetric int8 weights";

/// The CPU plugin's low-precision transformations move scales through the graph, so biases stay in float, products
/// need no quantized output, and an addition after a convolution is fused into it.
///
/// OpenVINO 2026.4 pads means (AveragePool with count_include_pad) with code 0 whatever the zero point: right after a
/// Relu, wrong elsewhere, also where the mean itself is left in float.
pub(super) static OPENVINO: Target = Target {
    name: "openvino",
    summary: "OpenVINO, CPU plugin",
    activations: Preference {
        format: "uint8",
        symmetric: false,
    },
    activation_formats: &[
        ("uint8", None),
        ("uint7", None),
        ("int8", Some(SIGNED)),
        ("int7", Some(SIGNED)),
    ],
    symmetric_activations: None,
    asymmetric_activations: None,
    weights: Preference {
        format: "int8",
        symmetric: true,
    },
    weight_formats: &[("int8", None), ("int7", None), ("uint8", Some(ZERO_POINTS))],
    asymmetric_weights: Some(ZERO_POINTS),
    requantizes: false,
    bias: BiasForm::Float,
    residual_add: ResidualAdd::FusedIntoProduct,
    roles: &[
        MOVES,
        &[
            ("Conv", Product { output: false }),
            ("ConvTranspose", Product { output: false }),
            ("Gemm", Product { output: false }),
            ("MatMul", Product { output: false }),
            ("Add", Arithmetic),
            ("Mul", Arithmetic),
            ("AveragePool", Arithmetic),
            ("GlobalAveragePool", Arithmetic),
            ("Concat", Movement),
            ("Split", Movement),
            ("DepthToSpace", Movement),
            ("SpaceToDepth", Movement),
        ],
    ],
    others: Others::Float,
    one_scale_weights: &[],
    fixed_outputs: &[],
    scales: ScaleForm::Any,
    channel_multiple: 8,
    folds_constants: true,
    sparsity: &[],
    memory: Memory::ANY,
    rates: None,
};
