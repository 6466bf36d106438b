//! Training one model.

mod observer;
mod quantized;
mod stages;

use std::path::{Path, PathBuf};
use std::time::Instant;

use bantam_compress::quantize::aware::AwareSettings;
use bantam_compress::train::sparse::LayerSparsity;
use bantam_compress::train::{Checkpoint, EpochReport, ParameterRule, TrainSettings, Trained};
use bantam_formats::data::Split;
use bantam_formats::onnx::SaveOptions;
use bantam_graph::{Graph, Model};
use serde::Serialize;

use super::{CompareReport, check_writable, score_both};
use crate::{Error, Progress, pipeline};
use observer::Watcher;
use stages::{Course, Stage};

/// What to train and how.
#[derive(Clone)]
pub struct TrainJob {
    /// The model's file.
    pub model: PathBuf,
    /// The data set.
    pub data: PathBuf,
    /// How to train.
    pub settings: TrainSettings,
    /// The model rounds while it is trained, and is quantized in the end.
    pub quantize: Option<AwareSettings>,
    /// What chooses the codes that such training starts from.
    pub algorithms: pipeline::Algorithms,
    /// Bits and epochs of what comes before, out of the epochs of the settings; empty for none.
    pub progressive: Vec<(u32, usize)>,
    /// Number of calibration samples, if it is quantized.
    pub calibration_samples: usize,
    /// The network to learn from.
    pub teacher: Option<PathBuf>,
    /// Where to keep what training resumes from.
    pub checkpoint: PathBuf,
    /// Keep the checkpoint when training is over.
    pub keep_checkpoint: bool,
    /// Steps between checkpoints within an epoch.
    pub checkpoint_steps: Option<u64>,
    /// Go on from the checkpoint, if there is one.
    pub resume: bool,
    /// File for a line of JSON for each step and epoch.
    pub metrics_out: Option<PathBuf>,
    /// Score both models on this split.
    pub score_split: Option<String>,
    /// Score the model after each epoch too; the scores choose nothing.
    pub score_epochs: bool,
    /// Metrics of the scores.
    pub metrics: Vec<String>,
    /// Number of scored samples.
    pub limit: usize,
    /// Where to write the result.
    pub output: PathBuf,
    /// How to write it.
    pub save: SaveOptions,
}

/// What was done.
#[derive(Clone, Debug, Serialize)]
pub struct TrainReport {
    /// The model's file.
    pub model: PathBuf,
    /// The result's file.
    pub output: PathBuf,
    /// Steps.
    pub steps: u64,
    /// Samples of a second, of the median step of the last epoch.
    pub samples_per_second: f64,
    /// Parts of the forward pass, all but the last of which ran twice.
    pub segments: usize,
    /// Time for all but scoring the result.
    pub seconds: f64,
    /// Size of the model in bytes.
    pub bytes_before: u64,
    /// Size of the result in bytes.
    pub bytes_after: u64,
    /// The epochs.
    pub epochs: Vec<EpochReport>,
    /// The first metric after each epoch, if it was asked for.
    pub epoch_scores: Vec<f64>,
    /// Values and constants that are quantized.
    pub quantized: usize,
    /// Zeros of each masked weight, where training is sparse.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sparsity: Vec<LayerSparsity>,
    /// Both models on the test split.
    pub scores: Option<CompareReport>,
}

/// Trains a model: reads, trains on the split `train`, writes, and scores both models.
///
/// # Errors
/// When files, settings and data do not fit together, or when training stops.
pub fn train(job: &TrainJob, progress: &dyn Progress) -> Result<TrainReport, Error> {
    let start = Instant::now();
    super::metrics_by_name(&job.metrics)?;
    check_writable(&job.output)?;
    check_writable(&job.checkpoint)?;
    job.metrics_out.as_deref().map(check_writable).transpose()?;
    let model = pipeline::inline(&pipeline::load(&job.model)?)?.into_owned();
    let split = pipeline::open_split(&job.data, "train", &model.graph)?;
    let course = stages::course(job, &model, &split, progress)?;
    let result = Model {
        graph: course.graph.clone(),
        ..model
    };
    pipeline::export(&result, &job.output, &job.save)?;
    report(job, &course, start.elapsed().as_secs_f64(), progress)
}

/// Trains through one stage.
fn run(
    job: &TrainJob,
    stage: &Stage,
    graph: &Graph,
    split: &Split,
    rules: &[ParameterRule],
    watcher: &mut Watcher<'_>,
) -> Result<Trained, Error> {
    let teacher = job.teacher.as_deref().map(pipeline::load).transpose()?;
    let teacher = teacher.as_ref().map(pipeline::inline).transpose()?;
    let resume = match job.resume && stage.checkpoint.exists() {
        true => Some(read_checkpoint(&stage.checkpoint)?),
        false => None,
    };
    let teacher = teacher.as_deref().map(|teacher| &teacher.graph);
    let trained = pipeline::train(
        graph,
        split,
        &stage.settings,
        rules,
        teacher,
        resume.as_ref(),
        watcher,
    );
    trained.map_err(|error| watcher.explain(error))
}

fn read_checkpoint(path: &Path) -> Result<Checkpoint, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::File {
        path: path.to_owned(),
        action: "cannot be read",
        source,
        hint: "start anew without --resume",
    })?;
    Ok(Checkpoint::from_bytes(&bytes)?)
}

fn report(
    job: &TrainJob,
    course: &Course,
    seconds: f64,
    progress: &dyn Progress,
) -> Result<TrainReport, Error> {
    let trained = &course.trained;
    let scores = job.score_split.as_ref().map(|split| {
        let models = (job.model.as_path(), job.output.as_path());
        score_both(
            models,
            Some(&job.data),
            split,
            (&job.metrics, job.limit),
            progress,
        )
    });
    Ok(TrainReport {
        model: job.model.clone(),
        output: job.output.clone(),
        steps: trained.steps,
        samples_per_second: trained
            .history
            .last()
            .map_or(0.0, |epoch| epoch.samples_per_second),
        segments: trained.segments,
        seconds,
        bytes_before: super::model_bytes(&job.model),
        bytes_after: super::model_bytes(&job.output),
        epochs: trained.history.clone(),
        epoch_scores: course.scores.clone(),
        quantized: course.quantized,
        sparsity: trained.sparsity.clone(),
        scores: scores.transpose()?,
    })
}
