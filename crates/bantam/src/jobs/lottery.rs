//! Lottery tickets: iterative magnitude pruning with rewinding (Frankle and Carbin 2019, section 2; Frankle
//! et al. 2020, algorithm 2).
//!
//! The network is trained; its smallest weights become zero, the others go back to what they were after the
//! first steps, and training begins again there, until as many weights are zero as are asked for. Each
//! round's file lies in the work folder.

mod rounds;
mod work;

use std::path::{Path, PathBuf};
use std::time::Instant;

use bantam_compress::evaluate::{Comparison, compare};
use bantam_compress::train::TrainSettings;
use bantam_compress::train::sparse::{LayerSparsity, SparsitySettings};
use serde::Serialize;

use super::eval::score;
use super::{EvalJob, RuntimeChoice, ScoreReport, check_writable};
use crate::networks::Initialization;
use crate::{Error, Progress};
use rounds::Rounds;

/// A ticket to find.
#[derive(Clone, Debug)]
pub struct LotteryJob {
    /// The file of a fresh network.
    pub model: PathBuf,
    /// The data set.
    pub data: PathBuf,
    /// How to train in each round.
    pub settings: TrainSettings,
    /// Share of zeros after the last round, what it is counted over, and what is left out.
    pub sparsity: SparsitySettings,
    /// Trainings after the dense one.
    pub rounds: usize,
    /// Steps of the dense training whose weights each round starts from.
    pub rewind_step: u64,
    /// Train the last mask from weights drawn anew in this way, too.
    pub control: Option<Initialization>,
    /// Folder for the files of each round.
    pub work: PathBuf,
    /// Go on behind the rounds in the folder.
    pub resume: bool,
    /// Score on this split.
    pub score_split: String,
    /// Metric of the scores.
    pub metric: String,
    /// Number of scored samples.
    pub limit: usize,
    /// Where to write the ticket: the weights that the last round starts from.
    pub ticket: PathBuf,
    /// Where to write the trained ticket.
    pub output: PathBuf,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct LotteryReport {
    /// The fresh network's file.
    pub model: PathBuf,
    /// The trained ticket's file.
    pub output: PathBuf,
    /// The file of the ticket before training.
    pub ticket: PathBuf,
    /// Steps before the weights that each round starts from.
    pub rewind_step: u64,
    /// The dense training, then each round.
    pub rounds: Vec<RoundReport>,
    /// The last mask with other weights.
    pub control: Option<ControlReport>,
    /// Zeros of each weight of the ticket.
    pub sparsity: Vec<LayerSparsity>,
    /// Time for all.
    pub seconds: f64,
}

/// One training.
#[derive(Clone, Debug, Serialize)]
pub struct RoundReport {
    /// 0 for the dense one.
    pub round: usize,
    /// Share of zeros.
    pub sparsity: f64,
    /// What the trained network scores.
    pub scores: ScoreReport,
}

/// The last mask, trained from weights drawn anew.
#[derive(Clone, Debug, Serialize)]
pub struct ControlReport {
    /// What it scores.
    pub scores: ScoreReport,
    /// The trained ticket (second) against it (first), on the same samples.
    pub comparison: Comparison,
}

/// Finds a ticket, trains it and, if asked, its control, and scores all.
///
/// # Errors
/// When files, settings and data do not fit together, or when training stops.
pub fn lottery(job: &LotteryJob, progress: &dyn Progress) -> Result<LotteryReport, Error> {
    let start = Instant::now();
    check(job)?;
    let rounds = Rounds::new(job, progress)?;
    let trained = rounds.run()?;
    let control = job
        .control
        .map(|initialization| rounds.control(initialization))
        .transpose()?;
    rounds.finish()?;
    let mut reports = Vec::new();
    let mut last = None;
    for (round, (file, sparsity)) in trained.files.iter().enumerate() {
        let (scores, samples) = score(&eval_job(job, file), progress)?;
        reports.push(RoundReport {
            round,
            sparsity: *sparsity,
            scores,
        });
        last = Some(samples);
    }
    let control = control.zip(last).map(|(file, ticket)| {
        let (scores, samples) = score(&eval_job(job, &file), progress)?;
        let comparison = compare(&samples, &ticket)?;
        Ok::<ControlReport, Error>(ControlReport { scores, comparison })
    });
    Ok(LotteryReport {
        model: job.model.clone(),
        output: job.output.clone(),
        ticket: job.ticket.clone(),
        rewind_step: job.rewind_step,
        rounds: reports,
        control: control.transpose()?,
        sparsity: trained.sparsity,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// Fails early where the work would be in vain.
fn check(job: &LotteryJob) -> Result<(), Error> {
    super::metrics_by_name(std::slice::from_ref(&job.metric))?;
    check_writable(&job.output)?;
    check_writable(&job.ticket)?;
    let usage = |message: &str, hint: &str| {
        Err(Error::Usage {
            message: message.to_owned(),
            hint: hint.to_owned(),
        })
    };
    if job.rounds == 0 {
        return usage("a lottery needs a round", "--rounds 5");
    }
    let share = job.sparsity.amount.share();
    if !(share > 0.0 && share < 1.0) {
        return usage(
            "`sparsity` must be above 0% and below 100%",
            "90% leaves one weight in ten",
        );
    }
    Ok(())
}

fn eval_job(job: &LotteryJob, model: &Path) -> EvalJob {
    EvalJob {
        model: model.to_owned(),
        data: job.data.clone(),
        split: job.score_split.clone(),
        metrics: vec![job.metric.clone()],
        runtime: RuntimeChoice::Bantam,
        limit: job.limit,
        batch: None,
        threads: 0,
    }
}
