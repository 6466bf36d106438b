//! What training computes in.

use serde::{Deserialize, Serialize};

/// The precision of a training step. Weights, what the optimizer remembers and all sums are `f32` either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// All in `f32`.
    #[default]
    Float32,
    /// Values between convolutions and normalization, and the factors of convolutions, are rounded to BF16 (Kalamkar et al.
    /// 2019). Its exponents are those of `f32`, so that the loss needs no scaling.
    Bf16,
}

impl Precision {
    /// Every precision, by the name that users write.
    pub const ALL: &[(&str, Precision)] = &[("float32", Precision::Float32), ("bf16", Precision::Bf16)];

    /// Whether this CPU has instructions for its products; without, they are computed by plain code, which is slow.
    pub fn is_native(self) -> bool {
        self == Precision::Float32 || bantam_kernels::Isa::best().multiplies_bf16()
    }
}
