//! Products of codes with exact 32-bit sums.
//!
//! One operand is unsigned bytes, the other signed, as the CPU's instructions have it; [`to_unsigned`] and [`to_signed`]
//! move codes of the other kind by 128 (and so must their zero points). Sums wrap around beyond 32 bits.
//!
//! The kernels multiply a few *rows* (four codes at a time, repeated in every lane) with *panels*: 16 columns side by
//! side, four codes of each next to each other.

mod conv;
mod panel;
#[cfg(target_arch = "x86_64")]
mod vnni;

pub use conv::{
    Filters, QuantizedConvolution, Requantization, Scaled, ZeroPoints, convolve_exact, convolve_scaled,
};
pub use panel::Panels;

use rayon::prelude::*;

/// Columns of one panel.
pub(crate) const LANES: usize = 16;
/// Codes of one column that stand next to each other.
pub(crate) const DEPTH: usize = 4;

/// Signed codes as unsigned ones; the zero point moves by +128.
pub fn to_unsigned(codes: &[i8]) -> Vec<u8> {
    codes.iter().map(|&code| code as u8 ^ 0x80).collect()
}

/// Unsigned codes as signed ones; the zero point moves by -128.
pub fn to_signed(codes: &[u8]) -> Vec<i8> {
    codes.iter().map(|&code| (code ^ 0x80) as i8).collect()
}

/// `out[m, n] = a[m, k] * b[k, n]` with `b` in panels.
///
/// # Panics
/// When the slices do not have these sizes.
pub fn multiply(a: &[u8], b: &Panels<i8>, out: &mut [i32]) {
    let (depth, columns) = (b.depth(), b.columns());
    if out.is_empty() {
        return;
    }
    if depth == 0 {
        return out.fill(0);
    }
    assert_eq!(a.len() / depth, out.len() / columns, "as many rows in as out");
    // Rows per task: enough work to be worth a task, whatever the number of threads.
    let rows = (1usize << 18).div_ceil(depth * columns).next_multiple_of(ROWS);
    out.par_chunks_mut(rows * columns)
        .zip(a.par_chunks(rows * depth))
        .for_each(|(out, a)| multiply_rows(a, b, out));
}

/// Rows that the widest kernel takes at once.
const ROWS: usize = 6;

fn multiply_rows(a: &[u8], b: &Panels<i8>, out: &mut [i32]) {
    let (depth, columns) = (b.depth(), b.columns());
    let padded = depth.next_multiple_of(DEPTH);
    // Rows whose length is a multiple of DEPTH need no copy.
    let mut scratch = Vec::new();
    if padded != depth {
        scratch = vec![0u8; a.len() / depth * padded];
        for (to, from) in scratch.chunks_exact_mut(padded).zip(a.chunks_exact(depth)) {
            to[..depth].copy_from_slice(from);
        }
    }
    let a = if padded == depth { a } else { &scratch };
    let tile = |first: usize, width: usize, sums: &[i32], out: &mut [i32]| {
        for (row, sums) in out.chunks_exact_mut(columns).zip(sums.chunks_exact(width)) {
            let count = width.min(columns - first);
            row[first..first + count].copy_from_slice(&sums[..count]);
        }
    };
    panel::for_each_tile(b, |first, panels| {
        let width = panels.width();
        for (a, out) in a.chunks(ROWS * padded).zip(out.chunks_mut(ROWS * columns)) {
            let mut sums = [0; ROWS * panel::WIDEST];
            let sums = &mut sums[..a.len() / padded * width];
            let to = panel::Sums {
                values: sums,
                stride: width,
                start: &[0; ROWS][..a.len() / padded],
            };
            panel::multiply_unsigned_rows(a, panels, to);
            tile(first, width, sums, out);
        }
    });
}

