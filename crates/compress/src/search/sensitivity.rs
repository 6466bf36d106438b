//! How much each change of one constant changes what the network says.

use bantam_exec::{CompileError, CompileOptions, Program, RunError, Taps, compile};
use bantam_graph::{Graph, InferError, InferOptions, ValueId, infer_shapes, part};
use bantam_tensor::{Batch, Tensor, TensorError};

use crate::quantize::layerwise::{LayerwiseError, Walk};

/// A constant and what would be in its place.
#[derive(Clone, Debug)]
pub struct Change {
    /// The constant.
    pub value: ValueId,
    /// What would be in its place, of the same shape.
    pub tensor: Tensor,
}

/// Why sensitivities could not be measured.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum SensitivityError {
    #[error("the model has no output")]
    NoOutput,
    #[error("nothing reads `{name}`, so that changing it has no effect")]
    Unread { name: String },
    #[error(transparent)]
    Walk(#[from] LayerwiseError),
    #[error(transparent)]
    Infer(#[from] InferError),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// For each change alone, the mean [`divergence`] of the first output from that of the graph as it is. What lies before the first node
/// that reads the constant runs only once for all changes, so that a pass over all layers costs about half of running the network for
/// each of them.
///
/// # Errors
/// When a batch lacks an input, a constant has no reader, or the network cannot be run.
pub fn sensitivities(
    graph: &Graph,
    changes: &[Change],
    batches: &[Batch],
    progress: &dyn Fn(usize),
) -> Result<Vec<f64>, SensitivityError> {
    let output = *graph.outputs.first().ok_or(SensitivityError::NoOutput)?;
    let consumers = graph.consumers();
    let mut order = Vec::with_capacity(changes.len());
    for (index, change) in changes.iter().enumerate() {
        let readers = consumers[change.value.index()].iter();
        let first = readers.map(|(node, _)| node.index()).min();
        order.push((first.ok_or_else(|| unread(graph, change.value))?, index));
    }
    order.sort_unstable();
    let mut walk = Walk::new(graph, batches)?;
    let mut whole = Walk::new(graph, batches)?;
    whole.advance(graph, graph.nodes.len())?;
    let expected = whole.get(output).ok_or(SensitivityError::NoOutput)?;
    let mut changed = graph.clone();
    let mut found = vec![0.0; changes.len()];
    for (done, &(first, index)) in order.iter().enumerate() {
        progress(done);
        walk.advance(graph, first)?;
        let change = &changes[index];
        let original = changed.values[change.value.index()]
            .initializer
            .replace(change.tensor.clone());
        found[index] = rest(&changed, &walk, output, expected)?;
        changed.values[change.value.index()].initializer = original;
    }
    progress(order.len());
    Ok(found)
}

fn unread(graph: &Graph, value: ValueId) -> SensitivityError {
    SensitivityError::Unread {
        name: graph.value(value).name.clone(),
    }
}

/// Runs what lies behind the walk, and compares.
fn rest(graph: &Graph, walk: &Walk, output: ValueId, expected: &[Tensor]) -> Result<f64, SensitivityError> {
    let inputs: Vec<ValueId> = walk.values().collect();
    let mut rest = part(graph, &inputs, &[output]);
    infer_shapes(&mut rest, &InferOptions::default())?;
    let program: Program = compile(&rest, &CompileOptions::default())?;
    let (mut sum, mut samples) = (0.0, 0);
    for (batch, expected) in expected.iter().enumerate() {
        let named = inputs.iter().map(|value| {
            let tensors = walk.get(*value).unwrap_or_default();
            (graph.value(*value).name.as_str(), tensors[batch].clone())
        });
        let named: Vec<(&str, Tensor)> = named.collect();
        let outputs = program.run(&named, &mut Taps::none())?;
        let got = outputs.first().ok_or(SensitivityError::NoOutput)?;
        let count = expected.shape().first().copied().unwrap_or(1);
        sum += divergence(expected, got)? * count as f64;
        samples += count;
    }
    Ok(sum / samples.max(1) as f64)
}

/// How far outputs are from what is expected, `[samples, ..., classes]`: the mean Kullback-Leibler divergence of their softmax over the
/// last axis, in nats; of outputs with a single number, the mean squared difference as a share of the expected mean square. Infinite where outputs
/// are no numbers.
///
/// # Errors
/// When the tensors hold no floats.
pub fn divergence(expected: &Tensor, got: &Tensor) -> Result<f64, TensorError> {
    let classes = expected.shape().last().copied().unwrap_or(1).max(1);
    let (expected, got) = (expected.to_f32()?, got.to_f32()?);
    let mean = match classes {
        1 => {
            let pairs = expected.iter().zip(&got);
            let error: f64 = pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum();
            let power: f64 = expected.iter().map(|a| f64::from(*a).powi(2)).sum();
            error / power.max(f64::MIN_POSITIVE)
        }
        _ => {
            let rows = expected.chunks_exact(classes).zip(got.chunks_exact(classes));
            let count = expected.len() / classes;
            rows.map(|(expected, got)| kullback_leibler(expected, got))
                .sum::<f64>()
                / count.max(1) as f64
        }
    };
    Ok(if mean.is_finite() {
        mean.max(0.0)
    } else {
        f64::INFINITY
    })
}

fn kullback_leibler(expected: &[f32], got: &[f32]) -> f64 {
    let total = |row: &[f32]| {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|x| f64::from(x - largest).exp()).sum();
        f64::from(largest) + sum.ln()
    };
    let (a, b) = (total(expected), total(got));
    let pairs = expected.iter().zip(got);
    pairs
        .map(|(&x, &y)| {
            let (x, y) = (f64::from(x) - a, f64::from(y) - b);
            x.exp() * (x - y)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_is_that_of_softmax() {
        let expected = Tensor::from_slice(&[1, 2], &[0.0f32, 0.0]).unwrap();
        let got = Tensor::from_slice(&[1, 2], &[0.0f32, 3f32.ln()]).unwrap();
        // 0.5 ln(0.5 / 0.25) + 0.5 ln(0.5 / 0.75)
        let found = divergence(&expected, &got).unwrap();
        assert!((found - 0.5 * (4.0f64 / 3.0).ln()).abs() < 1e-6, "{found}");
        assert_eq!(divergence(&expected, &expected).unwrap(), 0.0);
        let got = Tensor::from_slice(&[1, 2], &[f32::NAN, 0.0]).unwrap();
        assert_eq!(divergence(&expected, &got).unwrap(), f64::INFINITY);
    }
}
