//! Why a model loses accuracy when it is quantized.

use std::path::{Path, PathBuf};
use std::time::Instant;

use bantam_compress::analyze::{Analysis, Diagnosis, Evidence};
use bantam_compress::quantize::aware::AwareSettings;
use bantam_formats::data::sample_indices;
use bantam_tensor::Samples;
use serde::Serialize;

use crate::{Error, Progress, pipeline, report};

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
    /// A folder for a picture of the ranges of each layer's channels.
    pub plots: Option<PathBuf>,
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
    if let Some(folder) = &job.plots {
        std::fs::create_dir_all(folder).map_err(|source| cannot(folder, source))?;
    }
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
    let evidence = Evidence {
        samples: &split,
        indices: &indices,
        compared,
        batch_size: pipeline::batch_size(&model.graph, pipeline::BATCH),
        seed: job.seed,
    };
    let report = |done: usize, all: usize| {
        if done == 0 {
            progress.start("layers", all);
        }
        progress.at(done);
    };
    let layers = analysis.diagnose(&stats, &evidence, job.tries, &report)?;
    progress.finish();
    if let Some(folder) = &job.plots {
        plot(folder, &layers)?;
    }
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

/// A picture of each layer, in the order of the report.
fn plot(folder: &Path, layers: &[Diagnosis]) -> Result<(), Error> {
    for (place, layer) in layers.iter().enumerate() {
        let path = folder.join(report::file_name(place, &layer.layer));
        crate::write_whole(&path, report::picture(layer).as_bytes())?;
    }
    Ok(())
}

fn cannot(path: &Path, source: std::io::Error) -> Error {
    Error::File {
        path: path.to_owned(),
        action: "cannot be made",
        source,
        hint: "give --plots a folder that can be written to",
    }
}
