//! Speed of convolutions, in billions of operations a second, float beside codes of 8 bits.
//!
//!     [BANTAM_ISA=avx2] cargo run --release -p bantam-kernels --example conv_speed [PART OF A NAME] [THREADS]
#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::time::Instant;

use bantam_kernels::Isa;
use bantam_kernels::conv::{Epilogue, Geometry, PackedConvolution};
use bantam_kernels::integer::{Filters, QuantizedConvolution, Requantization, ZeroPoints};

/// Name, batch, groups, channels and filters of a group, size, kernel, stride.
type Case = (&'static str, usize, usize, usize, usize, usize, usize, usize);

const CASES: &[Case] = &[
    ("r20 first", 64, 1, 3, 16, 32, 3, 1),
    ("r20 stage1", 64, 1, 16, 16, 32, 3, 1),
    ("r20 down1", 64, 1, 16, 32, 32, 3, 2),
    ("r20 stage2", 64, 1, 32, 32, 16, 3, 1),
    ("r20 down2", 64, 1, 32, 64, 16, 3, 2),
    ("r20 stage3", 64, 1, 64, 64, 8, 3, 1),
    ("r20 b1 stage1", 1, 1, 16, 16, 32, 3, 1),
    ("r20 b1 stage2", 1, 1, 32, 32, 16, 3, 1),
    ("r20 b1 stage3", 1, 1, 64, 64, 8, 3, 1),
    ("r20 b1 down1", 1, 1, 16, 32, 32, 3, 2),
    ("r50 stem", 1, 1, 3, 64, 224, 7, 2),
    ("r50 56 3x3", 1, 1, 64, 64, 56, 3, 1),
    ("r50 56 1x1", 1, 1, 256, 64, 56, 1, 1),
    ("r50 28 3x3", 1, 1, 128, 128, 28, 3, 1),
    ("r50 28 1x1", 1, 1, 512, 128, 28, 1, 1),
    ("r50 14 3x3", 1, 1, 256, 256, 14, 3, 1),
    ("r50 14 3x3 s2", 1, 1, 256, 256, 28, 3, 2),
    ("r50 14 1x1", 1, 1, 1024, 256, 14, 1, 1),
    ("r50 7 3x3", 1, 1, 512, 512, 7, 3, 1),
    ("r50 7 3x3 b8", 8, 1, 512, 512, 7, 3, 1),
    ("r50 7 1x1", 1, 1, 2048, 512, 7, 1, 1),
    ("r50 7 1x1 wide", 1, 1, 512, 2048, 7, 1, 1),
    ("r50 7 1x1 b8", 8, 1, 2048, 512, 7, 1, 1),
    ("mb stem", 8, 1, 3, 32, 224, 3, 2),
    ("mb dw 112", 8, 32, 1, 1, 112, 3, 1),
    ("mb dw 112 s2", 8, 96, 1, 1, 112, 3, 2),
    ("mb dw 56", 8, 144, 1, 1, 56, 3, 1),
    ("mb dw 56 s2", 8, 144, 1, 1, 56, 3, 2),
    ("mb dw 28", 8, 192, 1, 1, 28, 3, 1),
    ("mb dw 14", 8, 384, 1, 1, 14, 3, 1),
    ("mb dw 7", 8, 960, 1, 1, 7, 3, 1),
    ("ef dw 28 5x5", 8, 240, 1, 1, 28, 5, 1),
    ("ef dw 14 5x5", 8, 672, 1, 1, 14, 5, 1),
    ("mb pw 112", 8, 1, 32, 16, 112, 1, 1),
    ("mb pw 112 up", 8, 1, 16, 96, 112, 1, 1),
    ("mb pw 56", 8, 1, 24, 144, 56, 1, 1),
    ("mb pw 56 down", 8, 1, 144, 24, 56, 1, 1),
    ("mb pw 28 up", 8, 1, 32, 192, 28, 1, 1),
    ("mb pw 14", 8, 1, 384, 64, 14, 1, 1),
    ("mb pw 7", 8, 1, 160, 960, 7, 1, 1),
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
        let operations = 2.0
            * (geometry.batch * geometry.out_channels * geometry.output_plane()) as f64
            * geometry.taps() as f64;
        let (float, codes) = pool.install(|| (time_float(&geometry), time_codes(&geometry)));
        println!(
            "{:16} float {:8.3} ms {:7.1} G/s   int8 {:8.3} ms {:7.1} G/s",
            case.0,
            float * 1e3,
            operations / float / 1e9,
            codes * 1e3,
            operations / codes / 1e9
        );
    }
}

fn geometry((_, batch, groups, channels, out, size, kernel, stride): Case) -> Geometry {
    let pad = kernel / 2;
    Geometry {
        batch,
        channels: groups * channels,
        out_channels: groups * out,
        groups,
        input: vec![size; 2],
        kernel: vec![kernel; 2],
        strides: vec![stride; 2],
        dilations: vec![1; 2],
        pads: vec![pad; 2],
        output: vec![(size + 2 * pad - kernel) / stride + 1; 2],
    }
}

fn sizes(geometry: &Geometry) -> [usize; 3] {
    [
        geometry.batch * geometry.channels * geometry.input_plane(),
        geometry.out_channels * geometry.taps(),
        geometry.batch * geometry.out_channels * geometry.output_plane(),
    ]
}

fn shape(geometry: &Geometry) -> [usize; 4] {
    [
        geometry.out_channels,
        geometry.group_channels(),
        geometry.kernel[0],
        geometry.kernel[1],
    ]
}

fn time_float(geometry: &Geometry) -> f64 {
    let [x, weights, y] = sizes(geometry).map(|count| vec![0.25f32; count]);
    let mut y = y;
    let packed = PackedConvolution::new(Isa::best(), &shape(geometry), geometry.groups, 1, None);
    let epilogue = Epilogue {
        low: 0.0,
        ..Epilogue::default()
    };
    least(|| packed.run(geometry, &x, &weights, epilogue, &mut y))
}

fn time_codes(geometry: &Geometry) -> f64 {
    let [x, weights, y] = sizes(geometry);
    let (x, weights, mut y) = (vec![3u8; x], vec![5i8; weights], vec![0u8; y]);
    let filters = Filters::new(&weights, &shape(geometry), geometry.groups, 1);
    let to = Requantization {
        scales: vec![1e-3; geometry.out_channels],
        zero_point: 7,
        signed: false,
    };
    let bias = vec![11; geometry.out_channels];
    let zeros = ZeroPoints { x: 3, weights: &[0] };
    let convolution = QuantizedConvolution::new(Arc::new(filters), zeros, &bias, to);
    least(|| convolution.run(geometry, &x, &mut y))
}

/// The least time of some calls.
fn least(mut call: impl FnMut()) -> f64 {
    let (mut best, start, mut calls) = (f64::MAX, Instant::now(), 0);
    while calls < 5 || start.elapsed().as_secs_f64() < 0.2 {
        let one = Instant::now();
        call();
        best = best.min(one.elapsed().as_secs_f64());
        calls += 1;
    }
    best
}
