//! What the machine can do at most, measured.

use std::time::Instant;

use bantam_kernels::matmul::{Onto, Product, multiply_batch};
use rayon::prelude::*;
use serde::Serialize;

/// The machine's limits with the threads that were asked for.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Peak {
    /// Billions of float32 operations a second, of dense matrix products.
    pub gflops: f64,
    /// Billions of bytes a second, read and written while copying what no cache holds.
    pub gigabytes_per_second: f64,
}

/// Rows, columns and depth of the product.
const SIZE: usize = 1024;
/// Bytes that are copied.
const COPIED: usize = 1 << 28;
/// The best of so many tries counts.
const TRIES: usize = 5;

/// Measures in the current thread pool.
pub(super) fn measure() -> Peak {
    Peak {
        gflops: gflops(),
        gigabytes_per_second: bandwidth(),
    }
}

fn best_seconds(mut work: impl FnMut()) -> f64 {
    let times = (0..TRIES).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    });
    times.fold(f64::INFINITY, f64::min)
}

fn gflops() -> f64 {
    let (a, b) = (vec![0.5f32; SIZE * SIZE], vec![0.25f32; SIZE * SIZE]);
    let mut c = vec![0f32; SIZE * SIZE];
    let product = Product {
        rows: SIZE,
        columns: SIZE,
        depth: SIZE,
        a_strides: [SIZE, 1],
        b_strides: [SIZE, 1],
    };
    let seconds = best_seconds(|| multiply_batch(&product, &[[0, 0]], [&a, &b], 1.0, Onto::Nothing, &mut c));
    (2 * SIZE.pow(3)) as f64 / seconds / 1e9
}

fn bandwidth() -> f64 {
    let from = vec![1u8; COPIED];
    let mut to = vec![0u8; COPIED];
    let chunk = COPIED / rayon::current_num_threads() / 4;
    let seconds = best_seconds(|| {
        to.par_chunks_mut(chunk)
            .zip(from.par_chunks(chunk))
            .for_each(|(to, from)| to.copy_from_slice(from));
    });
    2.0 * COPIED as f64 / seconds / 1e9
}
