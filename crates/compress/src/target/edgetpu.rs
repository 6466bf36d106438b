//! Google's Edge TPU (Coral).

use super::cost::Rates;
use super::tflite::{COMMON, FIXED_OUTPUTS, INT8, WEIGHTS, ZERO_POINTS};
use super::{BiasForm, Memory, Others, ResidualAdd, ScaleForm, Target};

static DEV_BOARD: Rates = Rates {
    machine: "Edge TPU of the Coral Dev Board, beside four Cortex-A53 of 1.5 GHz",
    operations: &[(8, 4e12), (32, 48e9)],
    bandwidth: f64::INFINITY,
    seconds_per_node: 0.0,
    source: "coral.ai, Technology: 4 TOPS; its bandwidth on the chip is not published. Float on the host: 8 operations a cycle and core",
};

/// The compiler takes fully quantized TensorFlow Lite files of static shapes, and gives the first op that it lacks, and all after it,
/// to the host. About 8 MB of parameters stay on the chip, the rest comes through PCIe 2.0 x1 or USB 3.0 at each run (coral.ai, Edge TPU
/// Compiler, Parameter data caching). Depths are best in fours.
pub(super) static EDGETPU: Target = Target {
    name: "edgetpu",
    summary: "Google Edge TPU (Coral), fully quantized TensorFlow Lite files",
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
    roles: &[COMMON],
    others: Others::Host,
    one_scale_weights: &["Gemm", "MatMul"],
    fixed_outputs: FIXED_OUTPUTS,
    scales: ScaleForm::Any,
    channel_multiple: 4,
    folds_constants: false,
    sparsity: &[],
    memory: Memory {
        constants: Some(8 << 20),
        activations: None,
        beyond: Some(0.5e9),
    },
    rates: Some(&DEV_BOARD),
};
