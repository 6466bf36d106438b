//! Scoring one model.

use std::path::PathBuf;

use bantam_compress::evaluate::Scores;
use bantam_tensor::BatchSize;
use serde::Serialize;

use super::{RuntimeChoice, ScoreReport, metrics_by_name};
use crate::{Error, Progress, pipeline};

/// What to score.
#[derive(Clone, Debug)]
pub struct EvalJob {
    /// The model's file.
    pub model: PathBuf,
    /// The data set.
    pub data: PathBuf,
    /// Its split.
    pub split: String,
    /// Names of metrics.
    pub metrics: Vec<String>,
    /// What runs the model.
    pub runtime: RuntimeChoice,
    /// Number of samples, from the start.
    pub limit: usize,
    /// Samples that run at once, where the model leaves it open.
    pub batch: Option<usize>,
    /// Threads of an external runtime.
    pub threads: usize,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct EvalReport {
    /// The scores.
    #[serde(flatten)]
    pub scores: ScoreReport,
}

/// Scores a model.
pub fn eval(job: &EvalJob, progress: &dyn Progress) -> Result<EvalReport, Error> {
    let (report, _) = score(job, progress)?;
    Ok(EvalReport { scores: report })
}

/// As [`eval`], with the scores of each sample.
pub(super) fn score(job: &EvalJob, progress: &dyn Progress) -> Result<(ScoreReport, Scores), Error> {
    let metrics = metrics_by_name(&job.metrics)?;
    let model = pipeline::load(&job.model)?;
    let split = pipeline::open_split(&job.data, &job.split, &model.graph)?;
    let batch = match (pipeline::batch_size(&model.graph, pipeline::BATCH), job.batch) {
        (BatchSize::AtMost(_), Some(batch)) => BatchSize::AtMost(batch),
        (size, _) => size,
    };
    drop(model);
    let mut runner = job.runtime.open(&job.model, job.threads)?;
    let scores = pipeline::evaluate(runner.as_mut(), &split, &metrics, (job.limit, batch), progress)?;
    Ok((ScoreReport::new(&job.model, runner.name(), &scores), scores))
}
