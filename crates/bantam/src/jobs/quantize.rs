//! Quantizing one model.

mod codes;
mod deferred;
mod groups;
mod rescaling;

use std::path::{Path, PathBuf};
use std::time::Instant;

use bantam_compress::measure_layer_errors;
use bantam_compress::plan::{Action, Plan};
use bantam_compress::quantize::groups::GroupSettings;
use bantam_compress::quantize::{Method, QuantizeSettings};
use bantam_compress::stats::Stats;
use bantam_compress::target::ScaleForm;
use bantam_formats::onnx::SaveOptions;
use bantam_graph::{Graph, Model};
use bantam_tensor::Samples;
use serde::Serialize;

use super::target::{check_memory, check_ops};
use super::{CompareReport, check_writable, score_both};
use crate::{Error, Progress, pipeline};
pub use codes::Codes;
pub use rescaling::Rescaling;

/// What to quantize and how.
#[derive(Clone)]
pub struct QuantizeJob {
    /// The model's file.
    pub model: PathBuf,
    /// The data set; not needed by methods that observe nothing, when nothing is scored.
    pub data: Option<PathBuf>,
    /// The method.
    pub method: &'static dyn Method,
    /// Its settings.
    pub settings: QuantizeSettings,
    /// How codes are chosen, where it is not by the nearest value alone; then the method is `static`.
    pub codes: Option<Codes>,
    /// Weights in groups and nothing else, where this is asked; then neither the method nor `codes` counts.
    pub groups: Option<GroupSettings>,
    /// What moves between constants first.
    pub rescaling: Rescaling,
    /// Number of calibration samples.
    pub samples: usize,
    /// Chooses them.
    pub seed: u64,
    /// Split to calibrate on.
    pub calibration_split: String,
    /// A plan made before, which is applied instead of a new one.
    pub plan: Option<PathBuf>,
    /// Where to write the plan.
    pub plan_out: Option<PathBuf>,
    /// Score both models on this split.
    pub score_split: Option<String>,
    /// Metrics of the scores.
    pub metrics: Vec<String>,
    /// Number of scored samples.
    pub limit: usize,
    /// Where to write the result.
    pub output: PathBuf,
    /// Go on with an unfinished result, if there is one; for weights in groups that are rounded to nearest.
    pub resume: bool,
    /// How to write it.
    pub save: SaveOptions,
}

/// What was done.
#[derive(Clone, Debug, Serialize)]
pub struct QuantizeReport {
    /// The model's file.
    pub model: PathBuf,
    /// The result's file.
    pub output: PathBuf,
    /// The method.
    pub method: String,
    /// The target.
    pub target: String,
    /// Number of calibration samples.
    pub samples: usize,
    /// Size of the model in bytes.
    pub bytes_before: u64,
    /// Size of the result in bytes.
    pub bytes_after: u64,
    /// Time for all but scoring.
    pub seconds: f64,
    /// Values and constants that are quantized.
    pub quantized: usize,
    /// Nodes that stay in float, with the reason.
    pub kept: Vec<Kept>,
    /// Constants whose scale moved to or from others.
    pub rescaled: usize,
    /// Nodes whose channels kept their scale although scales were to move, with the reason.
    pub unmoved: Vec<Kept>,
    /// What to know before shipping the result.
    pub warnings: Vec<String>,
    /// Both models on the test split.
    pub scores: Option<CompareReport>,
}

/// A node that something was not done to.
#[derive(Clone, Debug, Serialize)]
pub struct Kept {
    /// The node, by its first output.
    pub node: String,
    /// Why.
    pub why: String,
}

/// Samples that the error of each layer is measured on.
const ERROR_SAMPLES: usize = 16;

