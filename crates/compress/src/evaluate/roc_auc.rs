//! The area under the curve of true against false positives.

use bantam_tensor::Tensor;

use super::bootstrap::Aggregate;
use super::classes::{Classified, is_distribution, log_probabilities};
use super::{EvaluateError, Metric, Statistics};

/// How likely a sample of a class has a larger score than one of another, ties counted half (Hanley and McNeil 1982). Of two
/// classes: of class 1; else the mean of each class against the rest, as scikit-learn's `roc_auc_score` with
/// `multi_class="ovr"`. Classes that no label has, or all labels have, are left out.
pub(super) struct RocAuc;

impl Metric for RocAuc {
    fn name(&self) -> &'static str {
        "roc-auc"
    }

    fn summary(&self) -> &'static str {
        "area under the ROC curve: of class 1 of two, else the mean of each class against the rest"
    }

    fn is_proportion(&self) -> bool {
        true
    }

    /// The label, then a score for each class, or for class 1 alone.
    fn statistics(&self, outputs: &[Tensor], labels: &Tensor) -> Result<Statistics, EvaluateError> {
        let classified = Classified::new(self.name(), outputs, labels)?;
        let mut statistics = Statistics::default();
        for (row, label) in classified.rows() {
            let mut kept = vec![label as f64];
            match *row {
                [value] => kept.push(f64::from(value)),
                // Of the same order as the probability, which comes near 1 too soon.
                [zero, one] => kept.push(f64::from(one) - f64::from(zero)),
                _ => kept.extend(log_probabilities(row, is_distribution(row))),
            }
            statistics.push(&kept);
        }
        Ok(statistics)
    }

    fn aggregate<'a>(&self, statistics: &'a Statistics) -> Aggregate<'a> {
        let rows: Vec<&[f64]> = statistics.rows().collect();
        if rows.iter().any(|row| row.iter().any(|value| value.is_nan())) {
            return Box::new(|_| f64::NAN);
        }
        let scores = rows.first().map_or(0, |row| row.len() - 1);
        let curve = |column: usize| {
            let class = if scores == 1 { 1 } else { column };
            Curve::new(rows.iter().map(|row| (row[1 + column], row[0] as usize == class)))
        };
        let curves: Vec<Curve> = (0..scores).map(curve).collect();
        Box::new(move |weights| {
            let areas: Vec<f64> = curves.iter().filter_map(|curve| curve.area(weights)).collect();
            areas.iter().sum::<f64>() / areas.len() as f64
        })
    }
}

/// Samples in the order of their scores.
struct Curve {
    /// The sample, whether it is of the class, and whether the next one has a larger score.
    steps: Vec<(u32, bool, bool)>,
}

impl Curve {
    fn new(samples: impl Iterator<Item = (f64, bool)>) -> Curve {
        let samples: Vec<(f64, bool)> = samples.collect();
        let mut order: Vec<u32> = (0..samples.len() as u32).collect();
        order.sort_by(|a, b| samples[*a as usize].0.total_cmp(&samples[*b as usize].0));
        let score = |position: usize| order.get(position).map(|sample| samples[*sample as usize].0);
        let steps = order.iter().enumerate().map(|(position, &sample)| {
            let is_last = score(position) != score(position + 1);
            (sample, samples[sample as usize].1, is_last)
        });
        Curve {
            steps: steps.collect(),
        }
    }

    fn area(&self, weights: &[u32]) -> Option<f64> {
        // Twice the number of pairs in order; positives and negatives so far, and of the same score.
        let (mut pairs, mut all, mut tied) = (0.0, [0u64; 2], [0u64; 2]);
        for &(sample, is_positive, is_last) in &self.steps {
            tied[usize::from(is_positive)] += u64::from(weights[sample as usize]);
            if is_last {
                pairs += tied[1] as f64 * (2 * all[0] + tied[0]) as f64;
                all = [all[0] + tied[0], all[1] + tied[1]];
                tied = [0, 0];
            }
        }
        let possible = all[0] as f64 * all[1] as f64;
        (possible > 0.0).then(|| pairs / 2.0 / possible)
    }
}
