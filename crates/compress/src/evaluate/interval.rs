//! Confidence intervals.

use super::Estimate;

/// Two-sided 95% quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// Wilson's score interval for the share of ones (Wilson 1927), which stays within 0..1 and is right near the ends.
pub fn wilson_interval(scores: &[f32]) -> Estimate {
    let n = scores.len() as f64;
    let value = scores.iter().map(|&s| f64::from(s)).sum::<f64>() / n;
    let centre = value + Z * Z / (2.0 * n);
    let reach = Z * (value * (1.0 - value) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    Estimate {
        value,
        low: ((centre - reach) / scale).max(0.0),
        high: ((centre + reach) / scale).min(1.0),
    }
}

/// The normal approximation for the mean.
pub fn normal_interval(scores: &[f32]) -> Estimate {
    let n = scores.len() as f64;
    let value = scores.iter().map(|&s| f64::from(s)).sum::<f64>() / n;
    let variance = scores
        .iter()
        .map(|&s| (f64::from(s) - value).powi(2))
        .sum::<f64>()
        / (n - 1.0).max(1.0);
    let reach = Z * (variance / n).sqrt();
    Estimate {
        value,
        low: value - reach,
        high: value + reach,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_matches_published_values() {
        // scipy 1.17.1: binomtest(ones, n).proportion_ci(method="wilson").
        for (ones, n, low, high) in [
            (9173, 10000, 0.911_740_121_686, 0.922_539_393_274),
            (10, 10, 0.722_467_200_137, 1.0),
            (0, 20, 0.0, 0.161_125_158_053),
        ] {
            let scores: Vec<f32> = (0..n).map(|i| f32::from(u8::from(i < ones))).collect();
            let got = wilson_interval(&scores);
            assert!(
                (got.low - low).abs() < 1e-11 && (got.high - high).abs() < 1e-11,
                "{ones}/{n}: {got:?}"
            );
        }
    }
}
