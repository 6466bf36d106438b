//! Gradients against their definition, in double precision.

use super::*;
use crate::Isa;
use crate::conv::tests::{
    Random, case, named_shapes, random_shapes, root_mean_square, rounded, share_of_error, widened,
};
use crate::conv::{advance, input_index};

/// Sums and sums of magnitudes of all products.
struct Sums {
    sums: Vec<f64>,
    magnitudes: Vec<f64>,
}

impl Sums {
    fn new(len: usize) -> Sums {
        Sums {
            sums: vec![0.0; len],
            magnitudes: vec![0.0; len],
        }
    }

    fn add(&mut self, index: usize, a: f32, b: f32) {
        let product = f64::from(a) * f64::from(b);
        self.sums[index] += product;
        self.magnitudes[index] += product.abs();
    }

    /// Errors of Winograd's forms stay below 4e-6 of the largest sum of magnitudes.
    fn compare(&self, got: &[f32], before: &[f32], what: &str) {
        let largest = self.magnitudes.iter().copied().fold(0.0, f64::max);
        let bound = 4e-6 * (largest + 1.0);
        for (index, (&got, &before)) in got.iter().zip(before).enumerate() {
            let expected = self.sums[index] + f64::from(before);
            let error = (f64::from(got) - expected).abs();
            assert!(
                error <= bound,
                "{what} [{index}]: {got} for {expected}, off by {error:e} > {bound:e}"
            );
        }
    }

    /// The root mean square of errors is at most this share of that of the sums, or of what sums usually are.
    fn compare_share(&self, got: &[f32], before: &[f32], write: Write, share: f64, what: &str) {
        let before = |index: usize| match write {
            Write::Replace => 0.0,
            Write::Add => f64::from(before[index]),
        };
        let indices = || 0..got.len();
        let exact = |index: usize| self.sums[index] + before(index);
        let error = root_mean_square(indices().map(|index| f64::from(got[index]) - exact(index)));
        // In case that all of them happen to be small.
        let usual =
            root_mean_square(indices().map(|index| self.magnitudes[index] + before(index).abs())) / 4.0;
        let scale = usual.max(root_mean_square(indices().map(exact)));
        assert!(error <= share * scale, "{what}: {error} of {scale}");
    }
}

/// The gradients of the input and of the weights: every product once, in the order of the definition.
fn definition(geometry: &Geometry, x: &[f32], weights: &[f32], dy: &[f32]) -> [Sums; 2] {
    let mut gradients = [Sums::new(x.len()), Sums::new(weights.len())];
    let kernel: usize = geometry.kernel.iter().product();
    let (channels, filters) = (geometry.group_channels(), geometry.group_out_channels());
    let mut output = vec![0; geometry.output.len()];
    for pixel in 0..geometry.output_plane() {
        let mut tap = vec![0; geometry.kernel.len()];
        for k in 0..kernel {
            let seen = input_index(geometry, &output, &tap);
            for (image, at) in (0..geometry.batch).filter_map(|image| Some((image, seen?))) {
                for o in 0..geometry.out_channels {
                    let dy = dy[(image * geometry.output_plane() + pixel) * geometry.out_channels + o];
                    for c in 0..channels {
                        let channel = o / filters * channels + c;
                        let x_at = (image * geometry.input_plane() + at) * geometry.channels + channel;
                        let w_at = (o * channels + c) * kernel + k;
                        gradients[0].add(x_at, dy, weights[w_at]);
                        gradients[1].add(w_at, dy, x[x_at]);
                    }
                }
            }
            advance(&mut tap, &geometry.kernel);
        }
        advance(&mut output, &geometry.output);
    }
    gradients
}

fn check_gradients(geometry: &Geometry, random: &mut Random) {
    let x = random.values(geometry.batch * geometry.channels * geometry.input_plane());
    let weights = random.values(geometry.out_channels * geometry.taps());
    let dy = random.values(geometry.batch * geometry.out_channels * geometry.output_plane());
    let [of_input, of_weights] = definition(geometry, &x, &weights, &dy);
    let zeros = vec![0.0; x.len().max(weights.len())];
    for isa in Isa::available() {
        let what = |what: &str| format!("{what}, {}, {geometry:?}", isa.name());
        let mut dx = vec![f32::NAN; x.len()];
        input(isa, geometry, &dy, &weights, Write::Replace, &mut dx);
        of_input.compare(&dx, &zeros, &what("input"));
        let before = random.values(x.len());
        dx.copy_from_slice(&before);
        input(isa, geometry, &dy, &weights, Write::Add, &mut dx);
        of_input.compare(&dx, &before, &what("added to input"));

        let mut dw = vec![f32::NAN; weights.len()];
        weight(isa, geometry, &x, &dy, Write::Replace, &mut dw);
        of_weights.compare(&dw, &zeros, &what("weight"));
        let before = random.values(weights.len());
        dw.copy_from_slice(&before);
        weight(isa, geometry, &x, &dy, Write::Add, &mut dw);
        of_weights.compare(&dw, &before, &what("added to weight"));
    }
}

