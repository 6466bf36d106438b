//! Two models side by side.

use std::path::PathBuf;

use bantam_compress::evaluate::{Agreement, Comparison, compare as pair};
use bantam_tensor::Samples as _;
use serde::Serialize;

use super::eval::open;
use super::{EvalJob, RuntimeChoice, ScoreReport};
use crate::{Error, Progress, pipeline};

/// What to compare: the second model under the same conditions as the first.
#[derive(Clone, Debug)]
pub struct CompareJob {
    /// The first model and the conditions.
    pub first: EvalJob,
    /// The second model's file.
    pub second: PathBuf,
    /// What runs it.
    pub second_runtime: RuntimeChoice,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct CompareReport {
    /// Scores of the first model.
    pub first: ScoreReport,
    /// Scores of the second.
    pub second: ScoreReport,
    /// The paired comparison by the first metric; absent where the data have no labels and no metric was named.
    pub comparison: Option<Comparison>,
    /// How far the second's outputs are from the first's.
    pub agreement: Agreement,
}

impl CompareJob {
    /// The second model under the conditions of the first.
    pub(super) fn second_job(&self) -> EvalJob {
        EvalJob {
            model: self.second.clone(),
            runtime: self.second_runtime,
            ..self.first.clone()
        }
    }
}

/// Runs two models on the same samples: scores where there are labels, and how far the outputs are from each other.
///
/// # Errors
/// When files and settings do not fit together, and when a metric is named but labels are missing.
pub fn compare(job: &CompareJob, progress: &dyn Progress) -> Result<CompareReport, Error> {
    let (mut first, mut second) = (open(&job.first)?, open(&job.second_job())?);
    let metrics = match job.first.metrics.is_empty() && !first.split.has_labels() {
        true => Vec::new(),
        false => first.metrics.clone(),
    };
    let ([first_scores, second_scores], agreement) = pipeline::evaluate_both(
        (first.runner.as_mut(), first.batch),
        (second.runner.as_mut(), second.batch),
        &first.split,
        &metrics,
        job.first.limit,
        progress,
    )?;
    let comparison = (!metrics.is_empty()).then(|| pair(&first_scores, &second_scores));
    Ok(CompareReport {
        first: first.report(&first_scores),
        second: second.report(&second_scores),
        comparison: comparison.transpose()?,
        agreement,
    })
}
