//! Bantam's own executor.

use super::OpRole::{Arithmetic, Join, Movement, Product};
use super::{BiasForm, MOVES, Memory, Others, Preference, ResidualAdd, ScaleForm, Target};

const UNSIGNED: &str = "weights that are unsigned or have zero points take another sum over the data; prefer symmetric int8 weights";

/// What `exec/src/fuse_quantized` turns into operators on codes, and element-wise functions of one value, which run as tables of 256 entries
/// (`exec/src/tables.rs`). Activations of either sign are as fast: signed ones are moved by 128. Blocks of output channels are vectors of
/// 16. Zeros in weights save nothing.
pub(super) static BANTAM: Target = Target {
    name: "bantam",
    summary: "Bantam's own executor on CPUs",
    activations: Preference {
        format: "uint8",
        symmetric: false,
    },
    activation_formats: &[("uint8", None), ("uint7", None), ("int8", None), ("int7", None)],
    symmetric_activations: None,
    asymmetric_activations: None,
    weights: Preference {
        format: "int8",
        symmetric: true,
    },
    weight_formats: &[("int8", None), ("int7", None), ("uint8", Some(UNSIGNED))],
    asymmetric_weights: Some(UNSIGNED),
    requantizes: false,
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
            ("GlobalAveragePool", Arithmetic),
            ("Sigmoid", Arithmetic),
            ("LeakyRelu", Arithmetic),
            ("HardSwish", Arithmetic),
            ("HardSigmoid", Arithmetic),
            ("Tanh", Arithmetic),
            ("Elu", Arithmetic),
            ("Gelu", Arithmetic),
            ("Erf", Arithmetic),
            ("Concat", Join),
            ("Gather", Movement),
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
