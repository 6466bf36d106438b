//! Blocks of codes of a [`NumberFormat`] behind one scale: `value = scale * element`. Codes are packed from the low bits up.
//! The last block of a row may be shorter.

use super::search::best_of;
use super::{BlockFamily, BlockFormat, F16_MAX, bounded, f16_at, f16_bytes, inverse};
use crate::NumberFormat;
use crate::formats::power8::{decode_e8m0, floor_log2};
use crate::formats::{
    APOT4, BINARY, F4E2M1, F6E2M3, F6E3M2, F8E4M3FN, F8E5M2, INT8, LOG4, NF4, TERNARY, pack_into,
    packed_bytes, unpack_into,
};

/// How the scale of a block is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleType {
    /// 32-bit float.
    F32,
    /// 16-bit float.
    F16,
    /// A power of two, 8 bits.
    E8M0,
    /// 8-bit float E4M3 without sign, times the scale of the tensor.
    E4M3,
}

/// How the scale of a block is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleRule {
    /// The largest magnitude over the largest value of an element.
    Largest,
    /// The mean magnitude.
    Mean,
    /// `2^(floor(log2(largest magnitude)) - floor(log2(largest element)))` (OCP Microscaling Formats v1.0, section 6.3).
    Power,
}

/// The facts of a format.
#[derive(Clone, Debug)]
pub struct ScaledBlocks<'a> {
    name: &'static str,
    summary: &'static str,
    source: &'static str,
    /// Format of the codes.
    pub element: &'a dyn NumberFormat,
    /// What an element of value 1 stands for.
    pub unit: f32,
    len: usize,
    /// How the scale is stored.
    pub scale_type: ScaleType,
    /// How the scale is found.
    pub rule: ScaleRule,
    /// What all scales are multiplied by; stored once for a tensor, elsewhere.
    pub tensor_scale: f32,
}

macro_rules! scaled {
    ($($constant:ident $name:literal $element:ident $unit:literal $len:literal $type:ident $rule:ident $source:literal $summary:literal;)*) => {
        $(#[doc = $summary]
        pub static $constant: ScaledBlocks<'static> = ScaledBlocks {
            name: $name,
            summary: $summary,
            source: $source,
            element: &$element,
            unit: $unit,
            len: $len,
            scale_type: ScaleType::$type,
            rule: ScaleRule::$rule,
            tensor_scale: 1.0,
        };)*
    };
}

scaled! {
    MXFP8_E4M3 "mxfp8-e4m3" F8E4M3FN 1.0 32 E8M0 Power "OCP MX v1.0" "32 floats E4M3, power-of-two scale";
    MXFP8_E5M2 "mxfp8-e5m2" F8E5M2 1.0 32 E8M0 Power "OCP MX v1.0" "32 floats E5M2, power-of-two scale";
    MXFP6_E2M3 "mxfp6-e2m3" F6E2M3 1.0 32 E8M0 Power "OCP MX v1.0" "32 floats E2M3, power-of-two scale";
    MXFP6_E3M2 "mxfp6-e3m2" F6E3M2 1.0 32 E8M0 Power "OCP MX v1.0" "32 floats E3M2, power-of-two scale";
    MXFP4 "mxfp4" F4E2M1 1.0 32 E8M0 Power "OCP MX v1.0" "32 floats E2M1, power-of-two scale";
    MXINT8 "mxint8" INT8 0.015625 32 E8M0 Power "OCP MX v1.0" "32 integers of 8 bits in 64ths, power-of-two scale";
    NVFP4 "nvfp4" F4E2M1 1.0 16 E4M3 Largest "NVIDIA" "16 floats E2M1, scale E4M3, times a 32-bit scale of the tensor";
    NF4_B64 "nf4-b64" NF4 1.0 64 F32 Largest "bitsandbytes" "64 quantile codes, 32-bit scale";
    LOG4_B64 "log4-b64" LOG4 1.0 64 F16 Largest "Zhou et al. 2017" "64 powers of two of 4 bits, 16-bit scale";
    APOT4_B64 "apot4-b64" APOT4 1.0 64 F16 Largest "Li et al. 2020" "64 sums of two powers of two of 4 bits, 16-bit scale";
    TERNARY_B256 "ternary-b256" TERNARY 1.0 256 F16 Mean "Ma et al. 2024" "256 codes -1, 0, 1 of 2 bits, 16-bit scale: the mean magnitude";
    BINARY_B256 "binary-b256" BINARY 1.0 256 F16 Mean "Rastegari et al. 2016" "256 signs, 16-bit scale: the mean magnitude";
}

/// The largest scale E4M3.
const E4M3_MAX: f32 = 448.0;

