//! Streams that are turned: constants before and behind them, and products where there is no constant.

use bantam_graph::ops::MatMul;
use bantam_graph::{Graph, Node, Patch, Value, ValueId};
use bantam_tensor::Tensor;

use super::RewriteError;
use crate::plan::{Action, Plan, Site};
use crate::rotation::{orthogonal, times, transposed, transposed_times};

/// Turns what the plan says, before anything is quantized.
pub(super) fn rotate(graph: &mut Graph, plan: &Plan) -> Result<(), RewriteError> {
    for decision in &plan.decisions {
        match (&decision.action, &decision.site) {
            (Action::RotateConstant { axis, seed }, Site::Value(name)) => {
                constant(graph, name, *axis, *seed)?
            }
            (Action::Rotate { size, seed }, Site::Value(name)) => turn(graph, name, *size, *seed)?,
            (Action::RotateBack { size, seed }, Site::Input { node, input, .. }) => {
                turn_back(graph, (node, *input), *size, *seed)?;
            }
            _ => (),
        }
    }
    Ok(())
}

fn value(graph: &Graph, name: &str) -> Result<ValueId, RewriteError> {
    let name = || name.to_owned();
    graph
        .value_by_name(&name())
        .ok_or_else(|| RewriteError::Unknown { name: name() })
}

/// Turns a constant along an axis.
fn constant(graph: &mut Graph, name: &str, axis: usize, seed: u64) -> Result<(), RewriteError> {
    let id = value(graph, name)?;
    let name = || name.to_owned();
    let constant = graph.value(id).initializer.as_ref();
    let constant = constant.ok_or_else(|| RewriteError::NotConstant { name: name() })?;
    let (shape, last) = (constant.shape(), constant.rank().wrapping_sub(1));
    let size = shape.get(axis).copied().unwrap_or(0);
    if size == 0 || (axis != 0 && axis != last) {
        return Err(RewriteError::Axis { name: name() });
    }
    let (values, matrix) = (constant.to_f32()?, orthogonal(size, seed));
    let turned = match axis == last {
        true => times(&values, &matrix, size),
        false => transposed_times(&matrix, &values, size),
    };
    let turned = Tensor::from_slice(shape, &turned)?;
    let mut patch = Patch::new(graph);
    patch.set_initializer(id, turned);
    Ok(patch.apply(graph)?)
}

/// A product with the matrix behind a value, for all its readers.
fn turn(graph: &mut Graph, name: &str, size: usize, seed: u64) -> Result<(), RewriteError> {
    let id = value(graph, name)?;
    let mut patch = Patch::new(graph);
    let turned = product(graph, &mut patch, id, (&orthogonal(size, seed), size))?;
    patch.replace_uses(id, turned);
    Ok(patch.apply(graph)?)
}

/// A product with the transpose of the matrix before one node.
fn turn_back(
    graph: &mut Graph,
    (node, input): (&str, usize),
    size: usize,
    seed: u64,
) -> Result<(), RewriteError> {
    let output = value(graph, node)?;
    let unknown = || RewriteError::Unknown {
        name: node.to_owned(),
    };
    let reader = graph.producers()[output.index()].ok_or_else(unknown)?;
    let read = graph.node(reader).input(input).ok_or_else(unknown)?;
    let mut patch = Patch::new(graph);
    let matrix = transposed(&orthogonal(size, seed), size);
    let turned = product(graph, &mut patch, read, (&matrix, size))?;
    patch.set_input(reader, input, Some(turned));
    Ok(patch.apply(graph)?)
}

fn product(
    graph: &Graph,
    patch: &mut Patch,
    value: ValueId,
    (matrix, size): (&[f32], usize),
) -> Result<ValueId, RewriteError> {
    let matrix = patch.add_constant("rotation", Tensor::from_slice(&[size, size], matrix)?);
    let (name, ty) = (&graph.value(value).name, graph.value(value).ty.clone());
    let turned = patch.add_value(Value {
        name: format!("{name}_turned"),
        ty,
        ..Value::default()
    });
    let node = Node::new(
        format!("{name}_turn"),
        MatMul {}.into(),
        &[value, matrix],
        &[turned],
    );
    patch.add_node(node);
    Ok(turned)
}
