//! Orthogonal matrices that spread outliers over all channels.

use bantam_kernels::matmul::{Onto, Product, multiply_batch};
use bantam_tensor::SplitMix64;

/// An orthogonal matrix `[size, size]`, row by row: a Hadamard matrix with rows of random signs (QuIP#, Tseng et al. 2024, section 3;
/// QuaRot, Ashkboos et al. 2024, section 3) where one of this size is known, else a random one.
pub(crate) fn orthogonal(size: usize, seed: u64) -> Vec<f32> {
    let mut random = SplitMix64::new(seed);
    let Some(matrix) = hadamard(size) else {
        return random_orthogonal(size, &mut random);
    };
    let unit = 1.0 / (size as f64).sqrt();
    let row = |row: &[i8]| {
        let sign = if random.next_u64() >> 63 == 0 { unit } else { -unit };
        row.iter()
            .map(|element| (f64::from(*element) * sign) as f32)
            .collect::<Vec<f32>>()
    };
    matrix.chunks_exact(size.max(1)).flat_map(row).collect()
}

/// A matrix of 1 and -1 whose rows are orthogonal: Paley's first construction for a prime one below the order, doubled
/// (Sylvester) as often as needed; `None` where these give none.
fn hadamard(size: usize) -> Option<Vec<i8>> {
    let orders = std::iter::successors(Some(size), |order| order.is_multiple_of(2).then_some(order / 2));
    let order = orders.filter(|order| *order == 1 || is_paley(*order)).last()?;
    let (mut matrix, mut order) = (paley(order), order);
    while order < size {
        let element = |row: usize, column: usize| {
            let sign = if row >= order && column >= order { -1 } else { 1 };
            sign * matrix[row % order * order + column % order]
        };
        let doubled = (0..4 * order * order).map(|index| element(index / (2 * order), index % (2 * order)));
        matrix = doubled.collect();
        order *= 2;
    }
    Some(matrix)
}

/// Whether the number below is a prime that leaves 3 when divided by 4.
fn is_paley(order: usize) -> bool {
    let prime = order.saturating_sub(1);
    prime % 4 == 3
        && (2..prime)
            .take_while(|by| by * by <= prime)
            .all(|by| !prime.is_multiple_of(by))
}

/// The identity plus the skew matrix of quadratic residues.
fn paley(order: usize) -> Vec<i8> {
    let prime = order - 1;
    let mut residues = vec![-1i8; order];
    (1..prime).for_each(|x| residues[x * x % prime] = 1);
    residues[0] = 0;
    let element = |row: usize, column: usize| match (row, column) {
        _ if row == column => 1,
        (0, _) => 1,
        (_, 0) => -1,
        _ => residues[(row + prime - column) % prime],
    };
    (0..order * order)
        .map(|index| element(index / order, index % order))
        .collect()
}

/// Gram and Schmidt's of random rows, twice against rounding.
fn random_orthogonal(size: usize, random: &mut SplitMix64) -> Vec<f32> {
    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(size);
    while rows.len() < size {
        // Sums of twelve numbers are as good as normally distributed.
        let mut normal = || (0..12).map(|_| f64::from(random.unit())).sum::<f64>() - 6.0;
        let mut row: Vec<f64> = (0..size).map(|_| normal()).collect();
        for _ in 0..2 {
            for other in &rows {
                let along: f64 = row.iter().zip(other).map(|(a, b)| a * b).sum();
                row.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
            }
        }
        let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        if length > 1e-6 {
            rows.push(row.into_iter().map(|x| x / length).collect());
        }
    }
    rows.into_iter().flatten().map(|x| x as f32).collect()
}

/// The transpose of a square matrix.
pub(crate) fn transposed(matrix: &[f32], size: usize) -> Vec<f32> {
    let element = |index: usize| matrix[index % size * size + index / size];
    (0..size * size).map(element).collect()
}

/// Rows of `size` times the matrix.
pub(crate) fn times(values: &[f32], matrix: &[f32], size: usize) -> Vec<f32> {
    let rows = values.len() / size.max(1);
    product(values, matrix, [rows, size, size], [size, 1])
}

/// The transpose of the matrix times `[size, columns]`.
pub(crate) fn transposed_times(matrix: &[f32], values: &[f32], size: usize) -> Vec<f32> {
    let columns = values.len() / size.max(1);
    product(matrix, values, [size, size, columns], [1, size])
}

fn product(a: &[f32], b: &[f32], [rows, depth, columns]: [usize; 3], a_strides: [usize; 2]) -> Vec<f32> {
    let sizes = Product {
        rows,
        columns,
        depth,
        a_strides,
        b_strides: [columns, 1],
    };
    let mut c = vec![0.0; rows * columns];
    multiply_batch(&sizes, &[[0, 0]], [a, b], 1.0, Onto::Nothing, &mut c);
    c
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_columns_are_orthogonal() {
        for size in [1, 2, 4, 12, 20, 24, 40, 48, 64, 96, 7, 30, 36] {
            let matrix = orthogonal(size, 3);
            for (rows, name) in [
                (times(&matrix, &transposed(&matrix, size), size), "rows"),
                (transposed_times(&matrix, &matrix, size), "columns"),
            ] {
                for (index, value) in rows.iter().enumerate() {
                    let expected = if index / size == index % size { 1.0 } else { 0.0 };
                    assert!(
                        (value - expected).abs() < 1e-5,
                        "{size}, {name}: {value} at {index}"
                    );
                }
            }
        }
    }

    #[test]
    fn known_hadamard_sizes() {
        for (size, known) in [
            (64, true),
            (12, true),
            (96, true),
            (80, true),
            (7, false),
            (30, false),
            (36, false),
        ] {
            assert_eq!(hadamard(size).is_some(), known, "{size}");
        }
    }

    /// One large channel becomes even.
    #[test]
    fn outliers_are_spread() {
        let matrix = orthogonal(64, 0);
        let mut x = vec![0.0; 64];
        x[5] = 8.0;
        let turned = times(&x, &matrix, 64);
        assert!(turned.iter().all(|value| (value.abs() - 1.0).abs() < 1e-5));
        assert_ne!(matrix, orthogonal(64, 1));
    }
}
