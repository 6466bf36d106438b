//! [`verify`]: the rules that every graph keeps.

use std::collections::HashSet;

use crate::{Graph, GraphError, Model, Node, ValueId};

/// Checks that a graph is well-formed:
///
/// - ids are in range; names are unique and not empty;
/// - each value has at most one origin: a node, the graph's inputs, or a constant;
/// - a node reads only what is defined before it; so do its subgraphs, of this graph and of those around it;
/// - graph outputs are defined;
/// - the numbers of inputs and outputs fit each op, and required inputs are there.
///
/// # Errors
/// The first rule that is broken, with the node and the value.
pub fn verify(graph: &Graph) -> Result<(), GraphError> {
    verify_in(graph, &HashSet::new())
}

/// Checks a model's graph and the bodies of its functions as [`verify`] does.
///
/// # Errors
/// The first rule that is broken.
pub fn verify_model(model: &Model) -> Result<(), GraphError> {
    verify(&model.graph)?;
    model
        .functions
        .iter()
        .try_for_each(|function| verify(&function.body))
}

/// Checks a graph inside others, whose names `outer` are visible to it.
fn verify_in(graph: &Graph, outer: &HashSet<&str>) -> Result<(), GraphError> {
    check_ids(graph)?;
    check_names(graph)?;
    let mut defined = defined_before_nodes(graph)?;
    let nested = graph.nodes.iter().any(|node| !node.op.subgraphs().is_empty());
    let mut visible = if nested {
        visible_before_nodes(graph, &defined, outer)
    } else {
        HashSet::new()
    };
    for node in &graph.nodes {
        check_arity(graph, node)?;
        for &input in node.inputs.iter().flatten() {
            if !defined[input.index()] && !outer.contains(graph.value(input).name.as_str()) {
                return Err(undefined(graph, node, &graph.value(input).name));
            }
        }
        for subgraph in node.op.subgraphs() {
            verify_in(subgraph, &visible)?;
        }
        for &output in node.outputs.iter().flatten() {
            define_output(graph, node, output, &mut defined)?;
            if nested {
                visible.insert(&graph.value(output).name);
            }
        }
    }
    let missing = graph.outputs.iter().map(|id| (id, &graph.value(*id).name));
    match missing
        .into_iter()
        .find(|(id, name)| !defined[id.index()] && !outer.contains(name.as_str()))
    {
        Some((_, name)) => Err(GraphError::UndefinedOutput { value: name.clone() }),
        None => Ok(()),
    }
}

fn check_ids(graph: &Graph) -> Result<(), GraphError> {
    let in_range = |id: &ValueId| id.index() < graph.values.len();
    if !graph.inputs.iter().chain(&graph.outputs).all(in_range) {
        return Err(GraphError::DanglingId {
            node: "`graph`".to_owned(),
        });
    }
    for node in &graph.nodes {
        if !node.inputs.iter().chain(&node.outputs).flatten().all(in_range) {
            // `describe` may follow the broken id.
            return Err(GraphError::DanglingId {
                node: format!("`{}` ({})", node.name, node.op.name()),
            });
        }
    }
    Ok(())
}

fn check_names(graph: &Graph) -> Result<(), GraphError> {
    let mut seen = HashSet::with_capacity(graph.values.len());
    for value in &graph.values {
        if value.name.is_empty() {
            return Err(GraphError::EmptyName);
        }
        if !seen.insert(value.name.as_str()) {
            return Err(GraphError::DuplicateName {
                name: value.name.clone(),
            });
        }
    }
    Ok(())
}

/// Which values are inputs or constants.
fn defined_before_nodes(graph: &Graph) -> Result<Vec<bool>, GraphError> {
    let mut defined = vec![false; graph.values.len()];
    for id in &graph.inputs {
        if std::mem::replace(&mut defined[id.index()], true) {
            return Err(GraphError::DuplicateName {
                name: graph.value(*id).name.clone(),
            });
        }
    }
    for (known, value) in defined.iter_mut().zip(&graph.values) {
        *known |= value.initializer.is_some();
    }
    Ok(defined)
}

fn visible_before_nodes<'g>(
    graph: &'g Graph,
    defined: &[bool],
    outer: &HashSet<&'g str>,
) -> HashSet<&'g str> {
    let own = graph.values.iter().zip(defined).filter(|(_, defined)| **defined);
    own.map(|(value, _)| value.name.as_str())
        .chain(outer.iter().copied())
        .collect()
}

fn define_output(
    graph: &Graph,
    node: &Node,
    output: ValueId,
    defined: &mut [bool],
) -> Result<(), GraphError> {
    let value = graph.value(output);
    if std::mem::replace(&mut defined[output.index()], true) {
        let (node, name) = (graph.describe(node), value.name.clone());
        let given = value.initializer.is_some() || graph.inputs.contains(&output);
        return Err(if given {
            GraphError::ProducedConstant { node, value: name }
        } else {
            GraphError::TwoProducers { node, value: name }
        });
    }
    Ok(())
}

/// An error that tells a cycle or wrong order from a value that is nowhere.
fn undefined(graph: &Graph, node: &Node, name: &str) -> GraphError {
    let produced_later = graph
        .nodes
        .iter()
        .flat_map(|node| node.outputs.iter().flatten())
        .any(|output| graph.value(*output).name == name);
    let (node, value) = (graph.describe(node), name.to_owned());
    if produced_later {
        GraphError::ReadTooEarly { node, value }
    } else {
        GraphError::Undefined { node, value }
    }
}

fn check_arity(graph: &Graph, node: &Node) -> Result<(), GraphError> {
    let arity = node.op.arity();
    let counts = [
        ("inputs", node.inputs.len(), arity.min_inputs, arity.max_inputs),
        (
            "outputs",
            node.outputs.len(),
            arity.min_outputs,
            arity.max_outputs,
        ),
    ];
    for (what, got, min, max) in counts {
        if got < min || got > max {
            return Err(GraphError::Arity {
                node: graph.describe(node),
                what,
                got,
                min,
                max,
            });
        }
    }
    let absent = (0..arity.min_inputs)
        .find(|position| node.input(*position).is_none() && !arity.optional.contains(position));
    match absent {
        Some(position) => Err(GraphError::MissingInput {
            node: graph.describe(node),
            position,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
