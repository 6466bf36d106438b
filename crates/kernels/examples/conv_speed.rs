//! Speed of convolutions, in GFLOP/s.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use bantam_kernels::Isa;
use bantam_kernels::conv::{Epilogue, Geometry, PackedConvolution, Residual};

fn main() {
    let isa = match std::env::args().nth(1).as_deref() {
        Some("avx2") => Isa::Avx2,
        Some("scalar") => Isa::Scalar,
        _ => Isa::Avx512,
    };
    let filter = std::env::args().nth(2).unwrap_or_default();
    // name, batch, groups, channels, out, size, kernel, stride
    let cases = [
        ("r20 first", 64, 1, 3, 16, 32, 3, 1),
        ("r20 stage1", 64, 1, 16, 16, 32, 3, 1),
        ("b1 stage1", 1, 1, 16, 16, 32, 3, 1),
        ("b1 stage2", 1, 1, 32, 32, 16, 3, 1),
        ("b1 stage3", 1, 1, 64, 64, 8, 3, 1),
        ("b1 down1", 1, 1, 16, 32, 32, 3, 2),
        ("r20 down1", 64, 1, 16, 32, 32, 3, 2),
        ("r20 stage2", 64, 1, 32, 32, 16, 3, 1),
        ("r20 down2", 64, 1, 32, 64, 16, 3, 2),
        ("r20 stage3", 64, 1, 64, 64, 8, 3, 1),
        ("r50 stem", 1, 1, 3, 64, 224, 7, 2),
        ("r50 56 3x3", 1, 1, 64, 64, 56, 3, 1),
        ("r50 56 1x1", 1, 1, 256, 64, 56, 1, 1),
        ("r50 28 3x3", 1, 1, 128, 128, 28, 3, 1),
        ("r50 28 1x1", 1, 1, 512, 128, 28, 1, 1),
        ("r50 14 3x3", 1, 1, 256, 256, 14, 3, 1),
        ("r50 14 1x1", 1, 1, 1024, 256, 14, 1, 1),
        ("r50 7 3x3", 1, 1, 512, 512, 7, 3, 1),
        ("r50 7 3x3 b8", 8, 1, 512, 512, 7, 3, 1),
        ("r50 7 1x1", 8, 1, 2048, 512, 7, 1, 1),
        ("mb dw 112", 1, 32, 1, 1, 112, 3, 1),
        ("mb dw 56 s2", 1, 144, 1, 1, 56, 3, 2),
        ("mb dw 14", 8, 384, 1, 1, 14, 3, 1),
        ("mb pw 14", 8, 1, 384, 64, 14, 1, 1),
    ];
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        for (name, batch, groups, channels, out, size, kernel, stride) in cases {
            if !name.contains(&filter) {
                continue;
            }
            let pad = kernel / 2;
            let o = (size + 2 * pad - kernel) / stride + 1;
            let g = Geometry {
                batch,
                channels: groups * channels,
                out_channels: groups * out,
                groups,
                input: vec![size; 2],
                kernel: vec![kernel; 2],
                strides: vec![stride; 2],
                dilations: vec![1; 2],
                pads: vec![pad; 2],
                output: vec![o; 2],
            };
            let x = vec![0.5f32; batch * groups * channels * size * size];
            let w = vec![0.25f32; groups * out * g.taps()];
            let mut y = vec![0f32; batch * groups * out * o * o];
            let packed = PackedConvolution::new(isa, groups, g.taps(), &w, None);
            let flop = 2.0 * (y.len() * g.taps()) as f64;
            let mut best = f64::MAX;
            let start = Instant::now();
            let mut n = 0;
            while n < 5 || start.elapsed().as_secs_f64() < 0.4 {
                let t = Instant::now();
                pool.install(|| {
                    packed.run(
                        &g,
                        &x,
                        Epilogue {
                            low: 0.0,
                            high: f32::INFINITY,
                            residual: Residual::None,
                        },
                        &mut y,
                    )
                });
                best = best.min(t.elapsed().as_secs_f64());
                n += 1;
            }
            println!(
                "{threads} threads {name:14} {:8.3} ms {:7.1} GFLOP/s",
                best * 1e3,
                flop / best / 1e9
            );
        }
    }
}
