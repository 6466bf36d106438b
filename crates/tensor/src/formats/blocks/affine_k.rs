//! GGUF's formats of 256 elements in sub-blocks of 16 or 32, each with a scale and an offset that are small integers:
//! `value = scale * sub_scale * code - offset * sub_offset`.

use std::ops::Range;

use half::f16;

use super::fit::{AffineSearch, fit_affine, fit_positive, round_between};
use super::layout_k::{pack_affine, unpack_affine};
use super::{BlockFamily, BlockFormat, F16_MAX, bounded_block, f16_at, f16_bytes};

/// Elements of a block.
pub(super) const LEN: usize = 256;
/// Most sub-blocks of a block.
pub(super) const PARTS: usize = 16;

/// The facts of a format.
#[derive(Debug)]
pub struct AffineK {
    name: &'static str,
    summary: &'static str,
    /// Bits of a code.
    pub bits: u32,
    /// Elements of a sub-block.
    pub part_len: usize,
    /// Largest integer of a scale or offset of a sub-block.
    pub scale_max: f32,
    /// Candidates without importance.
    pub search: AffineSearch,
    /// Candidates with importance.
    pub weighted_search: AffineSearch,
}

const fn weighted(max_code: f32) -> AffineSearch {
    AffineSearch {
        max_code,
        first: -0.9,
        step: 0.05,
        steps: 36,
        absolute: false,
    }
}

/// 2 bits, 16 sub-blocks of 16, integers of 4 bits.
pub static Q2_K: AffineK = AffineK {
    name: "q2_k",
    summary: "256 codes of 2 bits, 16 scales and offsets of 4 bits, two 16-bit scales",
    bits: 2,
    part_len: 16,
    scale_max: 15.0,
    search: AffineSearch {
        max_code: 3.0,
        first: -0.5,
        step: 0.1,
        steps: 15,
        absolute: true,
    },
    weighted_search: weighted(3.0),
};
/// 4 bits, 8 sub-blocks of 32, integers of 6 bits.
pub static Q4_K: AffineK = AffineK {
    name: "q4_k",
    summary: "256 codes of 4 bits, 8 scales and offsets of 6 bits, two 16-bit scales",
    bits: 4,
    part_len: 32,
    scale_max: 63.0,
    search: AffineSearch {
        max_code: 15.0,
        first: -1.0,
        step: 0.1,
        steps: 20,
        absolute: false,
    },
    weighted_search: weighted(15.0),
};
/// 5 bits, 8 sub-blocks of 32, integers of 6 bits.
pub static Q5_K: AffineK = AffineK {
    name: "q5_k",
    summary: "256 codes of 5 bits, 8 scales and offsets of 6 bits, two 16-bit scales",
    bits: 5,
    part_len: 32,
    scale_max: 63.0,
    search: AffineSearch {
        max_code: 31.0,
        first: -0.5,
        step: 0.1,
        steps: 15,
        absolute: false,
    },
    weighted_search: weighted(31.0),
};

/// What the bytes of a block say.
#[derive(Clone, Debug, PartialEq)]
pub struct AffineParts {
    /// Scale of scales.
    pub scale: f32,
    /// Scale of offsets.
    pub offset: f32,
    /// Scales of sub-blocks.
    pub scales: [u8; PARTS],
    /// Offsets of sub-blocks.
    pub offsets: [u8; PARTS],
    /// Codes.
    pub codes: [u8; LEN],
}

/// A block of zeros.
pub(super) const NOTHING: AffineParts = AffineParts {
    scale: 0.0,
    offset: 0.0,
    scales: [0; PARTS],
    offsets: [0; PARTS],
    codes: [0; LEN],
};

impl AffineK {
    /// Sub-blocks of a block.
    #[inline(always)]
    pub fn parts(&self) -> usize {
        LEN / self.part_len
    }

    /// The largest code.
    #[inline(always)]
    pub fn max_code(&self) -> f32 {
        self.search.max_code
    }

    /// The largest magnitude that can be encoded.
    pub fn limit(&self) -> f32 {
        F16_MAX * self.scale_max
    }

