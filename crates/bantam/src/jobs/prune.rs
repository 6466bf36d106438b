//! Pruning one model.

mod latency;
mod pruning;
mod report;

use std::path::{Path, PathBuf};
use std::time::Instant;

use bantam_compress::plan::{Action, Plan};
use bantam_compress::prune::channels::Target;
use bantam_compress::prune::{Calibration, prunable};
use bantam_compress::train::Loss;
use bantam_formats::data::sample_indices;
use bantam_formats::onnx::SaveOptions;
use bantam_graph::{Graph, Model};
use bantam_tensor::Samples;

use super::quantize::{kept, read_plan, write_plan};
use super::{check_writable, score_both};
use crate::files::digest;
use crate::{Error, Progress, pipeline};
pub use latency::{LatencyTarget, MeasuredLatency};
pub use pruning::Pruning;
pub use report::{Costs, PruneReport, PrunedLayer, Sizes};
use report::{costs, layers, sizes};

/// What to prune and how.
#[derive(Clone)]
pub struct PruneJob {
    /// The model's file.
    pub model: PathBuf,
    /// The data set; not needed by criteria that look at weights alone, when nothing is scored.
    pub data: Option<PathBuf>,
    /// What is pruned, and how.
    pub pruning: Pruning,
    /// Instead of what is pruned saying how much: channels go until the network takes this share of the time.
    pub latency: Option<LatencyTarget>,
    /// What gradients are of; where absent, what suits the model.
    pub loss: Option<Loss>,
    /// Number of samples that are looked at.
    pub samples: usize,
    /// Split that they are from.
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
    /// Where to write the result; nowhere when it is only to be said what would go.
    pub output: Option<PathBuf>,
    /// How to write it.
    pub save: SaveOptions,
}

/// Prunes a model: looks at samples, plans, rewrites, writes, and scores both models.
pub fn prune(job: &PruneJob, progress: &dyn Progress) -> Result<PruneReport, Error> {
    let start = Instant::now();
    super::metrics_by_name(&job.metrics)?;
    job.output.as_deref().map(check_writable).transpose()?;
    job.plan_out.as_deref().map(check_writable).transpose()?;
    if job.plan.is_none() {
        let target = job.latency.as_ref();
        target.map(|target| target.check(&job.pruning)).transpose()?;
        job.pruning.check()?;
    }
    if job.output.is_some() && job.score_split.is_some() && job.data.is_none() {
        return Err(super::scoring_needs_data());
    }
    let model = pipeline::inline(&pipeline::load(&job.model)?)?.into_owned();
    let (plan, samples, latency) = match &job.plan {
        Some(path) => (checked(read_plan(path)?, path, &model.graph)?, 0, None),
        None => make_plan(job, &model, progress)?,
    };
    let pruned = pipeline::rewrite(&model, &plan)?;
    if let Some(path) = &job.plan_out {
        write_plan(&plan, path)?;
    }
    if let Some(output) = &job.output {
        pipeline::export(&pruned, output, &job.save)?;
    }
    let layers = layers(&pruned.graph, &plan)?;
    let count = |of: fn(&PrunedLayer) -> usize| layers.iter().map(of).sum::<usize>();
    let sparsity = count(|layer| layer.zeros) as f64 / count(|layer| layer.elements).max(1) as f64;
    let sizes = job
        .output
        .as_ref()
        .map(|output| sizes(&job.model, output, &model, &pruned));
    let seconds = start.elapsed().as_secs_f64();
    let scores = match (&job.output, &job.score_split) {
        (Some(output), Some(split)) => {
            let (models, how) = (
                (job.model.as_path(), output.as_path()),
                (&job.metrics[..], job.limit),
            );
            Some(score_both(models, job.data.as_deref(), split, how, progress)?)
        }
        _ => None,
    };
    Ok(PruneReport {
        model: job.model.clone(),
        output: job.output.clone(),
        method: plan.method.clone(),
        samples,
        sparsity,
        warnings: warnings(job, &model.graph, &layers),
        layers,
        kept: kept(&plan),
        followed: followed(&plan),
        bytes: sizes,
        cost: costs(&model.graph, &pruned.graph),
        latency,
        seconds,
        scores,
    })
}

