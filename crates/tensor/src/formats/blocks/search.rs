//! Longer searches than the publishers'.

use super::{BlockFormat, weighted_error};

/// Encodes as published, then with each candidate, and keeps the bytes with the least weighted squared error; of equals
/// the first.
pub(super) fn best_of<C>(
    format: &dyn BlockFormat,
    x: &[f32],
    importance: Option<&[f32]>,
    bytes: &mut [u8],
    candidates: impl Iterator<Item = C>,
    mut encode: impl FnMut(C, &mut [u8]),
) {
    let mut decoded = vec![0.0; x.len()];
    let mut error_of = |bytes: &[u8]| {
        format.decode_block(bytes, &mut decoded);
        weighted_error(x, &decoded, importance)
    };
    format.encode_block(x, importance, bytes);
    let mut least = error_of(bytes);
    let mut other = bytes.to_vec();
    for candidate in candidates {
        encode(candidate, &mut other);
        let error = error_of(&other);
        if error < least {
            least = error;
            bytes.copy_from_slice(&other);
        }
    }
}
