//! Splitting work over threads, in the same pieces whatever their number.

use rayon::prelude::*;

/// Elements that a thread takes at once.
pub const GRAIN: usize = 1 << 14;
/// Fewer elements than this are not worth waking threads for.
const PARALLEL: usize = 1 << 15;
/// Elements that stay in the nearest cache between two passes over them.
pub const PIECE: usize = 1 << 12;

/// Calls `work` on chunks of `y` and the position where each starts; in parallel when `y` is long.
pub fn for_chunks<T: Send>(y: &mut [T], work: impl Fn(usize, &mut [T]) + Sync) {
    for_rows(y, 1, work);
}

/// As [`for_chunks`], with chunks of whole rows of `row` elements.
pub fn for_rows<T: Send>(y: &mut [T], row: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    // The machinery of threads is compiled once for each element type, not for each piece of work.
    for_rows_dynamic(y, row.max(1), &work);
}

fn for_rows_dynamic<T: Send>(y: &mut [T], row: usize, work: &(dyn Fn(usize, &mut [T]) + Sync)) {
    if y.is_empty() {
        return;
    }
    if y.len() < PARALLEL {
        return work(0, y);
    }
    let chunk = (GRAIN / row).max(1) * row;
    y.par_chunks_mut(chunk)
        .enumerate()
        .for_each(|(index, y)| work(index * chunk, y));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_everything_once_in_whole_rows() {
        for (length, row) in [(0, 3), (9, 3), (300_000, 3), (300_000, 100_000), (1 << 17, 1)] {
            let mut y = vec![0usize; length];
            for_rows(&mut y, row, |start, y| {
                assert!(start.is_multiple_of(row) && y.len().is_multiple_of(row));
                y.iter_mut().enumerate().for_each(|(i, y)| *y += start + i);
            });
            assert!(y.iter().enumerate().all(|(i, &y)| y == i));
        }
    }
}
