//! What rounding loses, given back by a product of low rank.
//!
//! With `E` the error of a weight (rows are outputs) and `H = L L^T` the second moments of its inputs, the `A B` of rank r that
//! leaves the least error of the outputs, `|(E - A B) L|`, is `A = U`, `B = U^T E`, where the columns of `U` are the r leading eigenvectors of `E H E^T`
//! (Eckart and Young; LQER, Zhang et al. 2024, and CALDERA, Saha et al. 2024, which also rounds again what the product leaves).

use bantam_kernels::matmul::{Onto, Product, multiply_batch};
use bantam_tensor::{DType, SplitMix64, Tensor};

use crate::packed::Numbers;
use crate::plan::{Action, Decision, Site};
use crate::quantize::layerwise::{Moments, transposed};

/// More columns than are asked for, so that the power iteration settles.
const EXTRA: usize = 8;
/// Power iterations.
const ITERATIONS: usize = 24;

/// A product `up down`, of rank `rank`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LowRank {
    pub(super) rank: usize,
    /// `[rows, rank]`.
    pub(super) up: Vec<f32>,
    /// `[rank, depth]`.
    pub(super) down: Vec<f32>,
}

impl LowRank {
    /// The product of this rank that leaves least of an error `[rows, depth]`.
    pub(super) fn of(error: &[f32], moments: &Moments, rank: usize) -> LowRank {
        let depth = moments.depth;
        let rows = error.len() / depth;
        let rank = rank.min(rows).min(depth);
        let weighted = weighted(error, moments);
        let gram = product(&weighted, error, [rows, depth, rows], [1, depth]);
        let basis = leading(&gram, rows, rank);
        // The basis lies by vectors: its transpose is `up`.
        let down = product(&basis, error, [rank, rows, depth], [depth, 1]);
        let up = transposed(&basis, rank, rows);
        LowRank {
            rank,
            up: of_16_bits(&up),
            down: of_16_bits(&down),
        }
    }

    /// `up down`.
    pub(super) fn values(&self) -> Vec<f32> {
        let (rows, depth) = (self.up.len() / self.rank, self.down.len() / self.rank);
        product(&self.up, &self.down, [rows, self.rank, depth], [depth, 1])
    }

    /// What the plan says of it; the product that it is added to is named by its output.
    pub(super) fn decision(&self, product: &str) -> Decision {
        let rows = self.up.len() / self.rank;
        Decision {
            site: Site::Node(product.to_owned()),
            action: Action::AddLowRank {
                rank: self.rank,
                down: Numbers(transposed(&self.down, self.rank, self.down.len() / self.rank)),
                up: Numbers(transposed(&self.up, rows, self.rank)),
            },
            why: "takes back what rounding loses".to_owned(),
            sqnr_db: None,
        }
    }
}

/// The numbers as files hold them.
pub(super) fn of_16_bits(values: &[f32]) -> Vec<f32> {
    let wide: Vec<f64> = values.iter().copied().map(f64::from).collect();
    let stored = Tensor::from_f64(DType::F16, &[values.len()], &wide);
    stored
        .and_then(|it| it.to_f32())
        .unwrap_or_else(|_| values.to_vec())
}

/// The error times the second moments.
pub(super) fn weighted(error: &[f32], moments: &Moments) -> Vec<f32> {
    let depth = moments.depth;
    let second: Vec<f32> = moments.second.iter().map(|x| *x as f32).collect();
    product(error, &second, [error.len() / depth, depth, depth], [depth, 1])
}

/// The leading eigenvectors of a symmetric matrix, one after another, by power iteration of a block.
fn leading(matrix: &[f32], size: usize, rank: usize) -> Vec<f32> {
    let columns = (rank + EXTRA).min(size);
    let mut random = SplitMix64::new(0);
    let mut block: Vec<f32> = (0..columns * size).map(|_| random.unit() - 0.5).collect();
    orthonormal(&mut block, size);
    for _ in 0..ITERATIONS {
        block = product(&block, matrix, [columns, size, size], [size, 1]);
        orthonormal(&mut block, size);
    }
    block.truncate(rank * size);
    block
}

/// Makes rows orthogonal and of length one, in order; rows that depend on those before become zero.
fn orthonormal(rows: &mut [f32], size: usize) {
    for index in 0..rows.len() / size.max(1) {
        let (before, rest) = rows.split_at_mut(index * size);
        let row = &mut rest[..size];
        let first = length(row);
        for _ in 0..2 {
            for other in before.chunks_exact(size) {
                let along: f64 = row.iter().zip(other).map(|(a, b)| f64::from(a * b)).sum();
                row.iter_mut()
                    .zip(other)
                    .for_each(|(a, b)| *a -= along as f32 * b);
            }
        }
        let length = length(row);
        let factor = if length > 1e-5 * first { 1.0 / length } else { 0.0 };
        row.iter_mut().for_each(|x| *x = (f64::from(*x) * factor) as f32);
    }
}

fn length(row: &[f32]) -> f64 {
    row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}

fn product(a: &[f32], b: &[f32], [rows, depth, columns]: [usize; 3], b_strides: [usize; 2]) -> Vec<f32> {
    let sizes = Product {
        rows,
        columns,
        depth,
        a_strides: [depth, 1],
        b_strides,
    };
    let mut c = vec![0.0; rows * columns];
    multiply_batch(&sizes, &[[0, 0]], [a, b], 1.0, Onto::Nothing, &mut c);
    c
}
