//! What a weight does for the flow of gradients.

use bantam_graph::ops::Binary;
use bantam_graph::{Graph, InferOptions, infer_shapes};
use bantam_tensor::Tensor;

use super::{Criterion, Evidence, Needs, PruneError};
use crate::prune::evidence::gradients_of;
use crate::train::Loss;

/// `w (H g)` with the gradient `g` of all samples and the Hessian `H`: what the square of the gradient's length loses without the weight.
/// Weights without which gradients grow go first (Wang et al. 2020, equation 8, whose score of a removal is `-w (H g)`, and the
/// highest scores are removed).
pub(super) struct Grasp;

/// What scores are divided by before the loss (as in the authors' program): with flat predictions the samples that a network is sure of
/// have gradients too.
const TEMPERATURE: f32 = 200.0;
/// The length of the step for the difference of gradients, as a share of the weights' length: long enough for it to stand out from
/// rounding to 32 bits.
const STEP: f64 = 5e-3;

impl Criterion for Grasp {
    fn name(&self) -> &'static str {
        "grasp"
    }

    fn summary(&self) -> &'static str {
        "what the gradient's squared length loses without the weight, weight times Hessian times gradient (Wang et al. 2020)"
    }

    fn needs(&self) -> Needs {
        Needs::Gradients
    }

    fn saliency(&self, evidence: &Evidence<'_>) -> Result<Vec<Vec<f32>>, PruneError> {
        let calibration = evidence.calibration(self.name())?;
        let graph = match calibration.loss {
            Loss::Mse => evidence.graph.clone(),
            loss => flattened(evidence.graph, loss)?,
        };
        let (values, gradient) = (evidence.values()?, mean(&graph, evidence)?);
        let length = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|x| x * x).sum::<f64>().sqrt();
        let weights = length(&mut values.iter().flatten().copied().map(f64::from));
        let slope = length(&mut gradient.iter().flatten().copied());
        let step = STEP * weights / slope.max(f64::MIN_POSITIVE);
        let [above, below] =
            [step, -step].map(|step| mean(&moved(&graph, evidence, &gradient, step)?, evidence));
        let (above, below) = (above?, below?);
        let saliency = |index: usize| {
            let pairs = above[index].iter().zip(&below[index]).zip(&values[index]);
            pairs
                .map(|((above, below), weight)| (f64::from(*weight) * (above - below) / (2.0 * step)) as f32)
                .collect()
        };
        Ok((0..values.len()).map(saliency).collect())
    }
}

/// The mean gradient of all batches.
fn mean(graph: &Graph, evidence: &Evidence<'_>) -> Result<Vec<Vec<f64>>, PruneError> {
    let mut sums: Vec<Vec<f64>> = evidence
        .weights
        .iter()
        .map(|weight| vec![0.0; weight.len()])
        .collect();
    let mut batches = 0;
    gradients_of(graph, evidence, Grasp.name(), 32, &mut |gradients| {
        batches += 1;
        (sums.iter_mut().flatten().zip(gradients.iter().flatten()))
            .for_each(|(sum, gradient)| *sum += f64::from(*gradient));
    })?;
    let count = f64::from(batches.max(1));
    sums.iter_mut().flatten().for_each(|sum| *sum /= count);
    Ok(sums)
}

/// The graph with its weights moved along their gradient.
fn moved(
    graph: &Graph,
    evidence: &Evidence<'_>,
    gradient: &[Vec<f64>],
    step: f64,
) -> Result<Graph, PruneError> {
    let mut moved = graph.clone();
    for (weight, gradient) in evidence.weights.iter().zip(gradient) {
        let mut values = crate::prune::values(graph, weight.value)?;
        (values.iter_mut().zip(gradient)).for_each(|(value, by)| *value += (step * by) as f32);
        crate::prune::set(&mut moved, weight.value, &values)?;
    }
    Ok(moved)
}

/// The graph with its scores divided by the temperature.
fn flattened(graph: &Graph, loss: Loss) -> Result<Graph, PruneError> {
    let mut graph = graph.clone();
    if let Some(output) = graph.outputs.first().copied() {
        let scores = crate::train::loss::scores(&graph, output, loss);
        let factor = graph.add_constant("temperature", Tensor::scalar(1.0 / TEMPERATURE));
        graph.outputs[0] = graph.add_node("flattened", Binary::Mul, &[scores, factor]);
        infer_shapes(&mut graph, &InferOptions::default())?;
    }
    Ok(graph)
}
