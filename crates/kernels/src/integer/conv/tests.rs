use super::*;
use crate::conv;
use crate::conv::tests::{Random, channels_last, random_geometry};
use crate::integer::tests::codes;
use crate::integer::to_signed;

fn geometry(
    batch: usize,
    channels: [usize; 3],
    input: &[usize],
    kernel: &[usize],
    step: [usize; 3],
) -> Geometry {
    let [stride, dilation, pad] = step;
    let size = |axis: usize| (input[axis] + 2 * pad - (kernel[axis] - 1) * dilation - 1) / stride + 1;
    Geometry {
        batch,
        channels: channels[0],
        out_channels: channels[1],
        groups: channels[2],
        input: input.to_vec(),
        kernel: kernel.to_vec(),
        strides: vec![stride; input.len()],
        dilations: vec![dilation; input.len()],
        pads: vec![pad; input.len()],
        output: (0..input.len()).map(size).collect(),
    }
}

#[test]
fn sums_and_codes_are_those_of_a_convolution_of_reals() {
    let mut one_sided = geometry(2, [4, 20, 1], &[9, 7], &[3, 3], [1, 1, 0]);
    one_sided.output = vec![9, 7];
    let cases = [
        geometry(2, [3, 8, 1], &[9, 11], &[3, 3], [1, 1, 1]),
        geometry(1, [4, 7, 1], &[12, 13], &[3, 2], [2, 1, 1]),
        geometry(1, [16, 9, 1], &[10, 10], &[1, 1], [1, 1, 0]),
        geometry(3, [17, 81, 1], &[5, 5], &[1, 1], [1, 1, 0]),
        geometry(1, [24, 40, 1], &[6, 5], &[1, 1], [2, 1, 0]),
        geometry(2, [6, 4, 2], &[8, 9], &[3, 3], [1, 2, 2]),
        geometry(1, [8, 160, 2], &[8, 9], &[3, 3], [1, 1, 1]),
        geometry(1, [5, 5, 5], &[7, 17], &[3, 3], [1, 1, 1]),
        geometry(2, [70, 70, 70], &[7, 9], &[3, 3], [2, 1, 1]),
        geometry(1, [130, 130, 130], &[9, 9], &[5, 5], [1, 1, 2]),
        geometry(1, [64, 64, 64], &[9, 9], &[5, 3], [1, 2, 1]),
        geometry(1, [5, 10, 5], &[9, 9], &[5, 5], [3, 1, 2]),
        geometry(2, [3, 4, 1], &[40], &[5], [2, 1, 2]),
        geometry(2, [9, 4, 1], &[40], &[5], [1, 1, 2]),
        geometry(1, [9, 9, 9], &[40], &[5], [1, 1, 2]),
        geometry(1, [9, 4, 1], &[1, 40], &[1, 7], [1, 2, 6]),
        geometry(1, [2, 3, 1], &[5, 6, 7], &[2, 3, 2], [1, 1, 1]),
        geometry(1, [2, 3, 1], &[2, 2], &[5, 5], [1, 1, 2]),
        one_sided,
    ];
    for (case, geometry) in cases.iter().enumerate() {
        check(case, geometry);
    }
}

#[test]
fn random_shapes() {
    let mut random = Random(5);
    for case in 0..200 {
        check(case, &random_geometry(&mut random));
    }
}

