//! TensorFlow Lite for Microcontrollers, with its reference kernels and with those of CMSIS-NN.

use super::OpRole::Float;
use super::cost::Rates;
use super::tflite::{COMMON, FIXED_OUTPUTS, INT8, INTERPRETED, WEIGHTS, ZERO_POINTS};
use super::{BiasForm, Memory, Others, ResidualAdd, Roles, ScaleForm, Target};

/// What the interpreter has in float only (`micro_mutable_op_resolver.h`).
const IN_FLOAT: Roles = &[
    ("Abs", Float),
    ("ArgMax", Float),
    ("ArgMin", Float),
    ("Cast", Float),
    ("Ceil", Float),
    ("Cos", Float),
    ("CumSum", Float),
    ("Div", Float),
    ("Elu", Float),
    ("Equal", Float),
    ("Exp", Float),
    ("Expand", Float),
    ("Floor", Float),
    ("GatherND", Float),
    ("Greater", Float),
    ("GreaterOrEqual", Float),
    ("Less", Float),
    ("LessOrEqual", Float),
    ("Log", Float),
    ("LogSoftmax", Float),
    ("Neg", Float),
    ("Not", Float),
    ("Round", Float),
    ("Shape", Float),
    ("Sin", Float),
    ("Sqrt", Float),
    ("Where", Float),
];

/// The board that MLPerf Tiny's reference results are from.
const BOARD: Memory = Memory {
    constants: Some(2 << 20),
    activations: Some(640 << 10),
    beyond: None,
};

static REFERENCE: Rates = Rates {
    machine: "STM32L4R5, a Cortex-M4 of 120 MHz",
    operations: &[(8, 240e6), (32, 80e6)],
    bandwidth: 480e6,
    seconds_per_node: 0.0,
    source: "MLA in one cycle, VFMA.F32 in three, a word from memory a cycle (Arm Cortex-M4 Technical Reference Manual; data sheet of the STM32L4R5)",
};

static CMSIS_NN: Rates = Rates {
    machine: "STM32L4R5, a Cortex-M4 of 120 MHz",
    operations: &[(8, 480e6), (32, 80e6)],
    bandwidth: 480e6,
    seconds_per_node: 0.0,
    source: "SMLAD, two products of 16 bits, in one cycle; else as tflite-micro (the same manuals)",
};

/// The interpreter runs what was registered in it and nothing else. Everything else is as for TensorFlow Lite.
pub(super) static TFLITE_MICRO: Target = Target {
    name: "tflite-micro",
    summary: "TensorFlow Lite for Microcontrollers, reference kernels",
    ..INTERPRETER
};

/// CMSIS-NN has the kernels of convolutions, fully connected layers, products, sums, pools, Softmax and LSTM in int8, also with weights of 4
/// bits, and is bit-exact with the reference kernels, which run the rest. Its fast kernels of 1 x 1 want channels in fours.
pub(super) static CORTEX_M: Target = Target {
    name: "cortex-m",
    summary: "Arm Cortex-M, TensorFlow Lite for Microcontrollers with CMSIS-NN",
    weight_formats: &[("int8", None), ("int7", None), ("int4", None)],
    channel_multiple: 4,
    rates: Some(&CMSIS_NN),
    ..INTERPRETER
};

const INTERPRETER: Target = Target {
    name: "",
    summary: "",
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
    roles: &[COMMON, INTERPRETED, IN_FLOAT],
    others: Others::Missing,
    one_scale_weights: &["Gemm", "MatMul"],
    fixed_outputs: FIXED_OUTPUTS,
    scales: ScaleForm::Any,
    channel_multiple: 1,
    folds_constants: false,
    sparsity: &[],
    memory: BOARD,
    rates: Some(&REFERENCE),
};
