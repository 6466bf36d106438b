//! Training at one width after another.

use std::path::PathBuf;

use bantam_compress::quantize::aware::{ActivationMapping, AwareError, AwareSettings, WeightMapping};
use bantam_compress::train::sparse::SparsitySettings;
use bantam_compress::train::{TrainSettings, Trained};
use bantam_formats::data::Split;
use bantam_graph::{Graph, Model};

use super::observer::Watcher;
use super::quantized::Quantized;
use super::{TrainJob, run};
use crate::{Error, Progress};

/// Epochs at one width.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) quantize: Option<AwareSettings>,
    pub(super) settings: TrainSettings,
    pub(super) checkpoint: PathBuf,
}

impl Stage {
    /// The stage when so many steps of all were made before it.
    fn after(&self, steps: u64) -> Stage {
        let mut stage = self.clone();
        stage.settings.max_steps = self.settings.max_steps.map(|most| most.saturating_sub(steps));
        stage
    }
}

/// What all stages came to.
pub(super) struct Course {
    /// In float, or quantized.
    pub(super) graph: Graph,
    /// What the stages did together, with the graph of the last one.
    pub(super) trained: Trained,
    /// Values and constants that are quantized.
    pub(super) quantized: usize,
    /// The first metric after each epoch.
    pub(super) scores: Vec<f64>,
}

/// The stages of a job; the last one has the widths that were asked for.
pub(super) fn stages(job: &TrainJob) -> Result<Vec<Stage>, Error> {
    let add = |sum: usize, (_, epochs): &(u32, usize)| sum.checked_add(*epochs);
    let before = job.progressive.iter().try_fold(0, add);
    let last = before.and_then(|before| job.settings.epochs.checked_sub(before));
    let last = last.filter(|left| *left > 0 || job.progressive.is_empty());
    let last = last.ok_or_else(|| Error::Usage {
        message: format!(
            "epochs at other widths leave none of {} for the last width",
            job.settings.epochs
        ),
        hint: "raise --epochs or shorten --progressive".to_owned(),
    })?;
    let stage = |quantize, epochs, checkpoint| Stage {
        quantize,
        settings: TrainSettings {
            epochs,
            ..job.settings.clone()
        },
        checkpoint,
    };
    let mut stages = Vec::new();
    for (index, (bits, epochs)) in job.progressive.iter().enumerate() {
        let settings = job
            .quantize
            .as_ref()
            .map(|settings| wider(settings, *bits))
            .transpose()?;
        let mut path = job.checkpoint.as_os_str().to_owned();
        path.push(format!(".{}", index + 1));
        stages.push(stage(settings, *epochs, path.into()));
    }
    stages.push(stage(job.quantize.clone(), last, job.checkpoint.clone()));
    for stage in stages.iter_mut().skip(1) {
        stage.settings.sparsity = stage.settings.sparsity.as_ref().map(kept);
    }
    Ok(stages)
}

/// What keeps the zeros that a stage before has made.
fn kept(settings: &SparsitySettings) -> SparsitySettings {
    SparsitySettings {
        exclude: settings.exclude.clone(),
        ..SparsitySettings::default()
    }
}

/// The settings with weights of so many bits, and activations of no fewer.
fn wider(settings: &AwareSettings, bits: u32) -> Result<AwareSettings, AwareError> {
    let mut wider = settings.clone();
    let format = settings.quantize.activations;
    let unsigned = if format.min_code() < 0 { "" } else { "u" };
    let activations = match settings.float_activations {
        true => "float".to_owned(),
        false if format.bits() < bits => format!("{unsigned}int{bits}"),
        false => format.name().to_owned(),
    };
    wider.set_formats(&format!("int{bits}"), &activations)?;
    if matches!(
        settings.weight_mapping,
        WeightMapping::Binary | WeightMapping::Ternary
    ) {
        wider.weight_mapping = WeightMapping::Uniform;
    }
    if settings.activation_mapping == ActivationMapping::Binary {
        wider.activation_mapping = ActivationMapping::Uniform;
    }
    Ok(wider)
}

/// Goes through all stages.
pub(super) fn course(
    job: &TrainJob,
    model: &Model,
    split: &Split,
    progress: &dyn Progress,
) -> Result<Course, Error> {
    let stages = stages(job)?;
    let mut watcher = Watcher::new(job, model, &stages, progress)?;
    let mut graph = model.graph.clone();
    let mut all: Option<Trained> = None;
    let mut count = 0;
    for (index, stage) in stages.iter().enumerate() {
        let settings = stage.quantize.as_ref();
        let quantized = settings.map(|settings| Quantized::new(&graph, settings, split, job, progress));
        let quantized = quantized.transpose()?;
        let start = quantized
            .as_ref()
            .map_or(&graph, |quantized| &quantized.aware.graph);
        let rules = quantized
            .as_ref()
            .map_or(Vec::new(), |quantized| quantized.aware.rules());
        watcher.begin(stage, all.as_ref());
        let done = all.as_ref().map_or(0, |trained| trained.steps);
        let trained = run(job, &stage.after(done), start, split, &rules, &mut watcher)?;
        progress.finish();
        (graph, count) = match quantized {
            Some(quantized) if index + 1 < stages.len() => (quantized.strip(trained.graph.clone())?, 0),
            Some(quantized) => quantized.bake(trained.graph.clone())?,
            None => (trained.graph.clone(), 0),
        };
        all = Some(join(all, trained));
    }
    if !job.keep_checkpoint {
        // Training is over; a file that cannot be removed does no harm.
        stages
            .iter()
            .for_each(|stage| drop(std::fs::remove_file(&stage.checkpoint)));
    }
    let trained = all.expect("the last stage is always there");
    Ok(Course {
        graph,
        trained,
        quantized: count,
        scores: watcher.scores,
    })
}

/// What two stages did together.
fn join(before: Option<Trained>, mut after: Trained) -> Trained {
    if let Some(before) = before {
        let epochs = before.history.len();
        after.history.iter_mut().for_each(|report| report.epoch += epochs);
        after.history.splice(0..0, before.history);
        after.steps += before.steps;
        after.segments = after.segments.max(before.segments);
    }
    after
}
