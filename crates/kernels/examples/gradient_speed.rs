//! Speed of a convolution and of its gradients, in billions of operations a second; weights are packed anew each time, as
//! training must.
//!
//!     [BANTAM_ISA=avx2] cargo run --release -p bantam-kernels --example gradient_speed [PART OF A NAME] [THREADS]
#![allow(clippy::print_stdout)]

use std::time::Instant;

use bantam_kernels::Isa;
use bantam_kernels::conv::{Epilogue, Geometry, PackedConvolution, gradient};

/// Name, batch, groups, channels and filters of a group, size, kernel, stride.
type Case = (&'static str, usize, usize, usize, usize, usize, usize, usize);

const CASES: &[Case] = &[
    ("r20 first", 128, 1, 3, 16, 32, 3, 1),
    ("r20 stage1", 128, 1, 16, 16, 32, 3, 1),
    ("r20 down1", 128, 1, 16, 32, 32, 3, 2),
    ("r20 stage2", 128, 1, 32, 32, 16, 3, 1),
    ("r20 down2", 128, 1, 32, 64, 16, 3, 2),
    ("r20 stage3", 128, 1, 64, 64, 8, 3, 1),
    ("r50 56 3x3", 8, 1, 64, 64, 56, 3, 1),
    ("r50 28 1x1", 8, 1, 512, 128, 28, 1, 1),
    ("r50 14 3x3", 8, 1, 256, 256, 14, 3, 1),
    ("r50 7 3x3", 8, 1, 512, 512, 7, 3, 1),
    ("r50 down 1x1", 8, 1, 256, 512, 56, 1, 2),
    ("mb dw 32", 128, 32, 1, 1, 32, 3, 1),
    ("mb dw 16 s2", 128, 96, 1, 1, 32, 3, 2),
    ("mb dw 8", 128, 192, 1, 1, 8, 3, 1),
    ("mb pw 32", 128, 1, 16, 96, 32, 1, 1),
    ("mb pw 8", 128, 1, 192, 64, 8, 1, 1),
];

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let threads = std::env::args()
        .nth(2)
        .and_then(|count| count.parse().ok())
        .unwrap_or(1);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("threads");
    for &case in CASES.iter().filter(|case| case.0.contains(&filter)) {
        let geometry = geometry(case);
        let outputs = geometry.batch * geometry.out_channels * geometry.output_plane();
        let operations = 2.0 * outputs as f64 * geometry.taps() as f64 / 1e9;
        let times = pool.install(|| times(&geometry));
        let [forward, input, weights] =
            times.map(|time| format!("{:8.3} ms {:6.1} G/s", time * 1e3, operations / time));
        println!(
            "{:14} forward {forward}   input {input}   weights {weights}",
            case.0
        );
    }
}

fn geometry((_, batch, groups, channels, filters, size, kernel, stride): Case) -> Geometry {
    let pad = kernel / 2;
    let output = (size + 2 * pad - kernel) / stride + 1;
    Geometry {
        batch,
        channels: channels * groups,
        out_channels: filters * groups,
        groups,
        input: vec![size; 2],
        kernel: vec![kernel; 2],
        strides: vec![stride; 2],
        dilations: vec![1; 2],
        pads: vec![pad; 2],
        output: vec![output; 2],
    }
}

/// Seconds of the convolution, of the gradient of its input and of that of its weights.
fn times(geometry: &Geometry) -> [f64; 3] {
    let isa = Isa::best();
    let x = vec![0.25; geometry.batch * geometry.channels * geometry.input_plane()];
    let weights = vec![0.5; geometry.out_channels * geometry.taps()];
    let dy = vec![0.125; geometry.batch * geometry.out_channels * geometry.output_plane()];
    let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), weights.clone());
    let shape = [
        &[geometry.out_channels, geometry.group_channels()],
        geometry.kernel.as_slice(),
    ]
    .concat();
    let forward = least(|| {
        let packed = PackedConvolution::new(isa, &shape, geometry.groups, 1, None);
        packed.run(geometry, &x, &weights, Epilogue::default(), &mut y);
    });
    let input = least(|| gradient::input(isa, geometry, &dy, &weights, &mut dx));
    [
        forward,
        input,
        least(|| gradient::weights(isa, geometry, &x, &dy, &mut dw)),
    ]
}

/// The least time of some calls.
fn least(mut call: impl FnMut()) -> f64 {
    let (mut best, start, mut calls) = (f64::MAX, Instant::now(), 0);
    while calls < 5 || start.elapsed().as_secs_f64() < 0.3 {
        let one = Instant::now();
        call();
        best = best.min(one.elapsed().as_secs_f64());
        calls += 1;
    }
    best
}
