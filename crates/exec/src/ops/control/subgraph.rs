//! [`Subgraph`]: a program with the values that it reads from around it.

use bantam_graph::{Graph, Value, ValueType};
use bantam_tensor::{DType, Tensor};

use super::slices::stack;
use crate::compile::compile_with_captures;
use crate::inputs::Inputs;
use crate::operator::Site;
use crate::program::Program;
use crate::{CompileError, CompileOptions, OpError};

/// A compiled subgraph.
pub(super) struct Subgraph {
    program: Program,
    captures: usize,
    /// What is known of the types of its outputs.
    output_types: Vec<ValueType>,
}

impl Subgraph {
    /// Compiles a graph inside the node at `site`.
    pub(super) fn compile(graph: &Graph, site: &Site<'_>) -> Result<Subgraph, CompileError> {
        let captures = graph.captured_names();
        let graph = with_captured_values(graph, &captures, site.graph);
        let program = compile_with_captures(&graph, &captures, &CompileOptions::default())?;
        let output_types = graph
            .outputs
            .iter()
            .map(|&id| graph.value(id).ty.clone())
            .collect();
        Ok(Subgraph {
            program,
            captures: captures.len(),
            output_types,
        })
    }

    /// How many values it reads from around it.
    pub(super) fn captures(&self) -> usize {
        self.captures
    }

    /// Its captured values, which begin at argument `first` of the node.
    pub(super) fn captured(&self, inputs: &Inputs<'_>, first: usize) -> Result<Vec<Tensor>, OpError> {
        (first..first + self.captures)
            .map(|index| inputs.required(index).cloned())
            .collect()
    }

    /// Runs it on its inputs in order.
    pub(super) fn run(&self, inputs: &[Tensor], captured: &[Tensor]) -> Result<Vec<Tensor>, OpError> {
        self.program.run_subgraph(inputs, captured)
    }

    /// The values of output `output` over all runs, stacked along a new axis; no runs give an empty tensor of the type
    /// that the graph declares, unknown dimensions being 0.
    pub(super) fn stacked(&self, output: usize, runs: &[Tensor], axis: i64) -> Result<Tensor, OpError> {
        if !runs.is_empty() {
            return stack(runs, axis);
        }
        let ty = self.output_types.get(output);
        let dtype = ty.and_then(ValueType::dtype).ok_or_else(|| {
            OpError::value(format!(
                "there are no runs, and the type of output {output} of the subgraph is not known"
            ))
        })?;
        let dims = ty.and_then(ValueType::shape).unwrap_or_default();
        let shape: Vec<usize> = dims.iter().map(|dim| dim.known().unwrap_or(0)).collect();
        empty(dtype, &shape, axis)
    }
}

fn empty(dtype: DType, shape: &[usize], axis: i64) -> Result<Tensor, OpError> {
    let axis = crate::ops::axes::axis(axis, shape.len() + 1)?;
    let mut shape = shape.to_vec();
    shape.insert(axis, 0);
    Ok(Tensor::zeros(dtype, &shape)?)
}

/// The graph with a value for each name that it captures, also for those that only its own subgraphs read, and with
/// those that are constants of the outer graph as its own.
fn with_captured_values(graph: &Graph, captures: &[String], outer: &Graph) -> Graph {
    let mut graph = graph.clone();
    for name in captures {
        let id = graph.value_by_name(name).unwrap_or_else(|| {
            graph.add_value(Value {
                name: name.clone(),
                ..Value::default()
            })
        });
        let constant = outer.value_by_name(name).and_then(|id| outer.constant(id));
        graph.value_mut(id).initializer = constant.cloned();
    }
    graph
}
