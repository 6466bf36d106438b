//! Speed of encoding and decoding rows in block formats, GB of input (of decoded `f32` values) a second; and the root mean
//! square error as a part of the values' root mean square, as published and with the longer search.
//!
//!     [BANTAM_ISA=avx2] cargo run --release -p bantam-kernels --example block_speed [PART OF A NAME] [THREADS]
#![allow(clippy::print_stdout)]

use std::time::Instant;

use bantam_kernels::blocks::{Source, decode_rows, encode_rows};
use bantam_tensor::{BLOCK_FORMATS, BlockFormat, SplitMix64};
use half::{bf16, f16};

/// Values of a row, and rows.
const ROW: usize = 4096;
const ROWS: usize = 1024;
/// Values whose error is measured.
const SAMPLE: usize = 1 << 16;

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let threads = std::env::args()
        .nth(2)
        .and_then(|count| count.parse().ok())
        .unwrap_or(2);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("threads");
    let mut random = SplitMix64::new(1);
    let x: Vec<f32> = (0..ROW * ROWS)
        .map(|_| ((0..4).map(|_| random.unit()).sum::<f32>() - 2.0) * 0.04)
        .collect();
    let halves: Vec<f16> = x.iter().map(|&x| f16::from_f32(x)).collect();
    let brains: Vec<bf16> = x.iter().map(|&x| bf16::from_f32(x)).collect();
    println!("{threads} threads, GB/s    f32 in   f16 in  bf16 in   decode    error searched");
    for format in BLOCK_FORMATS
        .iter()
        .filter(|format| format.name().contains(&filter))
    {
        let mut bytes = vec![0; format.row_bytes(ROW).expect("whole blocks") * ROWS];
        let mut encode = |source: Source<'_>, size: usize| {
            let seconds = pool.install(|| {
                least(|| encode_rows(*format, source, ROW, None, &mut bytes).expect("sizes fit"))
            });
            (x.len() * size) as f64 / seconds / 1e9
        };
        let speeds = [
            encode(Source::F32(&x), 4),
            encode(Source::F16(&halves), 2),
            encode(Source::BF16(&brains), 2),
        ];
        let mut values = vec![0.0f32; x.len()];
        let seconds =
            pool.install(|| least(|| decode_rows(*format, &bytes, ROW, &mut values).expect("sizes fit")));
        let decode = (x.len() * 4) as f64 / seconds / 1e9;
        let [wide, half, brain] = speeds;
        let (error, searched) = (
            error(*format, &x[..SAMPLE], false),
            error(*format, &x[..SAMPLE], true),
        );
        println!(
            "{:18} {wide:9.3}{half:9.3}{brain:9.3}{decode:9.3}{error:9.5}{searched:9.5}",
            format.name()
        );
    }
}

/// The error of values that were encoded and decoded, block by block.
fn error(format: &dyn BlockFormat, x: &[f32], search: bool) -> f64 {
    let mut bytes = vec![0; format.block_bytes()];
    let mut values = vec![0.0; format.block_len()];
    let (mut squares, mut errors) = (0.0, 0.0);
    for x in x.chunks_exact(format.block_len()) {
        if search {
            format.encode_block_searched(x, None, &mut bytes);
        } else {
            format.encode_block(x, None, &mut bytes);
        }
        format.decode_block(&bytes, &mut values);
        for (x, y) in x.iter().zip(&values) {
            squares += f64::from(*x).powi(2);
            errors += (f64::from(*x) - f64::from(*y)).powi(2);
        }
    }
    (errors / squares).sqrt()
}

/// The least time of some calls.
fn least(mut call: impl FnMut()) -> f64 {
    let (mut best, start, mut calls) = (f64::MAX, Instant::now(), 0);
    while calls < 3 || start.elapsed().as_secs_f64() < 0.3 {
        let one = Instant::now();
        call();
        best = best.min(one.elapsed().as_secs_f64());
        calls += 1;
    }
    best
}
