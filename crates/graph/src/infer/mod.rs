//! Shape and type inference.
//!
//! One pass over the nodes, in order. Each op's rule gives the types of its outputs from those of its inputs; small
//! integer tensors are followed element by element, so that a shape that is computed in the graph (Shape, Gather,
//! Concat, Reshape...) is known. Sizes that the file names (`N`) stay names.
//!
//! What is inferred wins over what the file says of inner values and outputs; what the file says fills the gaps.

mod contents;
mod context;
mod control;
mod convolution;
mod dims;
mod dispatch;
mod elementwise;
mod error;
mod generate;
mod gradient;
mod merge;
mod microsoft;
mod movement;
mod normalization;
mod options;
mod order;
mod pooling;
mod product;
mod quantization;
mod recurrent;
mod shaping;
mod slicing;
mod spatial;
mod window;

pub use error::{InferError, Problem};
pub use options::InferOptions;
pub(crate) use slicing::slice_positions;

use std::collections::HashMap;

use contents::Contents;
use context::Context;
use dims::MAX_RANK;

use crate::{Dim, Graph, Node, Op, Value, ValueId, ValueType};

/// Fills in the types of all values.
///
/// # Errors
/// When shapes or types contradict each other, with the node, its inputs and what was expected.
pub fn infer_shapes(graph: &mut Graph, options: &InferOptions) -> Result<(), InferError> {
    options.bind(graph)?;
    run(graph, &Scope::default()).map(|_| ())
}

/// True when two types can be of one value: no known dtype, rank or size differs.
pub fn types_are_compatible(left: &ValueType, right: &ValueType) -> bool {
    merge::compatible(left, right)
}

/// What is known of a value.
#[derive(Clone, Debug, Default)]
struct Known {
    ty: ValueType,
    contents: Option<Contents>,
}

/// What a subgraph sees of the graphs around it.
#[derive(Clone, Debug, Default)]
struct Scope {
    /// Their values, by name.
    values: HashMap<String, Known>,
    /// How many there are.
    depth: usize,
}

/// Infers a graph inside others and gives what is known of its outputs.
fn run(graph: &mut Graph, outer: &Scope) -> Result<Vec<Known>, InferError> {
    let mut contents = start(graph, outer);
    for index in 0..graph.nodes.len() {
        let outputs = infer_at(graph, index, &contents, outer).map_err(|problem| InferError::Node {
            node: graph.describe(&graph.nodes[index]),
            inputs: input_texts(graph, &graph.nodes[index]),
            problem: Box::new(problem),
        })?;
        store(graph, index, outputs, &mut contents);
    }
    let known = |id: &ValueId| Known {
        ty: graph.value(*id).ty.clone(),
        contents: contents[id.index()].clone(),
    };
    Ok(graph.outputs.iter().map(known).collect())
}

/// Sets the types of constants and of values from outside, and gives the elements that are known from the start.
fn start(graph: &mut Graph, outer: &Scope) -> Vec<Option<Contents>> {
    let mut own = vec![false; graph.values.len()];
    let outputs = graph.nodes.iter().flat_map(|node| node.outputs.iter().flatten());
    outputs.chain(&graph.inputs).for_each(|id| own[id.index()] = true);
    let mut contents = vec![None; graph.values.len()];
    for (index, value) in graph.values.iter_mut().enumerate() {
        if let Some(tensor) = &value.initializer {
            let shape = tensor.shape().iter().copied().map(Dim::Known).collect();
            if !own[index] {
                value.ty = ValueType::tensor(tensor.dtype(), shape);
                contents[index] = Contents::from_tensor(tensor);
            } else if value.ty == ValueType::Unknown {
                value.ty = ValueType::tensor(tensor.dtype(), shape);
            }
        } else if let Some(known) = outer.values.get(&value.name).filter(|_| !own[index]) {
            value.ty = known.ty.clone();
            contents[index] = known.contents.clone();
        }
    }
    contents
}

