//! The fast form against the definition.

use half::bf16;

use super::*;
use crate::Isa;

/// A small generator of numbers (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
    pub(crate) fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count)
            .map(|_| (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0)
            .collect()
    }
}

/// Computes `geometry` with every instruction set and with the definition.
fn check(geometry: &Geometry, random: &mut Random) {
    let x = random.values(geometry.batch * geometry.channels * geometry.input_plane());
    let weights = random.values(geometry.out_channels * geometry.taps());
    let bias = random.values(geometry.out_channels);
    let residual = random.values(geometry.batch * geometry.out_channels * geometry.output_plane());
    let mut expected = vec![f32::NAN; residual.len()];
    convolve(geometry, &x, &weights, Some(&bias), &mut expected);
    // Of the largest sum of magnitudes: inputs and weights are below 1.
    let tolerance = 4e-6 * (geometry.taps() as f32 / 4.0 + 2.0);
    let compare = |got: &[f32], expected: &[f32], what: &str| {
        for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
            assert!(
                (got - expected).abs() <= tolerance,
                "{what} [{index}]: {got} for {expected}, {geometry:?}"
            );
        }
    };
    let plane = geometry.input_plane();
    let (x, expected, residual) = (
        channels_last(&x, geometry.channels, plane),
        channels_last(&expected, geometry.out_channels, geometry.output_plane()),
        channels_last(&residual, geometry.out_channels, geometry.output_plane()),
    );
    let shape = [
        &[geometry.out_channels, geometry.group_channels()],
        geometry.kernel.as_slice(),
    ]
    .concat();
    let dilation = geometry.dilations[geometry.dilations.len() - 1];
    for isa in Isa::available() {
        let packed = PackedConvolution::new(isa, &shape, geometry.groups, dilation, Some(&bias));
        let mut y = vec![f32::NAN; expected.len()];
        packed.run(geometry, &x, &weights, Epilogue::default(), &mut y);
        compare(&y, &expected, isa.name());

        let clamped: Vec<f32> = expected
            .iter()
            .zip(&residual)
            .map(|(a, b)| (a + b).clamp(-0.5, 0.75))
            .collect();
        let epilogue = Epilogue {
            residual: Residual::Values(&residual),
            low: -0.5,
            high: 0.75,
            activation: None,
        };
        packed.run(geometry, &x, &weights, epilogue, &mut y);
        compare(&y, &clamped, "with a residual");
        y.copy_from_slice(&residual);
        packed.run(
            geometry,
            &x,
            &weights,
            Epilogue {
                residual: Residual::Output,
                ..epilogue
            },
            &mut y,
        );
        compare(&y, &clamped, "onto a residual");
        let negate = |y: &mut [f32]| y.iter_mut().for_each(|y| *y = -*y);
        packed.run(
            geometry,
            &x,
            &weights,
            Epilogue {
                activation: Some(negate),
                ..epilogue
            },
            &mut y,
        );
        let negated: Vec<f32> = clamped.iter().map(|y| -y).collect();
        compare(&y, &negated, "negated");
    }
}

/// Numbers as BF16.
pub(crate) fn rounded(values: &[f32]) -> Vec<bf16> {
    values.iter().map(|&value| bf16::from_f32(value)).collect()
}

/// The values of numbers.
pub(crate) fn widened(values: &[bf16]) -> Vec<f32> {
    values.iter().map(|value| value.to_f32()).collect()
}

/// The root of the mean square.
pub(crate) fn root_mean_square(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1) as f64;
    (values.map(|value| value * value).sum::<f64>() / count).sqrt()
}

/// The largest error, as a share of the results, that BF16 may have: rounding of results to 8 bits, and where Winograd's form
/// is used, of what it transforms, which grows when it is transformed back.
pub(crate) fn share_of_error(geometry: &Geometry) -> f64 {
    if crate::conv::winograd::pays_off(geometry) {
        0.03
    } else {
        0.006
    }
}