impl<'a> ScaledBlocks<'a> {
    /// Blocks of `len` codes of any element format, as of a learned codebook; the scale brings the largest magnitude
    /// onto the largest element.
    ///
    /// # Panics
    /// When `len` is 0 or codes have more than 8 bits.
    pub fn new(element: &'a dyn NumberFormat, len: usize, scale_type: ScaleType) -> ScaledBlocks<'a> {
        assert!(
            len > 0 && element.bits() <= 8,
            "blocks of codes of at most 8 bits"
        );
        let (name, summary) = (element.name(), element.summary());
        let rule = if scale_type == ScaleType::E8M0 {
            ScaleRule::Power
        } else {
            ScaleRule::Largest
        };
        ScaledBlocks {
            name,
            summary,
            source: "",
            element,
            unit: 1.0,
            len,
            scale_type,
            rule,
            tensor_scale: 1.0,
        }
    }

    /// With the tensor's scale that brings its largest magnitude onto the largest block scale times the largest element
    /// (NVFP4: `largest / (448 * 6)`); 1 where that is no normal number.
    pub fn for_tensor(&self, values: &[f32]) -> ScaledBlocks<'a> {
        let finite = values.iter().filter(|value| value.is_finite());
        let largest = finite.fold(0.0f32, |best, value| best.max(value.abs()));
        let scale = largest / (E4M3_MAX * self.max_element());
        let tensor_scale = if scale.is_normal() { scale } else { 1.0 };
        ScaledBlocks {
            tensor_scale,
            ..self.clone()
        }
    }

    /// The largest element.
    fn max_element(&self) -> f32 {
        self.element.max_value() * self.unit
    }

    /// The largest magnitude that can be encoded.
    pub fn limit(&self) -> f32 {
        let largest = match self.scale_type {
            ScaleType::F32 => f32::MAX,
            ScaleType::E8M0 => decode_e8m0(254),
            ScaleType::F16 => F16_MAX,
            ScaleType::E4M3 => E4M3_MAX * self.tensor_scale,
        };
        (largest * self.max_element()).min(f32::MAX)
    }

    /// Bytes of the scale.
    pub fn scale_bytes(&self) -> usize {
        match self.scale_type {
            ScaleType::F32 => 4,
            ScaleType::F16 => 2,
            ScaleType::E8M0 | ScaleType::E4M3 => 1,
        }
    }

    /// True when the scale depends on the mean magnitude.
    pub fn needs_mean(&self) -> bool {
        self.rule == ScaleRule::Mean
    }

    /// The scale of a block, not yet as it is stored, from its largest and its mean magnitude.
    pub fn scale_for(&self, largest: f32, mean: f32) -> f32 {
        match self.rule {
            ScaleRule::Largest => largest / self.max_element(),
            ScaleRule::Mean => mean,
            ScaleRule::Power => {
                let exponent = floor_log2(largest) - floor_log2(self.max_element());
                decode_e8m0((exponent + 127).clamp(0, 254) as u8)
            }
        }
    }

    /// Stores a scale; gives it as it is stored.
    pub fn store_scale(&self, scale: f32, bytes: &mut [u8]) -> f32 {
        match self.scale_type {
            ScaleType::F32 => bytes[..4].copy_from_slice(&scale.to_le_bytes()),
            ScaleType::F16 => bytes[..2].copy_from_slice(&f16_bytes(scale)),
            ScaleType::E8M0 => bytes[0] = (floor_log2(scale) + 127).min(254) as u8,
            ScaleType::E4M3 => bytes[0] = F8E4M3FN.encode((scale / self.tensor_scale).abs()) as u8,
        }
        self.load_scale(bytes)
    }

    /// The scale at the start of a block.
    pub fn load_scale(&self, bytes: &[u8]) -> f32 {
        match self.scale_type {
            ScaleType::F32 => f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            ScaleType::F16 => f16_at(bytes),
            ScaleType::E8M0 => decode_e8m0(bytes[0]),
            ScaleType::E4M3 => F8E4M3FN.decode(u16::from(bytes[0] & 127)) * self.tensor_scale,
        }
    }

    /// The value of each code, without the scale.
    pub fn table(&self) -> [f32; 256] {
        std::array::from_fn(|code| {
            let known = code < 1 << self.element.bits();
            if known {
                self.element.decode(code as u16) * self.unit
            } else {
                0.0
            }
        })
    }

    fn encode_at(&self, x: &[f32], scale: f32, bytes: &mut [u8]) {
        let scale = self.store_scale(scale, bytes);
        // Of signed integers the lowest, which has no opposite, is not used.
        let max = self.element.max_value();
        let inverse = inverse(scale);
        let codes = x
            .iter()
            .map(|x| self.element.encode((x * inverse / self.unit).clamp(-max, max)) as u8);
        pack_into(
            self.element.bits() as usize,
            codes,
            &mut bytes[self.scale_bytes()..],
        );
    }

