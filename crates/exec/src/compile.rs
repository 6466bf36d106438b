//! From a graph to a program.

use std::collections::HashSet;

use bantam_graph::{Graph, NodeId, ValueId};

use crate::operator::{Site, prepare};
use crate::program::{Program, Step};
use crate::{CompileError, batchwise, fuse, fuse_quantized, layout, tables};

/// What a program is for.
#[derive(Clone, Debug, Default)]
pub struct CompileOptions {
    /// Values that taps will look at; fusion keeps them.
    pub observed: HashSet<ValueId>,
    /// Those of them whose dimension 1 may come behind the others, which saves moving their elements:
    /// [`Program::has_channels_last`] tells which do.
    pub in_any_order: HashSet<ValueId>,
}

/// Compiles a graph, whose functions are inlined and whose nodes are in topological order.
///
/// # Errors
/// When a node's op is not known or cannot be prepared.
pub fn compile(graph: &Graph, options: &CompileOptions) -> Result<Program, CompileError> {
    compile_with_captures(graph, &[], options)
}

/// As [`compile`], for a subgraph: `captures` are names of outer values, given after the inputs.
pub(crate) fn compile_with_captures(
    graph: &Graph,
    captures: &[String],
    options: &CompileOptions,
) -> Result<Program, CompileError> {
    let parts = batchwise::parts(graph).filter(|_| captures.is_empty() && options.observed.is_empty());
    let fused = fuse_quantized::fuse(graph, &options.observed);
    let laid_out = layout::choose(fused, &options.observed, &options.in_any_order);
    let (graph, channels_last) = (laid_out.graph.as_ref(), &laid_out.channels_last);
    let observed: HashSet<ValueId> = options
        .observed
        .iter()
        .chain(laid_out.stands_for.keys())
        .copied()
        .collect();
    let fusions = fuse::find(graph, &observed);
    let tables = tables::find(graph, &observed);
    let in_tables: HashSet<NodeId> = tables
        .iter()
        .flat_map(|table| table.absorbed())
        .copied()
        .collect();
    let mut steps = Vec::with_capacity(graph.nodes.len());
    let names = graph.names();
    for (id, node) in graph
        .node_ids()
        .filter(|(id, _)| !fusions.absorbs(*id) && !in_tables.contains(id))
    {
        if let Some(table) = tables.iter().find(|table| table.last() == id) {
            steps.push(tables::step(graph, table));
            continue;
        }
        if let Some(step) = fusions.step(graph, channels_last, id) {
            steps.push(step);
            continue;
        }
        let mut inputs = node.inputs.clone();
        for name in node.op.subgraphs().into_iter().flat_map(Graph::captured_names) {
            let captured = names.get(name.as_str()).copied();
            let undefined = || CompileError::Captured {
                node: graph.describe(node),
                value: name.clone(),
            };
            inputs.push(Some(captured.ok_or_else(undefined)?));
        }
        let operator = prepare(&Site {
            graph,
            node,
            channels_last: channels_last.contains(&id),
        })?;
        let (node, outputs) = (graph.describe(node), node.outputs.clone());
        steps.push(Step {
            node,
            operator,
            inputs,
            outputs,
            last_uses: Vec::new(),
        });
    }
    mark_last_uses(graph, &mut steps);
    let captured = captures
        .iter()
        .map(|name| names.get(name.as_str()).copied())
        .collect();
    let constants = (0..graph.values.len())
        .map(|index| graph.values[index].initializer.clone().map(aligned))
        .collect();
    Ok(Program::new(
        graph,
        steps,
        constants,
        captured,
        parts,
        laid_out.stands_for,
    ))
}

/// Finds for each step which of its inputs nobody reads afterwards.
fn mark_last_uses(graph: &Graph, steps: &mut [Step]) {
    let mut read_later: HashSet<ValueId> = graph.outputs.iter().copied().collect();
    for step in steps.iter_mut().rev() {
        let mut last_uses = vec![false; step.inputs.len()];
        for (position, input) in step.inputs.iter().enumerate() {
            // A value that appears twice stays shared: what one position took, the other could not read.
            let once = step.inputs.iter().filter(|other| *other == input).count() == 1;
            last_uses[position] = input.is_some_and(|id| once && !read_later.contains(&id));
        }
        read_later.extend(step.inputs.iter().flatten().copied());
        step.last_uses = last_uses;
    }
}

/// The same constant with its elements aligned, so that kernels can borrow them.
fn aligned(tensor: bantam_tensor::Tensor) -> bantam_tensor::Tensor {
    let bytes = tensor.as_bytes();
    if tensor.shared_bytes().is_none() || (bytes.as_ptr() as usize).is_multiple_of(16) {
        return tensor;
    }
    bantam_tensor::Tensor::from_raw(tensor.dtype(), tensor.shape(), bytes)
        .expect("a length that was right before")
}