    /// What errors of the elements count when there is no importance: the magnitude, with 4 and 5 bits plus the root of
    /// the sub-block's mean square.
    fn plain_weights(&self, x: &[f32], weights: &mut [f32]) {
        let mut squares = 0.0;
        for x in x {
            squares += x * x;
        }
        let root = if self.bits == 2 {
            0.0
        } else {
            (squares / x.len() as f32).sqrt()
        };
        for (weight, x) in weights.iter_mut().zip(x) {
            *weight = root + x.abs();
        }
    }

    /// What errors of the elements of a block count: importance times the root of the (for 4 and 5 bits, twice the) mean
    /// square plus the square.
    pub fn importance_weights(&self, x: &[f32; LEN], importance: &[f32]) -> [f32; LEN] {
        assert_eq!(importance.len(), LEN, "importance of a block");
        let mut squares = 0.0;
        for x in x {
            squares += x * x;
        }
        let factor = if self.bits == 2 { 1.0 } else { 2.0 };
        let mean = factor * squares / LEN as f32;
        std::array::from_fn(|i| importance[i] * (mean + x[i] * x[i]).sqrt())
    }

    /// Codes, scale and offset of a sub-block without importance.
    fn fit_part(&self, x: &[f32], codes: &mut [u8]) -> (f32, f32) {
        let mut weights = [0.0; 32];
        self.plain_weights(x, &mut weights[..x.len()]);
        fit_affine(x, &weights[..x.len()], &self.search, codes)
    }

    /// The parts without importance, from the scales and offsets of sub-blocks that [`fit_affine`] gave.
    #[inline(always)]
    pub fn assemble(&self, x: &[f32; LEN], scales: &[f32], offsets: &[f32]) -> AffineParts {
        let mut parts = NOTHING;
        parts.scale = integers_of(scales, self.scale_max, &mut parts.scales);
        parts.offset = integers_of(offsets, self.scale_max, &mut parts.offsets);
        self.nearest_codes(x, &mut parts);
        self.fit_where_zero(&mut parts, |range, codes| {
            self.fit_part(&x[range], codes);
        });
        parts
    }

    /// For each element the code nearest to it; 0 where the scale is 0.
    #[inline(always)]
    fn nearest_codes(&self, x: &[f32; LEN], parts: &mut AffineParts) {
        let max_code = self.max_code();
        let (x, codes) = (
            x.chunks_exact(self.part_len),
            parts.codes.chunks_exact_mut(self.part_len),
        );
        for (part, (x, codes)) in x.zip(codes).enumerate() {
            let scale = parts.scale * f32::from(parts.scales[part]);
            let offset = parts.offset * f32::from(parts.offsets[part]);
            if scale != 0.0 {
                for (code, x) in codes.iter_mut().zip(x) {
                    *code = round_between((x + offset) / scale, 0.0, max_code) as i32 as u8;
                }
            }
        }
    }

    /// The parts with the weights of the errors, from the scales and offsets of sub-blocks that [`fit_affine`] gave.
    #[inline(always)]
    pub fn assemble_weighted(
        &self,
        x: &[f32; LEN],
        weights: &[f32; LEN],
        scales: &[f32],
        offsets: &[f32],
    ) -> AffineParts {
        let mut sums = [0.0f32; PARTS];
        for (sum, weights) in sums.iter_mut().zip(weights.chunks_exact(self.part_len)) {
            for weight in weights {
                *sum += weight;
            }
        }
        let (count, mut parts) = (self.parts(), NOTHING);
        let scale = fit_positive(scales, &sums[..count], self.scale_max, &mut parts.scales[..count]);
        let offset = fit_positive(
            offsets,
            &sums[..count],
            self.scale_max,
            &mut parts.offsets[..count],
        );
        parts.scale = f16_at(&f16_bytes(scale));
        parts.offset = f16_at(&f16_bytes(offset));
        self.nearest_codes(x, &mut parts);
        self.fit_where_zero(&mut parts, |range, codes| {
            fit_affine(&x[range.clone()], &weights[range], &self.weighted_search, codes);
        });
        parts
    }

