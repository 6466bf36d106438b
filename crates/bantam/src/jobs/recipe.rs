//! Steps one after another: each takes the file that the one before it left.

use std::path::{Path, PathBuf};
use std::time::Instant;

use bantam_formats::data::DataSet;
use serde::{Deserialize, Serialize};

use super::compress::Workspace;
use super::{
    CompareReport, CompressJob, ExportJob, PruneJob, QuantizeJob, TrainJob, check_writable, compress, export,
    model_bytes, prune, quantize, score_both, train,
};
use crate::files::{digest, model_digest};
use crate::{Error, Progress, pipeline, write_whole};

/// What to do in a row.
pub struct RecipeJob {
    /// The model's file.
    pub model: PathBuf,
    /// The data set.
    pub data: Option<PathBuf>,
    /// The steps; models, outputs and checkpoints of their jobs are set when they run.
    pub steps: Vec<RecipeStep>,
    /// The recipe with every setting, which is written beside the result.
    pub resolved: String,
    /// Score both models on this split.
    pub score_split: Option<String>,
    /// Metrics of the scores.
    pub metrics: Vec<String>,
    /// Number of scored samples.
    pub limit: usize,
    /// Where to write the result.
    pub output: PathBuf,
}

/// A step.
pub struct RecipeStep {
    /// What it is called in the recipe.
    pub name: String,
    /// What it does.
    pub work: Work,
}

/// What a step does.
pub enum Work {
    /// Weights, channels or layers go.
    Prune(Box<PruneJob>),
    /// Weights learn.
    Train(Box<TrainJob>),
    /// Numbers become codes.
    Quantize(Box<QuantizeJob>),
    /// Codes become numbers again.
    Export(Box<ExportJob>),
    /// Bits and channels are chosen together, under a budget.
    Search(Box<CompressJob>),
}

/// What was done.
#[derive(Clone, Debug, Serialize)]
pub struct RecipeReport {
    /// The model's file.
    pub model: PathBuf,
    /// The result's file.
    pub output: PathBuf,
    /// The recipe with every setting, with which the result can be made again.
    pub recipe: PathBuf,
    /// The steps.
    pub steps: Vec<StepDone>,
    /// Size of the model in bytes.
    pub bytes_before: u64,
    /// Size of the result in bytes.
    pub bytes_after: u64,
    /// Time for all but scoring.
    pub seconds: f64,
    /// Both models on the test split.
    pub scores: Option<CompareReport>,
}

/// A step that is done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepDone {
    /// What it is called in the recipe.
    pub name: String,
    /// Bytes of what it left.
    pub bytes: u64,
    /// Time.
    pub seconds: f64,
    /// What to know before shipping the result.
    pub warnings: Vec<String>,
}

/// Runs a recipe. Steps that were done before an interruption are not done again.
///
/// # Errors
/// When a step fails, or files cannot be written.
pub fn recipe(job: &RecipeJob, progress: &dyn Progress) -> Result<RecipeReport, Error> {
    let start = Instant::now();
    super::metrics_by_name(&job.metrics)?;
    check_writable(&job.output)?;
    let data = job
        .data
        .as_deref()
        .map(|data| DataSet::open(data)?.files())
        .transpose()?;
    let data_hash = digest(&[], &data.unwrap_or_default())?;
    let model_hash = model_digest(&job.model)?;
    let version = env!("CARGO_PKG_VERSION");
    let key = digest(&[&job.resolved, &data_hash, &model_hash, version], &[])?;
    let beside = |ending: &str| PathBuf::from(format!("{}{ending}", job.output.display()));
    let workspace = Workspace::open(beside(".steps"), &key)?;
    let mut steps = Vec::new();
    let mut current = job.model.clone();
    for (index, step) in job.steps.iter().enumerate() {
        let file = workspace.file(&format!("{}-{}.onnx", index + 1, step.name));
        progress.say(&format!(
            "step {} of {}: {}",
            index + 1,
            job.steps.len(),
            step.name
        ));
        steps.push(workspace.cached(&format!("{}", index + 1), || step.run(&current, &file, progress))?);
        current = file;
    }
    pipeline::export(&pipeline::load(&current)?, &job.output, &Default::default())?;
    let recipe = beside(".recipe.toml");
    let made = format!(
        "# Made by bantam {version} of a model with digest {model_hash}\n# and data with digest {data_hash}.\n"
    );
    write_whole(&recipe, (made + &job.resolved).as_bytes())?;
    workspace.remove()?;
    let seconds = start.elapsed().as_secs_f64();
    let scores = job.score_split.as_ref().map(|split| {
        let models = (job.model.as_path(), job.output.as_path());
        score_both(
            models,
            job.data.as_deref(),
            split,
            (&job.metrics, job.limit),
            progress,
        )
    });
    Ok(RecipeReport {
        model: job.model.clone(),
        output: job.output.clone(),
        recipe,
        steps,
        bytes_before: model_bytes(&job.model),
        bytes_after: model_bytes(&job.output),
        seconds,
        scores: scores.transpose()?,
    })
}

impl RecipeStep {
    fn run(&self, model: &Path, output: &Path, progress: &dyn Progress) -> Result<StepDone, Error> {
        let start = Instant::now();
        let warnings = self.work.run(model.to_owned(), output.to_owned(), progress)?;
        Ok(StepDone {
            name: self.name.clone(),
            bytes: model_bytes(output),
            seconds: start.elapsed().as_secs_f64(),
            warnings,
        })
    }
}

impl Work {
    fn run(&self, model: PathBuf, output: PathBuf, progress: &dyn Progress) -> Result<Vec<String>, Error> {
        Ok(match self {
            Work::Prune(job) => {
                let output = Some(output);
                prune(
                    &PruneJob {
                        model,
                        output,
                        ..*job.clone()
                    },
                    progress,
                )?
                .warnings
            }
            Work::Quantize(job) => {
                quantize(
                    &QuantizeJob {
                        model,
                        output,
                        ..*job.clone()
                    },
                    progress,
                )?
                .warnings
            }
            Work::Export(job) => {
                export(
                    &ExportJob {
                        model,
                        output,
                        ..*job.clone()
                    },
                    progress,
                )?;
                Vec::new()
            }
            Work::Search(job) => {
                compress(
                    &CompressJob {
                        model,
                        output,
                        ..*job.clone()
                    },
                    progress,
                )?
                .warnings
            }
            Work::Train(job) => {
                let checkpoint = output.with_extension("checkpoint");
                let job = TrainJob {
                    model,
                    output,
                    checkpoint,
                    resume: true,
                    ..*job.clone()
                };
                train(&job, progress)?;
                Vec::new()
            }
        })
    }
}