    fn bounded(&self, values: &[f32]) -> Vec<f32> {
        assert!(values.len() <= self.len, "values of a block");
        let limit = self.limit();
        values.iter().map(|&value| bounded(value, limit)).collect()
    }

    fn published_scale(&self, x: &[f32]) -> f32 {
        let largest = super::extreme(x).abs();
        self.scale_for(largest, mean_magnitude(x))
    }

    /// Half the widest gap between neighbouring elements, ends included.
    fn half_gap(&self) -> f32 {
        let mut values: Vec<f32> = self.table()[..1 << self.element.bits()].to_vec();
        values.retain(|value| value.is_finite());
        values.sort_by(f32::total_cmp);
        let widest = values
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .fold(0.0, f32::max);
        widest / 2.0
    }
}

/// The mean magnitude; sums of 16 lanes, so that vectors give the same.
pub fn mean_magnitude(x: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    for chunk in x.chunks(16) {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += x.abs();
        }
    }
    lanes.iter().sum::<f32>() / x.len().max(1) as f32
}

impl BlockFormat for ScaledBlocks<'_> {
    fn name(&self) -> &'static str {
        self.name
    }
    fn summary(&self) -> &'static str {
        self.summary
    }
    fn source(&self) -> &'static str {
        self.source
    }
    fn block_len(&self) -> usize {
        self.len
    }
    fn block_bytes(&self) -> usize {
        self.scale_bytes() + (self.len * self.element.bits() as usize).div_ceil(8)
    }
    fn row_bytes(&self, len: usize) -> Option<usize> {
        row_bytes(self, self.scale_bytes(), self.element.bits(), len)
    }
    fn largest_error(&self) -> f32 {
        let (gap, largest) = (self.half_gap(), self.max_element());
        // What rounding the scale moves the largest element by.
        let rounding = match self.scale_type {
            ScaleType::F32 | ScaleType::E8M0 => 1e-6,
            ScaleType::F16 => 1.0 / 2048.0,
            ScaleType::E4M3 => 1.0 / 16.0,
        };
        match self.rule {
            ScaleRule::Largest => gap / largest * (1.0 + rounding) + rounding,
            ScaleRule::Mean => 1.0,
            ScaleRule::Power => {
                // The largest magnitude is from 1 to 2 times the power of two below the largest element.
                let power = floor_log2(largest) as f32;
                let power = power.exp2();
                (gap / power).max(1.0 - largest / (2.0 * power)) + rounding
            }
        }
    }
    fn repeats(&self) -> bool {
        self.rule != ScaleRule::Mean
    }
    fn encode_block(&self, values: &[f32], _importance: Option<&[f32]>, bytes: &mut [u8]) {
        let x = self.bounded(values);
        self.encode_at(&x, self.published_scale(&x), bytes);
    }
    fn encode_block_searched(&self, values: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
        let x = self.bounded(values);
        let scale = self.published_scale(&x);
        let factors: Vec<f32> = match self.scale_type {
            ScaleType::E8M0 => vec![0.5, 2.0],
            _ => (0..64).map(|step| 0.5 + step as f32 / 64.0).collect(),
        };
        let largest = super::extreme(&x).abs();
        let candidates = factors.into_iter().map(|factor| scale * factor);
        // A larger scale is of use only while the largest element of it is finite.
        let candidates = candidates.filter(|scale| (scale * self.max_element()).is_finite() && largest > 0.0);
        best_of(self, &x, importance, bytes, candidates, |scale, bytes| {
            self.encode_at(&x, scale, bytes)
        });
    }
    fn decode_block(&self, bytes: &[u8], values: &mut [f32]) {
        let (scale, mut codes) = (self.load_scale(bytes), vec![0; values.len()]);
        unpack_into(
            self.element.bits() as usize,
            &bytes[self.scale_bytes()..],
            &mut codes,
        );
        for (value, code) in values.iter_mut().zip(codes) {
            *value = self.element.decode(u16::from(code)) * self.unit * scale;
        }
    }
    fn family(&self) -> BlockFamily<'_> {
        BlockFamily::Scaled(self)
    }
}

/// Bytes of a row whose last block may be shorter: before the codes of each block lie `before` bytes.
pub(super) fn row_bytes(format: &dyn BlockFormat, before: usize, bits: u32, len: usize) -> Option<usize> {
    let (blocks, rest) = (len / format.block_len(), len % format.block_len());
    let whole = blocks.checked_mul(format.block_bytes())?;
    let last = if rest == 0 {
        0
    } else {
        before + packed_bytes(bits as usize, rest)?
    };
    whole.checked_add(last)
}
