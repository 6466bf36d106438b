//! GGUF's formats of 256 elements in 16 sub-blocks, each with a scale that is a small signed integer:
//! `value = scale * sub_scale * (code - middle)`.

use super::affine_k::LEN;
use super::fit::{GROUP_EPSILON, fit_by_moves, fit_symmetric, round_between};
use super::layout_k::{pack_symmetric, unpack_symmetric};
use super::{BlockFamily, BlockFormat, F16_MAX, bounded_block, extreme, f16_at, f16_bytes};

/// Sub-blocks of a block.
pub(super) const PARTS: usize = 16;
/// Elements of a sub-block.
pub(super) const PART_LEN: usize = LEN / PARTS;

/// The facts of a format.
#[derive(Debug)]
pub struct SymmetricK {
    name: &'static str,
    summary: &'static str,
    /// Bits of a code.
    pub bits: u32,
    /// The smallest integer scale of a sub-block is minus this, the largest one less.
    pub scale_bound: f32,
}

/// 3 bits; scales of 6 bits.
pub static Q3_K: SymmetricK = SymmetricK {
    name: "q3_k",
    summary: "256 codes of 3 bits, 16 scales of 6 bits, 16-bit scale",
    bits: 3,
    scale_bound: 32.0,
};
/// 6 bits; scales of 8 bits.
pub static Q6_K: SymmetricK = SymmetricK {
    name: "q6_k",
    summary: "256 codes of 6 bits, 16 scales of 8 bits, 16-bit scale",
    bits: 6,
    scale_bound: 128.0,
};

/// What the bytes of a block say.
#[derive(Clone, Debug, PartialEq)]
pub struct SymmetricParts {
    /// Scale of scales.
    pub scale: f32,
    /// Scales of sub-blocks.
    pub scales: [i8; PARTS],
    /// Codes, from 0.
    pub codes: [u8; LEN],
}

pub(super) const NOTHING: SymmetricParts = SymmetricParts {
    scale: 0.0,
    scales: [0; PARTS],
    codes: [0; LEN],
};

impl SymmetricK {
    /// The code of 0.
    #[inline(always)]
    pub fn middle(&self) -> f32 {
        (1u32 << (self.bits - 1)) as f32
    }

    /// The largest magnitude that can be encoded.
    pub fn limit(&self) -> f32 {
        F16_MAX * self.scale_bound * (self.middle() - 1.0)
    }

    /// Codes and scale of a sub-block without importance.
    fn fit_part(&self, x: &[f32], codes: &mut [u8]) -> f32 {
        if self.bits == 3 {
            return fit_by_moves(x, self.middle(), codes);
        }
        let weights: [f32; PART_LEN] = std::array::from_fn(|index| x[index] * x[index]);
        fit_symmetric(x, &weights, self.middle(), codes)
    }

    /// The parts from the scales of sub-blocks; `fit` gives the codes of a sub-block whose scale becomes 0.
    #[inline(always)]
    pub fn assemble(
        &self,
        x: &[f32; LEN],
        scales: &[f32; PARTS],
        fit: &dyn Fn(&SymmetricK, usize, &mut [u8]),
    ) -> SymmetricParts {
        let largest = extreme(scales);
        let mut parts = NOTHING;
        if self.bits == 6 && largest.abs() < GROUP_EPSILON {
            return parts;
        }
        if largest != 0.0 {
            let inverse = -self.scale_bound / largest;
            parts.scale = f16_at(&f16_bytes(1.0 / inverse));
            for (integer, scale) in parts.scales.iter_mut().zip(scales) {
                *integer = round_between(inverse * scale, -self.scale_bound, self.scale_bound - 1.0) as i8;
            }
        } else {
            parts.scales = self.zero_scales();
        }
        self.finish(x, parts, fit)
    }

    /// Integer scales of a block whose scale is 0: Q3_K's bytes are then all zero, which stands for -32.
    fn zero_scales(&self) -> [i8; PARTS] {
        [if self.bits == 3 {
            -(self.scale_bound as i8)
        } else {
            0
        }; PARTS]
    }

    #[inline(always)]
    fn finish(
        &self,
        x: &[f32; LEN],
        mut parts: SymmetricParts,
        fit: &dyn Fn(&SymmetricK, usize, &mut [u8]),
    ) -> SymmetricParts {
        let middle = self.middle();
        let (x, codes) = (x.chunks_exact(PART_LEN), parts.codes.chunks_exact_mut(PART_LEN));
        for (part, (x, codes)) in x.zip(codes).enumerate() {
            let scale = parts.scale * f32::from(parts.scales[part]);
            if scale == 0.0 {
                fit(self, part, codes);
                continue;
            }
            for (code, x) in codes.iter_mut().zip(x) {
                *code = (round_between(x / scale, -middle, middle - 1.0) + middle) as i32 as u8;
            }
        }
        parts
    }

