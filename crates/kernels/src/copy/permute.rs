//! Permutations of dimensions.

use crate::chunks::for_rows;

/// The same permutation with as few dimensions as possible: those of size 1 are left out, and those that stay
/// neighbours become one. Gives the shape and the permutation; the identity has at most one dimension.
pub fn simplify_permutation(shape: &[usize], permutation: &[usize]) -> (Vec<usize>, Vec<usize>) {
    // Groups of input axes, in the order of the output.
    let mut groups: Vec<(usize, usize)> = Vec::new();
    let real = |axis: usize| shape[axis] != 1;
    for &axis in permutation.iter().filter(|&&axis| real(axis)) {
        match groups.last_mut() {
            Some((_, end)) if (*end..axis).all(|between| !real(between)) && axis >= *end => *end = axis + 1,
            _ => groups.push((axis, axis + 1)),
        }
    }
    let mut sorted = groups.clone();
    sorted.sort_unstable();
    let sizes = sorted
        .iter()
        .map(|&(start, end)| shape[start..end].iter().product())
        .collect();
    let order = groups
        .iter()
        .map(|group| sorted.partition_point(|other| other < group))
        .collect();
    (sizes, order)
}

/// Writes `x` of shape `shape` with its dimensions in another order: dimension `i` of `y` is `permutation[i]` of `x`.
///
/// # Panics
/// When `permutation` is none, or the lengths do not fit.
pub fn permute<T: Clone + Send + Sync>(x: &[T], shape: &[usize], permutation: &[usize], y: &mut [T]) {
    let (shape, permutation) = simplify_permutation(shape, permutation);
    let rank = shape.len();
    if y.is_empty() {
        return;
    }
    if rank <= 1 {
        return y.clone_from_slice(x);
    }
    let mut strides = vec![1; rank];
    for axis in (0..rank - 1).rev() {
        strides[axis] = strides[axis + 1] * shape[axis + 1];
    }
    let dims: Vec<usize> = permutation.iter().map(|&axis| shape[axis]).collect();
    let steps: Vec<usize> = permutation.iter().map(|&axis| strides[axis]).collect();
    let row = dims[rank - 1];
    for_rows(y, row, |start, y| copy_rows(x, &dims, &steps, start / row, y));
}

/// Rows and columns that are moved at once, so that the lines of both sides stay in the cache.
const TILE: usize = 16;

/// Writes consecutive rows of the output, from row `row` on.
fn copy_rows<T: Clone>(x: &[T], dims: &[usize], steps: &[usize], row: usize, y: &mut [T]) {
    let (height, width) = (dims[dims.len() - 2], dims[dims.len() - 1]);
    let (row_step, step) = (steps[steps.len() - 2], steps[steps.len() - 1]);
    let mut done = 0;
    while done < y.len() / width {
        // The rows of one plane: they differ in the last but one dimension only.
        let mut rest = row + done;
        let first = rest % height;
        let rows = (height - first).min(y.len() / width - done);
        let mut offset = 0;
        for (dim, step) in dims[..dims.len() - 1].iter().zip(steps).rev() {
            offset += rest % dim * step;
            rest /= dim;
        }
        let y = &mut y[done * width..(done + rows) * width];
        if step == 1 {
            for (i, y) in y.chunks_exact_mut(width).enumerate() {
                y.clone_from_slice(&x[offset + i * row_step..][..width]);
            }
        } else {
            for (tile, y) in y.chunks_mut(TILE * width).enumerate() {
                copy_tiles(&x[offset + tile * TILE * row_step..], row_step, step, width, y);
            }
        }
        done += rows;
    }
}

/// A few rows, tile by tile.
fn copy_tiles<T: Clone>(x: &[T], row_step: usize, step: usize, width: usize, y: &mut [T]) {
    let rows = y.len() / width;
    if row_step == 1 && width < TILE {
        return interleave(x, step, width, y);
    }
    for start in (0..width).step_by(TILE) {
        let end = (start + TILE).min(width);
        if row_step == 1 && rows == TILE && end - start == TILE {
            copy_square(&x[start * step..], step, width, &mut y[start..]);
            continue;
        }
        for (i, y) in y.chunks_exact_mut(width).enumerate() {
            let x = &x[i * row_step + start * step..];
            for (y, x) in y[start..end].iter_mut().zip(x.iter().step_by(step)) {
                y.clone_from(x);
            }
        }
    }
}

/// Rows of a few elements, each from another run of `x`.
fn interleave<T: Clone>(x: &[T], step: usize, width: usize, y: &mut [T]) {
    let rows = y.len() / width;
    for column in 0..width {
        let run = &x[column * step..][..rows];
        for (row, x) in y.chunks_exact_mut(width).zip(run) {
            row[column].clone_from(x);
        }
    }
}

/// A square tile whose columns are runs of `x`: each is read as a whole, since runs that are a power of two apart would
/// push each other out of the cache.
fn copy_square<T: Clone>(x: &[T], step: usize, width: usize, y: &mut [T]) {
    let columns: [[T; TILE]; TILE] = std::array::from_fn(|column| {
        let run: &[T; TILE] = x[column * step..].first_chunk().expect("a run of the tile");
        run.clone()
    });
    for i in 0..TILE {
        let row: &mut [T; TILE] = y[i * width..].first_chunk_mut().expect("a row of the tile");
        for (to, column) in row.iter_mut().zip(&columns) {
            to.clone_from(&column[i]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_are_merged() {
        assert_eq!(
            simplify_permutation(&[2, 3, 4, 5], &[0, 2, 3, 1]),
            (vec![2, 3, 20], vec![0, 2, 1])
        );
        assert_eq!(simplify_permutation(&[2, 1, 4], &[1, 0, 2]), (vec![8], vec![0]));
        assert_eq!(
            simplify_permutation(&[2, 1, 4], &[2, 1, 0]),
            (vec![2, 4], vec![1, 0])
        );
        assert_eq!(simplify_permutation(&[1, 1], &[1, 0]), (vec![], vec![]));
        assert_eq!(
            simplify_permutation(&[2, 3, 4], &[1, 2, 0]),
            (vec![2, 12], vec![1, 0])
        );
    }

    #[test]
    fn every_permutation_of_four_dimensions() {
        let shape = [3usize, 17, 2, 33];
        let x: Vec<u32> = (0..shape.iter().product::<usize>() as u32).collect();
        for code in 0..256usize {
            let permutation: Vec<usize> = (0..4).map(|i| code >> (2 * i) & 3).collect();
            if (0..4).any(|axis| !permutation.contains(&axis)) {
                continue;
            }
            let mut y = vec![u32::MAX; x.len()];
            permute(&x, &shape, &permutation, &mut y);
            let dims: Vec<usize> = permutation.iter().map(|&axis| shape[axis]).collect();
            for (flat, &got) in y.iter().enumerate() {
                let (mut rest, mut index) = (flat, [0; 4]);
                for i in (0..4).rev() {
                    index[permutation[i]] = rest % dims[i];
                    rest /= dims[i];
                }
                let source = index.iter().zip(shape).fold(0, |sum, (&i, size)| sum * size + i);
                assert_eq!(got as usize, source, "{permutation:?} at {flat}");
            }
        }
    }

    #[test]
    fn long_matrices_are_split_over_threads() {
        let (rows, columns) = (700, 311);
        let x: Vec<usize> = (0..rows * columns).collect();
        let mut y = vec![0; x.len()];
        permute(&x, &[rows, columns], &[1, 0], &mut y);
        assert!(
            y.iter()
                .enumerate()
                .all(|(i, &v)| v == i % rows * columns + i / rows)
        );
    }
}
