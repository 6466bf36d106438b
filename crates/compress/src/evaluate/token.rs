//! Scores of language models: each sample is a row of tokens, each token's label is the next one.

use bantam_tensor::{SplitMix64, Tensor};
use rayon::prelude::*;

use super::bootstrap::Aggregate;
use super::metric::{first, mean};
use super::{Estimate, EvaluateError, Metric, Statistics};

/// Resamplings of an interval.
const RESAMPLINGS: usize = 1000;

/// What is measured at each token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Measure {
    /// Minus the logarithm of the probability of the next token, in nats.
    Loss,
    /// 1 where the next token has the largest score.
    Hit,
}

/// A measure's mean over tokens.
pub(super) struct TokenMetric {
    name: &'static str,
    summary: &'static str,
    measure: Measure,
    /// The metric is the exponential of the mean.
    is_exponential: bool,
}

pub(super) static PERPLEXITY: TokenMetric = TokenMetric {
    name: "perplexity",
    summary: "exponential of the mean loss of the next token; intervals by resampling rows",
    measure: Measure::Loss,
    is_exponential: true,
};
pub(super) static LOSS: TokenMetric = TokenMetric {
    name: "nll",
    summary: "mean loss of the next token (negative log-likelihood) in nats",
    measure: Measure::Loss,
    is_exponential: false,
};
pub(super) static NEXT_TOKEN: TokenMetric = TokenMetric {
    name: "next-token",
    summary: "share of tokens after which the next one has the largest score",
    measure: Measure::Hit,
    is_exponential: false,
};

impl Metric for TokenMetric {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn is_proportion(&self) -> bool {
        self.measure == Measure::Hit
    }

    fn has_scores(&self) -> bool {
        true
    }

    fn statistics(&self, outputs: &[Tensor], labels: &Tensor) -> Result<Statistics, EvaluateError> {
        let output = first(outputs)?;
        let &[samples, tokens, classes] = output.shape() else {
            return Err(self.wrong_output(output));
        };
        if tokens == 0 || classes == 0 || !output.dtype().is_float() {
            return Err(self.wrong_output(output));
        }
        if labels.shape() != [samples, tokens] {
            return Err(EvaluateError::TokenLabels {
                metric: self.name,
                got: format!("{}{:?}", labels.dtype(), labels.shape()),
                expected: [samples, tokens],
            });
        }
        let values = output.to_f32()?;
        let labels = labels.to_i64()?;
        let rows = values
            .par_chunks_exact(tokens * classes)
            .zip(labels.par_chunks_exact(tokens));
        let scores = rows.map(|(values, labels)| {
            let mut sum = 0.0;
            for (scores, &label) in values.chunks_exact(classes).zip(labels) {
                let class = usize::try_from(label).ok().filter(|class| *class < classes);
                let class = class.ok_or(EvaluateError::Class { label, classes })?;
                sum += self.measure.of(scores, class);
            }
            Ok((sum / tokens as f64) as f32)
        });
        Ok(Statistics::from_scores(
            scores.collect::<Result<Vec<f32>, EvaluateError>>()?,
        ))
    }

    fn aggregate<'a>(&self, statistics: &'a Statistics) -> Aggregate<'a> {
        let mean = mean(statistics);
        match self.is_exponential {
            true => Box::new(move |weights| mean(weights).exp()),
            false => mean,
        }
    }

    fn estimate(&self, statistics: &Statistics) -> Estimate {
        let mean = bootstrap_interval(&statistics.scores());
        if !self.is_exponential {
            return mean;
        }
        Estimate {
            value: mean.value.exp(),
            low: mean.low.exp(),
            high: mean.high.exp(),
        }
    }
}

impl TokenMetric {
    fn wrong_output(&self, output: &Tensor) -> EvaluateError {
        EvaluateError::TokenOutput {
            metric: self.name,
            got: format!("{}{:?}", output.dtype(), output.shape()),
        }
    }
}