/// Computes `geometry` in BF16 with every instruction set, and with the definition from factors of BF16.
fn check_bf16(geometry: &Geometry, random: &mut Random) {
    let x = rounded(&random.values(geometry.batch * geometry.channels * geometry.input_plane()));
    let weights = rounded(&random.values(geometry.out_channels * geometry.taps()));
    let mut expected = vec![f32::NAN; geometry.batch * geometry.out_channels * geometry.output_plane()];
    convolve(geometry, &widened(&x), &widened(&weights), None, &mut expected);
    let x = channels_last(&x, geometry.channels, geometry.input_plane());
    let expected = channels_last(&expected, geometry.out_channels, geometry.output_plane());
    let before = rounded(&random.values(expected.len()));
    let shape = [
        &[geometry.out_channels, geometry.group_channels()],
        geometry.kernel.as_slice(),
    ]
    .concat();
    let dilation = geometry.dilations[geometry.dilations.len() - 1];
    // Of sums of so many products of numbers below 1, in case all of them happen to be small.
    let usual = (geometry.taps() as f64).sqrt() / 3.0;
    for isa in Isa::available() {
        let packed = PackedConvolution::new(isa, &shape, geometry.groups, dilation, None);
        for add in [false, true] {
            let mut y = before.clone();
            packed.run_bf16(geometry, &x, &widened(&weights), add, &mut y);
            let added = |index: usize| if add { before[index].to_f64() } else { 0.0 };
            let exact = |index: usize| f64::from(expected[index]) + added(index);
            let errors = (0..y.len()).map(|index| y[index].to_f64() - exact(index));
            let scale = usual.max(root_mean_square((0..y.len()).map(exact)));
            let error = root_mean_square(errors);
            assert!(
                error <= share_of_error(geometry) * scale,
                "{}: {error} of {scale}, {geometry:?}",
                isa.name()
            );
        }
    }
}

#[test]
fn convolves_named_shapes_in_bf16() {
    named_shapes(check_bf16);
}

#[test]
fn convolves_random_shapes_in_bf16() {
    random_shapes(check_bf16);
}

/// `[batch, channels, plane]` as `[batch, plane, channels]`.
pub(crate) fn channels_last<T: Copy>(x: &[T], channels: usize, plane: usize) -> Vec<T> {
    let of_image = |x: &[T]| -> Vec<T> {
        (0..plane * channels)
            .map(|index| x[index % channels * plane + index / channels])
            .collect()
    };
    x.chunks_exact((channels * plane).max(1))
        .flat_map(of_image)
        .collect()
}

/// A geometry whose output is as large as the padding allows, if there is one: batch, groups, channels and output channels of a
/// group; for each axis input, kernel, stride, dilation, pads.
pub(crate) fn geometry(
    [batch, groups, group_channels, group_out_channels]: [usize; 4],
    axes: &[[usize; 6]],
) -> Option<Geometry> {
    let list = |index: usize| axes.iter().map(|axis| axis[index]).collect::<Vec<_>>();
    let output = axes
        .iter()
        .map(|&[input, kernel, stride, dilation, before, after]| {
            Some((input + before + after).checked_sub((kernel - 1) * dilation + 1)? / stride + 1)
        });
    Some(Geometry {
        batch,
        channels: groups * group_channels,
        out_channels: groups * group_out_channels,
        groups,
        input: list(0),
        kernel: list(1),
        strides: list(2),
        dilations: list(3),
        pads: list(4),
        output: output.collect::<Option<_>>()?,
    })
}

/// As [`geometry`], for shapes that are known to have an output.
pub(crate) fn case(name: &str, channels: [usize; 4], axes: &[[usize; 6]]) -> Geometry {
    geometry(channels, axes).unwrap_or_else(|| panic!("{name} has no output"))
}

#[test]
fn convolves_named_shapes() {
    named_shapes(check);
}

#[test]
fn convolves_random_shapes() {
    random_shapes(check);
}

