//! What a metric is.

use bantam_tensor::Tensor;

use super::bootstrap::{Aggregate, bootstrap};
use super::{Estimate, EvaluateError, Statistics};

/// A measure of how well outputs fit labels. It keeps some numbers of each sample, and makes one number of those of all samples.
pub trait Metric: Sync {
    /// The name that users write.
    fn name(&self) -> &'static str;
    /// One line for lists.
    fn summary(&self) -> &'static str;
    /// True when it is a share, which is shown in percent.
    fn is_proportion(&self) -> bool;
    /// True when each sample has a score of its own, the only number that is kept of it: two models are then compared by the mean
    /// difference of their scores.
    fn has_scores(&self) -> bool {
        false
    }
    /// What is kept of each sample; `outputs` are all of the model's, in its order, `[samples, ...]` each.
    ///
    /// # Errors
    /// When outputs and labels are not of the form that the metric needs.
    fn statistics(&self, outputs: &[Tensor], labels: &Tensor) -> Result<Statistics, EvaluateError>;
    /// The metric as a function of how often each sample counts; what does not depend on that is done once, here.
    fn aggregate<'a>(&self, statistics: &'a Statistics) -> Aggregate<'a>;
    /// The metric and its interval.
    fn estimate(&self, statistics: &Statistics) -> Estimate {
        bootstrap(statistics.len(), &self.aggregate(statistics)).estimate
    }
}

/// The mean of scores.
pub(super) fn mean(statistics: &Statistics) -> Aggregate<'_> {
    Box::new(|weights| {
        let sums = statistics.weighted_sum(weights);
        sums.first().map_or(f64::NAN, |sum| sum / total(weights))
    })
}

/// How many samples count.
pub(super) fn total(weights: &[u32]) -> f64 {
    weights.iter().map(|&weight| u64::from(weight)).sum::<u64>() as f64
}

/// The model's first output.
pub(super) fn first(outputs: &[Tensor]) -> Result<&Tensor, EvaluateError> {
    outputs.first().ok_or(EvaluateError::NoOutput)
}
