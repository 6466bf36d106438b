//! Two models side by side.

use std::path::PathBuf;

use bantam_compress::evaluate::{Comparison, compare as pair};
use serde::Serialize;

use super::eval::score;
use super::{EvalJob, RuntimeChoice, ScoreReport};
use crate::{Error, Progress};

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
    /// The paired comparison.
    pub comparison: Comparison,
}

/// Scores two models on the same samples.
pub fn compare(job: &CompareJob, progress: &dyn Progress) -> Result<CompareReport, Error> {
    let (first, first_scores) = score(&job.first, progress)?;
    let second = EvalJob {
        model: job.second.clone(),
        runtime: job.second_runtime,
        ..job.first.clone()
    };
    let (second, second_scores) = score(&second, progress)?;
    Ok(CompareReport {
        first,
        second,
        comparison: pair(&first_scores, &second_scores)?,
    })
}
