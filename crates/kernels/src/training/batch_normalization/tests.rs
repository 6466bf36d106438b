//! Batch normalization against its definition, in double precision.

use half::bf16;

use super::*;
use crate::conv::tests::Random;

fn values(count: usize, seed: u64) -> Vec<f32> {
    Random(seed).values(count)
}

fn column(x: &[f32], channels: usize, channel: usize) -> Vec<f64> {
    let column = x.iter().skip(channel).step_by(channels);
    column.map(|&x| f64::from(x)).collect()
}

#[test]
fn statistics_are_those_of_the_definition() {
    for (rows, channels) in [(1, 1), (7, 3), (5000, 16), (1500, 70), (300, 600)] {
        let noise = values(rows * channels, 5);
        let x: Vec<f32> = noise.iter().map(|x| x * 0.1 + 30.0).collect();
        let (mean, variance) = statistics(&x, channels);
        for channel in 0..channels {
            let column = column(&x, channels, channel);
            let exact = column.iter().sum::<f64>() / rows as f64;
            let spread = column.iter().map(|x| (x - exact).powi(2)).sum::<f64>() / rows as f64;
            assert!((f64::from(mean[channel]) - exact).abs() < 4e-6, "{rows} rows");
            let error = (f64::from(variance[channel]) - spread).abs();
            assert!(error < 1e-5 * spread + 1e-8, "{rows} rows");
        }
    }
}

const SHAPES: [(usize, usize); 5] = [(3, 1), (2500, 16), (40, 70), (21, 600), (700, 64)];

#[test]
fn lines_are_those_of_the_definition() {
    for (rows, channels) in SHAPES {
        let (x, residual) = (values(rows * channels, 1), values(rows * channels, 2));
        let (a, b) = (values(channels, 3), values(channels, 4));
        let line = Line { a: &a, b: &b };
        for (residual, low) in [
            (None, 0.0),
            (Some(residual.as_slice()), 0.0),
            (Some(residual.as_slice()), f32::NEG_INFINITY),
        ] {
            let mut y = vec![f32::NAN; x.len()];
            apply(&x, line, residual, [low, 0.9], &mut y);
            for (i, &y) in y.iter().enumerate() {
                let added = residual.map_or(0.0, |residual| residual[i]);
                let expected = a[i % channels] * x[i] + b[i % channels] + added;
                assert_eq!(y, expected.clamp(low, 0.9), "{rows} rows, {i}");
            }
        }
    }
}

/// The part of `dy` that counts.
fn counting(backward: &Backward<'_>, i: usize) -> f32 {
    let counts = match backward.mask {
        Mask::None => true,
        Mask::Line(Line { a, b }, [low, high]) => {
            let y = a[i % a.len()] * backward.x[i] + b[i % a.len()];
            y > low && y < high
        }
        Mask::Output(y, [low, high]) => y[i] > low && y[i] < high,
    };
    if counts { backward.dy[i] } else { 0.0 }
}

/// The gradients of the loss `sum(dy * y)` by the chain rule through mean and variance, of one channel.
fn chain_rule(dy: &[f64], x: &[f64], scale: f64, epsilon: f64) -> Vec<f64> {
    let count = x.len() as f64;
    let mean = x.iter().sum::<f64>() / count;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    let inv_std = 1.0 / (variance + epsilon).sqrt();
    let of_variance = dy
        .iter()
        .zip(x)
        .map(|(dy, x)| dy * scale * (x - mean))
        .sum::<f64>()
        * -0.5
        * inv_std.powi(3);
    let of_mean = -dy.iter().sum::<f64>() * scale * inv_std;
    let each = dy.iter().zip(x);
    each.map(|(dy, x)| dy * scale * inv_std + of_variance * 2.0 * (x - mean) / count + of_mean / count)
        .collect()
}