/// Shapes that take all paths.
pub(crate) fn named_shapes(check: impl Fn(&Geometry, &mut Random)) {
    // batch, groups, channels, out channels; then for each axis input, kernel, stride, dilation, pads.
    let cases: &[(&str, [usize; 4], &[[usize; 6]])] = &[
        ("3x3", [2, 1, 16, 16], &[[32, 3, 1, 1, 1, 1]; 2]),
        ("3x3 on 8x8", [2, 1, 5, 12], &[[8, 3, 1, 1, 1, 1]; 2]),
        ("stride 2", [2, 1, 16, 32], &[[32, 3, 2, 1, 1, 1]; 2]),
        ("stride 3 of kernel 2", [1, 1, 3, 9], &[[20, 2, 3, 1, 0, 0]; 2]),
        ("1x1", [2, 1, 7, 9], &[[7, 1, 1, 1, 0, 0]; 2]),
        ("1x1 with stride", [2, 1, 7, 9], &[[9, 1, 2, 1, 0, 0]; 2]),
        ("1x1 with padding", [2, 1, 3, 4], &[[9, 1, 1, 1, 1, 0]; 2]),
        ("depthwise", [2, 24, 1, 1], &[[14, 3, 1, 1, 1, 1]; 2]),
        ("depthwise, two each", [1, 6, 1, 2], &[[14, 5, 2, 1, 2, 1]; 2]),
        ("groups", [2, 3, 4, 10], &[[12, 3, 1, 1, 1, 1]; 2]),
        ("dilated", [1, 1, 3, 5], &[[20, 3, 1, 4, 4, 4]; 2]),
        ("dilated with stride", [1, 1, 3, 5], &[[20, 4, 2, 3, 4, 1]; 2]),
        (
            "one side padded",
            [1, 1, 2, 3],
            &[[9, 3, 1, 1, 0, 2], [5, 3, 1, 1, 2, 0]],
        ),
        (
            "padding wider than the input",
            [1, 1, 2, 3],
            &[[2, 3, 1, 1, 5, 5], [3, 2, 2, 1, 4, 4]],
        ),
        ("size 1", [1, 1, 1, 1], &[[1, 1, 1, 1, 0, 0]; 2]),
        ("no image", [0, 1, 3, 4], &[[8, 3, 1, 1, 1, 1]; 2]),
        ("no channel", [2, 1, 0, 4], &[[8, 3, 1, 1, 1, 1]; 2]),
        ("1-D", [2, 1, 4, 6], &[[40, 5, 2, 1, 2, 1]]),
        (
            "3-D",
            [1, 1, 3, 9],
            &[[6, 3, 2, 1, 1, 1], [7, 3, 1, 1, 1, 0], [9, 2, 1, 2, 0, 1]],
        ),
        ("3-D 1x1x1", [1, 2, 3, 4], &[[3, 1, 1, 1, 0, 0]; 3]),
        (
            "bands",
            [1, 1, 64, 16],
            &[[130, 3, 1, 1, 1, 1], [70, 3, 1, 1, 1, 1]],
        ),
        (
            "bands with gaps in rows",
            [1, 1, 48, 8],
            &[[131, 3, 2, 1, 1, 1], [200, 3, 2, 1, 1, 1]],
        ),
        (
            "few rows and many channels",
            [1, 1, 300, 70],
            &[[7, 3, 1, 1, 1, 1]; 2],
        ),
        ("many weights", [1, 1, 512, 300], &[[5, 1, 1, 1, 0, 0]; 2]),
    ];
    let mut random = Random(1);
    for (name, channels, axes) in cases {
        check(&case(name, *channels, axes), &mut random);
    }
}

/// A geometry of one to three dimensions with all that can be odd about it.
pub(crate) fn random_geometry(random: &mut Random) -> Geometry {
    let rank = 1 + random.below(3);
    let channels = [
        random.below(3),
        1 + random.below(3),
        1 + random.below(6),
        1 + random.below(19),
    ];
    let mut axis = |axis: usize| {
        let largest = if axis + 1 == rank { 40 } else { 9 };
        let (kernel, stride) = (1 + random.below(4), 1 + random.below(3));
        let (input, dilation) = (1 + random.below(largest), 1 + random.below(3));
        [input, kernel, stride, dilation, random.below(4), random.below(4)]
    };
    let axes: Vec<[usize; 6]> = (0..rank).map(&mut axis).collect();
    geometry(channels, &axes).unwrap_or_else(|| random_geometry(random))
}

/// Shapes of all kinds.
pub(crate) fn random_shapes(check: impl Fn(&Geometry, &mut Random)) {
    let mut random = Random(7);
    for _ in 0..300 {
        check(&random_geometry(&mut random), &mut random);
    }
}
