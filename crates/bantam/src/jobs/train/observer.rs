//! What training tells the user, and the files that it keeps.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use bantam_compress::evaluate::Runner;
use bantam_compress::train::{Checkpoint, EpochReport, Observer, StepReport, TrainError, Trained};
use bantam_graph::{Graph, Model};
use serde::Serialize;

use super::stages::Stage;
use super::{TrainJob, read_checkpoint};
use crate::{Error, NoProgress, Progress, pipeline, write_whole};

type Told = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Draws the progress bar, writes metrics and checkpoints, and scores epochs.
pub(super) struct Watcher<'a> {
    job: &'a TrainJob,
    model: &'a Model,
    progress: &'a dyn Progress,
    metrics: Option<File>,
    checkpoint: PathBuf,
    /// Steps and epochs of the stages before.
    before: (u64, usize),
    started: bool,
    has_checkpoint: bool,
    /// Mean time of a step so far.
    pace: f64,
    /// The first metric after each epoch.
    pub(super) scores: Vec<f64>,
}

#[derive(Serialize)]
struct EpochLine {
    #[serde(flatten)]
    report: EpochReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
}

impl<'a> Watcher<'a> {
    pub(super) fn new(
        job: &'a TrainJob,
        model: &'a Model,
        stages: &[Stage],
        progress: &'a dyn Progress,
    ) -> Result<Watcher<'a>, Error> {
        Ok(Watcher {
            job,
            model,
            progress,
            metrics: (job.metrics_out.as_deref())
                .map(|path| open_metrics(path, done(job, stages)?))
                .transpose()?,
            checkpoint: job.checkpoint.clone(),
            before: (0, 0),
            started: false,
            has_checkpoint: false,
            pace: 0.0,
            scores: Vec::new(),
        })
    }

    /// A stage begins after others.
    pub(super) fn begin(&mut self, stage: &Stage, before: Option<&Trained>) {
        self.checkpoint.clone_from(&stage.checkpoint);
        self.has_checkpoint = self.job.resume && stage.checkpoint.exists();
        self.before = before.map_or((0, 0), |trained| (trained.steps, trained.history.len()));
        self.started = false;
    }

    /// The error, with where the last good weights are.
    pub(super) fn explain(&self, error: TrainError) -> Error {
        match error {
            TrainError::NotFinite { .. } if self.has_checkpoint => Error::Usage {
                message: error.to_string(),
                hint: last_good(&self.checkpoint),
            },
            error => error.into(),
        }
    }

    fn write(&mut self, line: &impl Serialize) -> Told {
        if let Some(file) = &mut self.metrics {
            let mut text = serde_json::to_string(line)?;
            text.push('\n');
            file.write_all(text.as_bytes())?;
        }
        Ok(())
    }

    /// The first metric of the model as it is.
    fn score(&self, graph: Graph) -> Result<Option<f64>, Error> {
        let (true, Some(split)) = (self.job.score_epochs, &self.job.score_split) else {
            return Ok(None);
        };
        let metrics = super::super::metrics_by_name(&self.job.metrics)?;
        let model = Model {
            graph,
            ..self.model.clone()
        };
        let samples = pipeline::open_split(&self.job.data, split, &model.graph)?;
        let mut runner: Box<dyn Runner> = Box::new(pipeline::compile(&model)?);
        let batch = pipeline::batch_size(&model.graph, pipeline::BATCH);
        let scores = pipeline::evaluate(
            runner.as_mut(),
            &samples,
            &metrics,
            (self.job.limit, batch),
            &NoProgress,
        )?;
        Ok(scores.metrics.first().map(|(_, estimate, _)| estimate.value))
    }
}

/// Steps and epochs that training goes on after.
fn done(job: &TrainJob, stages: &[Stage]) -> Result<(u64, usize), Error> {
    let mut done = (0, 0);
    for stage in stages
        .iter()
        .filter(|stage| job.resume && stage.checkpoint.exists())
    {
        let (steps, epochs) = read_checkpoint(&stage.checkpoint)?.done()?;
        done = (done.0 + steps, done.1 + epochs);
    }
    Ok(done)
}

/// The file of metrics, with the lines of what is done.
fn open_metrics(path: &Path, (steps, epochs): (u64, usize)) -> Result<File, Error> {
    let is_done = |line: &&str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        match (line["step"].as_u64(), line["epoch"].as_u64()) {
            (Some(step), _) => step <= steps,
            (None, epoch) => epoch.is_some_and(|epoch| epoch <= epochs as u64),
        }
    };
    let file = match (steps, epochs) {
        (0, 0) => File::create(path),
        _ => {
            let before = std::fs::read_to_string(path).unwrap_or_default();
            let kept = before.lines().filter(is_done).map(|line| format!("{line}\n"));
            write_whole(path, kept.collect::<String>().as_bytes())?;
            File::options().append(true).open(path)
        }
    };
    file.map_err(|source| Error::File {
        path: path.to_owned(),
        action: "cannot be written",
        source,
        hint: "choose a file in a folder that exists",
    })
}

/// Where to find what was good.
fn last_good(checkpoint: &Path) -> String {
    format!("the last good weights are in {}", checkpoint.display())
}

impl Observer for Watcher<'_> {
    fn step(&mut self, report: &StepReport) -> Told {
        if !self.started {
            self.progress.start("train", report.steps as usize);
            self.started = true;
            self.pace = report.seconds;
        }
        self.pace += 0.1 * (report.seconds - self.pace);
        self.progress.at(report.step as usize);
        let accuracy = report
            .accuracy
            .map_or(String::new(), |share| format!(", {:.2}% right", share * 100.0));
        self.progress.note(&format!(
            "epoch {}, loss {:.4}{accuracy}, {:.0} samples/s",
            report.epoch + self.before.1 + 1,
            report.loss,
            report.samples as f64 / self.pace,
        ));
        let (steps, epochs) = self.before;
        self.write(&StepReport {
            step: report.step + steps,
            steps: report.steps + steps,
            epoch: report.epoch + epochs,
            ..*report
        })
    }

    fn epoch(&mut self, report: &EpochReport, model: &dyn Fn() -> Graph) -> Told {
        let score = self.score(model())?;
        self.scores.extend(score);
        let report = EpochReport {
            epoch: report.epoch + self.before.1,
            ..report.clone()
        };
        self.write(&EpochLine { report, score })
    }

    fn wants_checkpoint(&self, steps: u64) -> bool {
        self.job
            .checkpoint_steps
            .is_some_and(|every| steps.is_multiple_of(every.max(1)))
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Told {
        write_whole(&self.checkpoint, &checkpoint.to_bytes())?;
        self.has_checkpoint = true;
        Ok(())
    }
}
