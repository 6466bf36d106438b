//! From a graph to a program.

use std::collections::{HashMap, HashSet};

use bantam_graph::{Graph, Node, NodeId, Op, Value, ValueId};
use bantam_tensor::Tensor;

use crate::operator::{Reads, Site, prepare};
use crate::program::Program;
use crate::step::Step;
use crate::{CompileError, batchwise, bf16, fold_constants, fuse, fuse_quantized, layout, tables};

/// What a program is for.
#[derive(Clone, Debug, Default)]
pub struct CompileOptions {
    /// Values that taps will look at; fusion keeps them.
    pub observed: HashSet<ValueId>,
    /// Those of them whose dimension 1 may come behind the others, which saves moving their elements:
    /// [`Program::has_channels_last`] tells which do.
    pub in_any_order: HashSet<ValueId>,
    /// Values between convolutions, batch normalization and their gradients are kept in BF16, and convolutions multiply
    /// factors of BF16, with sums in `f32`. Only where nothing is observed.
    pub bf16: bool,
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
    let mut folded = graph.clone();
    fold_constants::fold(&mut folded, &options.observed, |op| {
        !matches!(op, Op::DequantizeLinear(_))
    });
    let fused = fuse_quantized::fuse(&folded, &options.observed);
    let laid_out = layout::choose(fused, &options.observed, &options.in_any_order);
    let laid_out = match options.bf16 && options.observed.is_empty() {
        true => bf16::store(laid_out),
        false => laid_out,
    };
    let graph = laid_out.graph.as_ref();
    let observed: HashSet<ValueId> = options
        .observed
        .iter()
        .chain(laid_out.stands_for.keys())
        .copied()
        .collect();
    let mut steps = steps(graph, &laid_out.channels_last, &observed)?;
    drop_unread(graph, &observed, &mut steps);
    mark_last_uses(graph, &mut steps);
    steps.iter_mut().for_each(|step| step.note_facts(graph));
    let names = graph.names();
    let captured: Vec<Option<ValueId>> = captures
        .iter()
        .map(|name| names.get(name.as_str()).copied())
        .collect();
    let constants = constants(graph, &observed, &steps);
    Ok(Program::new(
        graph,
        steps,
        constants,
        captured,
        parts,
        laid_out.stands_for,
    ))
}

/// A step for each node, or for a few that run together.
fn steps(
    graph: &Graph,
    channels_last: &HashSet<NodeId>,
    observed: &HashSet<ValueId>,
) -> Result<Vec<Step>, CompileError> {
    let fusions = fuse::find(graph, channels_last, observed);
    let tables = tables::find(graph, observed);
    let in_tables: HashSet<NodeId> = tables
        .iter()
        .flat_map(|table| table.absorbed())
        .copied()
        .collect();
    let names = graph.names();
    let alone = |(id, _): &(NodeId, &Node)| !fusions.absorbs(*id) && !in_tables.contains(id);
    let step = |(id, node): (NodeId, &Node)| {
        if let Some(table) = tables.iter().find(|table| table.last() == id) {
            return Ok(tables::step(graph, table));
        }
        if let Some(step) = fusions.step(graph, channels_last, id) {
            return Ok(step);
        }
        let site = Site {
            graph,
            node,
            channels_last: channels_last.contains(&id),
        };
        Ok(Step::new(
            graph.describe(node),
            prepare(&site)?,
            inputs(graph, &names, node)?,
            node.outputs.clone(),
        ))
    };
    graph.node_ids().filter(alone).map(step).collect()
}

/// A node's inputs, then the values that its subgraphs capture.
fn inputs(
    graph: &Graph,
    names: &HashMap<&str, ValueId>,
    node: &Node,
) -> Result<Vec<Option<ValueId>>, CompileError> {
    let mut inputs = node.inputs.clone();
    for name in node.op.subgraphs().into_iter().flat_map(Graph::captured_names) {
        let captured = names.get(name.as_str()).copied();
        let undefined = || CompileError::Captured {
            node: graph.describe(node),
            value: name.clone(),
        };
        inputs.push(Some(captured.ok_or_else(undefined)?));
    }
    Ok(inputs)
}

/// Removes steps whose results nobody reads.
fn drop_unread(graph: &Graph, observed: &HashSet<ValueId>, steps: &mut Vec<Step>) {
    let mut read: HashSet<ValueId> = graph.outputs.iter().chain(observed).copied().collect();
    let mut keep = vec![true; steps.len()];
    for (keep, step) in keep.iter_mut().zip(steps.iter()).rev() {
        *keep = step.outputs.iter().flatten().any(|output| read.contains(output));
        if *keep {
            read.extend(step.inputs.iter().flatten());
        } else {
            log::debug!("drop-unread: nobody reads what {} gives", step.node);
        }
    }
    let mut keep = keep.into_iter();
    steps.retain(|_| keep.next().unwrap_or(true));
}

/// The constants that somebody reads, their elements aligned where they are read in each run, so that kernels can borrow them.
fn constants(graph: &Graph, observed: &HashSet<ValueId>, steps: &[Step]) -> Vec<Option<Tensor>> {
    let mut reads = vec![Reads::Never; graph.values.len()];
    for step in steps {
        for (index, input) in step.inputs.iter().enumerate() {
            if let Some(input) = input {
                let reads = &mut reads[input.index()];
                *reads = step.reads(index).max(*reads);
            }
        }
    }
    let whole = graph.outputs.iter().chain(&graph.inputs).chain(observed);
    whole.for_each(|value| reads[value.index()] = Reads::Always);
    let constant = |(value, reads): (&Value, Reads)| match reads {
        Reads::Never => None,
        Reads::AtFirst => value.initializer.clone(),
        Reads::Always => value.initializer.clone().map(aligned),
    };
    graph.values.iter().zip(reads).map(constant).collect()
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

/// The same constant, its elements aligned as their type must be in memory.
fn aligned(tensor: Tensor) -> Tensor {
    let bytes = tensor.as_bytes();
    let alignment = tensor.dtype().bytes_for(1).unwrap_or(1).max(1);
    if (bytes.as_ptr() as usize).is_multiple_of(alignment) {
        return tensor;
    }
    Tensor::from_raw(tensor.dtype(), tensor.shape(), bytes).expect("a length that was right before")
}
