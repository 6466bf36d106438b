//! Gradients of a network's scores for factors that are known when it runs, without a loss behind it.

use bantam_exec::{CompileOptions, Program, Taps, compile};
use bantam_graph::ops::{Binary, Reduce, ReduceKind};
use bantam_graph::{Dim, Graph, InferOptions, ValueId, ValueType, differentiate, infer_shapes};
use bantam_tensor::{DType, Tensor};

use super::loss::scores;
use super::step::set_batch;
use super::{Loss, TrainError};

/// The name of the graph input that takes the factors.
const FACTORS: &str = "bantam:factors";

/// Programs for batches of one size that give a network's scores, and the gradients of the sum of `factors * scores` by
/// weights. The network is as it is deployed.
pub(crate) struct Pullback {
    forward: Program,
    backward: Program,
    weights: Vec<(String, Tensor)>,
}

impl Pullback {
    /// Scores are what `loss` looks at; `weights` are constants of the graph, `f32`.
    ///
    /// # Errors
    /// When a weight cannot be differentiated by, or a batch has another size than the graph's inputs fix.
    pub(crate) fn new(
        graph: &Graph,
        weights: &[ValueId],
        loss: Loss,
        batch: usize,
    ) -> Result<Pullback, TrainError> {
        let mut graph = graph.clone();
        set_batch(&mut graph, batch)?;
        infer_shapes(&mut graph, &InferOptions::default())?;
        let output = *graph.outputs.first().ok_or(TrainError::NoOutput)?;
        let scores = scores(&graph, output, loss);
        graph.outputs = vec![scores];
        let forward = compile(&graph, &CompileOptions::default())?;
        let held = hold(&mut graph, weights);
        infer_shapes(&mut graph, &InferOptions::default())?;
        let total = weighted_sum(&mut graph, scores);
        infer_shapes(&mut graph, &InferOptions::default())?;
        let differentiated = differentiate(&graph, total, weights)?;
        let mut step = differentiated.graph;
        let missing = |name: &str| TrainError::NoGradient {
            parameter: name.to_owned(),
        };
        let gradients = differentiated.gradients.iter().zip(&held);
        step.outputs = gradients
            .map(|(gradient, (name, _))| gradient.ok_or_else(|| missing(name)))
            .collect::<Result<_, _>>()?;
        Ok(Pullback {
            forward,
            backward: compile(&step, &CompileOptions::default())?,
            weights: held,
        })
    }

    /// The scores of a batch.
    pub(crate) fn scores(&self, inputs: &[(String, Tensor)]) -> Result<Tensor, TrainError> {
        let inputs: Vec<(&str, Tensor)> = named(inputs).collect();
        let outputs = self.forward.run(&inputs, &mut Taps::none())?;
        outputs.into_iter().next().ok_or(TrainError::NoOutput)
    }

    /// The gradients by the weights, for factors of the shape of the scores.
    pub(crate) fn gradients(
        &self,
        inputs: &[(String, Tensor)],
        factors: Tensor,
    ) -> Result<Vec<Tensor>, TrainError> {
        let inputs: Vec<(&str, Tensor)> = named(inputs)
            .chain(named(&self.weights))
            .chain([(FACTORS, factors)])
            .collect();
        Ok(self.backward.run(&inputs, &mut Taps::none())?)
    }
}

fn named(tensors: &[(String, Tensor)]) -> impl Iterator<Item = (&str, Tensor)> {
    tensors
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor.clone()))
}

/// Makes constants inputs; gives their names and numbers.
fn hold(graph: &mut Graph, weights: &[ValueId]) -> Vec<(String, Tensor)> {
    let mut held = Vec::with_capacity(weights.len());
    for &weight in weights {
        let value = &mut graph.values[weight.index()];
        let Some(tensor) = value.initializer.take() else {
            continue;
        };
        let dims = tensor.shape().iter().map(|&size| Dim::Known(size)).collect();
        value.ty = ValueType::tensor(tensor.dtype(), dims);
        held.push((value.name.clone(), tensor));
        graph.inputs.retain(|input| *input != weight);
        graph.inputs.push(weight);
    }
    held
}

/// The sum of a value's elements, each times its factor.
fn weighted_sum(graph: &mut Graph, scores: ValueId) -> ValueId {
    let dims = graph.value(scores).ty.shape().unwrap_or_default().to_vec();
    let factors = graph.add_input(FACTORS, DType::F32, dims);
    let product = graph.add_node("weighted", Binary::Mul, &[scores, factors]);
    let sum = Reduce {
        kind: ReduceKind::Sum,
        keepdims: false,
        noop_with_empty_axes: false,
    };
    graph.add_node("weighted_sum", sum, &[product])
}
