//! Sizes that the caller knows better than the file.

use std::collections::HashMap;

use super::InferError;
use crate::{Dim, Graph, ValueType};

/// What is known beyond the graph. The default is nothing.
#[derive(Clone, Debug, Default)]
pub struct InferOptions {
    input_shapes: Vec<(String, Vec<usize>)>,
    symbols: Vec<(String, usize)>,
}

impl InferOptions {
    /// Gives graph inputs these shapes. Where the graph names a dimension of an input, as `N`, the name gets that size
    /// everywhere.
    #[must_use]
    pub fn with_input_shapes(mut self, shapes: &[(&str, Vec<usize>)]) -> InferOptions {
        let shapes = shapes
            .iter()
            .map(|(name, shape)| ((*name).to_owned(), shape.clone()));
        self.input_shapes.extend(shapes);
        self
    }

    /// Gives a named dimension this size everywhere.
    #[must_use]
    pub fn with_symbol(mut self, name: &str, size: usize) -> InferOptions {
        self.symbols.push((name.to_owned(), size));
        self
    }

    /// Writes the sizes into the types of the graph.
    pub(super) fn bind(&self, graph: &mut Graph) -> Result<(), InferError> {
        let mut sizes = HashMap::new();
        for (symbol, size) in &self.symbols {
            bind_symbol(&mut sizes, symbol, *size)?;
        }
        for (name, shape) in &self.input_shapes {
            bind_input(graph, name, shape, &mut sizes)?;
        }
        if !sizes.is_empty() {
            substitute(graph, &sizes);
        }
        Ok(())
    }
}

fn bind_symbol(sizes: &mut HashMap<String, usize>, symbol: &str, second: usize) -> Result<(), InferError> {
    match sizes.insert(symbol.to_owned(), second) {
        Some(first) if first != second => Err(InferError::Symbol {
            symbol: symbol.to_owned(),
            first,
            second,
        }),
        _ => Ok(()),
    }
}

fn bind_input(
    graph: &mut Graph,
    name: &str,
    given: &[usize],
    sizes: &mut HashMap<String, usize>,
) -> Result<(), InferError> {
    let Some(&id) = graph.inputs.iter().find(|id| graph.value(**id).name == name) else {
        return Err(InferError::NoSuchInput {
            name: name.to_owned(),
            known: graph
                .inputs
                .iter()
                .map(|id| format!("`{}`", graph.value(*id).name))
                .collect(),
        });
    };
    let ty = &graph.value(id).ty;
    let declared = ty.shape().unwrap_or_default();
    let fits = |(declared, given): (&Dim, &usize)| declared.known().is_none_or(|declared| declared == *given);
    let same_rank = ty.shape().is_none_or(|declared| declared.len() == given.len());
    if !same_rank || !declared.iter().zip(given).all(fits) {
        return Err(InferError::InputShape {
            name: name.to_owned(),
            declared: ty.to_string(),
            given: given.to_vec(),
        });
    }
    for (dim, &size) in declared.iter().zip(given) {
        if let Dim::Symbol(symbol) = dim {
            bind_symbol(sizes, symbol, size)?;
        }
    }
    let (dtype, shape) = (ty.dtype(), given.iter().copied().map(Dim::Known).collect());
    graph.value_mut(id).ty = ValueType::Tensor {
        dtype,
        shape: Some(shape),
    };
    Ok(())
}

fn substitute(graph: &mut Graph, sizes: &HashMap<String, usize>) {
    for value in &mut graph.values {
        let ValueType::Tensor {
            shape: Some(shape), ..
        } = &mut value.ty
        else {
            continue;
        };
        for dim in shape {
            if let Dim::Symbol(name) = dim
                && let Some(size) = sizes.get(name)
            {
                *dim = Dim::Known(*size);
            }
        }
    }
    for subgraph in graph.nodes.iter_mut().flat_map(|node| node.op.subgraphs_mut()) {
        substitute(subgraph, sizes);
    }
}