    /// Where the scale became 0, the codes stay as they were fitted.
    #[inline(always)]
    fn fit_where_zero(&self, parts: &mut AffineParts, mut fit: impl FnMut(Range<usize>, &mut [u8])) {
        for part in 0..self.parts() {
            if parts.scale * f32::from(parts.scales[part]) == 0.0 {
                let range = part * self.part_len..(part + 1) * self.part_len;
                fit(range.clone(), &mut parts.codes[range]);
            }
        }
    }

    /// The parts of a block.
    fn parts_of(&self, x: &[f32; LEN], importance: Option<&[f32]>) -> AffineParts {
        let weights = importance.map(|importance| self.importance_weights(x, importance));
        let (mut scales, mut offsets, mut codes) = ([0.0; PARTS], [0.0; PARTS], [0; 32]);
        for (part, x) in x.chunks_exact(self.part_len).enumerate() {
            let codes = &mut codes[..self.part_len];
            (scales[part], offsets[part]) = match &weights {
                Some(weights) => {
                    let weights = &weights[part * self.part_len..][..self.part_len];
                    fit_affine(x, weights, &self.weighted_search, codes)
                }
                None => self.fit_part(x, codes),
            };
        }
        let (scales, offsets) = (&scales[..self.parts()], &offsets[..self.parts()]);
        match &weights {
            Some(weights) => self.assemble_weighted(x, weights, scales, offsets),
            None => self.assemble(x, scales, offsets),
        }
    }

    /// The values of a block.
    #[inline(always)]
    pub fn decode(&self, bytes: &[u8], values: &mut [f32]) {
        let parts = unpack_affine(self.bits, bytes);
        let (values, codes) = (
            values.chunks_exact_mut(self.part_len),
            parts.codes.chunks_exact(self.part_len),
        );
        for (part, (values, codes)) in values.zip(codes).enumerate() {
            let scale = parts.scale * f32::from(parts.scales[part]);
            let offset = parts.offset * f32::from(parts.offsets[part]);
            for (value, &code) in values.iter_mut().zip(codes) {
                *value = scale * f32::from(code) - offset;
            }
        }
    }
}

/// Integers for scales of sub-blocks, the largest as `max`; gives the scale of these as it is stored.
#[inline(always)]
fn integers_of(values: &[f32], max: f32, integers: &mut [u8; PARTS]) -> f32 {
    let largest = values
        .iter()
        .fold(0.0f32, |best, &value| if value > best { value } else { best });
    let inverse = if largest > 0.0 { max / largest } else { 0.0 };
    for (integer, &value) in integers.iter_mut().zip(values) {
        *integer = round_between(inverse * value, 0.0, max) as u8;
    }
    f16::from_f32((largest / max).min(F16_MAX)).to_f32()
}

impl BlockFormat for AffineK {
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
        match self.bits {
            2 => 84,
            4 => 144,
            _ => 176,
        }
    }
    fn uses_importance(&self) -> bool {
        true
    }
    fn largest_error(&self) -> f32 {
        // The range of a sub-block is at most 2. The fit may leave a whole step instead of half of one; the integers of
        // scales and offsets are half a unit of the largest off, times all codes.
        let (step, unit) = (2.0 / self.max_code(), 0.5 / self.scale_max);
        step + unit * (2.0 + 1.0) * 1.1 + 2.0 / 1024.0
    }
    fn repeats(&self) -> bool {
        // Scales are fitted anew.
        false
    }
    fn encode_block(&self, values: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
        let x = bounded_block(values, self.limit());
        pack_affine(self.bits, &self.parts_of(&x, importance), bytes);
    }
    fn encode_block_searched(&self, values: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
        let x = bounded_block(values, self.limit());
        let mut parts = self.parts_of(&x, importance);
        self.refine(&x, importance, &mut parts);
        pack_affine(self.bits, &parts, bytes);
    }
    fn decode_block(&self, bytes: &[u8], values: &mut [f32]) {
        self.decode(bytes, values);
    }
    fn family(&self) -> BlockFamily<'_> {
        BlockFamily::AffineK(self)
    }
}
