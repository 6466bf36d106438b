//! F1: the harmonic mean of precision and recall.

use bantam_tensor::Tensor;

use super::bootstrap::Aggregate;
use super::classes::{Classified, largest};
use super::{EvaluateError, Metric, Statistics};

/// F1 of class 1 where there are two classes or one output, else the mean over classes that labels or predictions have, as
/// scikit-learn's `f1_score` with `average="binary"` and `"macro"`.
pub(super) struct F1;

impl Metric for F1 {
    fn name(&self) -> &'static str {
        "f1"
    }

    fn summary(&self) -> &'static str {
        "harmonic mean of precision and recall: of class 1 of two, else the mean over classes"
    }

    fn is_proportion(&self) -> bool {
        true
    }

    /// Classes, label, and the predicted class; of one output alone its value.
    fn statistics(&self, outputs: &[Tensor], labels: &Tensor) -> Result<Statistics, EvaluateError> {
        let classified = Classified::new(self.name(), outputs, labels)?;
        let mut statistics = Statistics::default();
        for (row, label) in classified.rows() {
            let predicted = match row {
                [value] => f64::from(*value),
                row => largest(row) as f64,
            };
            statistics.push(&[classified.classes as f64, label as f64, predicted]);
        }
        Ok(statistics)
    }

    fn aggregate<'a>(&self, statistics: &'a Statistics) -> Aggregate<'a> {
        let classes = statistics.rows().map(|row| row[0] as usize).max().unwrap_or(1);
        // One output is a probability if all of them are, else a logit.
        let is_probability = statistics.rows().all(|row| (0.0..=1.0).contains(&row[2]));
        let threshold = if is_probability { 0.5 } else { 0.0 };
        let pair = |row: &[f64]| match classes {
            1 => (row[1] as usize, usize::from(row[2] > threshold)),
            _ => (row[1] as usize, row[2] as usize),
        };
        let pairs: Vec<(usize, usize)> = statistics.rows().map(pair).collect();
        Box::new(move |weights| score(&pairs, classes.max(2), weights))
    }
}

fn score(pairs: &[(usize, usize)], classes: usize, weights: &[u32]) -> f64 {
    let (mut hits, mut all) = (vec![0u64; classes], vec![0u64; classes]);
    for (&(label, predicted), &weight) in pairs.iter().zip(weights) {
        let weight = u64::from(weight);
        all[label] += weight;
        all[predicted] += weight;
        if label == predicted {
            hits[label] += weight;
        }
    }
    let of = |class: usize| 2.0 * hits[class] as f64 / all[class].max(1) as f64;
    if classes == 2 {
        return of(1);
    }
    let seen: Vec<f64> = (0..classes).filter(|class| all[*class] > 0).map(of).collect();
    seen.iter().sum::<f64>() / seen.len() as f64
}
