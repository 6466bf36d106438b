//! Scoring one model.

use std::path::PathBuf;

use bantam_compress::evaluate::{Metric, Runner, Scores};
use bantam_formats::data::Split;
use bantam_graph::Graph;
use bantam_tensor::{BatchSize, Samples};
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
    /// Names of metrics; none: the usual one for such a model.
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

/// Elements of the scores that are held at once: a quarter of a gigabyte.
const MOST_SCORES: usize = 1 << 26;

/// The metric of models with one score for each class of a sample, or of language models.
pub(super) fn usual_metric(graph: &Graph) -> &'static str {
    match vocabulary(graph) {
        Some(_) => "perplexity",
        None => "top1",
    }
}

/// Classes of outputs `[samples, tokens, classes]`.
fn vocabulary(graph: &Graph) -> Option<usize> {
    let output = graph.outputs.first()?;
    match graph.value(*output).ty.shape()? {
        [_, _, classes] => classes.known().filter(|classes| *classes > 1),
        _ => None,
    }
}

/// Samples that run at once, so that the scores of all their tokens have room.
fn most_at_once(graph: &Graph, split: &Split) -> usize {
    let tokens: usize = split
        .inputs()
        .next()
        .map_or(1, |(_, _, shape)| shape.iter().product());
    let scores = vocabulary(graph).map(|classes: usize| classes.saturating_mul(tokens).max(1));
    scores.map_or(pipeline::BATCH, |scores| {
        (MOST_SCORES / scores).clamp(1, pipeline::BATCH)
    })
}

/// A model that is ready to be scored.
pub(super) struct Opened {
    pub(super) runner: Box<dyn Runner>,
    pub(super) split: Split,
    pub(super) metrics: Vec<&'static dyn Metric>,
    pub(super) batch: BatchSize,
    limit: usize,
    model: PathBuf,
}

/// Opens the model and the data of a job.
pub(super) fn open(job: &EvalJob) -> Result<Opened, Error> {
    let model = pipeline::load(&job.model)?;
    let metrics = match job.metrics.as_slice() {
        [] => metrics_by_name(&[usual_metric(&model.graph).to_owned()])?,
        names => metrics_by_name(names)?,
    };
    let split = pipeline::open_split(&job.data, &job.split, &model.graph)?;
    let most = most_at_once(&model.graph, &split);
    let batch = match (pipeline::batch_size(&model.graph, most), job.batch) {
        (BatchSize::AtMost(_), Some(batch)) => BatchSize::AtMost(batch),
        (size, _) => size,
    };
    drop(model);
    Ok(Opened {
        runner: job.runtime.open(&job.model, job.threads)?,
        split,
        metrics,
        batch,
        limit: job.limit,
        model: job.model.clone(),
    })
}

impl Opened {
    /// Scores the model on these samples.
    pub(super) fn score(&mut self, samples: &dyn Samples, progress: &dyn Progress) -> Result<Scores, Error> {
        let how = (self.limit, self.batch);
        pipeline::evaluate(self.runner.as_mut(), samples, &self.metrics, how, progress)
    }

    pub(super) fn report(&self, scores: &Scores) -> ScoreReport {
        ScoreReport::new(&self.model, self.runner.name(), scores)
    }
}

/// As [`eval`], with what is known of each sample.
pub(super) fn score(job: &EvalJob, progress: &dyn Progress) -> Result<(ScoreReport, Scores), Error> {
    let mut opened = open(job)?;
    let split = opened.split.clone();
    let scores = opened.score(&split, progress)?;
    Ok((opened.report(&scores), scores))
}
