//! Products with weights of 2, 4 or 8 bits in blocks, each with its scale.

use rayon::prelude::*;

use crate::vectorize::vectorized;

/// Weights `[columns, depth]` in packed codes.
#[derive(Clone, Copy, Debug)]
pub struct PackedWeights<'a> {
    /// Codes, the first in the low bits; each row starts at `row * row_bytes`.
    pub codes: &'a [u8],
    /// Bytes of one row.
    pub row_bytes: usize,
    /// 2, 4 or 8.
    pub bits: usize,
    /// For each row and block, the scale.
    pub scales: &'a [f32],
    /// For each row and block, the code of zero.
    pub zeros: &'a [f32],
    /// Blocks of one row.
    pub blocks: usize,
    /// For each element of a row, its block.
    pub block_of: &'a [u32],
}

impl PackedWeights<'_> {
    /// One row as reals.
    pub fn row(&self, row: usize, reals: &mut [f32]) {
        let codes = &self.codes[row * self.row_bytes..][..self.row_bytes];
        let scales = &self.scales[row * self.blocks..][..self.blocks];
        let zeros = &self.zeros[row * self.blocks..][..self.blocks];
        unpack(codes, self.bits, reals);
        for (real, &block) in reals.iter_mut().zip(self.block_of) {
            *real = (*real - zeros[block as usize]) * scales[block as usize];
        }
    }
}

fn unpack(codes: &[u8], bits: usize, reals: &mut [f32]) {
    let per_byte = 8 / bits;
    let mask = ((1u16 << bits) - 1) as u8;
    for (reals, byte) in reals.chunks_mut(per_byte).zip(codes) {
        for (index, real) in reals.iter_mut().enumerate() {
            *real = f32::from(byte >> (index * bits) & mask);
        }
    }
}

vectorized! {
    fn dot(a: &[f32], b: &[f32]) -> f32 {
        let mut sums = [0.0f32; 16];
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
        for (a, b) in a.iter().zip(b) {
            for lane in 0..16 {
                sums[lane] += a[lane] * b[lane];
            }
        }
        let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
        sums.iter().sum::<f32>() + rest
    }
}

/// `y[rows, columns] = a[rows, depth] * transpose(weights) + bias`.
///
/// # Panics
/// When the slices do not fit each other.
pub fn multiply(a: &[f32], weights: &PackedWeights<'_>, bias: Option<&[f32]>, columns: usize, y: &mut [f32]) {
    let depth = weights.block_of.len();
    if y.is_empty() {
        return;
    }
    let rows = y.len() / columns;
    // Column by column, so that each row of weights is unpacked once; then turned around.
    let column = |column: usize| {
        let mut reals = vec![0.0; depth];
        weights.row(column, &mut reals);
        let bias = bias.map_or(0.0, |bias| bias[column]);
        (0..rows)
            .map(|row| dot(&a[row * depth..][..depth], &reals) + bias)
            .collect::<Vec<f32>>()
    };
    let by_column: Vec<Vec<f32>> = (0..columns).into_par_iter().map(column).collect();
    for (row, y) in y.chunks_exact_mut(columns).enumerate() {
        y.iter_mut()
            .zip(&by_column)
            .for_each(|(y, column)| *y = column[row]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_with_codes_of_every_width() {
        for bits in [2, 4, 8] {
            let (columns, depth, blocks) = (3, 40, 5);
            let row_bytes = depth * bits / 8;
            let codes: Vec<u8> = (0..columns * row_bytes).map(|i| (i * 73 % 256) as u8).collect();
            let scales: Vec<f32> = (0..columns * blocks).map(|i| 0.25 * (i % 4 + 1) as f32).collect();
            let zeros = vec![1.0; scales.len()];
            let block_of: Vec<u32> = (0..depth as u32).map(|i| i / 8).collect();
            let weights = PackedWeights {
                codes: &codes,
                row_bytes,
                bits,
                scales: &scales,
                zeros: &zeros,
                blocks,
                block_of: &block_of,
            };
            let a: Vec<f32> = (0..2 * depth).map(|i| (i % 7) as f32 - 3.0).collect();
            let mut y = vec![0.0; 2 * columns];
            multiply(&a, &weights, Some(&[1.0, 2.0, 3.0]), columns, &mut y);
            for row in 0..2 {
                for column in 0..columns {
                    let code = |k: usize| {
                        codes[column * row_bytes + k * bits / 8] >> (k * bits % 8)
                            & ((1u16 << bits) - 1) as u8
                    };
                    let real = |k: usize| (f32::from(code(k)) - 1.0) * scales[column * blocks + k / 8];
                    let sum: f32 = (0..depth).map(|k| a[row * depth + k] * real(k)).sum();
                    assert_eq!(
                        y[row * columns + column],
                        sum + [1.0, 2.0, 3.0][column],
                        "{bits} bits"
                    );
                }
            }
        }
    }
}
