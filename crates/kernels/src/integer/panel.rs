//! [`Panels`]: an operand in the order in which the kernels read it, and the choice of kernel.

use super::{DEPTH, LANES};

/// Most columns that a kernel takes at once.
pub(crate) const WIDEST: usize = 4 * LANES;

/// A matrix `[depth, columns]` of codes, packed `[panel][depth / 4][16 columns][4]`, padded with zeros.
#[derive(Clone, Debug, Default)]
pub struct Panels<T> {
    depth: usize,
    columns: usize,
    codes: Vec<T>,
    sums: Vec<i32>,
}

impl<T: Copy + Default + Into<i32>> Panels<T> {
    /// Packs `[depth, columns]`.
    pub fn new(codes: &[T], depth: usize, columns: usize) -> Panels<T> {
        Panels::pack(depth, columns, |row, column| codes[row * columns + column])
    }

    /// Packs the transpose of `[columns, depth]`.
    pub fn of_transposed(codes: &[T], depth: usize, columns: usize) -> Panels<T> {
        Panels::pack(depth, columns, |row, column| codes[column * depth + row])
    }

    fn pack(depth: usize, columns: usize, code: impl Fn(usize, usize) -> T) -> Panels<T> {
        let mut packed = vec![T::default(); depth.next_multiple_of(DEPTH) * columns.next_multiple_of(LANES)];
        let mut sums = vec![0i32; columns];
        let group = LANES * DEPTH;
        for row in 0..depth {
            for (column, sum) in sums.iter_mut().enumerate() {
                let code = code(row, column);
                let panel = (column / LANES) * depth.div_ceil(DEPTH) * group;
                packed[panel + (row / DEPTH) * group + (column % LANES) * DEPTH + row % DEPTH] = code;
                *sum = sum.wrapping_add(code.into());
            }
        }
        Panels { depth, columns, codes: packed, sums }
    }
}

impl<T> Panels<T> {
    /// Length of the sums.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The sum of each column.
    pub fn sums(&self) -> &[i32] {
        &self.sums
    }
}

/// Calls `body(first column, codes of the panels, their columns)` for tiles of at most [`WIDEST`] columns.
pub(super) fn for_each_tile<T>(matrix: &Panels<T>, mut body: impl FnMut(usize, &[T], usize)) {
    let panel = matrix.depth.next_multiple_of(DEPTH) * LANES;
    for (index, codes) in matrix.codes.chunks(panel.max(1) * (WIDEST / LANES)).enumerate() {
        body(index * WIDEST, codes, codes.len() / panel * LANES);
    }
}

/// `sums[rows, columns] = rows[rows, depth] * panels`: unsigned rows, signed panels. `depth` is a multiple of [`DEPTH`];
/// there are at most six rows and [`WIDEST`] columns.
pub(super) fn multiply_unsigned_rows(rows: &[u8], depth: usize, panels: &[i8], sums: &mut [i32]) {
    #[cfg(target_arch = "x86_64")]
    if super::vnni::available() {
        return super::vnni::unsigned_rows(rows, depth, panels, sums);
    }
    scalar(rows, depth, panels, sums);
}

/// As [`multiply_unsigned_rows`] with signed rows and unsigned panels.
pub(super) fn multiply_signed_rows(rows: &[i8], depth: usize, panels: &[u8], sums: &mut [i32]) {
    #[cfg(target_arch = "x86_64")]
    if super::vnni::available() {
        return super::vnni::signed_rows(rows, depth, panels, sums);
    }
    scalar(rows, depth, panels, sums);
}

crate::vectorize::vectorized! {
    fn unsigned_scalar(row: &[u8], panel: &[i8], sums: &mut [i32]) {
        scalar_panel(row, panel, sums);
    }
    fn signed_scalar(row: &[i8], panel: &[u8], sums: &mut [i32]) {
        scalar_panel(row, panel, sums);
    }
}

/// Rows that have a scalar kernel compiled for the CPU.
pub(super) trait Row<P>: Sized {
    fn by_panel(row: &[Self], panel: &[P], sums: &mut [i32]);
}

impl Row<i8> for u8 {
    fn by_panel(row: &[u8], panel: &[i8], sums: &mut [i32]) {
        unsigned_scalar(row, panel, sums);
    }
}

impl Row<u8> for i8 {
    fn by_panel(row: &[i8], panel: &[u8], sums: &mut [i32]) {
        signed_scalar(row, panel, sums);
    }
}

/// The plain form: the oracle of the others.
pub(super) fn scalar<R: Row<P>, P>(rows: &[R], depth: usize, panels: &[P], sums: &mut [i32]) {
    let width = panels.len() / depth;
    for (row, sums) in rows.chunks_exact(depth).zip(sums.chunks_exact_mut(width)) {
        for (panel, sums) in panels.chunks_exact(depth * LANES).zip(sums.chunks_exact_mut(LANES)) {
            R::by_panel(row, panel, sums);
        }
    }
}

#[inline(always)]
fn scalar_panel<R: Copy + Into<i32>, P: Copy + Into<i32>>(row: &[R], panel: &[P], sums: &mut [i32]) {
    let mut total = [0i32; LANES];
    for (codes, columns) in row.as_chunks::<DEPTH>().0.iter().zip(panel.as_chunks::<{ LANES * DEPTH }>().0) {
        for (total, column) in total.iter_mut().zip(columns.as_chunks::<DEPTH>().0) {
            for lane in 0..DEPTH {
                *total = total.wrapping_add(codes[lane].into() * column[lane].into());
            }
        }
    }
    sums.copy_from_slice(&total);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_agrees_with_the_plain_one() {
        for rows in 1..=6 {
            for panels in 1..=4 {
                for depth in [4, 8, 36, 300] {
                    let a: Vec<u8> = (0..rows * depth).map(|i| (i * 37 % 256) as u8).collect();
                    let b: Vec<i8> = (0..panels * LANES * depth).map(|i| (i * 101 % 256) as u8 as i8).collect();
                    let mut expected = vec![0; rows * panels * LANES];
                    let mut got = expected.clone();
                    scalar(&a, depth, &b, &mut expected);
                    multiply_unsigned_rows(&a, depth, &b, &mut got);
                    assert_eq!(got, expected, "{rows} rows, {panels} panels, depth {depth}");
                    let (a, b): (Vec<i8>, Vec<u8>) = (a.iter().map(|&c| c as i8).collect(), b.iter().map(|&c| c as u8).collect());
                    scalar(&a, depth, &b, &mut expected);
                    multiply_signed_rows(&a, depth, &b, &mut got);
                    assert_eq!(got, expected, "signed, {rows} rows, {panels} panels, depth {depth}");
                }
            }
        }
    }
}
