//! Ops of the `com.microsoft` domain, as ONNX Runtime's documentation of contrib operators defines them.

use crate::attributes::op_attributes;

op_attributes! {
    /// QuantizeLinear for dtypes that the standard did not have yet.
    MsQuantizeLinear { axis: i64 = 1, block_size: i64 = 0, saturate: bool = true }
    /// DequantizeLinear for dtypes that the standard did not have yet.
    MsDequantizeLinear { axis: i64 = 1, block_size: i64 = 0 }
    /// a, scale, zero point, b, scale, zero point, output scale, zero point.
    QLinearAdd {}
    /// a, scale, zero point, b, scale, zero point, output scale, zero point.
    QLinearMul {}
    /// x, scale, zero point, output scale, zero point.
    QLinearSigmoid {}
    /// x, scale, zero point, output scale, zero point.
    QLinearLeakyRelu { alpha: f32 = 0.01 }
    /// x, scale, zero point, output scale, zero point.
    QLinearSoftmax { axis: i64 = -1, #[doc = "opset of the softmax that it stands for"] opset: i64 }
    /// x, scale, zero point, output scale, zero point.
    QLinearGlobalAveragePool { channels_last: bool = false }
    /// output scale, zero point, then x, scale, zero point for each joined tensor.
    QLinearConcat { axis: i64 }
    /// a, scale, zero point, b, scale, zero point, optional bias, optional output scale, zero point.
    QGemm {
        alpha: f32 = 1.0,
        #[doc = "use the transpose of a"] transA: bool = false,
        #[doc = "use the transpose of b"] transB: bool = false,
    }
    /// a `[.., K]`, packed b `[N, blocks, bytes]`, scales, zero points, group index, bias.
    MatMulNBits {
        #[doc = "width of the products; 0 leaves it open"] accuracy_level: i64 = 0,
        bits: i64 = 4,
        block_size: i64,
        K: i64,
        N: i64,
    }
    /// codes in groups along `quantize_axis`, indices, scales, zero points; slices of `gather_axis` in float.
    GatherBlockQuantized {
        #[doc = "of codes that are packed in bytes"] bits: i64 = 4,
        block_size: i64 = 128,
        gather_axis: i64 = 0,
        quantize_axis: i64 = 1,
    }
    /// a, b, a scale, b scale, a zero point, b zero point, bias.
    MatMulIntegerToFloat {}
    /// a in float, b, b scale, b zero point, bias.
    DynamicQuantizeMatMul {}
    /// `alpha * op(a) * op(b)`.
    FusedMatMul {
        alpha: f32 = 1.0,
        #[doc = "use the transpose of a"] transA: bool = false,
        #[doc = "use the transpose of b"] transB: bool = false,
        #[doc = "move the first dimension of a behind the batch"] transBatchA: bool = false,
        #[doc = "move the first dimension of b behind the batch"] transBatchB: bool = false,
    }
    /// Gemm with an activation.
    FusedGemm {
        activation: String = String::new(),
        activation_alpha: f32 = 0.0,
        activation_beta: f32 = 0.0,
        activation_gamma: f32 = 0.0,
        alpha: f32 = 1.0,
        beta: f32 = 1.0,
        #[doc = "use the transpose of a"] transA: bool = false,
        #[doc = "use the transpose of b"] transB: bool = false,
    }
    /// Gelu by the error function.
    MsGelu {}
    /// Gelu of x + bias.
    BiasGelu {}
    /// Gelu by tanh, of x + optional bias.
    FastGelu {}
    /// `x * sigmoid(alpha * x)`.
    QuickGelu { alpha: f32 = 1.702 }
    /// LayerNormalization of x + skip + optional bias: x, skip, gamma, beta, bias; output 3 the sum.
    SkipLayerNormalization { epsilon: f32 = 1e-12 }
    /// RMSNormalization of x + skip + optional bias: x, skip, gamma, bias; output 3 the sum.
    SkipSimplifiedLayerNormalization { epsilon: f32 = 1e-12 }
}