#[test]
fn gradients_are_those_of_the_chain_rule() {
    for (rows, channels) in SHAPES {
        let (x, dy, y) = (
            values(rows * channels, 1),
            values(rows * channels, 2),
            values(rows * channels, 6),
        );
        let (a, b, scale) = (values(channels, 3), values(channels, 4), values(channels, 5));
        let (mean, variance) = statistics(&x, channels);
        let epsilon = 1e-3;
        let inv_std: Vec<f32> = (variance.iter())
            .map(|&variance| (1.0 / (f64::from(variance) + epsilon).sqrt()) as f32)
            .collect();
        let relu = [0.0, f32::INFINITY];
        for mask in [
            Mask::None,
            Mask::Line(Line { a: &a, b: &b }, relu),
            Mask::Line(Line { a: &a, b: &b }, [-0.25, 0.5]),
            Mask::Output(&y, relu),
        ] {
            let backward = Backward { dy: &dy, x: &x, mask };
            let counts: Vec<f32> = (0..x.len()).map(|i| counting(&backward, i)).collect();
            let sums = backward.sums(&mean);
            let factors = Factors::new(&sums, rows, &scale, &mean, &inv_std);
            let (mut dx, mut masked) = (vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
            backward.input(&factors, Some(&mut masked), &mut dx);
            assert_eq!(masked, counts, "{rows} rows");
            let mut alone = vec![f32::NAN; x.len()];
            backward.input(&factors, None, &mut alone);
            assert_eq!(alone, dx, "{rows} rows");
            for channel in 0..channels {
                let (dy, x) = (column(&counts, channels, channel), column(&x, channels, channel));
                let centre = f64::from(mean[channel]);
                let product: f64 = dy.iter().zip(&x).map(|(dy, x)| dy * (x - centre)).sum();
                assert!((sums.dy[channel] - dy.iter().sum::<f64>()).abs() < 1e-4);
                assert!((sums.products[channel] - product).abs() < 1e-4);
                let expected = chain_rule(&dy, &x, f64::from(scale[channel]), epsilon);
                let largest = expected.iter().fold(1.0f64, |largest, dx| largest.max(dx.abs()));
                for (got, expected) in column(&dx, channels, channel).iter().zip(&expected) {
                    assert!(
                        (got - expected).abs() < 2e-5 * largest,
                        "{rows} rows: {got} for {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn threads_do_not_change_sums() {
    let x = values(200_000, 9);
    let of_threads = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("threads").install(|| {
            let (mean, variance) = statistics(&x, 20);
            let mask = Mask::None;
            (Backward { dy: &x, x: &x, mask }.sums(&mean), mean, variance)
        })
    };
    assert!(of_threads(1) == of_threads(3));
}

#[test]
fn statistics_that_are_constants_pass_the_gradient_on() {
    let (scale, inv_std) = (values(3, 1), values(3, 2));
    let (x, dy) = (values(12, 3), values(12, 4));
    let backward = Backward {
        dy: &dy,
        x: &x,
        mask: Mask::None,
    };
    let mut dx = vec![f32::NAN; 12];
    backward.input(&Factors::frozen(&scale, &inv_std), None, &mut dx);
    for (i, dx) in dx.iter().enumerate() {
        assert!((dx - dy[i] * scale[i % 3] * inv_std[i % 3]).abs() < 1e-6);
    }
}

#[test]
fn lines_have_the_mean_at_the_bias() {
    let (a, b) = line(&[2.0, -1.0], &[0.5, 0.25], &[3.0, 4.0], &[0.5, 2.0]);
    assert_eq!((a, b), (vec![1.0, -2.0], vec![0.5 - 3.0, 0.25 + 8.0]));
}

#[test]
fn values_in_bf16_give_rounded_results() {
    let rounded = |values: &[f32]| {
        values
            .iter()
            .map(|&value| bf16::from_f32(value))
            .collect::<Vec<_>>()
    };
    let widened = |values: &[bf16]| values.iter().map(|value| value.to_f32()).collect::<Vec<_>>();
    for (rows, channels) in SHAPES {
        let [x, dy, residual] = [1, 2, 3].map(|seed| rounded(&values(rows * channels, seed)));
        let [wide_x, wide_dy, wide_residual] = [&x, &dy, &residual].map(|values| widened(values));
        let (mean, variance) = statistics(&x, channels);
        assert_eq!(
            (&mean, &variance),
            (&statistics(&wide_x, channels).0, &statistics(&wide_x, channels).1)
        );
        let line = Line {
            a: &values(channels, 4),
            b: &values(channels, 5),
        };
        let (mut y, mut wide_y) = (x.clone(), wide_x.clone());
        apply(&x, line, Some(&residual), [0.0, 0.9], &mut y);
        apply(&wide_x, line, Some(&wide_residual), [0.0, 0.9], &mut wide_y);
        assert_eq!(y, rounded(&wide_y), "{rows} rows");
        let wide_y = widened(&y);
        let masks = [
            (Mask::None, Mask::None),
            (Mask::Line(line, [0.0, 0.5]), Mask::Line(line, [0.0, 0.5])),
            (Mask::Output(&y, [0.0, 0.9]), Mask::Output(&wide_y, [0.0, 0.9])),
        ];
        for (mask, wide_mask) in masks {
            let backward = Backward { dy: &dy, x: &x, mask };
            let wide = Backward {
                dy: &wide_dy,
                x: &wide_x,
                mask: wide_mask,
            };
            let sums = backward.sums(&mean);
            assert_eq!(sums, wide.sums(&mean));
            let factors = Factors::new(&sums, rows, line.a, &mean, &variance);
            let (mut dx, mut wide_dx) = (x.clone(), wide_x.clone());
            backward.input(&factors, None, &mut dx);
            wide.input(&factors, None, &mut wide_dx);
            assert_eq!(dx, rounded(&wide_dx), "{rows} rows");
        }
    }
}
