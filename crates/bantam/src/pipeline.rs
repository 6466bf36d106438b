//! The pipeline, one function for each arrow:
//!
//! ```text
//! load -> prepare -> observe -> plan -> rewrite -> (train) -> evaluate -> export
//! ```
//!
//! Every function takes values and gives a value; any of them can be called alone.

use std::borrow::Cow;
use std::path::Path;

use bantam_compress::evaluate::{
    Agreement, EvaluateOptions, Metric, Runner, Scores, evaluate as score, evaluate_both as score_both,
};
use bantam_compress::plan::Plan;
use bantam_compress::quantize::aware::{self, Aware, AwareSettings};
use bantam_compress::quantize::layerwise::{Algorithm, Calibration};
use bantam_compress::quantize::{Method, QuantizeSettings};
use bantam_compress::stats::{ObserveOptions, Request, Stats, observe as watch};
use bantam_compress::train::{Checkpoint, Observer, ParameterRule, TrainError, TrainSettings, Trained};
use bantam_exec::{CompileOptions, Program};
use bantam_formats::data::{DataSet, InputSpec, Split, sample_indices};
use bantam_formats::onnx::{self, SaveOptions};
use bantam_graph::passes::{PASSES, run_passes};
use bantam_graph::{Dim, Graph, InferOptions, Model, infer_shapes};
use bantam_tensor::{BatchSize, Samples};

use crate::{Error, Progress};

/// Samples that run at once where the model leaves it open.
pub(crate) const BATCH: usize = 32;

/// The same while calibrating, where several batches are in flight.
pub(crate) const CALIBRATION_BATCH: usize = 8;

/// Reads a model of any of the formats. Weights stay in the mapped file until they are looked at.
pub fn load(path: &Path) -> Result<Model, Error> {
    Ok(bantam_formats::load(path)?)
}

/// The model in the form that is compressed: functions inlined, BatchNormalization folded, dead nodes gone.
pub fn prepare(model: &Model) -> Result<Model, Error> {
    let mut prepared = inline(model)?.into_owned();
    infer_shapes(&mut prepared.graph, &InferOptions::default())?;
    run_passes(&mut prepared.graph, PASSES)?;
    Ok(prepared)
}

/// The model with calls of its local functions replaced by their bodies; the model itself where it has none.
pub fn inline(model: &Model) -> Result<Cow<'_, Model>, Error> {
    if model.functions.is_empty() {
        return Ok(Cow::Borrowed(model));
    }
    Ok(Cow::Owned(onnx::inline_functions(model.clone())?))
}

/// A split of a data set, checked against the model's inputs.
pub fn open_split(data: &Path, split: &str, graph: &Graph) -> Result<Split, Error> {
    Ok(DataSet::open(data)?
        .split(split)?
        .for_inputs(&input_specs(graph)?)?)
}

/// Runs the model on `count` samples chosen by `seed`, and finds out what the method asks.
pub fn observe(
    graph: &Graph,
    samples: &dyn Samples,
    method: &dyn Method,
    settings: &QuantizeSettings,
    (count, seed): (usize, u64),
    progress: &dyn Progress,
) -> Result<Stats, Error> {
    let requests = method.requests(graph, settings)?;
    let indices = sample_indices(samples.len(), count, seed);
    watched(graph, samples, &requests, &indices, progress)
}

/// Finds out what is asked, from the samples with these indices.
pub(crate) fn watched(
    graph: &Graph,
    samples: &dyn Samples,
    requests: &[Request],
    indices: &[usize],
    progress: &dyn Progress,
) -> Result<Stats, Error> {
    progress.start("calibrate", indices.len());
    let report = |done| progress.at(done);
    let options = ObserveOptions {
        indices,
        batch_size: batch_size(graph, CALIBRATION_BATCH),
        progress: &report,
    };
    let stats = watch(graph, samples, requests, &options);
    progress.finish();
    Ok(stats?)
}

/// Puts quantizers into a graph, their scales from the samples with these indices; gives the graph in float too, in the form in
/// which they were put in.
pub fn make_aware(
    graph: &Graph,
    samples: &dyn Samples,
    settings: &AwareSettings,
    indices: &[usize],
    progress: &dyn Progress,
) -> Result<(Graph, Aware), Error> {
    let preparation = aware::prepare(graph, settings)?;
    let stats = watched(
        &preparation.observed,
        samples,
        &preparation.requests,
        indices,
        progress,
    )?;
    let aware = aware::make_aware(&preparation, &stats)?;
    Ok((preparation.base, aware))
}

/// Lets algorithms choose the codes of a graph with quantizers one after another.
pub fn choose_codes(
    aware: &mut Aware,
    float: &Graph,
    chosen_by: &Algorithms,
    (samples, indices): (&dyn Samples, &[usize]),
    seed: u64,
    progress: &dyn Progress,
) -> Result<(), Error> {
    for algorithm in &chosen_by.list {
        let report = |done: usize, all: usize| {
            if done == 0 {
                progress.start(algorithm.name(), all);
            }
            progress.at(done);
        };
        let calibration = Calibration {
            float,
            samples,
            indices,
            batch_size: batch_size(float, BATCH),
            steps: chosen_by.steps,
            learning_rate: chosen_by.learning_rate,
            seed,
            progress: &report,
        };
        algorithm.apply(aware, &calibration)?;
        progress.finish();
    }
    Ok(())
}

