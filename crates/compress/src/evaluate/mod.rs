//! Evaluation: metrics with confidence intervals, and paired comparison of two models.
//!
//! A [`Metric`] keeps some numbers of each sample ([`Statistics`]) and makes one number of those of all samples. As it can do so for any
//! choice of samples, intervals and paired differences of every metric come from drawing samples again.

mod agreement;
mod average_precision;
mod bootstrap;
mod calibration;
mod classes;
mod error;
mod f1;
mod interval;
mod mean_iou;
mod metric;
mod paired;
mod regression;
mod roc_auc;
mod run;
mod sequences;
mod spearman;
mod statistics;
#[cfg(test)]
mod tests;
mod token;
mod top_k;

use bantam_exec::{Program, Taps};
use bantam_tensor::Tensor;
use serde::Serialize;

pub use agreement::Agreement;
pub use bootstrap::Aggregate;
pub use error::EvaluateError;
pub use interval::{normal_interval, wilson_interval};
pub use metric::Metric;
pub use paired::{Comparison, compare};
pub use run::{EvaluateOptions, Scores, evaluate, evaluate_both};
pub use statistics::Statistics;
pub use token::bootstrap_interval;
pub(crate) use top_k::predictions;

/// Something that computes a model's outputs: our executor, or another runtime.
pub trait Runner {
    /// What computes.
    fn name(&self) -> &str;
    /// The outputs, in the model's order.
    ///
    /// # Errors
    /// When the runtime refuses the inputs or fails.
    fn run(&mut self, inputs: &[(&str, Tensor)]) -> Result<Vec<Tensor>, RunnerError>;
}

/// What a runner says when it fails.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RunnerError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

impl Runner for Program {
    fn name(&self) -> &str {
        "bantam"
    }

    fn run(&mut self, inputs: &[(&str, Tensor)]) -> Result<Vec<Tensor>, RunnerError> {
        Program::run(self, inputs, &mut Taps::none()).map_err(|error| RunnerError(error.into()))
    }
}

/// Every metric.
pub static METRICS: &[&dyn Metric] = &[
    &top_k::TOP1,
    &top_k::TOP5,
    &token::PERPLEXITY,
    &token::LOSS,
    &token::NEXT_TOKEN,
    &f1::F1,
    &roc_auc::RocAuc,
    &calibration::Ece,
    &calibration::Brier,
    &mean_iou::MeanIou,
    &average_precision::MeanAveragePrecision,
    &regression::Mse,
    &regression::Sqnr,
    &spearman::Spearman,
    &sequences::Bleu,
    &sequences::Wer,
];

/// The metric with this name.
pub fn metric_by_name(name: &str) -> Option<&'static dyn Metric> {
    METRICS.iter().copied().find(|metric| metric.name() == name)
}

/// A number with its 95% confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}
