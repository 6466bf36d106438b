//! Speed of training kernels: convolutions and their gradients in billions of operations a second (as the direct form
//! counts them), batch normalization in billions of bytes a second; medians.
//!
//!     [BANTAM_ISA=avx2] cargo run --release -p bantam-kernels --example training_speed [PART OF A NAME] [THREADS] [bf16]
#![allow(clippy::print_stdout)]

use std::time::Instant;

use bantam_kernels::Isa;
use bantam_kernels::conv::gradient::{self, Write};
use bantam_kernels::conv::{Epilogue, Geometry, PackedConvolution};
use bantam_kernels::training::batch_normalization::{Backward, Factors, Line, Mask, apply, statistics};
use half::bf16;

/// Name, batch, groups, channels and filters of a group, size, kernel, stride.
type Case = (&'static str, usize, usize, usize, usize, usize, usize, usize);

const CASES: &[Case] = &[
    ("r20 first", 128, 1, 3, 16, 32, 3, 1),
    ("r20 stage1", 128, 1, 16, 16, 32, 3, 1),
    ("r20 down1", 128, 1, 16, 32, 32, 3, 2),
    ("r20 skip1", 128, 1, 16, 32, 32, 1, 2),
    ("r20 stage2", 128, 1, 32, 32, 16, 3, 1),
    ("r20 down2", 128, 1, 32, 64, 16, 3, 2),
    ("r20 stage3", 128, 1, 64, 64, 8, 3, 1),
    ("r50 stem", 8, 1, 3, 64, 224, 7, 2),
    ("r50 56 3x3", 8, 1, 64, 64, 56, 3, 1),
    ("r50 56 1x1", 8, 1, 256, 64, 56, 1, 1),
    ("r50 28 3x3", 8, 1, 128, 128, 28, 3, 1),
    ("r50 28 1x1", 8, 1, 512, 128, 28, 1, 1),
    ("r50 14 3x3", 8, 1, 256, 256, 14, 3, 1),
    ("r50 14 3x3 s2", 8, 1, 256, 256, 28, 3, 2),
    ("r50 14 1x1 s2", 8, 1, 512, 1024, 28, 1, 2),
    ("r50 14 1x1", 8, 1, 1024, 256, 14, 1, 1),
    ("r50 7 3x3", 8, 1, 512, 512, 7, 3, 1),
    ("r50 7 1x1", 8, 1, 2048, 512, 7, 1, 1),
    ("mb stem", 8, 1, 3, 32, 224, 3, 2),
    ("mb dw 112", 8, 32, 1, 1, 112, 3, 1),
    ("mb dw 112 s2", 8, 96, 1, 1, 112, 3, 2),
    ("mb dw 56", 8, 144, 1, 1, 56, 3, 1),
    ("mb dw 28", 8, 192, 1, 1, 28, 3, 1),
    ("mb dw 14", 8, 384, 1, 1, 14, 3, 1),
    ("mb dw 7", 8, 960, 1, 1, 7, 3, 1),
    ("mb pw 112", 8, 1, 32, 16, 112, 1, 1),
    ("mb pw 112 up", 8, 1, 16, 96, 112, 1, 1),
    ("mb pw 56 down", 8, 1, 144, 24, 56, 1, 1),
    ("mb pw 28 up", 8, 1, 32, 192, 28, 1, 1),
    ("mb pw 14", 8, 1, 384, 64, 14, 1, 1),
    ("mb pw 7", 8, 1, 160, 960, 7, 1, 1),
];

/// Name, rows (pixels of all images), channels.
const NORMALIZATIONS: &[(&str, usize, usize)] = &[
    ("r20 norm1", 128 * 32 * 32, 16),
    ("r20 norm2", 128 * 16 * 16, 32),
    ("r20 norm3", 128 * 8 * 8, 64),
    ("r50 norm 56", 8 * 56 * 56, 256),
    ("mb norm 112", 8 * 112 * 112, 96),
];

/// Bounds of Relu.
const RELU: [f32; 2] = [0.0, f32::INFINITY];

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let threads = std::env::args()
        .nth(2)
        .and_then(|count| count.parse().ok())
        .unwrap_or(1);
    let bf16 = std::env::args().nth(3).as_deref() == Some("bf16");
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("threads");
    for &case in CASES.iter().filter(|case| case.0.contains(&filter)) {
        let geometry = geometry(case);
        let operations = 2.0
            * (geometry.batch * geometry.out_channels * geometry.output_plane()) as f64
            * geometry.taps() as f64;
        print!("{:14}", case.0);
        for (what, seconds) in pool.install(|| {
            if bf16 {
                time_bf16(&geometry)
            } else {
                time(&geometry)
            }
        }) {
            print!(
                "  {what} {:8.3} ms {:6.1} G/s",
                seconds * 1e3,
                operations / seconds / 1e9
            );
        }
        println!();
    }
    for &(name, rows, channels) in NORMALIZATIONS.iter().filter(|case| case.0.contains(&filter)) {
        print!("{name:14}");
        for (what, tensors, seconds) in pool.install(|| time_normalization(rows, channels)) {
            let bytes = (tensors * rows * channels * size_of::<f32>()) as f64;
            print!(
                "  {what} {:6.3} ms {:5.1} GB/s",
                seconds * 1e3,
                bytes / seconds / 1e9
            );
        }
        println!();
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

fn time(geometry: &Geometry) -> [(&'static str, f64); 3] {
    let x = Values::new(geometry.batch * geometry.channels * geometry.input_plane());
    let weights = Values::new(geometry.out_channels * geometry.taps());
    let dy = Values::new(geometry.batch * geometry.out_channels * geometry.output_plane());
    let shape = [
        geometry.out_channels,
        geometry.group_channels(),
        geometry.kernel[0],
        geometry.kernel[1],
    ];
    let mut y = Values::new(dy.len());
    let (mut dx, mut dw) = (Values::new(x.len()), Values::new(weights.len()));
    let isa = Isa::best();
    // The weights are new in each step.
    let forward = || {
        let packed = PackedConvolution::new(isa, &shape, geometry.groups, 1, None);
        packed.run(geometry, &x, &weights, Epilogue::default(), &mut y);
    };
    [
        ("forward", median(forward)),
        (
            "input",
            median(|| gradient::input(isa, geometry, &dy, &weights, Write::Replace, &mut dx)),
        ),
        (
            "weight",
            median(|| gradient::weight(isa, geometry, &x, &dy, Write::Replace, &mut dw)),
        ),
    ]
}

/// As [`time`], of BF16 data.
fn time_bf16(geometry: &Geometry) -> [(&'static str, f64); 3] {
    let rounded = |count: usize| {
        Values::new(count)
            .iter()
            .map(|&value| bf16::from_f32(value))
            .collect::<Vec<_>>()
    };
    let x = rounded(geometry.batch * geometry.channels * geometry.input_plane());
    let dy = rounded(geometry.batch * geometry.out_channels * geometry.output_plane());
    let weights = Values::new(geometry.out_channels * geometry.taps());
    let shape = [
        &[geometry.out_channels, geometry.group_channels()],
        geometry.kernel.as_slice(),
    ]
    .concat();
    let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), Values::new(weights.len()));
    let isa = Isa::best();
    let forward = || {
        let packed = PackedConvolution::new(isa, &shape, geometry.groups, 1, None);
        packed.run_bf16(geometry, &x, &weights, false, &mut y);
    };
    [
        ("forward", median(forward)),
        (
            "input",
            median(|| gradient::input_bf16(isa, geometry, &dy, &weights, Write::Replace, &mut dx)),
        ),
        (
            "weight",
            median(|| gradient::weight_bf16(isa, geometry, &x, &dy, Write::Replace, &mut dw)),
        ),
    ]
}

/// What each pass reads and writes, in tensors, and its time.
fn time_normalization(rows: usize, channels: usize) -> [(&'static str, usize, f64); 5] {
    let [x, dy, residual] = [(); 3].map(|()| Values::new(rows * channels));
    let [mut y, mut dx, mut masked] = [(); 3].map(|()| Values::new(rows * channels));
    let [a, b] = [0.5, 0.25].map(|value| vec![value; channels]);
    let line = Line { a: &a, b: &b };
    let (mean, variance) = statistics(&x, channels);
    let moments = median(|| assert_eq!(statistics(&x, channels).0.len(), channels));
    let plain = median(|| apply(&x, line, None, RELU, &mut y));
    let added = median(|| apply(&x, line, Some(&residual), RELU, &mut y));
    let backward = Backward {
        dy: &dy,
        x: &x,
        mask: Mask::Output(&y, RELU),
    };
    let sums = median(|| assert_eq!(backward.sums(&mean).dy.len(), channels));
    let factors = Factors::new(&backward.sums(&mean), rows, &a, &mean, &variance);
    let input = median(|| backward.input(&factors, Some(&mut masked), &mut dx));
    [
        ("statistics", 1, moments),
        ("apply", 2, plain),
        ("onto", 3, added),
        ("sums", 3, sums),
        ("input", 5, input),
    ]
}

/// Some values, aligned like those of tensors.
struct Values {
    elements: Vec<f32>,
    start: usize,
    count: usize,
}

impl Values {
    fn new(count: usize) -> Values {
        const LINE: usize = 16;
        let value = |index: usize| ((index * 37 % 101) as f32 - 50.0) / 64.0;
        let elements: Vec<f32> = (0..count + LINE).map(value).collect();
        let start = elements.as_ptr().align_offset(64).min(LINE);
        Values {
            elements,
            start,
            count,
        }
    }
}

impl std::ops::Deref for Values {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.elements[self.start..][..self.count]
    }
}

impl std::ops::DerefMut for Values {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.elements[self.start..][..self.count]
    }
}

/// The median time of some calls.
fn median(mut call: impl FnMut()) -> f64 {
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.len() < 7 || start.elapsed().as_secs_f64() < 0.15 {
        let one = Instant::now();
        call();
        times.push(one.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