/// Algorithms that choose codes.
#[derive(Clone, Default)]
pub struct Algorithms {
    /// In this order; with none, each weight gets its nearest code.
    pub list: Vec<&'static dyn Algorithm>,
    /// Steps of algorithms that train; their own number when absent.
    pub steps: Option<usize>,
    /// The largest learning rate of those; their own when absent.
    pub learning_rate: Option<f32>,
}

/// Decides what is to be done, and why. Edits nothing.
pub fn plan(
    graph: &Graph,
    stats: &Stats,
    method: &dyn Method,
    settings: &QuantizeSettings,
) -> Result<Plan, Error> {
    Ok(method.plan(graph, stats, settings)?)
}

/// Does what the plan says.
pub fn rewrite(model: &Model, plan: &Plan) -> Result<Model, Error> {
    let graph = bantam_compress::rewrite(&model.graph, plan)?;
    Ok(Model {
        graph,
        ..model.clone()
    })
}

/// Trains a graph, in the form in which it was loaded, on samples; see [`bantam_compress::train::train`].
pub fn train(
    graph: &Graph,
    samples: &dyn Samples,
    settings: &TrainSettings,
    rules: &[ParameterRule],
    teacher: Option<&Graph>,
    resume: Option<&Checkpoint>,
    observer: &mut dyn Observer,
) -> Result<Trained, TrainError> {
    bantam_compress::train::train(graph, samples, settings, rules, teacher, resume, observer)
}

/// Compiles a model for our own executor, in the form that [`prepare`] gives.
pub fn compile(model: &Model) -> Result<Program, Error> {
    Ok(bantam_exec::compile(
        &prepare(model)?.graph,
        &CompileOptions::default(),
    )?)
}

/// Scores whatever runs a model on the first `limit` samples of a split.
pub fn evaluate(
    runner: &mut dyn Runner,
    samples: &dyn Samples,
    metrics: &[&'static dyn Metric],
    (limit, batch_size): (usize, BatchSize),
    progress: &dyn Progress,
) -> Result<Scores, Error> {
    progress.start("score", samples.len().min(limit));
    let report = |done| progress.at(done);
    let scores = score(
        runner,
        samples,
        metrics,
        &EvaluateOptions {
            limit,
            batch_size,
            progress: &report,
        },
    );
    progress.finish();
    Ok(scores?)
}

/// Scores two models on the same samples, and tells how far the second's outputs are from the first's; each with its own batches.
pub fn evaluate_both(
    (first, first_size): (&mut dyn Runner, BatchSize),
    second: (&mut dyn Runner, BatchSize),
    samples: &dyn Samples,
    metrics: &[&'static dyn Metric],
    limit: usize,
    progress: &dyn Progress,
) -> Result<([Scores; 2], Agreement), Error> {
    progress.start("compare", samples.len().min(limit));
    let report = |done| progress.at(done);
    let options = EvaluateOptions {
        limit,
        batch_size: first_size,
        progress: &report,
    };
    let scores = score_both(first, second, samples, metrics, &options);
    progress.finish();
    Ok(scores?)
}

/// Writes a model, whole or not at all.
pub fn export(model: &Model, path: &Path, options: &SaveOptions) -> Result<(), Error> {
    Ok(onnx::save(model, path, options)?)
}

/// What a data set must give for the inputs of a graph that have no default.
pub fn input_specs(graph: &Graph) -> Result<Vec<InputSpec>, Error> {
    let needed = graph
        .inputs
        .iter()
        .map(|id| graph.value(*id))
        .filter(|value| value.initializer.is_none());
    let spec = |value: &bantam_graph::Value| {
        let dtype = value.ty.dtype().ok_or_else(|| Error::UntypedInput {
            name: value.name.clone(),
        })?;
        let dims = value.ty.shape().unwrap_or_default();
        let mut shape: Vec<Option<usize>> = dims.iter().map(Dim::known).collect();
        if let Some(first) = shape.first_mut() {
            *first = None;
        }
        Ok(InputSpec {
            name: value.name.clone(),
            dtype,
            shape,
        })
    };
    needed.map(spec).collect()
}

/// How many samples run at once: what the model fixes, or `most`.
pub fn batch_size(graph: &Graph, most: usize) -> BatchSize {
    let first_dim = |id: &bantam_graph::ValueId| graph.value(*id).ty.shape()?.first()?.known();
    match graph.inputs.iter().find_map(first_dim) {
        Some(size) if size > 0 => BatchSize::Fixed(size),
        _ => BatchSize::AtMost(most),
    }
}
