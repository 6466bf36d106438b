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
        Panels {
            depth,
            columns,
            codes: packed,
            sums,
        }
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

/// Where the codes of each step of the sums lie.
pub(super) struct Offsets {
    offsets: Vec<usize>,
    last: usize,
}

impl Offsets {
    pub(super) fn new(offsets: Vec<usize>) -> Offsets {
        let last = offsets.iter().copied().max().unwrap_or(0);
        Offsets { offsets, last }
    }
}

impl std::ops::Deref for Offsets {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.offsets
    }
}

/// Columns that a kernel multiplies with rows: at step `i` of the sums, the four codes of each of 16 columns lie at
/// `offsets[i]`, and those of the next 16 columns `panel_stride` further.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a, T> {
    pub(super) codes: &'a [T],
    pub(super) offsets: &'a Offsets,
    pub(super) panels: usize,
    pub(super) panel_stride: usize,
}

impl<T> Columns<'_, T> {
    /// Number of columns.
    pub(super) fn width(&self) -> usize {
        self.panels * LANES
    }

    /// Whether every code lies in the slice.
    pub(super) fn is_sound(&self) -> bool {
        let last = self.offsets.last + LANES * DEPTH;
        last + self.panels.saturating_sub(1) * self.panel_stride <= self.codes.len()
    }
}

/// Calls `body(first column, columns)` for tiles of at most [`WIDEST`] columns.
pub(super) fn for_each_tile<T>(matrix: &Panels<T>, mut body: impl FnMut(usize, Columns<'_, T>)) {
    let panel = matrix.depth.next_multiple_of(DEPTH) * LANES;
    let offsets = Offsets::new((0..panel).step_by(LANES * DEPTH).collect());
    for (index, codes) in matrix.codes.chunks(panel.max(1) * (WIDEST / LANES)).enumerate() {
        let columns = Columns {
            codes,
            offsets: &offsets,
            panels: codes.len() / panel,
            panel_stride: panel,
        };
        body(index * WIDEST, columns);
    }
}

/// Where sums go: those of row `i` from `i * stride` on.
pub(super) struct Sums<'a> {
    pub(super) values: &'a mut [i32],
    pub(super) stride: usize,
    /// What the sums of each row start from; there are as many rows.
    pub(super) start: &'a [i32],
}

impl Sums<'_> {
    /// Whether `columns` sums of every row lie in the slice.
    pub(super) fn is_sound(&self, columns: usize) -> bool {
        let rows = self.start.len();
        rows == 0 || (rows - 1) * self.stride + columns <= self.values.len()
    }
}

/// `sums[rows, columns] = start[rows] + rows[rows, depth] * columns`: unsigned rows, signed columns. `depth` is [`DEPTH`]
/// for each offset; there are at most six rows and [`WIDEST`] columns.
pub(super) fn multiply_unsigned_rows(rows: &[u8], columns: Columns<'_, i8>, sums: Sums<'_>) {
    #[cfg(target_arch = "x86_64")]
    if super::vnni::available() {
        return super::vnni::unsigned_rows(rows, columns, sums);
    }
    scalar(rows, columns, sums);
}

/// The plain form: the oracle of the others.
pub(super) fn scalar(rows: &[u8], columns: Columns<'_, i8>, sums: Sums<'_>) {
    let depth = columns.offsets.len() * DEPTH;
    for (index, (row, &start)) in rows.chunks_exact(depth).zip(sums.start).enumerate() {
        let sums = &mut sums.values[index * sums.stride..][..columns.width()];
        for (panel, sums) in sums.chunks_exact_mut(LANES).enumerate() {
            let codes = &columns.codes[panel * columns.panel_stride..];
            scalar_panel(row, codes, columns.offsets, start, sums);
        }
    }
}

crate::vectorize::vectorized! {
    fn scalar_panel(row: &[u8], codes: &[i8], offsets: &[usize], start: i32, sums: &mut [i32]) {
        let mut total = [start; LANES];
        for (row, &offset) in row.as_chunks::<DEPTH>().0.iter().zip(offsets) {
            let columns = &codes[offset..offset + LANES * DEPTH];
            for (total, column) in total.iter_mut().zip(columns.as_chunks::<DEPTH>().0) {
                for lane in 0..DEPTH {
                    *total = total.wrapping_add(i32::from(row[lane]).wrapping_mul(i32::from(column[lane])));
                }
            }
        }
        sums.copy_from_slice(&total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_agrees_with_the_plain_one() {
        for rows in 1..=6 {
            for panels in 1..=4 {
                for (depth, panel_stride) in [(4, 64), (8, 64), (36, 36 * LANES), (300, 64)] {
                    let a: Vec<u8> = (0..rows * depth).map(|i| (i * 37 % 256) as u8).collect();
                    let b: Vec<i8> = (0..4 * LANES * depth + 256)
                        .map(|i| (i * 101 % 256) as u8 as i8)
                        .collect();
                    // Out of order and overlapping, as in a convolution.
                    let offsets = Offsets::new(
                        (0..depth / DEPTH)
                            .map(|i| (i * 7 % (depth / DEPTH)) * 64)
                            .collect(),
                    );
                    let columns = Columns {
                        codes: b.as_slice(),
                        offsets: &offsets,
                        panels,
                        panel_stride,
                    };
                    let start: Vec<i32> = (0..rows as i32).map(|row| row * 1000 - 7).collect();
                    let stride = panels * LANES + 3;
                    let mut expected = vec![0; rows * stride];
                    let mut got = expected.clone();
                    let sums = |values| Sums {
                        values,
                        stride,
                        start: &start,
                    };
                    scalar(&a, columns, sums(&mut expected));
                    multiply_unsigned_rows(&a, columns, sums(&mut got));
                    assert_eq!(got, expected, "{rows} rows, {panels} panels, depth {depth}");
                }
            }
        }
    }
}