/// Gradients in BF16 against the definition with factors of BF16.
fn check_bf16(geometry: &Geometry, random: &mut Random) {
    let x = rounded(&random.values(geometry.batch * geometry.channels * geometry.input_plane()));
    let weights = widened(&rounded(&random.values(geometry.out_channels * geometry.taps())));
    let dy = rounded(&random.values(geometry.batch * geometry.out_channels * geometry.output_plane()));
    let [of_input, of_weights] = definition(geometry, &widened(&x), &weights, &widened(&dy));
    let share = share_of_error(geometry);
    for isa in Isa::available() {
        let what = |what: &str| format!("{what}, {}, {geometry:?}", isa.name());
        for write in [Write::Replace, Write::Add] {
            let before = rounded(&random.values(x.len()));
            let mut dx = before.clone();
            input_bf16(isa, geometry, &dy, &weights, write, &mut dx);
            of_input.compare_share(&widened(&dx), &widened(&before), write, share, &what("input"));
            let before = random.values(weights.len());
            let mut dw = before.clone();
            weight_bf16(isa, geometry, &x, &dy, write, &mut dw);
            of_weights.compare_share(&dw, &before, write, share, &what("weight"));
        }
    }
}

#[test]
fn named_shapes_have_these_gradients_in_bf16() {
    named_shapes(check_bf16);
}

#[test]
fn random_shapes_have_these_gradients_in_bf16() {
    random_shapes(check_bf16);
}

#[test]
fn named_shapes_have_these_gradients() {
    named_shapes(check_gradients);
}

#[test]
fn more_shapes_have_these_gradients() {
    let cases: &[(&str, [usize; 4], &[[usize; 6]])] = &[
        ("many chunks of tiles", [20, 1, 16, 17], &[[32, 3, 1, 1, 1, 1]; 2]),
        ("many chunks of pixels", [20, 1, 3, 16], &[[20, 3, 1, 1, 1, 1]; 2]),
        ("rows of tiles apart", [2, 1, 130, 100], &[[8, 3, 1, 1, 1, 1]; 2]),
        ("parts of the weights", [3, 1, 300, 520], &[[6, 1, 1, 1, 0, 0]; 2]),
        ("1x1 with stride", [3, 1, 32, 40], &[[14, 1, 2, 1, 0, 0]; 2]),
        ("7x7 with stride", [1, 1, 3, 20], &[[30, 7, 2, 1, 3, 3]; 2]),
        ("patches", [2, 1, 3, 20], &[[16, 4, 4, 1, 0, 0]; 2]),
        ("padded patches", [2, 1, 3, 20], &[[16, 3, 3, 1, 1, 1]; 2]),
        (
            "stride and dilation",
            [2, 1, 4, 5],
            &[[19, 3, 4, 6, 3, 3], [17, 3, 6, 4, 2, 5]],
        ),
        ("depthwise with stride", [4, 40, 1, 1], &[[28, 3, 2, 1, 1, 1]; 2]),
        ("depthwise 5x5", [3, 33, 1, 1], &[[14, 5, 1, 1, 2, 2]; 2]),
        ("depthwise 1x1", [2, 20, 1, 1], &[[9, 1, 1, 1, 0, 0]; 2]),
        (
            "depthwise in one dimension",
            [2, 20, 1, 1],
            &[[29, 4, 2, 1, 1, 2]],
        ),
    ];
    let mut random = Random(3);
    for (name, channels, axes) in cases {
        check_gradients(&case(name, *channels, axes), &mut random);
    }
}

#[test]
fn random_shapes_have_these_gradients() {
    random_shapes(check_gradients);
}

#[test]
fn gradients_of_biases_are_sums_over_pixels() {
    let mut random = Random(5);
    for (pixels, channels) in [(0, 3), (1, 1), (70, 5), (9000, 33)] {
        let dy = random.values(pixels * channels);
        let mut expected = Sums::new(channels);
        for (index, &dy) in dy.iter().enumerate() {
            expected.add(index % channels, dy, 1.0);
        }
        let mut db = vec![f32::NAN; channels];
        bias(&dy, Write::Replace, &mut db);
        expected.compare(&db, &vec![0.0; channels], "bias");
        let before = random.values(channels);
        db.copy_from_slice(&before);
        bias(&dy, Write::Add, &mut db);
        expected.compare(&db, &before, "added to bias");
    }
}

#[test]
fn gradients_do_not_depend_on_the_number_of_threads() {
    let mut random = Random(9);
    let cases: &[(&str, [usize; 4], &[[usize; 6]])] = &[
        ("tiles", [12, 1, 16, 16], &[[32, 3, 1, 1, 1, 1]; 2]),
        ("pixels", [12, 1, 16, 32], &[[32, 3, 2, 1, 1, 1]; 2]),
        ("depthwise", [12, 32, 1, 1], &[[28, 3, 2, 1, 1, 1]; 2]),
    ];
    for (name, channels, axes) in cases {
        let geometry = case(name, *channels, axes);
        let x = random.values(geometry.batch * geometry.channels * geometry.input_plane());
        let weights = random.values(geometry.out_channels * geometry.taps());
        let dy = random.values(geometry.batch * geometry.out_channels * geometry.output_plane());
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("threads").install(|| {
                let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; weights.len()]);
                let mut db = vec![0.0; geometry.out_channels];
                input(Isa::best(), &geometry, &dy, &weights, Write::Replace, &mut dx);
                weight(Isa::best(), &geometry, &x, &dy, Write::Replace, &mut dw);
                bias(&dy, Write::Replace, &mut db);
                let mut half_dx = rounded(&dx);
                let mut half_dw = vec![0.0; weights.len()];
                let (x, dy) = (rounded(&x), rounded(&dy));
                input_bf16(
                    Isa::best(),
                    &geometry,
                    &dy,
                    &weights,
                    Write::Replace,
                    &mut half_dx,
                );
                weight_bf16(Isa::best(), &geometry, &x, &dy, Write::Replace, &mut half_dw);
                (dx, dw, db, half_dx, half_dw)
            })
        };
        assert!(with(1) == with(3), "{name}");
    }
}
