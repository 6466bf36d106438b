//! Gradients of a network as it is deployed, without training it.

use bantam_graph::{Graph, InferOptions, ValueId, infer_shapes};
use bantam_tensor::{Batch, Samples, Tensor};
use rayon::prelude::*;

use super::state::State;
use super::step::{Lesson, Mode, Outcome, Plan};
use super::{Loss, Parameter, TrainError, TrainSettings};

/// Of what gradients are, and on which samples.
pub struct GradientJob<'a> {
    /// Constants of the graph, `f32`.
    pub weights: &'a [ValueId],
    /// The loss; its mean over a batch is differentiated.
    pub loss: Loss,
    /// Indices of the samples.
    pub indices: &'a [usize],
    /// Samples of a batch; indices beyond the last whole batch are left out.
    pub batch: usize,
    /// Called with the number of samples that are done.
    pub progress: &'a dyn Fn(usize),
}

/// Batches that are in flight at once. Fixed, so that memory does not depend on the number of threads.
const IN_FLIGHT: usize = 4;

/// Shows `visit` the gradients of each batch in turn, a tensor for each of the weights. BatchNormalization has its running
/// statistics, and nothing drops.
///
/// # Errors
/// When the samples have no labels and the loss needs them, there are fewer of them than a batch has, a weight cannot be
/// differentiated by, or a loss is not finite.
pub fn visit_gradients(
    graph: &Graph,
    samples: &dyn Samples,
    job: &GradientJob<'_>,
    visit: &mut dyn FnMut(&[Tensor]),
) -> Result<(), TrainError> {
    let mut graph = graph.clone();
    infer_shapes(&mut graph, &InferOptions::default())?;
    let settings = TrainSettings {
        loss: job.loss,
        ..TrainSettings::default()
    };
    if settings.needs_labels() && !samples.has_labels() {
        return Err(TrainError::NoLabels);
    }
    let batches: Vec<&[usize]> = job.indices.chunks_exact(job.batch.max(1)).collect();
    let Some(first) = batches.first() else {
        let samples = job.indices.len();
        return Err(TrainError::TooFew { samples });
    };
    let labels = samples.batch(&first[..1])?.labels;
    let parameters: Vec<Parameter> = (job.weights.iter())
        .filter_map(|value| parameter(&graph, *value))
        .collect();
    let plan = Plan {
        graph: &graph,
        settings: &settings,
        parameters: &parameters,
        statistics: &[],
        features: &[],
        label_shape: &labels.map_or(Vec::new(), |labels| labels.shape()[1..].to_vec()),
    };
    let step = plan.step(job.batch, Mode::Deployed)?;
    let state = State::new(&parameters, Vec::new(), &settings);
    let run = |indices: &&[usize]| -> Result<Outcome, TrainError> {
        let batch: Batch = samples.batch(indices)?;
        let teacher = Vec::new();
        let lesson = Lesson { batch, teacher };
        let outcome = step.run(&state, &lesson, 0)?;
        match outcome.loss.is_finite() {
            true => Ok(outcome),
            false => Err(TrainError::LossNotFinite {
                loss: outcome.loss,
                node: step
                    .culprit(&state, &lesson, 0)
                    .unwrap_or_else(|| "the loss".to_owned()),
            }),
        }
    };
    let mut done = 0;
    for group in batches.chunks(IN_FLIGHT) {
        let outcomes: Vec<Outcome> = group.par_iter().map(run).collect::<Result<_, _>>()?;
        outcomes.iter().for_each(|outcome| visit(&outcome.gradients));
        done += group.len() * job.batch;
        (job.progress)(done);
    }
    Ok(())
}

fn parameter(graph: &Graph, value: ValueId) -> Option<Parameter> {
    Some(Parameter {
        value,
        name: graph.value(value).name.clone(),
        tensor: graph.constant(value)?.clone(),
        decays: false,
        learning_rate_factor: 1.0,
        lower_bound: None,
    })
}
