//! [`Requantization`]: from sums to codes.

use crate::quantize::{Grid, requantize_columns};

/// From the sums of a convolution to the codes of its output: `round(sum * scale) + zero_point`, saturated.
#[derive(Clone, Debug)]
pub struct Requantization {
    /// For each output channel, the scale of its sums divided by that of the output.
    pub scales: Vec<f32>,
    /// The code of zero.
    pub zero_point: i32,
    /// Codes are `i8`, else `u8`.
    pub signed: bool,
}

impl Requantization {
    /// Sums to codes, with one scale for each.
    pub(super) fn apply(&self, sums: &[i32], scales: &[f32], codes: &mut [u8]) {
        let grid = self.grid();
        if self.signed {
            // Bits of signed codes in unsigned bytes: both saturate at the bounds of the grid.
            let moved = Grid {
                zero_point: grid.zero_point + 128,
                min: 0,
                max: 255,
                ..grid
            };
            requantize_columns(sums, scales, &moved, codes);
            codes.iter_mut().for_each(|code| *code ^= 0x80);
        } else {
            requantize_columns(sums, scales, &grid, codes);
        }
    }

    /// The codes that may be used.
    pub(super) fn grid(&self) -> Grid {
        match self.signed {
            true => Grid::of::<i8>(1.0, self.zero_point),
            false => Grid::of::<u8>(1.0, self.zero_point),
        }
    }
}
