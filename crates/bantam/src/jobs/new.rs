//! Making fresh networks.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use bantam_formats::onnx::SaveOptions;
use bantam_graph::{Graph, InferOptions, Op, ValueId, cost, infer_shapes};
use serde::Serialize;

use super::inspect::with_batch;
use crate::networks::{Initialization, InitializeReport, Network, NetworkSettings, initialize, network};
use crate::{Error, pipeline};

/// A network to make.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Which.
    pub network: &'static Network,
    /// What is chosen of it.
    pub settings: NetworkSettings,
    /// File for the result.
    pub output: PathBuf,
}

/// A model whose weights are to be drawn anew.
#[derive(Clone, Debug)]
pub struct ReinitializeJob {
    /// The model's file.
    pub model: PathBuf,
    /// How weights are drawn.
    pub initialization: Initialization,
    /// Chooses the weights.
    pub seed: u64,
    /// File for the result.
    pub output: PathBuf,
}

/// What was made.
#[derive(Clone, Debug, Serialize)]
pub struct NewReport {
    /// The network's name, or the file whose weights were drawn anew.
    pub network: String,
    /// File of the result.
    pub output: PathBuf,
    /// What chose the weights.
    pub seed: u64,
    /// Elements of the constants that nodes compute with, running statistics included.
    pub parameters: u64,
    /// Elements of those that training changes.
    pub trainable_parameters: u64,
    /// Multiply-accumulates of one sample.
    pub macs: u64,
    /// Size of the file or files.
    pub bytes: u64,
    /// What became of the constants of an existing model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constants: Option<InitializeReport>,
}

/// Writes a fresh network.
///
/// # Errors
/// When a setting does not suit the network, or the file cannot be written.
pub fn new(job: &NewJob) -> Result<NewReport, Error> {
    let mut model = network(job.network, &job.settings)?;
    model.producer_version = env!("CARGO_PKG_VERSION").to_owned();
    pipeline::export(&model, &job.output, &SaveOptions::default())?;
    report(job.network.name, &job.output, job.settings.seed, model.graph)
}

/// Writes an existing model with new weights; its local functions are inlined.
///
/// # Errors
/// When the model cannot be read, its weights are quantized or absent, or the file cannot be written.
pub fn reinitialize(job: &ReinitializeJob) -> Result<NewReport, Error> {
    let model = pipeline::load(&job.model)?;
    let mut model = pipeline::inline(&model)?.into_owned();
    let constants = initialize(&mut model.graph, job.initialization, job.seed)?;
    pipeline::export(&model, &job.output, &SaveOptions::default())?;
    let name = job.model.display().to_string();
    Ok(NewReport {
        constants: Some(constants),
        ..report(&name, &job.output, job.seed, model.graph)?
    })
}

fn report(name: &str, output: &Path, seed: u64, graph: Graph) -> Result<NewReport, Error> {
    let mut graph = graph;
    let options = with_batch(&graph, 1);
    infer_shapes(&mut graph, &options).or_else(|_| infer_shapes(&mut graph, &InferOptions::default()))?;
    let cost = cost(&graph);
    Ok(NewReport {
        network: name.to_owned(),
        output: output.to_owned(),
        seed,
        parameters: cost.parameters,
        trainable_parameters: trainable_parameters(&graph),
        macs: cost.macs,
        bytes: super::model_bytes(output),
        constants: None,
    })
}

/// Elements of float constants that are no single numbers, as bounds are, and no running means or variances.
fn trainable_parameters(graph: &Graph) -> u64 {
    let norms = graph
        .nodes
        .iter()
        .filter(|node| matches!(node.op, Op::BatchNormalization(_)));
    let statistics: HashSet<ValueId> = norms
        .flat_map(|node| [node.input(3), node.input(4)])
        .flatten()
        .collect();
    let trained = graph.values.iter().enumerate().filter_map(|(index, value)| {
        let tensor = value.initializer.as_ref()?;
        let is_weight = tensor.dtype().is_float() && tensor.rank() > 0;
        (is_weight && !statistics.contains(&ValueId::new(index))).then_some(tensor.len() as u64)
    });
    trained.sum()
}
