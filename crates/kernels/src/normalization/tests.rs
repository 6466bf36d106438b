//! The kernels against their formulas in `f64`.

use super::*;

fn samples(count: usize) -> Vec<f64> {
    (0..count).map(|i| ((i * 71 % 97) as f64 - 48.0) * 0.1).collect()
}

fn mean_and_variance(x: &[f64]) -> (f64, f64) {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    (
        mean,
        x.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / x.len() as f64,
    )
}

#[test]
fn rows_match_the_formula() {
    for (rows, row, periods) in [(1, 1, 1), (3, 7, 1), (4, 33, 2), (200, 130, 1)] {
        let x = samples(rows * row);
        let (scale, bias) = (samples(periods * row), samples(periods * row));
        let (mut y, mut statistics) = (vec![f64::NAN; x.len()], vec![[0.0; 2]; rows]);
        let affine = RowAffine {
            scale: &scale,
            bias: Some(&bias),
        };
        normalize_rows(RowNorm::Standard, &x, &mut y, &mut statistics, row, 1e-5, affine);
        for r in 0..rows {
            let (mean, variance) = mean_and_variance(&x[r * row..][..row]);
            for i in 0..row {
                let p = r % periods * row + i;
                let expected = (x[r * row + i] - mean) / (variance + 1e-5).sqrt() * scale[p] + bias[p];
                assert!((y[r * row + i] - expected).abs() < 1e-9);
            }
            assert!((statistics[r][0] - mean).abs() < 1e-12);
        }
    }
}

#[test]
fn root_mean_square_leaves_the_mean() {
    let mut y = [0.0f32; 2];
    let affine = RowAffine {
        scale: &[1.0, 2.0],
        bias: None,
    };
    normalize_rows(
        RowNorm::RootMeanSquare,
        &[3.0, 4.0],
        &mut y,
        &mut [[0.0; 2]],
        2,
        0.0,
        affine,
    );
    let root = 12.5f32.sqrt();
    assert!((y[0] - 3.0 / root).abs() < 1e-6 && (y[1] - 8.0 / root).abs() < 1e-6);
}

#[test]
fn groups_and_channels_match_the_formula() {
    let (batch, channels, inner) = (3, 4, 5);
    let x = samples(batch * channels * inner);
    let (scale, bias) = (samples(channels), samples(channels));
    for groups in [1, 2, 4] {
        let group = channels / groups * inner;
        let mut y = vec![f64::NAN; x.len()];
        normalize_groups(&x, &mut y, group, inner, 1e-5, &scale, &bias);
        for (i, &y) in y.iter().enumerate() {
            let (mean, variance) = mean_and_variance(&x[i / group * group..][..group]);
            let channel = i / inner % channels;
            let expected = (x[i] - mean) / (variance + 1e-5).sqrt() * scale[channel] + bias[channel];
            assert!((y - expected).abs() < 1e-9);
        }
    }
    for (channel, (mean, variance)) in channel_moments(&x, channels, inner).into_iter().enumerate() {
        let of_channel: Vec<f64> = (0..x.len())
            .filter(|i| i / inner % channels == channel)
            .map(|i| x[i])
            .collect();
        let expected = mean_and_variance(&of_channel);
        assert!((mean - expected.0).abs() < 1e-12 && (variance - expected.1).abs() < 1e-12);
    }
}

#[test]
fn channels_are_scaled_by_their_own_factors() {
    let x = samples(24);
    for (channels, inner) in [(3, 4), (3, 1), (1, 6)] {
        let (factors, summands) = (samples(channels), samples(2 * channels)[channels..].to_vec());
        let expected: Vec<f64> = (0..24)
            .map(|i| x[i] * factors[i / inner % channels] + summands[i / inner % channels])
            .collect();
        let mut y = vec![f64::NAN; 24];
        scale_channels(&x, &mut y, inner, &factors, &summands);
        assert_eq!(y, expected);
        y.copy_from_slice(&x);
        scale_channels_in_place(&mut y, inner, &factors, &summands);
        assert_eq!(y, expected);
    }
}

#[test]
fn local_response_sums_the_right_neighbours() {
    let x = [1.0f64, 2.0, 3.0, 4.0];
    let mut y = [0.0; 4];
    local_response(&x, &mut y, 1, 2, 2.0, 1.0, 0.0);
    // Size 2: the channel itself and the next one.
    let expected = [1.0 / 5.0, 2.0 / 13.0, 3.0 / 25.0, 4.0 / 16.0];
    assert!(
        y.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12),
        "{y:?}"
    );
}
