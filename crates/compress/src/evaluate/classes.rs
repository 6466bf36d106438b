//! Outputs with one score for each class.

use bantam_tensor::Tensor;

use super::error::described;
use super::{EvaluateError, metric};

/// How far the sum of a row may be from 1 for its numbers to be taken for probabilities. Quantized ones are off by a few steps.
const SUM_TOLERANCE: f64 = 0.02;

/// Outputs `[samples, classes]` and their labels.
pub(super) struct Classified {
    pub(super) classes: usize,
    /// `[samples, classes]`.
    pub(super) values: Vec<f32>,
    pub(super) labels: Vec<usize>,
}

impl Classified {
    /// The first output with integer labels below its classes; with one output alone these are 0 and 1.
    pub(super) fn new(
        name: &'static str,
        outputs: &[Tensor],
        labels: &Tensor,
    ) -> Result<Classified, EvaluateError> {
        let (samples, classes, values) = scores(metric::first(outputs)?, name)?;
        let wrong = || EvaluateError::Labels {
            metric: name,
            got: described(labels),
            samples,
        };
        let integers = labels.to_i64().map_err(|_| wrong())?;
        if integers.len() != samples {
            return Err(wrong());
        }
        let known = classes.max(2);
        let class = |label: i64| {
            let class = usize::try_from(label).ok().filter(|class| *class < known);
            class.ok_or(EvaluateError::Class {
                label,
                classes: known,
            })
        };
        let labels = integers.into_iter().map(class).collect::<Result<_, _>>()?;
        Ok(Classified {
            classes,
            values,
            labels,
        })
    }

    /// As [`Classified::new`], where one output alone is refused.
    pub(super) fn of_many(
        name: &'static str,
        outputs: &[Tensor],
        labels: &Tensor,
    ) -> Result<Classified, EvaluateError> {
        let classified = Classified::new(name, outputs, labels)?;
        if classified.classes < 2 {
            let needs = "an output [samples, classes] of two classes or more";
            return Err(EvaluateError::form(name, needs, outputs, labels));
        }
        Ok(classified)
    }

    /// The scores of each sample, with its label.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&[f32], usize)> {
        self.values
            .chunks_exact(self.classes)
            .zip(self.labels.iter().copied())
    }
}

/// Samples, classes and values of an output `[samples, classes]` (further dimensions of size 1 are dropped).
pub(super) fn scores(
    output: &Tensor,
    metric: &'static str,
) -> Result<(usize, usize, Vec<f32>), EvaluateError> {
    let shape = output.shape();
    let got = || EvaluateError::Output {
        metric,
        got: described(output),
    };
    let (&samples, rest) = shape.split_first().ok_or_else(got)?;
    let classes: usize = rest.iter().product();
    let one_axis = rest.iter().filter(|dim| **dim != 1).count() <= 1;
    if !one_axis || classes == 0 || !output.dtype().is_float() {
        return Err(got());
    }
    Ok((samples, classes, output.to_f32()?))
}

/// The position of the largest number, the first of equal ones.
pub(super) fn largest(row: &[f32]) -> usize {
    (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

/// Whether these numbers are probabilities already: none is negative, and their sum is 1 to within 0.02.
pub(super) fn is_distribution(row: &[f32]) -> bool {
    let sum: f64 = row.iter().map(|&value| f64::from(value)).sum();
    row.iter().all(|value| *value >= 0.0) && (sum - 1.0).abs() <= SUM_TOLERANCE
}

/// Logarithms of the probabilities of classes: of the softmax of scores, or of probabilities as they are, made to sum to 1.
pub(super) fn log_probabilities(row: &[f32], is_distribution: bool) -> Vec<f64> {
    let row = row.iter().map(|&value| f64::from(value));
    if is_distribution {
        let sum: f64 = row.clone().sum();
        return row.map(|value| (value / sum).ln()).collect();
    }
    let largest = row.clone().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = row.clone().map(|value| (value - largest).exp()).sum();
    row.map(|value| value - largest - sum.ln()).collect()
}

/// Probabilities of classes, as [`log_probabilities`] of [`is_distribution`].
pub(super) fn probabilities(row: &[f32]) -> Vec<f64> {
    let logarithms = log_probabilities(row, is_distribution(row));
    logarithms.into_iter().map(f64::exp).collect()
}
