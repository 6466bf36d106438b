//! Fitting a model of time to this machine, and checking one.

use std::path::{Path, PathBuf};

use bantam_compress::target::cost::{CostModel, Timed, fit as fit_model, work};
use bantam_compress::target::{Target, target_by_name};
use bantam_graph::infer_shapes;
use serde::Serialize;

use super::{BenchJob, inputs, pool, rounds_of};
use crate::jobs::RuntimeChoice;
use crate::{Error, Progress, pipeline, write_whole};

/// What to time, to fit a model or to check one.
#[derive(Clone, Debug)]
pub struct FitJob {
    /// The models' files.
    pub models: Vec<PathBuf>,
    /// Samples that run at once, each number in turn.
    pub batches: Vec<usize>,
    /// How to time: runtime, threads, rounds, seed.
    pub bench: BenchJob,
}

/// Times, and what a model says of them.
#[derive(Clone, Debug, Serialize)]
pub struct FitReport {
    /// The runtime.
    pub runtime: String,
    /// Threads.
    pub threads: usize,
    /// The model.
    pub model: CostModel,
    /// Each run.
    pub runs: Vec<FitRun>,
    /// Median share by which the model misses these times.
    pub error: f64,
    /// The same of networks that it was not fitted to, each by a model of all others, where it was fitted to three or more.
    pub error_unseen: Option<f64>,
}

/// A timed run.
#[derive(Clone, Debug, Serialize)]
pub struct FitRun {
    /// The model's file.
    pub model: PathBuf,
    /// Samples in a run.
    pub batch: usize,
    /// The shortest of all rounds: what other work adds to the others is nothing of the target's.
    pub measured_ms: f64,
    /// What the model says.
    pub modelled_ms: f64,
}

/// Fits a model of time, and writes it to a file for `compress`.
///
/// # Errors
/// When a model cannot be run, or there are too few runs.
pub fn fit(job: &FitJob, output: &Path, progress: &dyn Progress) -> Result<FitReport, Error> {
    crate::jobs::check_writable(output)?;
    let (runtime, target) = clock(job)?;
    let runs = timed(job, runtime, target, progress)?;
    let (kinds, times): (Vec<(PathBuf, usize)>, Vec<Timed>) = runs.into_iter().unzip();
    let unfitted = CostModel {
        version: CostModel::VERSION,
        target: target.name.to_owned(),
        source: format!("fitted to {} runs on {}", times.len(), processor()),
        threads: job.bench.threads,
        seconds_per_operation: Vec::new(),
        seconds_per_sum: 0.0,
        seconds_per_element: 0.0,
        seconds_per_byte: 0.0,
        seconds_per_node: 0.0,
        seconds_per_run: 0.0,
        far_constants: None,
    };
    let fitted = fit_model(&times, &unfitted).map_err(|error| Error::Usage {
        message: error.to_string().replace("\nhint: ", ": "),
        hint: "give more models, float and quantized ones, or more batch sizes, as --batch 1,4,16".to_owned(),
    })?;
    let text = serde_json::to_vec_pretty(&fitted.model).expect("numbers are JSON");
    write_whole(output, &text)?;
    Ok(FitReport {
        runtime: runtime.name().to_owned(),
        threads: job.bench.threads,
        runs: listed(kinds, &times, &fitted.model),
        model: fitted.model,
        error: fitted.error,
        error_unseen: fitted.error_unseen,
    })
}

/// Times networks and says by how much a model misses that.
///
/// # Errors
/// When a model cannot be run, or the model is for another runtime.
pub fn check_cost_model(job: &FitJob, model: CostModel, progress: &dyn Progress) -> Result<FitReport, Error> {
    let (runtime, target) = clock(job)?;
    if model.target != target.name {
        return Err(Error::Usage {
            message: format!(
                "the model of time is for {}, not for {}",
                model.target, target.name
            ),
            hint: format!("--runtime {}, or fit one with --fit", model.target),
        });
    }
    let (kinds, times): (Vec<(PathBuf, usize)>, Vec<Timed>) =
        timed(job, runtime, target, progress)?.into_iter().unzip();
    let runs = listed(kinds, &times, &model);
    let mut missed: Vec<f64> = runs
        .iter()
        .map(|run| (run.modelled_ms / run.measured_ms - 1.0).abs())
        .collect();
    missed.sort_by(f64::total_cmp);
    let middle = missed.len() / 2;
    let error = match missed.len() % 2 {
        0 => (missed[middle - 1] + missed[middle]) / 2.0,
        _ => missed[middle],
    };
    Ok(FitReport {
        runtime: runtime.name().to_owned(),
        threads: job.bench.threads,
        model,
        runs,
        error,
        error_unseen: None,
    })
}

