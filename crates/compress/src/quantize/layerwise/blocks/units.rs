//! The parts of a network between which a single value passes: residual blocks, and the layers that stand alone.

use std::collections::BTreeSet;
use std::ops::Range;

use bantam_graph::{Graph, Op, ValueId};

/// Nodes that are reconstructed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// The value that enters.
    pub(super) input: ValueId,
    /// The value that leaves.
    pub(super) output: ValueId,
    /// Numbers of its nodes; there may be others between them, which constants alone are computed by.
    pub(super) nodes: Range<usize>,
}

/// A place in the order of the nodes where one value holds all that is known of the data.
#[derive(Clone, Copy)]
struct Cut {
    /// Number of the node behind it.
    at: usize,
    value: ValueId,
}

/// The units in the order of the graph, each with at least one of the nodes `solved` (by number). They end before a quantizer or
/// the next of these nodes, so that what follows a product is a part of its unit.
pub(super) fn units(graph: &Graph, solved: &BTreeSet<usize>) -> Vec<Unit> {
    let cuts = cuts(graph);
    let varies = varying(graph);
    let quantizes = |index: usize| {
        let node = &graph.nodes[index];
        matches!(node.op, Op::FakeQuant(_) | Op::FakeSign(_))
            && node.input(0).is_some_and(|input| varies[input.index()])
    };
    let mut units = Vec::new();
    let Some(mut from) = cuts.first().copied() else {
        return units;
    };
    for (index, cut) in cuts.iter().enumerate().skip(1) {
        let until = cuts.get(index + 1).map_or(graph.nodes.len(), |next| next.at);
        let last = index + 1 == cuts.len();
        let ends = last || (cut.at..until).any(|node| quantizes(node) || solved.contains(&node));
        if ends && solved.range(from.at..cut.at).next().is_some() {
            units.push(Unit {
                input: from.value,
                output: cut.value,
                nodes: from.at..cut.at,
            });
            from = *cut;
        }
    }
    units
}

/// Which values depend on inputs of the graph.
pub(super) fn varying(graph: &Graph) -> Vec<bool> {
    let mut varies: Vec<bool> = vec![false; graph.values.len()];
    let inputs = graph
        .inputs
        .iter()
        .filter(|input| graph.constant(**input).is_none());
    inputs.for_each(|input| varies[input.index()] = true);
    for node in &graph.nodes {
        if node.inputs.iter().flatten().any(|input| varies[input.index()]) {
            let outputs = node.outputs.iter().flatten();
            outputs.for_each(|output| varies[output.index()] = true);
        }
    }
    varies
}

fn cuts(graph: &Graph) -> Vec<Cut> {
    let varies = varying(graph);
    let mut last_read = vec![0; graph.values.len()];
    for (index, readers) in graph.consumers().iter().enumerate() {
        let last = readers.iter().map(|(node, _)| node.index() + 1).max();
        last_read[index] = last.unwrap_or(0);
    }
    let outputs = graph.outputs.iter();
    outputs.for_each(|output| last_read[output.index()] = graph.nodes.len() + 1);
    let inputs = graph.inputs.iter().filter(|input| varies[input.index()]);
    let mut live: BTreeSet<ValueId> = inputs.copied().collect();
    let mut cuts = Vec::new();
    for at in 0..=graph.nodes.len() {
        if at > 0 {
            let made = graph.nodes[at - 1].outputs.iter().flatten();
            live.extend(made.filter(|output| varies[output.index()]));
        }
        live.retain(|value| last_read[value.index()] > at);
        if let (1, Some(value)) = (live.len(), live.first()) {
            cuts.push(Cut { at, value: *value });
        }
    }
    cuts
}

#[cfg(test)]
mod tests {
    use bantam_graph::Dim;
    use bantam_graph::ops::{Binary, MatMul, Unary};
    use bantam_tensor::{DType, Tensor};

    use super::*;

    /// A layer, a residual block of two, and another layer.
    #[test]
    fn a_residual_block_is_one_unit() {
        let mut graph = Graph::default();
        let x = graph.add_input("x", DType::F32, vec![Dim::Known(2), Dim::Known(2)]);
        let weight = graph.add_constant("w", Tensor::zeros(DType::F32, &[2, 2]).unwrap());
        let layer = |graph: &mut Graph, x: ValueId| graph.add_node("product", MatMul {}, &[x, weight]);
        let first = layer(&mut graph, x);
        let first = graph.add_node("first", Unary::Relu, &[first]);
        let inner = layer(&mut graph, first);
        let inner = graph.add_node("inner", Unary::Relu, &[inner]);
        let inner = layer(&mut graph, inner);
        let sum = graph.add_node("sum", Binary::Add, &[inner, first]);
        let sum = graph.add_node("second", Unary::Relu, &[sum]);
        let last = layer(&mut graph, sum);
        graph.outputs = vec![last];
        let unit = |input: ValueId, output: ValueId, nodes: Range<usize>| Unit { input, output, nodes };
        let expected = [
            unit(x, first, 0..2),
            unit(first, sum, 2..7),
            unit(sum, last, 7..8),
        ];
        assert_eq!(units(&graph, &BTreeSet::from([0, 2, 4, 7])), expected);
        // What is not solved for alone is a part of what comes before it.
        assert_eq!(units(&graph, &BTreeSet::from([2, 4])), [unit(x, last, 0..8)]);
    }
}
