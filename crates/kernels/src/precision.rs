//! [`Precision`]: what products are computed in.

/// The type that factors of products are rounded to. Sums are `f32` either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Not rounded.
    #[default]
    Float32,
    /// BF16, to nearest even, where a kernel is faster so: products with the `vdpbf16ps` instruction of AVX-512 BF16, and
    /// plain code with the same factors on other CPUs. Other kernels keep `f32`.
    Bf16,
}

impl Precision {
    /// Whether this CPU has instructions for it, and they are not forbidden by `BANTAM_ISA`.
    pub fn is_native(self) -> bool {
        self == Precision::Float32 || crate::simd::has_bf16(crate::Isa::best())
    }
}
