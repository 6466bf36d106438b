//! Share of samples whose label is among the k largest outputs.

use bantam_tensor::Tensor;

use super::bootstrap::Aggregate;
use super::classes::{largest, scores as class_scores};
use super::error::described;
use super::metric::{first, mean};
use super::{Estimate, EvaluateError, Metric, Statistics, wilson_interval};

/// Top-k accuracy. Of equal outputs the earlier class counts as larger.
pub(super) struct TopK {
    name: &'static str,
    summary: &'static str,
    k: usize,
}

pub(super) static TOP1: TopK = TopK {
    name: "top1",
    summary: "share of samples whose label has the largest output",
    k: 1,
};
pub(super) static TOP5: TopK = TopK {
    name: "top5",
    summary: "share of samples whose label is among the five largest outputs",
    k: 5,
};

impl Metric for TopK {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn is_proportion(&self) -> bool {
        true
    }

    fn has_scores(&self) -> bool {
        true
    }

    fn statistics(&self, outputs: &[Tensor], labels: &Tensor) -> Result<Statistics, EvaluateError> {
        let (samples, classes, values) = class_scores(first(outputs)?, self.name)?;
        let wrong = || EvaluateError::Labels {
            metric: self.name,
            got: described(labels),
            samples,
        };
        let labels = labels.to_i64().map_err(|_| wrong())?;
        if labels.len() != samples {
            return Err(wrong());
        }
        let score = |(row, &label): (&[f32], &i64)| {
            let class = usize::try_from(label).ok().filter(|class| *class < classes);
            let class = class.ok_or(EvaluateError::Class { label, classes })?;
            let ahead = |(index, value): (usize, &f32)| {
                *value > row[class] || (*value == row[class] && index < class)
            };
            let rank = row.iter().enumerate().filter(|&pair| ahead(pair)).count();
            Ok(if rank < self.k && !row[class].is_nan() {
                1.0
            } else {
                0.0
            })
        };
        let scores = values.chunks_exact(classes).zip(&labels).map(score);
        Ok(Statistics::from_scores(
            scores.collect::<Result<Vec<f32>, EvaluateError>>()?,
        ))
    }

    fn aggregate<'a>(&self, statistics: &'a Statistics) -> Aggregate<'a> {
        mean(statistics)
    }

    fn estimate(&self, statistics: &Statistics) -> Estimate {
        wilson_interval(&statistics.scores())
    }
}

/// The class with the largest output, the first of equal ones, for each sample of `[samples, classes]` or each token of
/// `[samples, tokens, classes]`.
pub(crate) fn predictions(output: &Tensor) -> Result<Vec<usize>, EvaluateError> {
    let (classes, values) = match *output.shape() {
        [_, tokens, classes] if tokens > 1 && classes > 1 && output.dtype().is_float() => {
            (classes, output.to_f32()?)
        }
        _ => {
            let (_, classes, values) = class_scores(output, "top1")?;
            (classes, values)
        }
    };
    Ok(values.chunks_exact(classes).map(largest).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_labels_among_the_largest() {
        let output = Tensor::from_slice(
            &[3, 4],
            &[0.1f32, 0.9, 0.3, 0.3, 5.0, 5.0, 1.0, 0.0, -1.0, -2.0, -3.0, 9.0],
        );
        let (output, labels) = (output.unwrap(), Tensor::from_slice(&[3], &[1u8, 1, 3]).unwrap());
        let outputs = [output.clone()];
        let scores = |metric: &TopK| metric.statistics(&outputs, &labels).unwrap().scores();
        assert_eq!(scores(&TOP1), [1.0, 0.0, 1.0]);
        assert_eq!(scores(&TOP5), [1.0, 1.0, 1.0]);
        assert_eq!(predictions(&output).unwrap(), [1, 0, 3]);
        let labels = Tensor::from_slice(&[3], &[1i64, 4, 3]).unwrap();
        assert!(matches!(
            TOP1.statistics(&outputs, &labels),
            Err(EvaluateError::Class { label: 4, classes: 4 })
        ));
    }
}
