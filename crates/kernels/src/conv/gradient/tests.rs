//! The fast gradients against their definition.

use super::super::tests::{Random, channels_last, geometry, random_geometry};
use super::super::{Geometry, convolve_transposed};
use super::*;
use crate::Isa;
use crate::gradient::convolution::weight_gradient;

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
    // Groups, channels, output channels; then for each axis input, kernel, stride, dilation, pads.
    let cases: &[(&str, [usize; 3], &[[usize; 6]])] = &[
        ("first", [1, 3, 16], &[[9, 3, 1, 1, 1, 1], [8, 3, 1, 1, 1, 1]]),
        ("3x3", [1, 16, 16], &[[8, 3, 1, 1, 1, 1]; 2]),
        ("stride 2", [1, 16, 32], &[[8, 3, 2, 1, 1, 1], [9, 3, 2, 1, 1, 1]]),
        ("1x1", [1, 20, 9], &[[7, 1, 1, 1, 0, 0]; 2]),
        (
            "1x1 with stride",
            [1, 20, 9],
            &[[7, 1, 2, 1, 0, 0], [8, 1, 2, 1, 0, 0]],
        ),
        (
            "one side padded",
            [1, 4, 70],
            &[[11, 5, 3, 1, 2, 1], [5, 3, 2, 1, 0, 2]],
        ),
        (
            "groups, dilated",
            [2, 3, 2],
            &[[8, 3, 1, 2, 2, 2], [9, 3, 1, 2, 2, 2]],
        ),
        (
            "groups, stride and dilation",
            [2, 3, 2],
            &[[9, 3, 2, 2, 2, 1], [9, 3, 3, 1, 0, 1]],
        ),
        ("depthwise", [19, 1, 1], &[[7, 3, 1, 1, 1, 1], [9, 3, 1, 1, 1, 1]]),
        ("depthwise with stride", [40, 1, 1], &[[8, 3, 2, 1, 1, 1]; 2]),
        ("depthwise 5x5", [5, 1, 1], &[[9, 5, 1, 1, 2, 2]; 2]),
        ("depthwise, two each", [5, 1, 2], &[[6, 3, 1, 1, 1, 1]; 2]),
        ("1-D", [1, 3, 4], &[[20, 5, 2, 1, 2, 2]]),
        (
            "3-D",
            [1, 2, 3],
            &[[4, 2, 1, 1, 0, 1], [5, 3, 2, 1, 1, 1], [6, 2, 1, 2, 1, 1]],
        ),
        (
            "padding wider than the kernel",
            [1, 3, 2],
            &[[6, 2, 3, 1, 3, 2], [6, 2, 3, 1, 2, 3]],
        ),
        (
            "stride wider than the kernel",
            [1, 4, 4],
            &[[2, 1, 4, 1, 0, 0]; 2],
        ),
    ];
    let mut random = Random(7);
    for (name, [groups, channels, out_channels], axes) in cases {
        for batch in [1, 2] {
            let geometry = geometry([batch, *groups, *channels, *out_channels], axes);
            check(
                &geometry.unwrap_or_else(|| panic!("{name} has no output")),
                &mut random,
            );
        }
    }
}

#[test]
fn gradients_of_random_shapes() {
    let mut random = Random(11);
    for _ in 0..150 {
        check(&random_geometry(&mut random), &mut random);
    }
}

#[test]
fn threads_do_not_change_gradients() {
    let geometry = geometry([5, 1, 16, 24], &[[9, 3, 1, 1, 1, 1], [8, 3, 1, 1, 1, 1]]).unwrap();
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
