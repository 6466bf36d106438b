//! Neural processors such as Qualcomm's Hexagon.

use super::OpRole::{Arithmetic, Movement, Product};
use super::cost::Rates;
use super::{BiasForm, MOVES, Memory, Others, Preference, ResidualAdd, ScaleForm, Target};

static HEXAGON: Rates = Rates {
    machine: "Hexagon of a Snapdragon X Elite",
    operations: &[(8, 45e12), (16, 22.5e12), (32, 22.5e12)],
    bandwidth: 135e9,
    seconds_per_node: 0.0,
    source: "product brief: 45 TOPS, LPDDR5x of 135 GB/s; 16 bits and float (computed in 16 bits) are taken as half of that",
};

/// The HTP backend of the AI Engine Direct SDK (QNN): activations of 8 or 16 bits, unsigned with any zero point, weights of 8 bits, also of
/// 4, symmetric with a scale for each channel, biases of 32 bits; most ops have integer forms, with ONNX Runtime's QNN execution provider
/// in between, which reads Q/DQ around each of them. Depths are cut into blocks of 32.
pub(super) static NPU: Target = Target {
    name: "npu",
    summary: "Neural processors as Qualcomm's Hexagon (QNN HTP)",
    activations: Preference {
        format: "uint8",
        symmetric: false,
    },
    activation_formats: &[
        ("uint8", None),
        (
            "uint16",
            Some("activations of 16 bits take about twice the time of 8 bits"),
        ),
    ],
    symmetric_activations: None,
    asymmetric_activations: None,
    weights: Preference {
        format: "int8",
        symmetric: true,
    },
    weight_formats: &[("int8", None), ("int7", None), ("int4", None)],
    asymmetric_weights: Some("weights with zero points cannot have a scale for each channel"),
    requantizes: false,
    bias: BiasForm::Int32,
    residual_add: ResidualAdd::BothInputs,
    roles: &[
        MOVES,
        &[
            ("Conv", Product { output: true }),
            ("ConvTranspose", Product { output: true }),
            ("Gemm", Product { output: true }),
            ("MatMul", Product { output: true }),
            ("Add", Arithmetic),
            ("Sub", Arithmetic),
            ("Mul", Arithmetic),
            ("Div", Arithmetic),
            ("AveragePool", Arithmetic),
            ("GlobalAveragePool", Arithmetic),
            ("ReduceMean", Arithmetic),
            ("Softmax", Arithmetic),
            ("Sigmoid", Arithmetic),
            ("Tanh", Arithmetic),
            ("HardSwish", Arithmetic),
            ("Gelu", Arithmetic),
            ("LayerNormalization", Arithmetic),
            ("Concat", Movement),
            ("Split", Movement),
            ("DepthToSpace", Movement),
            ("SpaceToDepth", Movement),
            ("Gather", Movement),
        ],
    ],
    others: Others::Float,
    one_scale_weights: &[],
    fixed_outputs: &[],
    scales: ScaleForm::Any,
    channel_multiple: 32,
    folds_constants: false,
    sparsity: &[],
    memory: Memory::ANY,
    rates: Some(&HEXAGON),
};
