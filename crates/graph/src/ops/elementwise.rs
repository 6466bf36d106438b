//! Element-wise ops.

use bantam_tensor::DType;

use crate::attributes::{op_attributes, string_attribute};

/// Declares ops that have no attributes and differ only in what they compute per element.
macro_rules! kinds {
    ($($(#[$meta:meta])* $kind:ident { $($(#[$variant_meta:meta])* $variant:ident),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names are those of the specification")]
        pub enum $kind { $($(#[$variant_meta])* $variant),* }

        impl $kind {
            /// Every one of them.
            pub const ALL: &[$kind] = &[$($kind::$variant),*];
            /// The ONNX name.
            pub fn name(self) -> &'static str {
                match self { $($kind::$variant => stringify!($variant)),* }
            }
            /// The one with this ONNX name.
            pub fn from_name(name: &str) -> Option<$kind> {
                $kind::ALL.iter().copied().find(|kind| kind.name() == name)
            }
        }

        impl From<$kind> for crate::Op {
            fn from(kind: $kind) -> crate::Op { crate::Op::$kind(kind) }
        }
    )*};
}

kinds! {
    /// Element-wise functions of one input.
    Unary {
        Abs, Acos, Acosh, Asin, Asinh, Atan, Atanh, BitwiseNot, Ceil, Cos, Cosh, Erf, Exp, Floor, HardSwish, Identity,
        IsNaN, Log, Mish, Neg, Not, Reciprocal, Relu, Round, Sigmoid, Sign, Sin, Sinh, Softplus, Softsign, Sqrt, Tan, Tanh,
    }
    /// Element-wise functions of two inputs, broadcast.
    Binary {
        Add, Sub, Mul, Div, Pow, And, Or, Xor, BitwiseAnd, BitwiseOr, BitwiseXor, Equal, Greater, GreaterOrEqual, Less,
        LessOrEqual, PRelu,
    }
    /// Element-wise functions of one or more inputs, broadcast.
    Variadic { Max, Min, Sum, Mean }
}

string_attribute! {
    /// Form of [`Gelu`].
    GeluApproximation { None = "none", Tanh = "tanh" }
    /// Where [`BitShift`] moves to.
    ShiftDirection { Left = "LEFT", Right = "RIGHT" }
}

op_attributes! {
    /// `x < 0 ? alpha * (exp(x) - 1) : x`.
    Elu { alpha: f32 = 1.0 }
    /// `gamma * (x <= 0 ? alpha * (exp(x) - 1) : x)`.
    Selu { alpha: f32 = 1.673_263_2, gamma: f32 = 1.050_701 }
    /// `max(0, x) + min(0, alpha * (exp(x / alpha) - 1))`.
    Celu { alpha: f32 = 1.0 }
    /// `x < 0 ? alpha * x : x`.
    LeakyRelu { alpha: f32 = 0.01 }
    /// `max(0, min(1, alpha * x + beta))`.
    HardSigmoid { alpha: f32 = 0.2, beta: f32 = 0.5 }
    /// `x > alpha ? x : 0`.
    ThresholdedRelu { alpha: f32 = 1.0 }
    /// `x < -lambd ? x + bias : x > lambd ? x - bias : 0`.
    Shrink { bias: f32 = 0.0, lambd: f32 = 0.5 }
    /// Gaussian error linear unit.
    Gelu { approximate: GeluApproximation = GeluApproximation::None }
    /// `x * sigmoid(alpha * x)`.
    Swish { alpha: f32 = 1.0 }
    /// True for the infinities asked for.
    IsInf { detect_negative: bool = true, detect_positive: bool = true }
    /// Shifts the bits of the first input by the second.
    BitShift { direction: ShiftDirection }
    /// Remainder with the sign of the divisor, or (`fmod`) of the dividend.
    Mod { fmod: bool = false }
    /// Bounds by the optional inputs 1 (min) and 2 (max).
    Clip {}
    /// Element-wise choice: condition, where true, where false.
    Where {}
    /// Conversion to another dtype.
    Cast { saturate: bool = true, to: DType, round_mode: String = "up".to_owned() }
    /// Conversion to the dtype of the second input.
    CastLike { saturate: bool = true, round_mode: String = "up".to_owned() }
    /// The same bits as another dtype.
    BitCast { to: DType }
    /// Identity at inference; inputs 1 (ratio) and 2 (training mode), output 1 the mask.
    Dropout { seed: Option<i64> = None }
}
