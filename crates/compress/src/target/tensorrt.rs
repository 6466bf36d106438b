//! NVIDIA TensorRT, explicit quantization.

use super::OpRole::{Arithmetic, Movement, Product};
use super::cost::Rates;
use super::{BiasForm, MOVES, Memory, Others, Preference, ResidualAdd, ScaleForm, Target};

static H100: Rates = Rates {
    machine: "NVIDIA H100 SXM",
    operations: &[(8, 1979e12), (16, 989e12), (32, 494.7e12)],
    bandwidth: 3.35e12,
    seconds_per_node: 0.5e-6,
    source: "data sheet of the H100 (dense, float as TF32); 0.5 microseconds between kernels of a CUDA graph (NVIDIA, Getting Started with CUDA Graphs, 2019)",
};

/// TensorRT takes signed, symmetric codes with zero point 0 only, weights per channel, biases in float, and advises
/// Q/DQ on the inputs of products and on the residual input of an addition (Developer Guide, "Working with Quantized
/// Types", "Q/DQ Layer-Placement Recommendations"). Tensor cores take INT8 channels in blocks of 32, and weights with two zeros in
/// four twice as fast (Mishra et al. 2021).
pub(super) static TENSORRT: Target = Target {
    name: "tensorrt",
    summary: "NVIDIA TensorRT, explicit quantization with Q/DQ",
    activations: Preference {
        format: "int8",
        symmetric: true,
    },
    activation_formats: &[("int8", None), ("f8e4m3fn", None)],
    symmetric_activations: None,
    asymmetric_activations: Some("activations with zero points are refused"),
    weights: Preference {
        format: "int8",
        symmetric: true,
    },
    weight_formats: &[("int8", None), ("int7", None), ("f8e4m3fn", None)],
    asymmetric_weights: Some("weights with zero points are refused"),
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
            ("AveragePool", Arithmetic),
            ("GlobalAveragePool", Arithmetic),
            ("Concat", Movement),
        ],
    ],
    others: Others::Float,
    one_scale_weights: &[],
    fixed_outputs: &[],
    scales: ScaleForm::Any,
    channel_multiple: 32,
    folds_constants: false,
    sparsity: &["2:4"],
    memory: Memory::ANY,
    rates: Some(&H100),
};
