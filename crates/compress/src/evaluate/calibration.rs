//! Whether probabilities are right: expected calibration error and Brier score.

use bantam_tensor::Tensor;

use super::bootstrap::Aggregate;
use super::classes::{Classified, largest, probabilities};
use super::metric::{mean, total};
use super::{EvaluateError, Metric, Statistics};

/// Bins of the largest probability: (0, 1/15], (1/15, 2/15] ...
const BINS: usize = 15;

/// The mean difference between the largest probability and how often it is right, over bins of equal width (Guo et al. 2017,
/// equation 3).
pub(super) struct Ece;

impl Metric for Ece {
    fn name(&self) -> &'static str {
        "ece"
    }

    fn summary(&self) -> &'static str {
        "expected calibration error: how far the largest probability is from how often it is right, in 15 bins"
    }

    fn is_proportion(&self) -> bool {
        true
    }

    /// The bin, the largest probability, and 1 if its class is the label.
    fn statistics(&self, outputs: &[Tensor], labels: &Tensor) -> Result<Statistics, EvaluateError> {
        let classified = Classified::of_many(self.name(), outputs, labels)?;
        let mut statistics = Statistics::default();
        for (row, label) in classified.rows() {
            let predicted = largest(row);
            let confidence = probabilities(row)[predicted];
            let bin = ((confidence * BINS as f64).ceil() - 1.0).clamp(0.0, (BINS - 1) as f64);
            statistics.push(&[bin, confidence, f64::from(u8::from(predicted == label))]);
        }
        Ok(statistics)
    }

    fn aggregate<'a>(&self, statistics: &'a Statistics) -> Aggregate<'a> {
        Box::new(|weights| {
            let mut gaps = [0.0; BINS];
            for (row, &weight) in statistics.rows().zip(weights) {
                gaps[row[0] as usize] += f64::from(weight) * (row[2] - row[1]);
            }
            gaps.iter().map(|gap| gap.abs()).sum::<f64>() / total(weights)
        })
    }
}

/// The squared distance of probabilities from the label's, summed over classes: 0 to 2 (Brier 1950).
pub(super) struct Brier;

impl Metric for Brier {
    fn name(&self) -> &'static str {
        "brier"
    }

    fn summary(&self) -> &'static str {
        "squared distance of probabilities from the label, summed over classes: 0 to 2"
    }

    fn is_proportion(&self) -> bool {
        false
    }

    fn has_scores(&self) -> bool {
        true
    }

    fn statistics(&self, outputs: &[Tensor], labels: &Tensor) -> Result<Statistics, EvaluateError> {
        let classified = Classified::of_many(self.name(), outputs, labels)?;
        let mut statistics = Statistics::default();
        for (row, label) in classified.rows() {
            let distance = |(class, probability): (usize, f64)| {
                (probability - f64::from(u8::from(class == label))).powi(2)
            };
            statistics.push(&[probabilities(row).into_iter().enumerate().map(distance).sum()]);
        }
        Ok(statistics)
    }

    fn aggregate<'a>(&self, statistics: &'a Statistics) -> Aggregate<'a> {
        mean(statistics)
    }
}
