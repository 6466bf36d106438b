//! Longer searches for the formats of 256 elements: after the publisher's encoder, the integer scale (and offset) of each
//! sub-block moves to the neighbour that leaves the smallest error.

use super::affine_k::{AffineK, AffineParts, LEN};
use super::fit::round_between;
use super::symmetric_k::{PART_LEN, PARTS, SymmetricK, SymmetricParts};

impl AffineK {
    /// Moves scales and offsets of sub-blocks to neighbours that leave a smaller error.
    pub(super) fn refine(&self, x: &[f32; LEN], importance: Option<&[f32]>, parts: &mut AffineParts) {
        for part in 0..self.parts() {
            let range = part * self.part_len..(part + 1) * self.part_len;
            let weights = importance.map(|weights| &weights[range.clone()]);
            let x = &x[range.clone()];
            let error_at = |scale: u8, offset: u8, codes: &mut [u8]| {
                let (scale, offset) = (parts.scale * f32::from(scale), parts.offset * f32::from(offset));
                let mut error = 0.0f64;
                for (index, (code, x)) in codes.iter_mut().zip(x).enumerate() {
                    if scale != 0.0 {
                        *code = round_between((x + offset) / scale, 0.0, self.max_code()) as u8;
                    }
                    let difference = f64::from(scale * f32::from(*code) - offset) - f64::from(*x);
                    error +=
                        weights.map_or(1.0, |weights| f64::from(weights[index])) * difference * difference;
                }
                error
            };
            let mut codes = [0u8; 32];
            let codes = &mut codes[..x.len()];
            codes.copy_from_slice(&parts.codes[range.clone()]);
            let mut best = (parts.scales[part], parts.offsets[part]);
            let mut least = error_at(best.0, best.1, codes);
            for scale in neighbours(parts.scales[part], self.scale_max) {
                for offset in neighbours(parts.offsets[part], self.scale_max) {
                    let error = error_at(scale, offset, codes);
                    if error < least {
                        (least, best) = (error, (scale, offset));
                    }
                }
            }
            codes.copy_from_slice(&parts.codes[range.clone()]);
            error_at(best.0, best.1, codes);
            (parts.scales[part], parts.offsets[part]) = best;
            parts.codes[range].copy_from_slice(codes);
        }
    }
}

impl SymmetricK {
    /// Moves scales of sub-blocks to neighbours that leave a smaller error.
    pub(super) fn refine(&self, x: &[f32; LEN], importance: Option<&[f32]>, parts: &mut SymmetricParts) {
        let (middle, bound) = (self.middle(), self.scale_bound as i32);
        for part in 0..PARTS {
            let range = part * PART_LEN..(part + 1) * PART_LEN;
            let weights = importance.map(|weights| &weights[range.clone()]);
            let x = &x[range.clone()];
            let error_at = |integer: i8, codes: &mut [u8]| {
                let scale = parts.scale * f32::from(integer);
                let mut error = 0.0f64;
                for (index, (code, x)) in codes.iter_mut().zip(x).enumerate() {
                    if scale != 0.0 {
                        *code = (round_between(x / scale, -middle, middle - 1.0) + middle) as u8;
                    }
                    let difference = f64::from(scale * (f32::from(*code) - middle)) - f64::from(*x);
                    error +=
                        weights.map_or(1.0, |weights| f64::from(weights[index])) * difference * difference;
                }
                error
            };
            let mut codes = [0u8; PART_LEN];
            codes.copy_from_slice(&parts.codes[range.clone()]);
            let old = parts.scales[part];
            let (mut best, mut least) = (old, error_at(old, &mut codes));
            let near = (-4..=4).map(|step| i32::from(old) + step);
            for integer in near.filter(|integer| (-bound..bound).contains(integer)) {
                let error = error_at(integer as i8, &mut codes);
                if error < least {
                    (least, best) = (error, integer as i8);
                }
            }
            codes.copy_from_slice(&parts.codes[range.clone()]);
            error_at(best, &mut codes);
            parts.scales[part] = best;
            parts.codes[range].copy_from_slice(&codes);
        }
    }
}

/// The integers at most 2 away.
fn neighbours(of: u8, max: f32) -> impl Iterator<Item = u8> {
    of.saturating_sub(2)..=of.saturating_add(2).min(max as u8)
}
