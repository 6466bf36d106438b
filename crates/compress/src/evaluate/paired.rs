//! Two models on the same samples.

use serde::Serialize;

use super::{EvaluateError, Scores};

/// What differs between two models.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The metric that is compared: the first.
    pub metric: &'static str,
    /// Samples that both were scored on.
    pub samples: usize,
    /// Share of predictions (one for each sample, or for each token) that differ.
    pub disagreement: f64,
    /// Samples with a larger score of the first; for shares of hits: that only the first gets right.
    pub only_first: usize,
    /// Samples with a larger score of the second.
    pub only_second: usize,
    /// Mean score of the second minus that of the first.
    pub difference: f64,
    /// 95% confidence interval of the difference, from the paired scores.
    pub difference_low: f64,
    /// Its upper end.
    pub difference_high: f64,
    /// Exact two-sided McNemar test: how likely a difference at least this large is if the models are equally good.
    pub p_value: f64,
}

/// Compares what [`super::evaluate`] found for two models on the same samples, by their first metric.
///
/// # Errors
/// When they were scored on different numbers of samples.
pub fn compare(first: &Scores, second: &Scores) -> Result<Comparison, EvaluateError> {
    if first.samples != second.samples || first.predictions.len() != second.predictions.len() {
        return Err(EvaluateError::Empty);
    }
    let n = first.predictions.len() as f64;
    let differ = first
        .predictions
        .iter()
        .zip(&second.predictions)
        .filter(|(a, b)| a != b)
        .count();
    let empty = Vec::new();
    let scores = |scores: &Scores| {
        scores
            .metrics
            .first()
            .map_or(empty.clone(), |(_, _, scores)| scores.clone())
    };
    let (a, b) = (scores(first), scores(second));
    let only_first = a.iter().zip(&b).filter(|(a, b)| a > b).count();
    let only_second = a.iter().zip(&b).filter(|(a, b)| a < b).count();
    let differences: Vec<f32> = a.iter().zip(&b).map(|(a, b)| b - a).collect();
    let interval = super::normal_interval(&differences);
    Ok(Comparison {
        metric: first.metrics.first().map_or("", |(name, _, _)| *name),
        samples: first.samples,
        disagreement: differ as f64 / n,
        only_first,
        only_second,
        difference: interval.value,
        difference_low: interval.low,
        difference_high: interval.high,
        p_value: mcnemar(only_first, only_second),
    })
}

/// Exact two-sided test that discordant samples fall on either side with equal probability (McNemar 1947).
fn mcnemar(only_first: usize, only_second: usize) -> f64 {
    let n = only_first + only_second;
    let smaller = only_first.min(only_second);
    let mut log_term = -(n as f64) * std::f64::consts::LN_2;
    let mut tail = 0.0;
    for k in 0..=smaller {
        tail += log_term.exp();
        log_term += ((n - k) as f64 / (k + 1) as f64).ln();
    }
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mcnemar_matches_the_binomial_test() {
        // scipy 1.17.1: binomtest(min(a, b), a + b).pvalue.
        for (a, b, p) in [
            (0, 0, 1.0),
            (5, 5, 1.0),
            (10, 2, 0.038_574_218_75),
            (30, 12, 0.007_915_897_334_896_727),
        ] {
            assert!((mcnemar(a, b) - p).abs() < 1e-12, "{a} {b}: {}", mcnemar(a, b));
        }
    }
}
