//! Two models on the same samples.

use serde::Serialize;

use super::bootstrap::bootstrap;
use super::{Estimate, EvaluateError, Metric, Scores, Statistics, metric_by_name};

/// What differs between two models.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The metric that is compared: the first.
    pub metric: &'static str,
    /// Samples that both were scored on.
    pub samples: usize,
    /// Share of predictions (one for each sample, or for each token) that differ, where outputs are scores of classes.
    pub disagreement: Option<f64>,
    /// Samples with a larger score of the first; for shares of hits: that only the first gets right. Only of metrics with a score for
    /// each sample.
    pub only_first: Option<usize>,
    /// Samples with a larger score of the second.
    pub only_second: Option<usize>,
    /// Mean score of the second minus that of the first; of metrics without scores, the metric of the second minus that of the first.
    pub difference: f64,
    /// 95% confidence interval of the difference: from the paired scores, or from drawing the same samples again for both.
    pub difference_low: f64,
    /// Its upper end.
    pub difference_high: f64,
    /// How likely a difference at least this large is if the models are equally good: exact two-sided McNemar test, or how often draws lie
    /// on the other side of 0, counted twice.
    pub p_value: f64,
}

impl Comparison {
    /// The difference and its interval.
    pub fn estimate(&self) -> Estimate {
        Estimate {
            value: self.difference,
            low: self.difference_low,
            high: self.difference_high,
        }
    }
}

/// Compares what [`super::evaluate`] found for two models on the same samples, by their first metric.
///
/// # Errors
/// When they were scored on different numbers of samples, or without a metric, or when the difference is no number.
pub fn compare(first: &Scores, second: &Scores) -> Result<Comparison, EvaluateError> {
    if first.samples != second.samples || first.predictions.len() != second.predictions.len() {
        return Err(EvaluateError::Empty);
    }
    let (name, _, a) = first.metrics.first().ok_or(EvaluateError::Empty)?;
    let (_, _, b) = second.metrics.first().ok_or(EvaluateError::Empty)?;
    let metric = metric_by_name(name).ok_or(EvaluateError::Empty)?;
    let difference = match metric.has_scores() {
        true => of_scores(&a.scores(), &b.scores()),
        false => of_aggregates(metric, a, b),
    };
    if difference.estimate.value.is_nan() {
        return Err(EvaluateError::Undefined { metric: name });
    }
    Ok(Comparison {
        metric: name,
        samples: first.samples,
        disagreement: disagreement(&first.predictions, &second.predictions),
        only_first: difference.only.map(|only| only[0]),
        only_second: difference.only.map(|only| only[1]),
        difference: difference.estimate.value,
        difference_low: difference.estimate.low,
        difference_high: difference.estimate.high,
        p_value: difference.p_value,
    })
}

fn disagreement(first: &[usize], second: &[usize]) -> Option<f64> {
    let differ = first.iter().zip(second).filter(|(a, b)| a != b).count();
    (!first.is_empty()).then(|| differ as f64 / first.len() as f64)
}

struct Difference {
    estimate: Estimate,
    /// Samples with a larger score of the first, and of the second.
    only: Option<[usize; 2]>,
    p_value: f64,
}

fn of_scores(a: &[f32], b: &[f32]) -> Difference {
    let only_first = a.iter().zip(b).filter(|(a, b)| a > b).count();
    let only_second = a.iter().zip(b).filter(|(a, b)| a < b).count();
    let differences: Vec<f32> = a.iter().zip(b).map(|(a, b)| b - a).collect();
    Difference {
        estimate: super::normal_interval(&differences),
        only: Some([only_first, only_second]),
        p_value: mcnemar(only_first, only_second),
    }
}

fn of_aggregates(metric: &dyn Metric, a: &Statistics, b: &Statistics) -> Difference {
    let (a, b, samples) = (metric.aggregate(a), metric.aggregate(b), a.len());
    // Two infinite ratios do not differ.
    let difference = |a: f64, b: f64| if a == b { 0.0 } else { b - a };
    let resampled = bootstrap(samples, &|weights: &[u32]| difference(a(weights), b(weights)));
    Difference {
        estimate: resampled.estimate,
        only: None,
        p_value: resampled.p_value,
    }
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