/// Turns a product of codes into the product of codes less their zero points: takes
/// `a_zero[i] * sum(b[.., j]) + b_zero[j] * sum(a[i, ..]) - k * a_zero[i] * b_zero[j]` from `out[i, j]`.
/// `a_zero` has one element or one per row, `b_zero` one or one per column.
pub fn subtract_zero_points(a: &[u8], a_zero: &[i32], b: &Panels<i8>, b_zero: &[i32], out: &mut [i32]) {
    let (depth, columns) = (b.depth(), b.columns());
    if out.is_empty() || a_zero.iter().chain(b_zero).all(|&zero| zero == 0) {
        return;
    }
    let zero_of = |zeros: &[i32], index: usize| if zeros.len() == 1 { zeros[0] } else { zeros[index] };
    // Of each column, the sum of its codes less the zero point.
    let of_columns: Vec<i32> = (0..columns)
        .map(|column| b.sums()[column].wrapping_sub(zero_of(b_zero, column).wrapping_mul(depth as i32)))
        .collect();
    let only_a = b_zero.iter().all(|&zero| zero == 0);
    for (row, out) in out.chunks_exact_mut(columns).enumerate() {
        let a_zero = zero_of(a_zero, row);
        for (out, sum) in out.iter_mut().zip(&of_columns) {
            *out = out.wrapping_sub(a_zero.wrapping_mul(*sum));
        }
        if only_a {
            continue;
        }
        let sum: i32 = a[row * depth..][..depth]
            .iter()
            .map(|&code| i32::from(code))
            .sum();
        for (column, out) in out.iter_mut().enumerate() {
            *out = out.wrapping_sub(zero_of(b_zero, column).wrapping_mul(sum));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes without pattern.
    pub(crate) fn codes(count: usize, seed: u32) -> Vec<u8> {
        let step = |state: &mut u32| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some((*state >> 24) as u8)
        };
        std::iter::successors(Some(seed), |state| Some(*state))
            .take(1)
            .flat_map(|seed| {
                let mut state = seed;
                std::iter::from_fn(move || step(&mut state)).take(count)
            })
            .collect()
    }

    /// The definition.
    fn naive(a: &[u8], a_zero: i32, b: &[i8], b_zero: &[i32], (m, k, n): (usize, usize, usize)) -> Vec<i32> {
        let mut out = vec![0; m * n];
        for (row, out) in out.chunks_mut(n.max(1)).enumerate() {
            for (column, out) in out.iter_mut().enumerate() {
                let zero = b_zero[column % b_zero.len()];
                *out = (0..k)
                    .map(|i| (i32::from(a[row * k + i]) - a_zero) * (i32::from(b[i * n + column]) - zero))
                    .sum();
            }
        }
        out
    }

    #[test]
    fn products_are_exact() {
        for (m, k, n) in [
            (1, 1, 1),
            (3, 5, 2),
            (7, 64, 33),
            (13, 130, 65),
            (2, 3, 100),
            (64, 17, 16),
            (5, 0, 4),
            (0, 4, 4),
        ] {
            let (a, b) = (codes(m * k, 1), to_signed(&codes(k * n, 2)));
            for (a_zero, b_zero) in [
                (0, vec![0]),
                (128, vec![0]),
                (3, vec![-7]),
                (255, (0..n as i32).collect()),
            ] {
                let panels = Panels::new(&b, k, n);
                let mut out = vec![-1; m * n];
                multiply(&a, &panels, &mut out);
                subtract_zero_points(&a, &[a_zero], &panels, &b_zero, &mut out);
                assert_eq!(out, naive(&a, a_zero, &b, &b_zero, (m, k, n)), "{m} x {k} x {n}");
            }
        }
    }

    #[test]
    fn extreme_codes_do_not_saturate() {
        let (a, b) = (vec![255u8; 2 * 300], vec![-128i8; 300 * 20]);
        let mut out = vec![0; 40];
        multiply(&a, &Panels::new(&b, 300, 20), &mut out);
        assert!(out.iter().all(|&sum| sum == -255 * 128 * 300));
    }
}