/// Quantizes a model: calibrates, plans, rewrites, writes, and scores both models.
pub fn quantize(job: &QuantizeJob, progress: &dyn Progress) -> Result<QuantizeReport, Error> {
    let start = Instant::now();
    super::metrics_by_name(&job.metrics)?;
    check_writable(&job.output)?;
    job.plan_out.as_deref().map(check_writable).transpose()?;
    check_scales(job)?;
    let mut told = warnings(job);
    let (plan, samples) = match deferred::quantize(job, progress)? {
        Some(plan) => (plan, 0),
        None => {
            let (plan, samples, rewritten) = in_memory(job, &mut told, progress)?;
            pipeline::export(&rewritten, &job.output, &job.save)?;
            (plan, samples)
        }
    };
    if let Some(path) = &job.plan_out {
        write_plan(&plan, path)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let scores = job
        .score_split
        .as_ref()
        .map(|split| {
            let models = (job.model.as_path(), job.output.as_path());
            score_both(
                models,
                job.data.as_deref(),
                split,
                (&job.metrics, job.limit),
                progress,
            )
        })
        .transpose()?;
    let count = |wanted: fn(&Action) -> bool| plan.decisions.iter().filter(|it| wanted(&it.action)).count();
    Ok(QuantizeReport {
        model: job.model.clone(),
        output: job.output.clone(),
        method: plan.method.clone(),
        target: plan.target.clone(),
        samples,
        bytes_before: super::model_bytes(&job.model),
        bytes_after: super::model_bytes(&job.output),
        seconds,
        quantized: count(Action::quantizes),
        kept: with_reasons(&plan, &Action::Keep),
        rescaled: count(|action| matches!(action, Action::ScaleConstant { .. })),
        unmoved: with_reasons(&plan, &Action::KeepScale),
        warnings: told,
        scores,
    })
}

/// The plan, the number of samples that were looked at, and the quantized model.
fn in_memory(
    job: &QuantizeJob,
    told: &mut Vec<String>,
    progress: &dyn Progress,
) -> Result<(Plan, usize, Model), Error> {
    // Small models are done before there is anything to go on with.
    if job.resume && !job.groups.as_ref().is_some_and(GroupSettings::is_plain) {
        return Err(Error::Usage {
            message: "--resume goes on with weights in groups that are rounded to nearest alone".to_owned(),
            hint: "leave it out".to_owned(),
        });
    }
    let model = pipeline::prepare(&pipeline::load(&job.model)?)?;
    told.extend(check_target(job, &model.graph, progress)?);
    if let Some(path) = &job.plan {
        let plan = without_pruning(read_plan(path)?, path)?;
        let rewritten = pipeline::rewrite(&model, &plan)?;
        return Ok((plan, 0, rewritten));
    }
    let (model, before) = job.rescaling.apply(job, model, progress)?;
    let (mut plan, samples, rewritten) = match (&job.groups, &job.codes) {
        (Some(settings), _) => groups::quantize(job, settings, &model, progress)?,
        (None, Some(codes)) => codes.choose(job, &model, progress)?,
        (None, None) => make_plan(job, &model, progress)?,
    };
    plan.decisions.splice(0..0, before);
    Ok((plan, samples, rewritten))
}

/// What a plan leaves as it is.
pub(super) fn kept(plan: &Plan) -> Vec<Kept> {
    with_reasons(plan, &Action::Keep)
}

/// Nodes that nothing is done to, in one way.
fn with_reasons(plan: &Plan, action: &Action) -> Vec<Kept> {
    let decisions = plan
        .decisions
        .iter()
        .filter(|decision| decision.action == *action);
    let kept = decisions.map(|decision| Kept {
        node: decision.site.name().to_owned(),
        why: decision.why.clone(),
    });
    kept.collect()
}

/// A plan that does not prune: its names would be those of another graph.
fn without_pruning(plan: Plan, path: &Path) -> Result<Plan, Error> {
    match plan.decisions.iter().any(|decision| decision.action.prunes()) {
        false => Ok(plan),
        true => Err(Error::PlanFile {
            path: path.to_owned(),
            reason: "it prunes, which is for `bantam prune`".to_owned(),
        }),
    }
}

/// Observes, plans and rewrites; gives the number of samples that were looked at.
fn make_plan(
    job: &QuantizeJob,
    model: &Model,
    progress: &dyn Progress,
) -> Result<(Plan, usize, Model), Error> {
    let graph = &model.graph;
    let asks_nothing = job.method.requests(graph, &job.settings)?.is_empty();
    let split = match &job.data {
        Some(data) if !asks_nothing => Some(pipeline::open_split(data, &job.calibration_split, graph)?),
        None if !asks_nothing => return Err(missing_data(job.method.name())),
        _ => None,
    };
    let stats = match &split {
        Some(split) => pipeline::observe(
            graph,
            split,
            job.method,
            &job.settings,
            (job.samples, job.seed),
            progress,
        )?,
        None => Stats::default(),
    };
    let mut plan = pipeline::plan(graph, &stats, job.method, &job.settings)?;
    let rewritten = pipeline::rewrite(model, &plan)?;
    if let (Some(split), Some(_)) = (&split, &job.plan_out) {
        let count = split.len().min(ERROR_SAMPLES);
        let (indices, _) = pipeline::batch_size(graph, pipeline::BATCH)
            .cut(&Vec::from_iter(0..count))
            .next()
            .unwrap_or_default();
        let batch = split
            .batch(&indices)
            .map_err(bantam_compress::stats::ObserveError::from)?;
        measure_layer_errors(graph, &rewritten.graph, &mut plan, &batch)?;
    }
    Ok((plan, stats.samples, rewritten))
}

fn missing_data(method: &str) -> Error {
    Error::Usage {
        message: format!("the method {method} needs data to calibrate on"),
        hint: "give --data FILE, or use --dynamic, --float bf16 or --float f16-weights, which need none"
            .to_owned(),
    }
}

/// Refuses ways to quantize whose scales the target does not take.
fn check_scales(job: &QuantizeJob) -> Result<(), Error> {
    let is_static = job.groups.is_none() && job.method.name() == "static";
    if job.plan.is_some() || is_static || job.settings.target.scales == ScaleForm::Any {
        return Ok(());
    }
    Err(Error::Usage {
        message: format!(
            "{} takes scales that are powers of two, which groups and scales computed at run time are not",
            job.settings.target.name
        ),
        hint: "leave out --dynamic and --granularity group:LENGTH".to_owned(),
    })
}

/// Nodes that the target cannot run, and what does not fit into it.
fn check_target(job: &QuantizeJob, graph: &Graph, progress: &dyn Progress) -> Result<Vec<String>, Error> {
    if job.plan.is_some() || job.groups.is_some() || job.method.name() != "static" {
        return Ok(Vec::new());
    }
    let settings = &job.settings;
    let mut told = check_ops(graph, settings.target, &settings.exclude, progress)?;
    let bits = (settings.weights.bits(), settings.activations.bits());
    told.extend(check_memory(graph, settings.target, bits)?);
    Ok(told)
}

fn warnings(job: &QuantizeJob) -> Vec<String> {
    if job.plan.is_some() || job.groups.is_some() || job.method.name() != "static" {
        return Vec::new();
    }
    let settings = &job.settings;
    settings.target.warnings(
        (settings.activations.name(), settings.symmetric_activations),
        (settings.weights.name(), settings.symmetric_weights),
    )
}

pub(super) fn read_plan(path: &Path) -> Result<Plan, Error> {
    let text = std::fs::read(path).map_err(|source| Error::File {
        path: path.to_owned(),
        action: "cannot be read",
        source,
        hint: "plans are written by --plan-out",
    })?;
    serde_json::from_slice(&text).map_err(|e| Error::PlanFile {
        path: path.to_owned(),
        reason: e.to_string(),
    })
}

pub(super) fn write_plan(plan: &Plan, path: &Path) -> Result<(), Error> {
    let text = serde_json::to_vec_pretty(plan).expect("plans hold nothing that JSON cannot say");
    crate::write_whole(path, &text)
}