/// The plan, the number of samples that were looked at, and what was timed.
fn make_plan(
    job: &PruneJob,
    model: &Model,
    progress: &dyn Progress,
) -> Result<(Plan, usize, Option<MeasuredLatency>), Error> {
    let graph = &model.graph;
    let split = match &job.data {
        Some(data) if job.pruning.looks_at_samples() => {
            Some(pipeline::open_split(data, &job.calibration_split, graph)?)
        }
        _ => None,
    };
    let indices = split.as_ref().map_or_else(Vec::new, |split| {
        sample_indices(split.len(), job.samples, job.pruning.seed())
    });
    if split.is_some() && indices.is_empty() {
        return Err(bantam_compress::stats::ObserveError::Empty.into());
    }
    let stage = std::cell::RefCell::new(String::new());
    let report = |name: &str, done: usize, all: usize| {
        if *stage.borrow() != name {
            name.clone_into(&mut stage.borrow_mut());
            progress.start(name, all);
        }
        progress.at(done);
    };
    let calibration = split.as_ref().map(|split| Calibration {
        samples: split,
        indices: &indices,
        batch_size: pipeline::batch_size(graph, pipeline::BATCH),
        loss: job.loss.unwrap_or_else(|| usual_loss(graph)),
        seed: job.pruning.seed(),
        progress: &report,
    });
    let (pruning, measured) = match &job.latency {
        None => (job.pruning.clone(), None),
        Some(target) => {
            let (pruning, measured) =
                latency::fast_enough(job, model, target, calibration.as_ref(), progress)?;
            (pruning, Some(measured))
        }
    };
    let plan = pruning.plan(graph, calibration.as_ref());
    progress.finish();
    let digest = Some(digest_of(graph)?);
    let plan = Plan {
        model: digest,
        ..plan?
    };
    Ok((plan, indices.len(), measured))
}

/// Bytes of a model's constants, as they are written.
///
/// # Errors
/// When the file cannot be read.
pub fn constant_bytes(model: &Path) -> Result<u64, Error> {
    Ok(Target::Bytes.measure(&pipeline::inline(&pipeline::load(model)?)?.graph))
}

/// A digest of the names and shapes of all weights that can be pruned: what a plan must find again.
fn digest_of(graph: &Graph) -> Result<String, Error> {
    let (weights, _) = prunable(graph, &vec![None; graph.nodes.len()]);
    let said = weights
        .iter()
        .map(|weight| format!("{} {:?}", weight.name, weight.shape));
    let said: Vec<String> = said.collect();
    digest(&said.iter().map(String::as_str).collect::<Vec<_>>(), &[])
}

/// The loss that the model of a file was most likely trained with.
///
/// # Errors
/// When the file cannot be read.
pub fn usual_loss_of(model: &Path) -> Result<Loss, Error> {
    Ok(usual_loss(&pipeline::load(model)?.graph))
}

/// The loss that such a model was most likely trained with.
fn usual_loss(graph: &Graph) -> Loss {
    let is_tokens = |id: &bantam_graph::ValueId| super::inspect::is_tokens(graph.value(*id));
    match graph.inputs.iter().any(is_tokens) {
        true => Loss::NextToken,
        false => Loss::CrossEntropy,
    }
}

/// A plan from a file that does nothing else than prune, and was made for a model like this.
fn checked(plan: Plan, path: &Path, graph: &Graph) -> Result<Plan, Error> {
    let own = digest_of(graph)?;
    if plan.model.as_ref().is_some_and(|model| *model != own) {
        return Err(Error::OtherModel {
            path: path.to_owned(),
        });
    }
    let other = |action: &Action| !action.prunes() && *action != Action::Keep;
    match plan.decisions.iter().find(|decision| other(&decision.action)) {
        None => Ok(plan),
        Some(decision) => Err(Error::PlanFile {
            path: path.to_owned(),
            reason: format!(
                "it quantizes `{}`, which is for `bantam quantize`",
                decision.site.name()
            ),
        }),
    }
}

/// Constants that only follow.
fn followed(plan: &Plan) -> usize {
    let follows = |action: &Action| matches!(action, Action::SetWeight { kept: None, .. });
    plan.decisions
        .iter()
        .filter(|decision| follows(&decision.action))
        .count()
}

fn warnings(job: &PruneJob, graph: &Graph, layers: &[PrunedLayer]) -> Vec<String> {
    let mut warnings = Vec::new();
    for layer in layers.iter().filter(|layer| layer.zeros == layer.elements) {
        warnings.push(format!(
            "nothing is left of {}: --scope layer or erk spreads zeros more evenly",
            layer.weight
        ));
    }
    let normalizes = graph
        .nodes
        .iter()
        .any(|node| node.op.name() == "BatchNormalization");
    if normalizes && job.plan.is_none() && (job.data.is_none() || !job.pruning.recalibrates()) {
        warnings
            .push("the statistics of BatchNormalization are those of the network before pruning".to_owned());
    }
    warnings
}