/// What is known of the outputs of a node.
fn infer_at(
    graph: &mut Graph,
    index: usize,
    contents: &[Option<Contents>],
    outer: &Scope,
) -> Result<Vec<Known>, Problem> {
    if matches!(graph.nodes[index].op, Op::If(_) | Op::Loop(_) | Op::Scan(_)) {
        return infer_control(graph, index, contents, outer);
    }
    let context = Context {
        node: &graph.nodes[index],
        values: &graph.values,
        graph_inputs: &graph.inputs,
        contents,
    };
    let types = dispatch::infer_node(&context)?;
    if let Some(got) = types
        .iter()
        .filter_map(|ty| Some(ty.shape()?.len()))
        .find(|&rank| rank > MAX_RANK)
    {
        return Err(Problem::TooManyDimensions { got, limit: MAX_RANK });
    }
    Ok(types.into_iter().map(|ty| Known { ty, contents: None }).collect())
}

fn infer_control(
    graph: &mut Graph,
    index: usize,
    contents: &[Option<Contents>],
    outer: &Scope,
) -> Result<Vec<Known>, Problem> {
    let scope = scope_of(graph, &graph.nodes[index], contents, outer);
    let known = |id: &Option<ValueId>| match id {
        Some(id) => Known {
            ty: graph.value(*id).ty.clone(),
            contents: contents[id.index()].clone(),
        },
        None => Known::default(),
    };
    let inputs: Vec<Known> = graph.nodes[index].inputs.iter().map(known).collect();
    let outputs = graph.nodes[index].outputs.len();
    match &mut graph.nodes[index].op {
        Op::If(op) => control::branch(op, &inputs, &scope, outputs),
        Op::Loop(op) => control::repeat(op, &inputs, &scope),
        Op::Scan(op) => control::scan(op, &inputs, &scope),
        _ => Ok(Vec::new()),
    }
}

/// What a node's subgraphs capture.
fn scope_of(graph: &Graph, node: &Node, contents: &[Option<Contents>], outer: &Scope) -> Scope {
    let names = graph.names();
    let captured = node.op.subgraphs().into_iter().flat_map(Graph::captured_names);
    let known = |name: String| {
        let known = match names.get(name.as_str()) {
            Some(id) => Known {
                ty: graph.value(*id).ty.clone(),
                contents: contents[id.index()].clone(),
            },
            None => outer.values.get(&name)?.clone(),
        };
        Some((name, known))
    };
    Scope {
        values: captured.filter_map(known).collect(),
        depth: outer.depth + 1,
    }
}

/// Writes the types of a node's outputs, then follows the elements of the first.
fn store(graph: &mut Graph, index: usize, known: Vec<Known>, contents: &mut [Option<Contents>]) {
    let ids = graph.nodes[index].outputs.clone();
    for (id, known) in ids.iter().zip(known) {
        if let Some(id) = id {
            refine(graph.value_mut(*id), known.ty);
            contents[id.index()] = known.contents;
        }
    }
    let Some(Some(first)) = ids.first() else { return };
    if contents[first.index()].is_none() {
        let context = Context {
            node: &graph.nodes[index],
            values: &graph.values,
            graph_inputs: &graph.inputs,
            contents,
        };
        contents[first.index()] = contents::propagate(&context);
    }
}

/// Replaces a declared type by an inferred one, which has gaps where the declared one may know more.
fn refine(value: &mut Value, inferred: ValueType) {
    let ValueType::Tensor { dtype, shape } = inferred else {
        if inferred != ValueType::Unknown {
            value.ty = inferred;
        }
        return;
    };
    let fill = |(inferred, declared): (Dim, &Dim)| match inferred {
        Dim::Unknown => declared.clone(),
        dim => dim,
    };
    let shape = match (shape, value.ty.shape()) {
        (Some(shape), Some(declared)) if shape.len() == declared.len() => {
            Some(shape.into_iter().zip(declared).map(fill).collect())
        }
        (shape, declared) => shape.or(declared.map(<[Dim]>::to_vec)),
    };
    let dtype = dtype.or(value.ty.dtype());
    value.ty = ValueType::Tensor { dtype, shape };
}

fn input_texts(graph: &Graph, node: &Node) -> Vec<String> {
    let text = |id: &Option<ValueId>| match id {
        Some(id) => format!("`{}`: {}", graph.value(*id).name, graph.value(*id).ty),
        None => "-".to_owned(),
    };
    node.inputs.iter().map(text).collect()
}

#[cfg(test)]
mod tests;
