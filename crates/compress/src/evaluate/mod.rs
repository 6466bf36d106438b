//! Evaluation: metrics with confidence intervals, and paired comparison of two models.

mod interval;
mod paired;
mod token;
mod top_k;

use std::time::Instant;

use bantam_exec::{Program, Taps};
use bantam_tensor::{BatchSize, Samples, SamplesError, Tensor, TensorError};
use serde::Serialize;

pub use interval::{normal_interval, wilson_interval};
pub use paired::{Comparison, compare};
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

/// A measure of how well outputs fit labels. Each sample gets a score; the metric is their mean.
pub trait Metric: Sync {
    /// The name that users write.
    fn name(&self) -> &'static str;
    /// One line for lists.
    fn summary(&self) -> &'static str;
    /// True when scores are shares, which are shown in percent.
    fn is_proportion(&self) -> bool;
    /// The score of each sample; `output` is the model's first, `[samples, ...]`.
    ///
    /// # Errors
    /// When output and labels are not of the form that the metric needs.
    fn scores(&self, output: &Tensor, labels: &Tensor) -> Result<Vec<f32>, EvaluateError>;
    /// The metric and its interval from the scores of all samples.
    fn estimate(&self, scores: &[f32]) -> Estimate;
}

/// Every metric.
pub static METRICS: &[&dyn Metric] = &[
    &top_k::TOP1,
    &top_k::TOP5,
    &token::PERPLEXITY,
    &token::LOSS,
    &token::NEXT_TOKEN,
];

/// The metric with this name.
pub fn metric_by_name(name: &str) -> Option<&'static dyn Metric> {
    METRICS.iter().copied().find(|metric| metric.name() == name)
}

/// Why evaluation stopped.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum EvaluateError {
    #[error("the split has no labels, which {metric} needs\nhint: give `labels` in the data set's manifest")]
    NoLabels { metric: &'static str },
    #[error("there are no samples to score")]
    Empty,
    #[error("{metric} needs an output [samples, classes] of floats, got {got}")]
    Output { metric: &'static str, got: String },
    #[error("{metric} needs one integer label per sample, got {got} for {samples} samples")]
    Labels {
        metric: &'static str,
        got: String,
        samples: usize,
    },
    #[error(
        "{metric} needs an output [samples, tokens, vocabulary] of floats, got {got}\nhint: it is for language models"
    )]
    TokenOutput { metric: &'static str, got: String },
    #[error(
        "{metric} needs one integer label for each of {expected:?} tokens, got {got}\nhint: give `tokens` or `text` in the data set's manifest"
    )]
    TokenLabels {
        metric: &'static str,
        got: String,
        expected: [usize; 2],
    },
    #[error("label {label} of a sample is not among the model's {classes} classes")]
    Class { label: i64, classes: usize },
    #[error("the model has no output")]
    NoOutput,
    #[error(transparent)]
    Samples(#[from] SamplesError),
    #[error(transparent)]
    Runner(#[from] RunnerError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
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

/// What evaluation found.
#[derive(Clone, Debug)]
pub struct Scores {
    /// Each metric's name, estimate and scores by sample.
    pub metrics: Vec<(&'static str, Estimate, Vec<f32>)>,
    /// The index of the largest output of each sample (of each token, where outputs are `[samples, tokens, classes]`).
    pub predictions: Vec<usize>,
    /// Number of samples.
    pub samples: usize,
    /// Time in the runtime, without reading data.
    pub seconds: f64,
}

/// Which samples are scored, and how many at once.
pub struct EvaluateOptions<'a> {
    /// Number of samples from the start of the split.
    pub limit: usize,
    /// Samples that run at once.
    pub batch_size: BatchSize,
    /// Called after each batch with the number of samples done.
    pub progress: &'a dyn Fn(usize),
}

/// Scores a model on a split.
///
/// # Errors
/// When there is nothing to score, when labels are missing, or when reading or running fails.
pub fn evaluate(
    runner: &mut dyn Runner,
    samples: &dyn Samples,
    metrics: &[&'static dyn Metric],
    options: &EvaluateOptions<'_>,
) -> Result<Scores, EvaluateError> {
    let count = samples.len().min(options.limit);
    if count == 0 {
        return Err(EvaluateError::Empty);
    }
    if let (Some(metric), false) = (metrics.first(), samples.has_labels()) {
        return Err(EvaluateError::NoLabels {
            metric: metric.name(),
        });
    }
    let indices: Vec<usize> = (0..count).collect();
    let mut scores: Vec<Vec<f32>> = vec![Vec::with_capacity(count); metrics.len()];
    let (mut predictions, mut seconds, mut done) = (Vec::with_capacity(count), 0.0, 0);
    for (indices, counted) in options.batch_size.cut(&indices) {
        let batch = samples.batch(&indices)?;
        let inputs: Vec<(&str, Tensor)> = batch
            .inputs
            .iter()
            .map(|(n, t)| (n.as_str(), t.clone()))
            .collect();
        let start = Instant::now();
        let outputs = runner.run(&inputs)?;
        seconds += start.elapsed().as_secs_f64();
        let output = outputs.first().ok_or(EvaluateError::NoOutput)?;
        let predicted = top_k::predictions(output)?;
        let for_each = predicted.len() / indices.len();
        predictions.extend(predicted.into_iter().take(counted * for_each));
        done += counted;
        for (metric, scores) in metrics.iter().zip(&mut scores) {
            let labels = batch.labels.as_ref().ok_or(EvaluateError::NoLabels {
                metric: metric.name(),
            })?;
            scores.extend(metric.scores(output, labels)?.into_iter().take(counted));
        }
        (options.progress)(done);
    }
    let metrics = metrics.iter().zip(scores);
    let metrics = metrics
        .map(|(metric, scores)| (metric.name(), metric.estimate(&scores), scores))
        .collect();
    Ok(Scores {
        metrics,
        predictions,
        samples: count,
        seconds,
    })
}
