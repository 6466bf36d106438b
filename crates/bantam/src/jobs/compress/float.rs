//! How the network as it was scores on the samples that decide.

use bantam_compress::evaluate::{Metric, Runner, Statistics};
use bantam_graph::Model;
use bantam_tensor::Samples;
use serde::{Deserialize, Serialize};

use super::Search;
use super::samples::{Part, Sources};
use super::workspace::Workspace;
use crate::{Error, NoProgress, Progress, pipeline};

/// Scores of samples, in their order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Scored {
    /// By the metric, where there are labels.
    pub(super) scores: Vec<f32>,
    /// What the network says, one for each sample or token.
    pub(super) predictions: Vec<usize>,
}

/// The network as it was.
pub(super) struct Float {
    scored: Scored,
    samples: usize,
    /// Whether a larger score is worse.
    is_loss: bool,
}

impl Float {
    pub(super) fn measure(
        model: &Model,
        sources: &Sources,
        metric: Option<&'static dyn Metric>,
        workspace: &Workspace,
        progress: &dyn Progress,
    ) -> Result<Float, Error> {
        let samples = sources.deciding().len();
        let scored = workspace.cached("float", || {
            let mut program = pipeline::compile(model)?;
            score(&mut program, &sources.deciding(), model, metric, progress)
        })?;
        if metric.is_none() && scored.predictions.is_empty() {
            return Err(Error::Usage {
                message: "the samples have no labels, and the model's outputs are no scores of classes whose agreement could be counted".to_owned(),
                hint: "give `labels` in the data set's manifest and a --metric of shares".to_owned(),
            });
        }
        Ok(Float {
            scored,
            samples,
            is_loss: metric.is_some_and(|metric| !metric.is_proportion()),
        })
    }

    /// Number of samples.
    pub(super) fn samples(&self) -> usize {
        self.samples
    }

    /// The metric over all samples; 1 for agreement with itself.
    pub(super) fn score(&self, metric: Option<&dyn Metric>) -> f64 {
        metric.map_or(1.0, |metric| {
            let scores = Statistics::from_scores(self.scored.scores.iter().copied());
            metric.estimate(&scores).value
        })
    }

    /// What others lose against it, sample by sample, from one on.
    pub(super) fn losses(&self, start: usize, other: &Scored) -> Vec<f64> {
        if self.scored.scores.is_empty() {
            let each = self.scored.predictions.len() / self.samples.max(1);
            let float = &self.scored.predictions[start * each..];
            let rows = float
                .chunks_exact(each.max(1))
                .zip(other.predictions.chunks_exact(each.max(1)));
            let differ = |(a, b): (&[usize], &[usize])| {
                let wrong = a.iter().zip(b).filter(|(a, b)| a != b).count();
                wrong as f64 / each.max(1) as f64
            };
            return rows.map(differ).collect();
        }
        let sign = if self.is_loss { -1.0 } else { 1.0 };
        let pairs = self.scored.scores[start..].iter().zip(&other.scores);
        pairs
            .map(|(float, other)| sign * f64::from(float - other))
            .collect()
    }
}

fn score(
    runner: &mut dyn Runner,
    part: &Part<'_>,
    model: &Model,
    metric: Option<&'static dyn Metric>,
    progress: &dyn Progress,
) -> Result<Scored, Error> {
    let metrics: Vec<&'static dyn Metric> = metric.into_iter().collect();
    let batch = pipeline::batch_size(&model.graph, pipeline::BATCH);
    let scores = pipeline::evaluate(runner, part, &metrics, (usize::MAX, batch), progress)?;
    Ok(Scored {
        scores: scores
            .metrics
            .into_iter()
            .next()
            .map_or(Vec::new(), |(_, _, kept)| kept.scores()),
        predictions: scores.predictions,
    })
}

impl Search<'_> {
    /// Scores some of the samples that decide, from one on.
    pub(super) fn score(&self, runner: &mut dyn Runner, start: usize, count: usize) -> Result<Scored, Error> {
        let all = self.sources.deciding();
        let part = Part {
            split: all.split,
            indices: &all.indices[start..all.indices.len().min(start + count)],
        };
        score(runner, &part, &self.model, self.metric, &NoProgress)
    }
}
