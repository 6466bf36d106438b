//! Outputs that are numbers: squared error, and its ratio to the signal.

use bantam_tensor::Tensor;

use super::bootstrap::Aggregate;
use super::metric::{first, mean};
use super::{EvaluateError, Metric, Statistics};

const NEEDS: &str = "an output of floats and as many labels, numbers, for each sample";

/// Outputs and labels of each sample.
pub(super) struct Numbers {
    pub(super) outputs: Vec<f64>,
    pub(super) labels: Vec<f64>,
    /// Numbers of a sample.
    pub(super) length: usize,
}

impl Numbers {
    pub(super) fn new(
        metric: &'static str,
        outputs: &[Tensor],
        labels: &Tensor,
    ) -> Result<Numbers, EvaluateError> {
        let wrong = || EvaluateError::form(metric, NEEDS, outputs, labels);
        let output = first(outputs)?;
        let (Some(&samples), Some(&labelled)) = (output.shape().first(), labels.shape().first()) else {
            return Err(wrong());
        };
        let without_one =
            |shape: &[usize]| -> Vec<usize> { shape.iter().copied().filter(|dim| *dim != 1).collect() };
        let fits = samples == labelled && without_one(output.shape()) == without_one(labels.shape());
        if !fits || output.is_empty() || !output.dtype().is_float() {
            return Err(wrong());
        }
        Ok(Numbers {
            outputs: output.to_f64().map_err(|_| wrong())?,
            labels: labels.to_f64().map_err(|_| wrong())?,
            length: output.len() / samples,
        })
    }

    /// Output and label of each sample.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&[f64], &[f64])> {
        self.outputs
            .chunks_exact(self.length)
            .zip(self.labels.chunks_exact(self.length))
    }
}

/// Mean squared error.
pub(super) struct Mse;

impl Metric for Mse {
    fn name(&self) -> &'static str {
        "mse"
    }

    fn summary(&self) -> &'static str {
        "regression: mean squared difference of outputs and labels"
    }

    fn is_proportion(&self) -> bool {
        false
    }

    fn has_scores(&self) -> bool {
        true
    }

    fn statistics(&self, outputs: &[Tensor], labels: &Tensor) -> Result<Statistics, EvaluateError> {
        let numbers = Numbers::new(self.name(), outputs, labels)?;
        let mut statistics = Statistics::default();
        for (output, label) in numbers.rows() {
            let [_, noise] = powers(label, output);
            statistics.push(&[noise / numbers.length as f64]);
        }
        Ok(statistics)
    }

    fn aggregate<'a>(&self, statistics: &'a Statistics) -> Aggregate<'a> {
        mean(statistics)
    }
}

/// The ratio of the labels' power to that of the outputs' difference from them, in dB.
pub(super) struct Sqnr;

impl Metric for Sqnr {
    fn name(&self) -> &'static str {
        "sqnr"
    }

    fn summary(&self) -> &'static str {
        "regression: power of the labels over that of the difference from them, in dB"
    }

    fn is_proportion(&self) -> bool {
        false
    }

    fn statistics(&self, outputs: &[Tensor], labels: &Tensor) -> Result<Statistics, EvaluateError> {
        let numbers = Numbers::new(self.name(), outputs, labels)?;
        let mut statistics = Statistics::default();
        for (output, label) in numbers.rows() {
            statistics.push(&powers(label, output));
        }
        Ok(statistics)
    }

    fn aggregate<'a>(&self, statistics: &'a Statistics) -> Aggregate<'a> {
        Box::new(|weights| decibels(&statistics.weighted_sum(weights)))
    }
}

/// The sums of squares of the signal, and of what is added to it.
pub(super) fn powers<T: Copy + Into<f64>>(signal: &[T], received: &[T]) -> [f64; 2] {
    let (mut power, mut noise) = (0.0, 0.0);
    for (&sent, &received) in signal.iter().zip(received) {
        let (sent, received): (f64, f64) = (sent.into(), received.into());
        power += sent * sent;
        noise += (received - sent).powi(2);
    }
    [power, noise]
}

/// The ratio of the first to the second; infinite where there is no noise.
pub(super) fn decibels(powers: &[f64]) -> f64 {
    10.0 * (powers[0] / powers[1]).log10()
}