/// Reads a model of time.
///
/// # Errors
/// When there is none in the file.
pub fn read_cost_model(path: &Path) -> Result<CostModel, Error> {
    let text = std::fs::read(path).map_err(|source| Error::File {
        path: path.to_owned(),
        action: "cannot be read",
        source,
        hint: "`bantam bench --fit FILE` writes one",
    })?;
    let wrong = |reason: String| Error::Usage {
        message: format!("{}: no model of time: {reason}", path.display()),
        hint: "`bantam bench --fit FILE` writes one".to_owned(),
    };
    let model: CostModel = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    model.problem().map_or(Ok(model), |problem| Err(wrong(problem)))
}

/// The one runtime that is timed, and its table.
fn clock(job: &FitJob) -> Result<(RuntimeChoice, &'static Target), Error> {
    let [runtime] = job.bench.runtimes[..] else {
        return Err(Error::Usage {
            message: "a model of time is that of one runtime".to_owned(),
            hint: "--runtime onnxruntime".to_owned(),
        });
    };
    let target = target_by_name(runtime.name()).expect("each runtime is a target");
    Ok((runtime, target))
}

/// Each model with each batch size.
fn timed(
    job: &FitJob,
    runtime: RuntimeChoice,
    target: &Target,
    progress: &dyn Progress,
) -> Result<Vec<((PathBuf, usize), Timed)>, Error> {
    pool(&job.bench)?.install(|| {
        let mut runs = Vec::new();
        progress.start("time", job.models.len() * job.batches.len());
        for path in &job.models {
            for batch in &job.batches {
                let bench = BenchJob {
                    model: path.clone(),
                    batch: *batch,
                    ..job.bench.clone()
                };
                runs.push(((path.clone(), *batch), one(&bench, runtime, target)?));
                progress.at(runs.len());
            }
        }
        progress.finish();
        Ok(runs)
    })
}

fn one(job: &BenchJob, runtime: RuntimeChoice, target: &Target) -> Result<Timed, Error> {
    let model = pipeline::load(&job.model)?;
    let inputs = inputs::inputs(job, &model.graph)?;
    let inputs: Vec<_> = inputs
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor.clone()))
        .collect();
    let mut runner = runtime.open(&job.model, job.threads)?;
    let times = rounds_of(runner.as_mut(), &inputs, (job.warm_up, job.rounds), None)?;
    let mut graph = pipeline::prepare(&model)?.graph;
    let shapes: Vec<_> = inputs
        .iter()
        .map(|(name, tensor)| (*name, tensor.shape().to_vec()))
        .collect();
    infer_shapes(
        &mut graph,
        &bantam_graph::InferOptions::default().with_input_shapes(&shapes),
    )?;
    Ok(Timed {
        network: job.model.display().to_string(),
        nodes: work(&graph, target),
        seconds: times.into_iter().fold(f64::INFINITY, f64::min) / 1e3,
    })
}

fn listed(kinds: Vec<(PathBuf, usize)>, times: &[Timed], model: &CostModel) -> Vec<FitRun> {
    let run = |((path, batch), timed): ((PathBuf, usize), &Timed)| FitRun {
        model: path,
        batch,
        measured_ms: 1e3 * timed.seconds,
        modelled_ms: 1e3 * model.seconds(&timed.nodes),
    };
    kinds.into_iter().zip(times).map(run).collect()
}

/// The processor's name, where Linux tells it.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name"));
    let name = line.map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned());
    name.unwrap_or_else(|| "this machine".to_owned())
}
