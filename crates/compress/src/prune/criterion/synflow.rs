//! What flows through a weight when nothing but weights is known.

use bantam_graph::{Dim, Graph, ValueId};
use bantam_tensor::{DType, Tensor};

use super::linearized::linearized;
use super::{Criterion, Evidence, Needs, PruneError};
use crate::train::{Loss, Pullback};

/// `|w| dR/d|w|` with `R` the sum of the outputs of the network with `|w|` for its weights, without activations and biases, for an input
/// of ones (Tanaka et al. 2020, equation 2 and algorithm 1). In one round it would empty whole layers; in a hundred, each
/// keeping the same share, it does not.
pub(super) struct SynFlow;

/// Rounds in which it is found anew (the paper's number).
const ROUNDS: usize = 100;
/// What is put in to see how much comes out: deep networks multiply ones beyond what 32 bits can say.
const FAINT: f64 = 1e-25;

impl Criterion for SynFlow {
    fn name(&self) -> &'static str {
        "synflow"
    }

    fn summary(&self) -> &'static str {
        "the flow through the weight in the network of sizes of weights, without activations, for an input of ones, in 100 rounds (Tanaka \
         et al. 2020); needs no data"
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn compares_groups(&self) -> bool {
        true
    }

    fn rounds(&self) -> usize {
        ROUNDS
    }

    fn saliency(&self, evidence: &Evidence<'_>) -> Result<Vec<Vec<f32>>, PruneError> {
        let weights: Vec<ValueId> = evidence.weights.iter().map(|weight| weight.value).collect();
        let graph = linearized(evidence.graph, &weights)?;
        // What comes behind the last product has been passed through, so that scores are the output.
        let pullback = Pullback::new(&graph, &weights, Loss::Mse, batch(&graph))?;
        let ones = pullback.scores(&inputs(&graph, FAINT)?)?;
        let out: f64 = ones.to_f32()?.iter().copied().map(f64::from).sum();
        // Both ways through the network start from the root, so that neither leaves the range of 32 bits.
        let root = (out / FAINT).max(f64::MIN_POSITIVE).sqrt().recip();
        let factors = vec![root as f32; ones.len()];
        let factors = Tensor::from_slice(ones.shape(), &factors)?;
        let gradients = pullback.gradients(&inputs(&graph, root)?, factors)?;
        let values = evidence.values()?;
        let flow = |(gradient, values): (&Tensor, &Vec<f32>)| {
            let gradient = gradient.to_f32()?;
            Ok((gradient.iter().zip(values))
                .map(|(gradient, value)| gradient * value.abs())
                .collect())
        };
        gradients.iter().zip(&values).map(flow).collect()
    }
}

/// The samples of a batch: those that the model fixes, or one.
fn batch(graph: &Graph) -> usize {
    let first = data_inputs(graph).next();
    let size = first.and_then(|input| graph.value(input).ty.shape()?.first()?.known());
    size.unwrap_or(1)
}

fn data_inputs(graph: &Graph) -> impl Iterator<Item = ValueId> {
    (graph.inputs.iter().copied()).filter(|input| graph.constant(*input).is_none())
}

/// The same number everywhere.
fn inputs(graph: &Graph, number: f64) -> Result<Vec<(String, Tensor)>, PruneError> {
    let batch = batch(graph);
    let input = |input: ValueId| {
        let value = graph.value(input);
        let dims = value.ty.shape().unwrap_or_default();
        let sizes = dims.iter().enumerate().map(|(axis, dim)| match axis {
            0 => Some(batch),
            _ => Dim::known(dim),
        });
        let sizes: Option<Vec<usize>> = sizes.collect();
        match (sizes, value.ty.dtype()) {
            (Some(sizes), Some(DType::F32)) if !sizes.is_empty() => {
                let ones = vec![number as f32; sizes.iter().product()];
                Ok((value.name.clone(), Tensor::from_slice(&sizes, &ones)?))
            }
            _ => Err(PruneError::Setting {
                problem: format!(
                    "synflow puts ones in the input `{}`, which is {}",
                    value.name, value.ty
                ),
                hint: "it is for inputs of 32-bit floats with known sizes; --criterion magnitude or lamp need no data either",
            }),
        }
    };
    data_inputs(graph).map(input).collect()
}
