//! Differentiation of graphs in reverse mode.
//!
//! [`differentiate()`] copies a graph and appends nodes that compute the gradients of a scalar loss: a training step is
//! then a graph like any other. Each op has a rule, in the file of its family, that emits the nodes for the gradients of
//! its inputs from those of its outputs; [`rules`] says which op has which, without a catch-all, so that the compiler
//! asks for the rule of a new op. Ops without a gradient (shapes, comparisons, indices, rounding) stop it.
//!
//! Values of the forward pass live until the gradient has read them. Where only a size is needed, a Shape or Size node
//! right behind the value's producer takes it, so that the value itself need not stay.

mod attention;
mod convolution;
mod elementwise;
mod error;
mod indexing;
mod loss;
mod movement;
mod normalization;
mod own;
mod path;
mod pooling;
mod product;
mod recompute;
mod recurrent;
mod reduce;
mod rules;
mod tape;
mod training;

pub use error::DifferentiateError;
pub use recompute::{MemoryLimitError, Recomputation, peak_bytes, recompute};
pub use rules::{Differentiability, differentiability};
pub use training::{TrainingGraph, training_mode};

use path::Path;
use rules::{Rule, rule};
use tape::{Site, Tape};

use crate::{Dim, Graph, InferOptions, ValueId, infer_shapes, verify};

/// A graph with the nodes of its gradients.
#[derive(Clone, Debug)]
pub struct Differentiated {
    /// The graph that was differentiated, with the same value ids, and the nodes of the gradients behind it. Its outputs
    /// are those of the original: add gradients to them where wanted.
    pub graph: Graph,
    /// For each value asked for, its gradient, of the same shape and type; `None` where the loss does not depend on it.
    pub gradients: Vec<Option<ValueId>>,
}

/// Appends the gradients of `loss`, which has one element, with respect to the values `wrt`.
///
/// # Errors
/// When the graph is malformed, the loss is no scalar, or the gradient would have to pass a node that has none here.
pub fn differentiate(
    graph: &Graph,
    loss: ValueId,
    wrt: &[ValueId],
) -> Result<Differentiated, DifferentiateError> {
    if let Some(id) = wrt
        .iter()
        .chain([&loss])
        .find(|id| id.index() >= graph.values.len())
    {
        return Err(DifferentiateError::NoSuchValue { index: id.index() });
    }
    verify(graph)?;
    let mut graph = graph.clone();
    infer_shapes(&mut graph, &InferOptions::default())?;
    let rank = scalar_rank(&graph, loss)?;
    let path = Path::new(&graph, loss, wrt);
    let mut tape = Tape::new(graph, path.values, wrt);
    tape.start(loss, rank);
    for index in (0..path.nodes.len()).rev().filter(|&index| path.nodes[index]) {
        pass(&mut tape, index)?;
    }
    let gradients = wrt.iter().map(|&value| tape.total(value)).collect();
    let mut graph = tape.finish();
    infer_shapes(&mut graph, &InferOptions::default())?;
    Ok(Differentiated { graph, gradients })
}

/// The number of dimensions of the loss, all of size 1.
fn scalar_rank(graph: &Graph, loss: ValueId) -> Result<usize, DifferentiateError> {
    let value = graph.value(loss);
    let one = |dims: &&[Dim]| dims.iter().all(|dim| dim.known() == Some(1));
    let float = value.ty.dtype().is_some_and(bantam_tensor::DType::is_float);
    let rank = value.ty.shape().filter(one).map(<[Dim]>::len);
    rank.filter(|_| float)
        .ok_or_else(|| DifferentiateError::NotScalar {
            loss: value.name.clone(),
            ty: value.ty.to_string(),
        })
}

/// Takes the gradient from the outputs of a node to its inputs.
fn pass(tape: &mut Tape, index: usize) -> Result<(), DifferentiateError> {
    let node = tape.graph.nodes[index].clone();
    let dy: Vec<Option<ValueId>> = node
        .outputs
        .iter()
        .map(|output| output.and_then(|output| tape.total(output)))
        .collect();
    if dy.iter().all(Option::is_none) {
        // The gradient ended on the way: an op behind this node gives none to it.
        return Ok(());
    }
    let describe = tape.graph.describe(&node);
    let op = node.op.name().to_owned();
    let fail = |problem: error::Problem| DifferentiateError::NoGradient {
        node: describe,
        op,
        reason: problem.reason,
        hint: problem.hint,
    };
    let site = Site { index, node, dy };
    if let Err(problem) = tape.set_dtype(&site) {
        return Err(fail(problem));
    }
    tape.forget_given();
    match rule(&site.node.op) {
        Rule::Emits(emit) => match emit(tape, &site) {
            Err(problem) => Err(fail(problem)),
            // What the rule leaves out would be silently wrong.
            Ok(()) => match tape.forgotten(&site) {
                Some(input) => Err(fail(error::Problem::new(format!(
                    "not with respect to its input {input}"
                )))),
                None => Ok(()),
            },
        },
        Rule::Missing(reason) => Err(fail(error::Problem::new(reason))),
        Rule::Stops => Ok(()),
    }
}

#[cfg(test)]
mod tests;
