//! Values that depend on initializers alone.

use bantam_exec::{CompileOptions, Taps, compile};
use bantam_graph::{Graph, InferOptions, ValueId, infer_shapes, part};
use bantam_tensor::Tensor;

use super::AwareError;

/// What the values hold; `None` where one depends on an input of the graph.
pub(super) fn constants(graph: &Graph, values: &[ValueId]) -> Result<Vec<Option<Tensor>>, AwareError> {
    let known = known(graph);
    let mut computed: Vec<ValueId> = values
        .iter()
        .copied()
        .filter(|value| known[value.index()] && graph.value(*value).initializer.is_none())
        .collect();
    computed.sort_unstable();
    computed.dedup();
    let results = run(graph, &computed)?;
    let result = |value: &ValueId| match computed.binary_search(value) {
        Ok(index) => Some(results[index].clone()),
        Err(_) => graph.constant(*value).cloned(),
    };
    Ok(values.iter().map(result).collect())
}

/// Which values depend on initializers alone.
fn known(graph: &Graph) -> Vec<bool> {
    let mut known = vec![false; graph.values.len()];
    for (index, value) in graph.values.iter().enumerate() {
        known[index] = value.initializer.is_some() && !graph.inputs.contains(&ValueId::new(index));
    }
    for node in &graph.nodes {
        let all = node.inputs.iter().flatten().all(|input| known[input.index()]);
        if all && !node.inputs.is_empty() && node.op.subgraphs().is_empty() {
            node.outputs
                .iter()
                .flatten()
                .for_each(|output| known[output.index()] = true);
        }
    }
    known
}

/// Runs the nodes that these values need.
fn run(graph: &Graph, values: &[ValueId]) -> Result<Vec<Tensor>, AwareError> {
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let mut part = part(graph, &[], values);
    infer_shapes(&mut part, &InferOptions::default())?;
    let program = compile(&part, &CompileOptions::default())?;
    Ok(program.run(&[], &mut Taps::none())?)
}
