//! [`Isa`]: the instruction sets that kernels are written for, and which of them this CPU has.

use std::sync::OnceLock;

/// An instruction set, from narrow to wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// What every CPU of the target architecture has.
    Scalar,
    /// x86 AVX2 with fused multiply-add.
    Avx2,
    /// x86 AVX-512 (F, VL, BW, DQ).
    Avx512,
}

impl Isa {
    /// Every one of them, from narrow to wide.
    pub const ALL: &[Isa] = &[Isa::Scalar, Isa::Avx2, Isa::Avx512];

    /// The name: what the environment variable `BANTAM_ISA` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }

    /// Elements of `f32` in a vector.
    pub fn lanes(self) -> usize {
        match self {
            Isa::Scalar => 4,
            Isa::Avx2 => 8,
            Isa::Avx512 => 16,
        }
    }

    /// The one to use: the widest that the CPU has, or the one that `BANTAM_ISA` names, if the CPU has it.
    pub fn best() -> Isa {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| {
            let wanted = std::env::var("BANTAM_ISA").ok();
            let named = Isa::ALL.iter().find(|isa| Some(isa.name()) == wanted.as_deref());
            named.map_or(Isa::widest(), |isa| isa.or_narrower())
        })
    }

    /// Those that the CPU has, from narrow to wide.
    pub fn available() -> impl Iterator<Item = Isa> {
        Isa::ALL.iter().copied().filter(|&isa| isa <= Isa::widest())
    }

    /// `self`, or the widest that the CPU has if that is narrower.
    pub fn or_narrower(self) -> Isa {
        self.min(Isa::widest())
    }

    /// Whether the CPU multiplies pairs of BF16 numbers (AVX-512 BF16) and kernels for this instruction set use that.
    pub fn multiplies_bf16(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self == Isa::Avx512 && std::arch::is_x86_feature_detected!("avx512bf16");
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    #[cfg(target_arch = "x86_64")]
    fn widest() -> Isa {
        use std::arch::is_x86_feature_detected as has;
        let avx2 = has!("avx2") && has!("fma");
        if avx2 && has!("avx512f") && has!("avx512vl") && has!("avx512bw") && has!("avx512dq") {
            Isa::Avx512
        } else if avx2 {
            Isa::Avx2
        } else {
            Isa::Scalar
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn widest() -> Isa {
        Isa::Scalar
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_available() {
        assert!(Isa::available().any(|isa| isa == Isa::best()));
        assert!(Isa::available().any(|isa| isa == Isa::Scalar));
        assert!(Isa::available().all(|isa| isa.or_narrower() == isa));
    }
}
