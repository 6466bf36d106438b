//! Groups with a table of values of their own, learned from the group: 16-bit floats in rising order, then codes packed
//! from the low bits up.

use half::f16;

use super::search::best_of;
use super::{BlockFormat, F16_MAX, bounded, f16_at, f16_bytes};
use crate::formats::{Codebook, pack_into, unpack_into};

/// The facts of a format.
#[derive(Debug)]
pub struct CodebookGroups {
    name: &'static str,
    summary: &'static str,
    bits: u32,
    len: usize,
}

/// 16 values for 256 codes of 4 bits.
pub static CODEBOOK4_G256: CodebookGroups = CodebookGroups {
    name: "codebook4-g256",
    summary: "256 codes of 4 bits for 16 learned 16-bit values",
    bits: 4,
    len: 256,
};
/// 8 values for 256 codes of 3 bits.
pub static CODEBOOK3_G256: CodebookGroups = CodebookGroups {
    name: "codebook3-g256",
    summary: "256 codes of 3 bits for 8 learned 16-bit values",
    bits: 3,
    len: 256,
};

impl CodebookGroups {
    fn entries(&self) -> usize {
        1 << self.bits
    }

    fn encode_with(&self, x: &[f32], importance: Option<&[f32]>, seed: u64, bytes: &mut [u8]) {
        let learned = Codebook::learned(x, importance, self.entries(), seed);
        let stored = |value: &f32| f16::from_f32(value.clamp(-F16_MAX, F16_MAX)).to_f32();
        let mut values: Vec<f32> = learned.values().iter().map(stored).collect();
        // Fewer distinct values than codes: the last stands for the rest.
        values.resize(self.entries(), values[values.len() - 1]);
        for (value, bytes) in values.iter().zip(bytes.chunks_exact_mut(2)) {
            bytes.copy_from_slice(&f16_bytes(*value));
        }
        let nearest = |&x: &f32| {
            let distance = |code: usize| (values[code] - x).abs();
            let codes = 1..self.entries();
            codes.fold(0, |best, code| {
                if distance(code) < distance(best) {
                    code
                } else {
                    best
                }
            }) as u8
        };
        pack_into(
            self.bits as usize,
            x.iter().map(nearest),
            &mut bytes[2 * self.entries()..],
        );
    }

    fn bounded(&self, values: &[f32]) -> Vec<f32> {
        assert_eq!(values.len(), self.len, "values of a group");
        values.iter().map(|&value| bounded(value, F16_MAX)).collect()
    }
}

impl BlockFormat for CodebookGroups {
    fn name(&self) -> &'static str {
        self.name
    }
    fn summary(&self) -> &'static str {
        self.summary
    }
    fn source(&self) -> &'static str {
        "k-means"
    }
    fn block_len(&self) -> usize {
        self.len
    }
    fn block_bytes(&self) -> usize {
        2 * self.entries() + self.len * self.bits as usize / 8
    }
    fn uses_importance(&self) -> bool {
        true
    }
    fn largest_error(&self) -> f32 {
        // Clusters are as wide as the values want them: with as many lone values as codes, two at the ends may share one.
        1.0
    }
    fn repeats(&self) -> bool {
        // Clusters are found anew, from other seeds.
        false
    }
    fn encode_block(&self, values: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
        self.encode_with(&self.bounded(values), importance, 0, bytes);
    }
    /// Starts from other seeds too.
    fn encode_block_searched(&self, values: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
        let x = self.bounded(values);
        best_of(self, &x, importance, bytes, 1..8, |seed, bytes| {
            self.encode_with(&x, importance, seed, bytes)
        });
    }
    fn decode_block(&self, bytes: &[u8], values: &mut [f32]) {
        let mut codes = vec![0; self.len];
        unpack_into(self.bits as usize, &bytes[2 * self.entries()..], &mut codes);
        for (value, code) in values[..self.len].iter_mut().zip(codes) {
            *value = f16_at(&bytes[2 * usize::from(code)..]);
        }
    }
}
