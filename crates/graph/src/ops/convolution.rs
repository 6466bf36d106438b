//! Convolutions and products.

use crate::attributes::{op_attributes, string_attribute};

string_attribute! {
    /// How padding is found when `pads` does not give it.
    AutoPad { NotSet = "NOTSET", SameUpper = "SAME_UPPER", SameLower = "SAME_LOWER", Valid = "VALID" }
}

/// The attributes that all convolutions share. Empty lists mean the default (ones; zeros for `pads`; the weight's
/// shape for `kernel_shape`).
macro_rules! convolutions {
    ($($(#[$meta:meta])* $op:ident { $($extra:tt)* })*) => {
        op_attributes! {$(
            $(#[$meta])*
            $op {
                auto_pad: AutoPad = AutoPad::NotSet,
                dilations: Vec<i64> = Vec::new(),
                group: i64 = 1,
                kernel_shape: Vec<i64> = Vec::new(),
                pads: Vec<i64> = Vec::new(),
                strides: Vec<i64> = Vec::new(),
                $($extra)*
            }
        )*}
    };
}

convolutions! {
    /// Convolution: x `[N, C, spatial...]`, weight `[M, C / group, kernel...]`, optional bias `[M]`.
    Conv {}
    /// Transposed convolution: x `[N, C, spatial...]`, weight `[C, M / group, kernel...]`, optional bias `[M]`.
    ConvTranspose { output_padding: Vec<i64> = Vec::new(), output_shape: Vec<i64> = Vec::new() }
    /// Integer convolution with 32-bit sums: x, weight, zero points of both.
    ConvInteger {}
    /// Quantized convolution: x, scale, zero point, weight, scale, zero point, output scale, zero point, bias.
    QLinearConv {}
    /// ONNX Runtime's Conv with an activation and an optional addend as input 3.
    FusedConv { activation: String = String::new(), activation_params: Vec<f32> = Vec::new() }
}

op_attributes! {
    /// Deformable convolution: x, weight, offset, bias, mask.
    DeformConv {
        dilations: Vec<i64> = Vec::new(),
        group: i64 = 1,
        kernel_shape: Vec<i64> = Vec::new(),
        offset_group: i64 = 1,
        pads: Vec<i64> = Vec::new(),
        strides: Vec<i64> = Vec::new(),
    }
    /// Matrix product of the last two dimensions, the others broadcast.
    MatMul {}
    /// `alpha * op(a) * op(b) + beta * c`, c optional and broadcast.
    Gemm {
        alpha: f32 = 1.0,
        beta: f32 = 1.0,
        #[doc = "use the transpose of a"] transA: bool = false,
        #[doc = "use the transpose of b"] transB: bool = false,
    }
    /// Sums of products by index letters.
    Einsum { equation: String }
    /// Integer matrix product with 32-bit sums: a, b, zero points of both.
    MatMulInteger {}
    /// Quantized matrix product: a, scale, zero point, b, scale, zero point, output scale, zero point.
    QLinearMatMul {}
    /// Determinants of the last two dimensions.
    Det {}
}
