//! The fast gradients against their definition.

use super::super::tests::{Random, channels_last};
use super::super::{Geometry, convolve_transposed};
use super::*;
use crate::Isa;
use crate::gradient::convolution::weight_gradient;

/// Channels, filters, groups; sizes of the input, the kernel, strides, dilations, pads before; pads after.
type Case<'a> = (
    [usize; 3],
    &'a [usize],
    &'a [usize],
    &'a [usize],
    &'a [usize],
    &'a [usize],
    &'a [usize],
);

fn geometry(batch: usize, case: Case<'_>) -> Geometry {
    let ([channels, out_channels, groups], input, kernel, strides, dilations, pads, after) = case;
    let size = |axis: usize| {
        let reach = (kernel[axis] - 1) * dilations[axis] + 1;
        (input[axis] + pads[axis] + after[axis] - reach) / strides[axis] + 1
    };
    Geometry {
        batch,
        channels,
        out_channels,
        groups,
        input: input.to_vec(),
        kernel: kernel.to_vec(),
        strides: strides.to_vec(),
        dilations: dilations.to_vec(),
        pads: pads.to_vec(),
        output: (0..input.len()).map(size).collect(),
    }
}

fn channels_first(x: &[f32], channels: usize, plane: usize) -> Vec<f32> {
    channels_last(x, plane, channels)
}

fn check(geometry: &Geometry, random: &mut Random) {
    let x = random.values(geometry.batch * geometry.channels * geometry.input_plane());
    let weights = random.values(geometry.out_channels * geometry.taps());
    let dy = random.values(geometry.batch * geometry.out_channels * geometry.output_plane());
    let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>();
    let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; weights.len()]);
    // The transpose goes from the output to the input.
    let backward = Geometry {
        channels: geometry.out_channels,
        out_channels: geometry.channels,
        input: geometry.output.clone(),
        output: geometry.input.clone(),
        ..geometry.clone()
    };
    convolve_transposed(&backward, &wide(&dy), &wide(&weights), None, &mut dx);
    weight_gradient(geometry, &wide(&dy), &wide(&x), &mut dw);
    let (plane, out_plane) = (geometry.input_plane(), geometry.output_plane());
    let last_x = channels_last(&x, geometry.channels, plane);
    let last_dy = channels_last(&dy, geometry.out_channels, out_plane);
    // Factors are below 1, so that these are shares of the largest sums of magnitudes.
    let products = (geometry.group_out_channels() * geometry.taps() / geometry.group_channels()) as f64;
    let sums = (geometry.batch * out_plane) as f64;
    let compare = |got: &[f32], expected: &[f64], magnitude: f64, what: &str, isa: Isa| {
        for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
            let error = (f64::from(*got) - expected).abs();
            assert!(
                error <= 1e-6 * (magnitude + 4.0),
                "{what} [{index}], {isa:?}: {got} for {expected}, {geometry:?}"
            );
        }
    };
    for isa in Isa::available() {
        let mut got = vec![f32::NAN; x.len()];
        input(isa, geometry, &last_dy, &weights, &mut got);
        compare(
            &channels_first(&got, geometry.channels, plane),
            &dx,
            products,
            "dx",
            isa,
        );
        let mut got = vec![f32::NAN; weights.len()];
        super::weights(isa, geometry, &last_x, &last_dy, &mut got);
        compare(&got, &dw, sums, "dw", isa);
    }
}

#[test]
fn gradients_of_named_shapes() {
    let one = &[1, 1];
    let cases: [Case<'_>; 16] = [
        ([3, 16, 1], &[9, 8], &[3, 3], one, one, one, one),
        ([16, 16, 1], &[8, 8], &[3, 3], one, one, one, one),
        ([16, 32, 1], &[8, 9], &[3, 3], &[2, 2], one, one, one),
        ([20, 9, 1], &[7, 7], &[1, 1], one, one, &[0, 0], &[0, 0]),
        ([20, 9, 1], &[7, 8], &[1, 1], &[2, 2], one, &[0, 0], &[0, 0]),
        ([4, 70, 1], &[11, 5], &[5, 3], &[3, 2], one, &[2, 0], &[1, 2]),
        ([6, 4, 2], &[8, 9], &[3, 3], one, &[2, 2], &[2, 2], &[2, 2]),
        ([6, 4, 2], &[9, 9], &[3, 3], &[2, 3], &[2, 1], &[2, 0], &[1, 1]),
        ([19, 19, 19], &[7, 9], &[3, 3], one, one, one, one),
        ([40, 40, 40], &[8, 8], &[3, 3], &[2, 2], one, one, one),
        ([5, 5, 5], &[9, 9], &[5, 5], one, one, &[2, 2], &[2, 2]),
        ([5, 10, 5], &[6, 6], &[3, 3], one, one, one, one),
        ([3, 4, 1], &[20], &[5], &[2], &[1], &[2], &[2]),
        (
            [2, 3, 1],
            &[4, 5, 6],
            &[2, 3, 2],
            &[1, 2, 1],
            &[1, 1, 2],
            &[0, 1, 1],
            &[1, 1, 1],
        ),
        ([3, 2, 1], &[6, 6], &[2, 2], &[3, 3], one, &[3, 2], &[2, 3]),
        ([4, 4, 1], &[2, 2], &[1, 1], &[4, 4], one, &[0, 0], &[0, 0]),
    ];
    let mut random = Random(7);
    for case in cases {
        check(&geometry(2, case), &mut random);
        check(&geometry(1, case), &mut random);
    }
}

#[test]
fn gradients_of_random_shapes() {
    let mut random = Random(11);
    for _ in 0..60 {
        let rank = 1 + random.below(3);
        let mut list = |least: usize, most: usize| {
            (0..rank)
                .map(|_| least + random.below(most))
                .collect::<Vec<usize>>()
        };
        let (kernel, strides, dilations) = (list(1, 4), list(1, 3), list(1, 2));
        let (pads, after, extra) = (list(0, 4), list(0, 3), list(0, 5));
        let input: Vec<usize> = (0..rank)
            .map(|axis| (kernel[axis] - 1) * dilations[axis] + 1 + extra[axis])
            .collect();
        let groups = 1 + random.below(3);
        let channels = [
            groups * (1 + random.below(9)),
            groups * (1 + random.below(9)),
            groups,
        ];
        let case = (
            channels,
            &input[..],
            &kernel[..],
            &strides[..],
            &dilations[..],
            &pads[..],
            &after[..],
        );
        check(&geometry(1 + random.below(3), case), &mut random);
    }
}

#[test]
fn threads_do_not_change_gradients() {
    let geometry = geometry(
        5,
        ([16, 24, 1], &[9, 8], &[3, 3], &[1, 1], &[1, 1], &[1, 1], &[1, 1]),
    );
    let mut random = Random(3);
    let x = random.values(5 * 16 * 72);
    let dy = random.values(5 * 24 * 72);
    let of_threads = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let mut dw = vec![0.0; 24 * 16 * 9];
        pool.install(|| super::weights(Isa::best(), &geometry, &x, &dy, &mut dw));
        dw
    };
    assert_eq!(of_threads(1), of_threads(3));
}