fn check(case: usize, geometry: &Geometry) {
    let weights = to_signed(&codes(geometry.taps() * geometry.out_channels, case as u32));
    let x = codes(geometry.batch * geometry.channels * geometry.input_plane(), 7);
    let shape = [
        &[geometry.out_channels, geometry.group_channels()],
        geometry.kernel.as_slice(),
    ]
    .concat();
    let dilation = geometry.dilations[geometry.dilations.len() - 1];
    let filters = Arc::new(Filters::new(&weights, &shape, geometry.groups, dilation));
    let last = channels_last(&x, geometry.channels, geometry.input_plane());
    let many: Vec<i32> = (0..geometry.out_channels as i32).collect();
    for (zero, zeros) in [(0, vec![0]), (17, vec![0]), (200, vec![-3]), (9, many)] {
        let points = ZeroPoints {
            x: zero,
            weights: &zeros,
        };
        // Exact in f64.
        let real_x: Vec<f64> = x.iter().map(|&code| f64::from(code) - f64::from(zero)).collect();
        let real = |(index, &code): (usize, &i8)| {
            f64::from(code) - f64::from(points.of_filter(index / geometry.taps()))
        };
        let real_weights: Vec<f64> = weights.iter().enumerate().map(real).collect();
        let mut expected = vec![0.0; geometry.batch * geometry.out_channels * geometry.output_plane()];
        conv::convolve(geometry, &real_x, &real_weights, None, &mut expected);
        let expected = channels_last(&expected, geometry.out_channels, geometry.output_plane());
        let mut sums = vec![0; expected.len()];
        convolve_exact(geometry, &last, &filters, points, &mut sums);
        assert!(
            sums.iter().zip(&expected).all(|(y, e)| f64::from(*y) == *e),
            "case {case}, zero {zero} {zeros:?}"
        );
        check_codes(geometry, &last, &filters, points, &sums);
        if zeros == [0] {
            check_reals(geometry, &last, &filters, points, &sums);
        }
    }
}

fn check_codes(geometry: &Geometry, x: &[u8], filters: &Arc<Filters>, zeros: ZeroPoints<'_>, sums: &[i32]) {
    let channels = geometry.out_channels;
    let bias: Vec<i32> = (0..channels as i32).map(|i| i * 1000 - 5000).collect();
    let largest = sums
        .iter()
        .map(|sum| sum.unsigned_abs())
        .max()
        .unwrap_or(1)
        .max(1) as f32;
    for (signed, zero_point) in [(false, 0), (false, 131), (true, -9)] {
        let scale = |i: usize| (100 + i) as f32 / largest;
        let to = Requantization {
            scales: (0..channels).map(scale).collect(),
            zero_point,
            signed,
        };
        let mut got = vec![0; sums.len()];
        let convolution = QuantizedConvolution::new(filters.clone(), zeros, &bias, to.clone());
        convolution.run(geometry, x, &mut got);
        for (index, (got, sum)) in got.iter().zip(sums).enumerate() {
            let channel = index % channels;
            let (low, high) = if signed { (-128, 127) } else { (0, 255) };
            let real = (sum + bias[channel]) as f32 * to.scales[channel];
            let expected = (real.round_ties_even() as i32 + zero_point).clamp(low, high);
            assert_eq!(*got, expected as u8, "{geometry:?} at {index}");
        }
    }
}

fn check_reals(geometry: &Geometry, x: &[u8], filters: &Filters, zeros: ZeroPoints<'_>, sums: &[i32]) {
    let channels = geometry.out_channels;
    let scales: Vec<f32> = (0..channels).map(|i| 0.01 + i as f32 * 0.003).collect();
    let bias: Vec<f32> = (0..channels).map(|i| i as f32 - 7.0).collect();
    let halve: fn(&mut [f32]) = |y| y.iter_mut().for_each(|y| *y *= 0.5);
    for (bias, activation) in [(&bias[..], None), (&[], Some(halve))] {
        let mut got = vec![f32::NAN; sums.len()];
        let scaled = Scaled {
            scales: &scales,
            bias,
            activation,
        };
        convolve_scaled(geometry, x, filters, zeros, scaled, &mut got);
        for (index, (got, sum)) in got.iter().zip(sums).enumerate() {
            let channel = index % channels;
            let real = *sum as f32 * scales[channel] + bias.get(channel).unwrap_or(&0.0);
            let expected = if activation.is_some() { real * 0.5 } else { real };
            assert_eq!(*got, expected, "{geometry:?} at {index}");
        }
    }
}
