//! Groups of integers.

use bantam_tensor::BlockFormat;
use bantam_tensor::formats::blocks::{GroupGrid, IntegerGroups, bounded};

use super::scaled::{pack, unpack};
use crate::vectorize::vectorized;

/// Encodes groups, the last of which may be shorter.
pub(super) fn encode(format: &IntegerGroups, x: &mut [f32], bytes: &mut [u8]) {
    let (bits, head, limit) = (format.bits as usize, format.header_bytes(), format.limit());
    let mut codes = vec![0; format.block_len()];
    for (x, bytes) in x
        .chunks_mut(format.block_len())
        .zip(bytes.chunks_mut(format.block_bytes()))
    {
        let (low, high) = bound_and_range(x, limit);
        let (grid, codes) = (format.grid(low, high), &mut codes[..x.len()]);
        format.store(grid, bytes);
        encode_group(format, x, grid, codes);
        pack(bits, codes, &mut bytes[head..]);
    }
}

/// The values of groups, the last of which may be shorter.
pub(super) fn decode(format: &IntegerGroups, bytes: &[u8], values: &mut [f32]) {
    let (bits, head) = (format.bits as usize, format.header_bytes());
    let mut codes = vec![0; format.block_len()];
    let groups = values
        .chunks_mut(format.block_len())
        .zip(bytes.chunks(format.block_bytes()));
    for (values, bytes) in groups {
        let codes = &mut codes[..values.len()];
        unpack(bits, &bytes[head..], codes);
        decode_group(format, codes, format.load(bytes), values);
    }
}

vectorized! {
    /// Bounds the elements; gives the least and the greatest, widened to hold zero.
    fn bound_and_range(x: &mut [f32], limit: f32) -> (f32, f32) {
        let (mut low, mut high) = ([0.0f32; 16], [0.0f32; 16]);
        let (chunks, rest) = x.as_chunks_mut::<16>();
        for chunk in chunks {
            for lane in 0..16 {
                chunk[lane] = bounded(chunk[lane], limit);
                low[lane] = if chunk[lane] < low[lane] { chunk[lane] } else { low[lane] };
                high[lane] = if chunk[lane] > high[lane] { chunk[lane] } else { high[lane] };
            }
        }
        for x in rest {
            *x = bounded(*x, limit);
            low[0] = if *x < low[0] { *x } else { low[0] };
            high[0] = if *x > high[0] { *x } else { high[0] };
        }
        let (mut least, mut greatest) = (0.0f32, 0.0f32);
        for lane in 0..16 {
            least = if low[lane] < least { low[lane] } else { least };
            greatest = if high[lane] > greatest { high[lane] } else { greatest };
        }
        (least, greatest)
    }

    fn encode_group(format: &IntegerGroups, x: &[f32], grid: GroupGrid, codes: &mut [u8]) {
        for (code, x) in codes.iter_mut().zip(x) {
            *code = format.code(*x, grid) as i32 as u8;
        }
    }

    fn decode_group(format: &IntegerGroups, codes: &[u8], grid: GroupGrid, values: &mut [f32]) {
        for (value, code) in values.iter_mut().zip(codes) {
            *value = (format.number(*code) - grid.zero_point) * grid.scale;
        }
    }
}
