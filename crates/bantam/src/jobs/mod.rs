//! Whole jobs, as the commands run them: the pipeline's functions put together, with a report at the end.

mod analyze;
mod bench;
mod blocks;
mod compare;
mod compress;
mod corruptions;
mod coupling;
mod eval;
mod export;
mod generate;
mod inspect;
mod lottery;
mod new;
mod prune;
mod quantize;
mod recipe;
mod target;
mod train;

pub use analyze::{AnalyzeJob, AnalyzeReport, analyze};
pub use bench::{
    BENCHMARKS, BenchJob, BenchReport, Benchmark, Energy, EnergySource, FitJob, FitReport, FitRun, Latency,
    Peak, ProtocolJob, ProtocolReport, Quality, RuntimeReport, StepReport, StreamRun, bench,
    check_cost_model, fit, program, protocol, read_cost_model,
};
pub use compare::{CompareJob, CompareReport, compare};
pub use compress::{Budget, CompressJob, CompressReport, Minimize, Side, compress};
pub use corruptions::{
    ComparedCorruptions, ComparedRow, CorruptionRow, CorruptionSettings, CorruptionsReport,
    compare_corrupted, eval_corrupted,
};
pub use coupling::{AxisReport, CouplingReport, GroupReport, LockedReport, couplings};
pub use eval::{EvalJob, EvalReport, eval};
pub use export::{ExportJob, ExportReport, GgufTypes, Importance, Replaced, export};
pub use generate::{GenerateJob, GenerateReport, generate};
pub use inspect::{InspectReport, NodeReport, Port, inspect};
pub use lottery::{ControlReport, LotteryJob, LotteryReport, RoundReport, lottery};
pub use new::{NewJob, NewReport, ReinitializeJob, new, reinitialize};
pub use prune::{
    Costs, LatencyTarget, MeasuredLatency, PruneJob, PruneReport, PrunedLayer, Pruning, Sizes,
    constant_bytes, prune, usual_loss_of,
};
pub use quantize::{Codes, Kept, QuantizeJob, QuantizeReport, Rescaling, quantize};
pub use recipe::{RecipeJob, RecipeReport, RecipeStep, StepDone, Work, recipe};
pub use train::{TrainJob, TrainReport, train};

use std::path::{Path, PathBuf};

use bantam_compress::evaluate::{Estimate, Metric, Runner, Scores};
use serde::Serialize;

use crate::{Error, Progress, pipeline, runtime};

/// What runs a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeChoice {
    /// Our own executor.
    Bantam,
    /// Another runtime, if it is present.
    External(runtime::RuntimeKind),
}

impl RuntimeChoice {
    /// The names that users write.
    pub const NAMES: &[(&str, RuntimeChoice)] = &[
        ("bantam", RuntimeChoice::Bantam),
        (
            "onnxruntime",
            RuntimeChoice::External(runtime::RuntimeKind::OnnxRuntime),
        ),
        (
            "openvino",
            RuntimeChoice::External(runtime::RuntimeKind::OpenVino),
        ),
    ];

    /// The runtime with this name.
    pub fn by_name(name: &str) -> Result<RuntimeChoice, Error> {
        let found = RuntimeChoice::NAMES.iter().find(|(known, _)| *known == name);
        let unknown = || {
            Error::unknown_name(
                "runtime",
                name,
                RuntimeChoice::NAMES.iter().map(|(name, _)| *name),
            )
        };
        found.map(|(_, choice)| *choice).ok_or_else(unknown)
    }

    /// The name that users write.
    pub fn name(self) -> &'static str {
        let found = RuntimeChoice::NAMES.iter().find(|(_, choice)| *choice == self);
        found.map_or("bantam", |(name, _)| name)
    }

    /// Opens a model for running with `threads` threads.
    pub fn open(self, model: &Path, threads: usize) -> Result<Box<dyn Runner>, Error> {
        Ok(match self {
            RuntimeChoice::Bantam => Box::new(pipeline::compile(&pipeline::load(model)?)?),
            RuntimeChoice::External(_) if bantam_formats::format_of(model).name() != "onnx" => {
                return Err(Error::Usage {
                    message: format!("{} is no ONNX file, which other runtimes need", model.display()),
                    hint: "write one with `bantam export MODEL -o FILE.onnx`".to_owned(),
                });
            }
            RuntimeChoice::External(kind) => runtime::open(kind, model, threads)?,
        })
    }
}

/// The scores of one model.
#[derive(Clone, Debug, Serialize)]
pub struct ScoreReport {
    /// The file.
    pub model: PathBuf,
    /// What ran it.
    pub runtime: String,
    /// By metric name.
    pub metrics: std::collections::BTreeMap<String, Estimate>,
    /// Number of samples.
    pub samples: usize,
    /// Time in the runtime, without reading data.
    pub seconds: f64,
    /// Size of the model's file or files.
    pub bytes: u64,
}

impl ScoreReport {
    fn new(model: &Path, runtime: &str, scores: &Scores) -> ScoreReport {
        let metrics = scores
            .metrics
            .iter()
            .map(|(name, estimate, _)| ((*name).to_owned(), *estimate));
        ScoreReport {
            model: model.to_owned(),
            runtime: runtime.to_owned(),
            metrics: metrics.collect(),
            samples: scores.samples,
            seconds: scores.seconds,
            bytes: model_bytes(model),
        }
    }
}

/// Scores a model and what was made of it on the same samples, in our own executor.
fn score_both(
    (before, after): (&Path, &Path),
    data: Option<&Path>,
    split: &str,
    (metrics, limit): (&[String], usize),
    progress: &dyn Progress,
) -> Result<CompareReport, Error> {
    let data = data.ok_or_else(scoring_needs_data)?;
    let first = EvalJob {
        model: before.to_owned(),
        data: data.to_owned(),
        split: split.to_owned(),
        metrics: metrics.to_vec(),
        runtime: RuntimeChoice::Bantam,
        limit,
        batch: None,
        threads: 0,
    };
    let job = CompareJob {
        first,
        second: after.to_owned(),
        second_runtime: RuntimeChoice::Bantam,
    };
    compare(&job, progress)
}

fn scoring_needs_data() -> Error {
    Error::Usage {
        message: "scoring needs data".to_owned(),
        hint: "give --data FILE, or --no-eval to skip scoring".to_owned(),
    }
}

/// Fails early where the result could not be written, instead of after the work.
fn check_writable(path: &Path) -> Result<(), Error> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let probe = tempfile::Builder::new().prefix(".bantam-").tempfile_in(folder);
    let hint = "choose an output in a folder that exists and can be written";
    let fail = |source| Error::File {
        path: path.to_owned(),
        action: "cannot be written",
        source,
        hint,
    };
    if path.exists() && !path.is_file() {
        // Renaming the complete file would replace a device like `/dev/null`.
        return Err(fail(std::io::Error::other("it is not a regular file")));
    }
    probe.map(drop).map_err(fail)
}

/// Size of a model on disk, external data included.
pub fn model_bytes(model: &Path) -> u64 {
    bantam_formats::format_of(model).bytes(model)
}

/// The metrics with these names.
pub fn metrics_by_name(names: &[String]) -> Result<Vec<&'static dyn Metric>, Error> {
    use bantam_compress::evaluate::{METRICS, metric_by_name};
    let find = |name: &String| {
        metric_by_name(name)
            .ok_or_else(|| Error::unknown_name("metric", name, METRICS.iter().map(|m| m.name())))
    };
    names.iter().map(find).collect()
}
