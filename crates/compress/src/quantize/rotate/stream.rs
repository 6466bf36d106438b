//! Residual streams: values that sums tie together and RMSNorm reads.

use std::collections::BTreeSet;

use bantam_graph::ops::Binary;
use bantam_graph::{Graph, NodeId, Op, ValueId};

/// Values of one last dimension, tied by sums.
pub(super) struct Stream {
    /// The last dimension.
    pub(super) width: usize,
    /// Values of it that no sum of it makes.
    pub(super) writers: Vec<ValueId>,
    /// Reads of its values by nodes that are no sum of it: value, node and position.
    pub(super) readers: Vec<(ValueId, NodeId, usize)>,
}

/// The streams of a graph in order. Those with a value that leaves the graph stay out.
pub(super) fn streams(graph: &Graph) -> Vec<Stream> {
    let mut seen = BTreeSet::new();
    let mut streams = Vec::new();
    let finder = Finder {
        graph,
        producers: graph.producers(),
        consumers: graph.consumers(),
    };
    for (_, node) in graph.node_ids() {
        let (Op::RmsNormalization(norm), Some(start)) = (&node.op, node.input(0)) else {
            continue;
        };
        let Some(shape) = finder.shape(start) else {
            continue;
        };
        let last = norm.axis == -1 || norm.axis + 1 == shape.len() as i64;
        let width = shape.last().and_then(bantam_graph::Dim::known);
        if let (true, Some(width), true) = (last, width, seen.insert(start)) {
            let values = finder.tied(start);
            if values.is_disjoint(&seen.iter().copied().filter(|value| *value != start).collect())
                && !graph
                    .outputs
                    .iter()
                    .chain(&graph.inputs)
                    .any(|value| values.contains(value))
            {
                streams.push(finder.stream(&values, width));
            }
            seen.extend(values);
        }
    }
    streams
}

struct Finder<'a> {
    graph: &'a Graph,
    producers: Vec<Option<NodeId>>,
    consumers: Vec<Vec<(NodeId, usize)>>,
}

impl Finder<'_> {
    fn shape(&self, value: ValueId) -> Option<&[bantam_graph::Dim]> {
        self.graph.value(value).ty.shape()
    }

    /// The three values of a sum of two values of one shape, none of them constant.
    fn sum(&self, node: NodeId) -> Option<[ValueId; 3]> {
        let node = self.graph.node(node);
        let (a, b, output) = (node.input(0)?, node.input(1)?, node.output(0)?);
        let same = self.shape(a)? == self.shape(b)? && self.shape(a)? == self.shape(output)?;
        let varies = self.graph.constant(a).is_none() && self.graph.constant(b).is_none();
        (node.op == Op::Binary(Binary::Add) && same && varies).then_some([a, b, output])
    }

    /// All values that sums tie to this one.
    fn tied(&self, start: ValueId) -> BTreeSet<ValueId> {
        let (mut found, mut open) = (BTreeSet::new(), vec![start]);
        while let Some(value) = open.pop() {
            if !found.insert(value) {
                continue;
            }
            let readers = self.consumers[value.index()].iter().map(|(node, _)| *node);
            let sums = self.producers[value.index()].into_iter().chain(readers);
            open.extend(sums.filter_map(|node| self.sum(node)).flatten());
        }
        found
    }

    fn stream(&self, values: &BTreeSet<ValueId>, width: usize) -> Stream {
        let is_sum = |node: NodeId| self.sum(node).is_some();
        let made = |value: &ValueId| self.producers[value.index()].is_some_and(is_sum);
        let reads = |value: &ValueId| {
            let value = *value;
            let readers = self.consumers[value.index()].iter();
            readers
                .filter(move |(node, _)| !is_sum(*node))
                .map(move |(node, position)| (value, *node, *position))
        };
        Stream {
            width,
            writers: values.iter().copied().filter(|value| !made(value)).collect(),
            readers: values.iter().flat_map(reads).collect(),
        }
    }
}