    /// The parts of a block without importance, from the scales of its sub-blocks.
    #[inline(always)]
    pub fn assemble_plain(&self, x: &[f32; LEN], scales: &[f32; PARTS]) -> SymmetricParts {
        self.assemble(x, scales, &|format, part, codes| {
            format.fit_part(&x[part * PART_LEN..][..PART_LEN], codes);
        })
    }

    /// What errors of the elements of a block count: for Q6_K importance itself, for Q3_K importance times the root of
    /// twice the mean square plus the square.
    fn importance_weights(&self, x: &[f32; LEN], importance: &[f32]) -> [f32; LEN] {
        assert_eq!(importance.len(), LEN, "importance of a block");
        let mut squares = 0.0;
        for x in x {
            squares += x * x;
        }
        let mean = 2.0 * squares / LEN as f32;
        let spread = |i: usize| {
            if self.bits == 6 {
                1.0
            } else {
                (mean + x[i] * x[i]).sqrt()
            }
        };
        std::array::from_fn(|i| importance[i] * spread(i))
    }

    fn encode_weighted(&self, x: &[f32; LEN], importance: &[f32]) -> SymmetricParts {
        let weights = self.importance_weights(x, importance);
        let (mut scales, mut sums, mut fitted) = ([0.0f32; PARTS], [0.0f32; PARTS], [0; LEN]);
        for part in 0..PARTS {
            let range = part * PART_LEN..(part + 1) * PART_LEN;
            for weight in &weights[range.clone()] {
                sums[part] += weight;
            }
            scales[part] = fit_symmetric(
                &x[range.clone()],
                &weights[range.clone()],
                self.middle(),
                &mut fitted[range],
            );
        }
        let keep = |_: &SymmetricK, part: usize, codes: &mut [u8]| {
            codes.copy_from_slice(&fitted[part * PART_LEN..][..PART_LEN]);
        };
        if self.bits == 6 {
            return self.assemble(x, &scales, &keep);
        }
        let (mut parts, mut integers) = (NOTHING, [0; PARTS]);
        let scale = fit_symmetric(&scales, &sums, self.scale_bound, &mut integers);
        parts.scale = f16_at(&f16_bytes(scale));
        parts.scales = integers.map(|integer| (i32::from(integer) - self.scale_bound as i32) as i8);
        self.finish(x, parts, &keep)
    }

    fn parts_of(&self, x: &[f32; LEN], importance: Option<&[f32]>) -> SymmetricParts {
        if let Some(importance) = importance {
            return self.encode_weighted(x, importance);
        }
        let mut codes = [0; PART_LEN];
        let scales = std::array::from_fn(|part| self.fit_part(&x[part * PART_LEN..][..PART_LEN], &mut codes));
        self.assemble_plain(x, &scales)
    }

    /// The values of a block.
    #[inline(always)]
    pub fn decode(&self, bytes: &[u8], values: &mut [f32]) {
        let (parts, middle) = (unpack_symmetric(self.bits, bytes), self.middle());
        let (values, codes) = (
            values.chunks_exact_mut(PART_LEN),
            parts.codes.chunks_exact(PART_LEN),
        );
        for (part, (values, codes)) in values.zip(codes).enumerate() {
            let scale = parts.scale * f32::from(parts.scales[part]);
            for (value, &code) in values.iter_mut().zip(codes) {
                *value = scale * (f32::from(code) - middle);
            }
        }
    }
}

impl BlockFormat for SymmetricK {
    fn name(&self) -> &'static str {
        self.name
    }
    fn summary(&self) -> &'static str {
        self.summary
    }
    fn source(&self) -> &'static str {
        "GGUF"
    }
    fn block_len(&self) -> usize {
        LEN
    }
    fn block_bytes(&self) -> usize {
        if self.bits == 3 { 110 } else { 210 }
    }
    fn uses_importance(&self) -> bool {
        true
    }
    fn largest_error(&self) -> f32 {
        // There is no code for the extreme element's opposite, a whole step, and the fit may leave as much again; the
        // integer scale is half a unit off, times all codes.
        2.0 / self.middle() + 0.5 / self.scale_bound + 1.0 / 1024.0
    }
    fn repeats(&self) -> bool {
        // Scales are fitted anew.
        false
    }
    fn encode_block(&self, values: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
        let x = bounded_block(values, self.limit());
        pack_symmetric(self.bits, &self.parts_of(&x, importance), bytes);
    }
    fn encode_block_searched(&self, values: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
        let x = bounded_block(values, self.limit());
        let mut parts = self.parts_of(&x, importance);
        self.refine(&x, importance, &mut parts);
        pack_symmetric(self.bits, &parts, bytes);
    }
    fn decode_block(&self, bytes: &[u8], values: &mut [f32]) {
        self.decode(bytes, values);
    }
    fn family(&self) -> BlockFamily<'_> {
        BlockFamily::SymmetricK(self)
    }
}
