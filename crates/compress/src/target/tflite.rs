//! TensorFlow Lite (LiteRT), 8-bit integers.

use super::OpRole::{Activation, Arithmetic, Float, Movement, Product};
use super::cost::Rates;
use super::{BiasForm, Memory, Others, Preference, ResidualAdd, Roles, ScaleForm, Target};

/// Of all relatives. The specification wants one scale for what is averaged, picked, moved or joined and its result.
pub(super) const COMMON: Roles = &[
    ("Conv", Product { output: true }),
    ("ConvTranspose", Product { output: true }),
    ("Gemm", Product { output: true }),
    ("MatMul", Product { output: true }),
    ("Add", Arithmetic),
    ("Sub", Arithmetic),
    ("Mul", Arithmetic),
    ("GlobalAveragePool", Arithmetic),
    ("ReduceMean", Arithmetic),
    ("ReduceSum", Arithmetic),
    ("Softmax", Arithmetic),
    ("Sigmoid", Arithmetic),
    ("Tanh", Arithmetic),
    ("PRelu", Arithmetic),
    ("AveragePool", Movement),
    ("MaxPool", Movement),
    ("GlobalMaxPool", Movement),
    ("Concat", Movement),
    ("Reshape", Movement),
    ("Flatten", Movement),
    ("Transpose", Movement),
    ("Squeeze", Movement),
    ("Unsqueeze", Movement),
    ("Slice", Movement),
    ("Split", Movement),
    ("Pad", Movement),
    ("Resize", Movement),
    ("SpaceToDepth", Movement),
    ("Relu", Activation),
    ("Clip", Activation),
    ("ReduceMax", Float),
    ("ReduceMin", Float),
    ("Max", Float),
    ("Min", Float),
];

/// What the interpreters for processors run in integers besides.
pub(super) const INTERPRETED: Roles = &[
    ("LeakyRelu", Arithmetic),
    ("HardSwish", Arithmetic),
    ("DepthToSpace", Movement),
    ("Gather", Movement),
];

/// Scales and zero points that the specification prescribes: of numbers between 0 and 1, and between -1 and 1.
pub(super) const FIXED_OUTPUTS: &[(&str, f32, i32)] = &[
    ("Softmax", 1.0 / 256.0, -128),
    ("Sigmoid", 1.0 / 256.0, -128),
    ("Tanh", 1.0 / 128.0, 0),
];

/// Forms of weights and activations of all relatives.
pub(super) const INT8: Preference = Preference {
    format: "int8",
    symmetric: false,
};
pub(super) const WEIGHTS: Preference = Preference {
    format: "int8",
    symmetric: true,
};
pub(super) const ZERO_POINTS: &str = "the 8-bit specification wants weights without zero points";

static CORTEX_A76: Rates = Rates {
    machine: "one Cortex-A76 core of a Raspberry Pi 5, 2.4 GHz",
    operations: &[(8, 153.6e9), (32, 38.4e9)],
    bandwidth: 17.1e9,
    seconds_per_node: 0.0,
    source: "two SDOT or two FMLA of 128 bits a cycle (Arm Cortex-A76 Software Optimization Guide); LPDDR4X-4267, 32 bits wide",
};

/// Activations are signed with any zero point, weights lie between -127 and 127 with zero point 0, of convolutions a scale for each
/// channel, of fully connected layers one for all; biases have 32 bits (TensorFlow Lite 8-bit quantization specification). Ops
/// without an integer form run in float.
pub(super) static TFLITE: Target = Target {
    name: "tflite",
    summary: "TensorFlow Lite (LiteRT) on Arm CPUs, 8-bit specification",
    activations: INT8,
    activation_formats: &[("int8", None)],
    symmetric_activations: None,
    asymmetric_activations: None,
    weights: WEIGHTS,
    weight_formats: &[("int8", None), ("int7", None)],
    asymmetric_weights: Some(ZERO_POINTS),
    requantizes: false,
    bias: BiasForm::Int32,
    residual_add: ResidualAdd::BothInputs,
    roles: &[COMMON, INTERPRETED],
    others: Others::Float,
    one_scale_weights: &["Gemm", "MatMul"],
    fixed_outputs: FIXED_OUTPUTS,
    scales: ScaleForm::Any,
    channel_multiple: 8,
    folds_constants: false,
    sparsity: &[],
    memory: Memory::ANY,
    rates: Some(&CORTEX_A76),
};
