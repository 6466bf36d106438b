//! What is said of a pruned model.

use std::io::Write;
use std::path::{Path, PathBuf};

use bantam_compress::plan::{Plan, Site};
use bantam_compress::prune::satisfies;
use bantam_graph::{Graph, Model, infer_shapes};
use serde::Serialize;

use crate::Error;
use crate::jobs::quantize::Kept;
use crate::jobs::{CompareReport, model_bytes};

/// What was done, or would be.
#[derive(Clone, Debug, Serialize)]
pub struct PruneReport {
    /// The model's file.
    pub model: PathBuf,
    /// The result's file.
    pub output: Option<PathBuf>,
    /// How weights were chosen.
    pub method: String,
    /// Number of samples that were looked at.
    pub samples: usize,
    /// Share of zeros among the weights in question.
    pub sparsity: f64,
    /// The weights in question.
    pub layers: Vec<PrunedLayer>,
    /// Products that stay as they are, with the reason.
    pub kept: Vec<Kept>,
    /// Statistics of BatchNormalization and biases that follow the outputs of the pruned network.
    pub followed: usize,
    /// Sizes of both files.
    pub bytes: Option<Sizes>,
    /// What both networks compute with.
    pub cost: Option<Costs>,
    /// Times of both, where these were the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<super::MeasuredLatency>,
    /// Time for all but scoring.
    pub seconds: f64,
    /// What to know before shipping the result.
    pub warnings: Vec<String>,
    /// Both models on the test split.
    pub scores: Option<CompareReport>,
}

/// A weight and what stays of it.
#[derive(Clone, Debug, Serialize)]
pub struct PrunedLayer {
    /// The weight's name.
    pub weight: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Number of elements.
    pub elements: usize,
    /// Those that are zero.
    pub zeros: usize,
    /// Whether of any four neighbouring inputs of an output two at most are not zero.
    pub two_of_four: bool,
    /// The reason.
    pub why: String,
}

/// Bytes of the files, and of their constants when they are deflated: in a plain file zeros take the room of other numbers.
#[derive(Clone, Debug, Serialize)]
pub struct Sizes {
    /// Of the model.
    pub before: u64,
    /// Of the result.
    pub after: u64,
    /// Of the model's constants, deflated.
    pub deflated_before: u64,
    /// Of the result's constants, deflated.
    pub deflated_after: u64,
}

/// What the plan's weights are in the pruned graph.
pub(super) fn layers(graph: &Graph, plan: &Plan) -> Result<Vec<PrunedLayer>, Error> {
    let (weights, _) = bantam_compress::prune::prunable(graph, &vec![None; graph.nodes.len()]);
    let mut layers = Vec::new();
    for decision in &plan.decisions {
        let Site::Value(name) = &decision.site else {
            continue;
        };
        let Some(weight) = weights.iter().find(|weight| weight.name == *name) else {
            continue;
        };
        let tensor = graph.constant(weight.value);
        let values = tensor.map_or(Ok(Vec::new()), bantam_tensor::Tensor::to_f32)?;
        layers.push(PrunedLayer {
            weight: name.clone(),
            shape: weight.shape.clone(),
            elements: values.len(),
            zeros: values.iter().filter(|value| **value == 0.0).count(),
            two_of_four: satisfies(weight, &values, 2, 4),
            why: decision.why.clone(),
        });
    }
    Ok(layers)
}

pub(super) fn sizes(before: &Path, after: &Path, model: &Model, pruned: &Model) -> Sizes {
    Sizes {
        before: model_bytes(before),
        after: model_bytes(after),
        deflated_before: deflated(model),
        deflated_after: deflated(pruned),
    }
}

/// Bytes of the constants of a model when they are deflated.
fn deflated(model: &Model) -> u64 {
    let mut encoder = flate2::write::DeflateEncoder::new(Counter(0), flate2::Compression::default());
    for tensor in model
        .graph
        .values
        .iter()
        .filter_map(|value| value.initializer.as_ref())
    {
        encoder
            .write_all(tensor.as_bytes())
            .expect("counting does not fail");
    }
    encoder.finish().expect("counting does not fail").0
}

/// Counts what is written to it.
struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Multiply-accumulates for one sample, and parameters.
#[derive(Clone, Debug, Serialize)]
pub struct Costs {
    /// Multiply-accumulates of the model.
    pub macs_before: u64,
    /// Multiply-accumulates of the result.
    pub macs_after: u64,
    /// Parameters of the model.
    pub parameters_before: u64,
    /// Parameters of the result.
    pub parameters_after: u64,
}

/// What both networks compute with; `None` where sizes are not known.
pub(super) fn costs(before: &Graph, after: &Graph) -> Option<Costs> {
    let cost = |graph: &Graph| {
        let mut sized = graph.clone();
        let sizes = super::super::inspect::with_batch(graph, 1);
        infer_shapes(&mut sized, &sizes).ok()?;
        Some(bantam_graph::cost(&sized))
    };
    let (before, after) = (cost(before)?, cost(after)?);
    Some(Costs {
        macs_before: before.macs,
        macs_after: after.macs,
        parameters_before: before.parameters,
        parameters_after: after.parameters,
    })
}