impl Measure {
    fn of(self, scores: &[f32], class: usize) -> f64 {
        match self {
            Measure::Loss => {
                let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let sum: f64 = scores.iter().map(|score| f64::from(score - largest).exp()).sum();
                sum.ln() - f64::from(scores[class] - largest)
            }
            Measure::Hit => {
                let ahead = |(index, score): (usize, &f32)| {
                    *score > scores[class] || (*score == scores[class] && index < class)
                };
                let is_first = !scores[class].is_nan() && !scores.iter().enumerate().any(ahead);
                f64::from(u8::from(is_first))
            }
        }
    }
}

/// The mean, and the interval that holds 95% of the means of samples drawn again, with replacement (Efron 1979). The draws
/// have a fixed seed.
pub fn bootstrap_interval(scores: &[f32]) -> Estimate {
    let count = scores.len() as f64;
    let value = scores.iter().map(|&score| f64::from(score)).sum::<f64>() / count;
    let mut random = SplitMix64::new(0);
    let mut mean = |_| {
        let mut sum = 0.0;
        for _ in scores {
            sum += f64::from(scores[random.below(scores.len())]);
        }
        sum / count
    };
    let mut means: Vec<f64> = (0..RESAMPLINGS).map(&mut mean).collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[((RESAMPLINGS - 1) as f64 * share).round() as usize];
    Estimate {
        value,
        low: at(0.025),
        high: at(0.975),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_and_hits_of_small_rows() {
        let output = [0f32, 0.0, 0.0, f32::ln(3.0), 5.0, 5.0, -1.0, 2.0];
        let output = Tensor::from_slice(&[2, 2, 2], &output).unwrap();
        let labels = Tensor::from_slice(&[2, 2], &[1u16, 1, 0, 0]).unwrap();
        let output = [output];
        let kept = LOSS.statistics(&output, &labels).unwrap();
        let loss = kept.scores();
        let ln = |share: f64| -share.ln() as f32;
        let last = ln(1.0 / (1.0 + 3f64.exp()));
        let expected = [(ln(0.5) + ln(0.75)) / 2.0, (ln(0.5) + last) / 2.0];
        for (got, expected) in loss.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-6, "{got} {expected}");
        }
        let hits = NEXT_TOKEN.statistics(&output, &labels).unwrap();
        assert_eq!(hits.scores(), [0.5, 0.5]);
        let mean = f64::from(loss[0] + loss[1]) / 2.0;
        assert!((PERPLEXITY.aggregate(&kept)(&[1, 1]) - mean.exp()).abs() < 1e-6);
        assert!((PERPLEXITY.estimate(&kept).value - mean.exp()).abs() < 1e-6);
    }

    #[test]
    fn wrong_forms_are_refused() {
        let output = [Tensor::from_slice(&[1, 2, 2], &[0f32; 4]).unwrap()];
        let labels = |shape: &[usize], ids: &[i64]| Tensor::from_slice(shape, ids).unwrap();
        assert!(LOSS.statistics(&output, &labels(&[1, 2], &[0, 2])).is_err());
        assert!(LOSS.statistics(&output, &labels(&[1, 2], &[0, -1])).is_err());
        assert!(LOSS.statistics(&output, &labels(&[2], &[0, 0])).is_err());
        let flat = [Tensor::from_slice(&[2, 2], &[0f32; 4]).unwrap()];
        assert!(LOSS.statistics(&flat, &labels(&[2], &[0, 0])).is_err());
    }

    #[test]
    fn resampled_intervals_are_near_the_normal_ones() {
        let scores: Vec<f32> = (0..400).map(|index| (index * 37 % 101) as f32 / 101.0).collect();
        let (resampled, normal) = (
            bootstrap_interval(&scores),
            super::super::normal_interval(&scores),
        );
        assert_eq!(resampled.value, normal.value);
        assert!(
            (resampled.low - normal.low).abs() < 0.004,
            "{resampled:?} {normal:?}"
        );
        assert!(
            (resampled.high - normal.high).abs() < 0.004,
            "{resampled:?} {normal:?}"
        );
        assert_eq!(bootstrap_interval(&scores), resampled);
    }
}
