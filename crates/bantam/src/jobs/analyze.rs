//! Why a model loses accuracy when it is quantized.

use std::path::PathBuf;
use std::time::Instant;

use bantam_compress::analyze::{Analysis, Diagnosis};
use bantam_compress::quantize::aware::AwareSettings;
use bantam_compress::stats::ObserveError;
use bantam_formats::data::sample_indices;
use bantam_tensor::{Batch, Samples};
use serde::Serialize;

use crate::{Error, Progress, pipeline};

/// What to analyze, for which formats.
#[derive(Clone)]
pub struct AnalyzeJob {
    /// The model's file.
    pub model: PathBuf,
    /// The data set; its split `train` is read, and no labels.
    pub data: PathBuf,
    /// How it would be quantized.
    pub settings: AwareSettings,
    /// Number of calibration samples.
    pub samples: usize,
    /// Number of those that outputs are compared on.
    pub compared: usize,
    /// Number of layers whose remedies are tried.
    pub tries: usize,
    /// Chooses the samples.
    pub seed: u64,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct AnalyzeReport {
    /// The model's file.
    pub model: PathBuf,
    /// Number format of weights.
    pub weights: &'static str,
    /// Number format of activations.
    pub activations: &'static str,
    /// Number of calibration samples.
    pub samples: usize,
    /// Number of those that outputs were compared on.
    pub compared: usize,
    /// Time.
    pub seconds: f64,
    /// The layers, those that move the answers most first.
    pub layers: Vec<Diagnosis>,
}

/// Quantizes one layer at a time, and says what is wrong with those that move the answers.
///
/// # Errors
/// When settings, model and data do not fit together.
pub fn analyze(job: &AnalyzeJob, progress: &dyn Progress) -> Result<AnalyzeReport, Error> {
    let start = Instant::now();
    let model = pipeline::prepare(&pipeline::load(&job.model)?)?;
    let split = pipeline::open_split(&job.data, "train", &model.graph)?;
    let indices = sample_indices(split.len(), job.samples, job.seed);
    let analysis = Analysis::new(&model.graph, &job.settings)?;
    let stats = pipeline::watched(
        analysis.observed(),
        &split,
        &analysis.requests(),
        &indices,
        progress,
    )?;
    let compared = &indices[..indices.len().min(job.compared)];
    let cut = pipeline::batch_size(&model.graph, pipeline::BATCH).cut(compared);
    let batches: Result<Vec<Batch>, _> = cut.map(|(indices, _)| split.batch(&indices)).collect();
    let batches = batches.map_err(ObserveError::from)?;
    if batches.is_empty() {
        return Err(ObserveError::Empty.into());
    }
    let report = |done: usize, all: usize| {
        if done == 0 {
            progress.start("layers", all);
        }
        progress.at(done);
    };
    let layers = analysis.diagnose(&stats, &batches, job.tries, &report)?;
    progress.finish();
    let settings = &job.settings;
    Ok(AnalyzeReport {
        model: job.model.clone(),
        weights: settings.quantize.weights.name(),
        activations: match settings.float_activations {
            true => "float",
            false => settings.quantize.activations.name(),
        },
        samples: indices.len(),
        compared: compared.len(),
        seconds: start.elapsed().as_secs_f64(),
        layers,
    })
}
