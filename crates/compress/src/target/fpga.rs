//! Programmable logic: scales are shifts, weights have any width.

use super::OpRole::{Arithmetic, Movement, Product};
use super::cost::Rates;
use super::{BiasForm, MOVES, Memory, Others, Preference, ResidualAdd, ScaleForm, Target};

static ZCU104: Rates = Rates {
    machine: "ZCU104: two DPUCZDX8G B4096 at 300 MHz, beside four Cortex-A53 of 1.2 GHz",
    operations: &[(4, 4.915e12), (8, 2.4576e12), (32, 38.4e9)],
    bandwidth: 19.2e9,
    seconds_per_node: 0.0,
    source: "PG338: 4,096 operations a cycle and core; twice that with 4 bits (WP521); DDR4-2400, 64 bits wide. Float on the host: 8 operations a cycle and core",
};

/// As AMD's Vitis AI wants it for its DPU, symmetric with scales that are powers of two, but with the widths that generated hardware
/// (FINN, hls4ml) takes. Biases keep their precision: to round them to the scale of narrow sums would cost more than it saves. The DPU B4096 works on blocks of 16 input and 16 output channels; 38 Mb of memory are on the chip.
pub(super) static FPGA: Target = Target {
    name: "fpga",
    summary: "FPGAs: scales are powers of two, weights of 2 to 8 bits",
    activations: Preference {
        format: "int8",
        symmetric: true,
    },
    activation_formats: &[
        ("int8", None),
        ("int7", None),
        ("int6", None),
        ("int5", None),
        ("int4", None),
        ("int3", None),
        ("int2", None),
    ],
    symmetric_activations: None,
    asymmetric_activations: Some(
        "zero points take adders at each product; prefer `--symmetric-activations=true`",
    ),
    weights: Preference {
        format: "int8",
        symmetric: true,
    },
    weight_formats: &[
        ("int8", None),
        ("int7", None),
        ("int6", None),
        ("int5", None),
        ("int4", None),
        ("int3", None),
        ("int2", None),
    ],
    asymmetric_weights: Some("zero points take adders at each product; prefer `--symmetric-weights=true`"),
    requantizes: false,
    bias: BiasForm::Float,
    residual_add: ResidualAdd::BothInputs,
    roles: &[
        MOVES,
        &[
            ("Conv", Product { output: true }),
            ("ConvTranspose", Product { output: true }),
            ("Gemm", Product { output: true }),
            ("MatMul", Product { output: true }),
            ("Add", Arithmetic),
            ("Mul", Arithmetic),
            ("AveragePool", Arithmetic),
            ("GlobalAveragePool", Arithmetic),
            ("Concat", Movement),
        ],
    ],
    others: Others::Host,
    one_scale_weights: &[],
    fixed_outputs: &[],
    scales: ScaleForm::PowerOfTwo,
    channel_multiple: 16,
    folds_constants: false,
    sparsity: &[],
    memory: Memory {
        constants: Some(38 << 17),
        activations: None,
        beyond: Some(19.2e9),
    },
    rates: Some(&ZCU104),
};
