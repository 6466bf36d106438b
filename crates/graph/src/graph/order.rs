//! The order of nodes, and the numbering of values.

use std::collections::BTreeSet;

use super::{Graph, GraphError, Node, ValueId};

impl Graph {
    /// Stable topological sort of the nodes.
    ///
    /// # Errors
    /// [`GraphError::Cycle`] when there is no order.
    pub fn sort(&mut self) -> Result<(), GraphError> {
        let consumers = self.consumers();
        let mut waiting = vec![0usize; self.nodes.len()];
        let producers = self.producers();
        for (value, readers) in consumers.iter().enumerate() {
            if producers[value].is_some() {
                readers.iter().for_each(|(node, _)| waiting[node.index()] += 1);
            }
        }
        let mut ready: BTreeSet<usize> = (0..self.nodes.len()).filter(|&node| waiting[node] == 0).collect();
        let mut order = Vec::with_capacity(self.nodes.len());
        let mut released = vec![false; self.values.len()];
        while let Some(node) = ready.pop_first() {
            order.push(node);
            for output in self.nodes[node].outputs.iter().flatten() {
                // A malformed graph may produce a value twice; that is for `verify` to say.
                if std::mem::replace(&mut released[output.index()], true) {
                    continue;
                }
                for (reader, _) in &consumers[output.index()] {
                    waiting[reader.index()] -= 1;
                    if waiting[reader.index()] == 0 {
                        ready.insert(reader.index());
                    }
                }
            }
        }
        if order.len() < self.nodes.len() {
            let stuck = (0..self.nodes.len())
                .find(|&node| waiting[node] > 0)
                .expect("some node is left");
            return Err(GraphError::Cycle {
                node: self.describe(&self.nodes[stuck]),
            });
        }
        let mut nodes: Vec<Option<Node>> = std::mem::take(&mut self.nodes).into_iter().map(Some).collect();
        self.nodes = order
            .into_iter()
            .map(|node| nodes[node].take().expect("each node once"))
            .collect();
        Ok(())
    }

    /// Drops values that no node, input or output refers to, and renumbers the rest.
    pub fn drop_unused_values(&mut self) {
        self.drop_unused_among(|_| true);
    }

    /// Drops those of some values that no node, subgraph, input or output refers to, and renumbers the rest.
    pub fn drop_unused_among(&mut self, candidate: impl Fn(ValueId) -> bool) {
        let consumers = self.consumers();
        let mut used: Vec<bool> = consumers.iter().map(|readers| !readers.is_empty()).collect();
        let outputs = self.nodes.iter().flat_map(|node| node.outputs.iter().flatten());
        for id in self.inputs.iter().chain(&self.outputs).chain(outputs) {
            used[id.index()] = true;
        }
        let mut renumbered = vec![None; self.values.len()];
        let mut kept = Vec::new();
        for (index, value) in std::mem::take(&mut self.values).into_iter().enumerate() {
            if used[index] || !candidate(ValueId::new(index)) {
                renumbered[index] = Some(ValueId::new(kept.len()));
                kept.push(value);
            }
        }
        self.values = kept;
        let renumber = |id: &mut ValueId| *id = renumbered[id.index()].expect("a used value");
        self.inputs.iter_mut().chain(&mut self.outputs).for_each(renumber);
        for node in &mut self.nodes {
            node.inputs
                .iter_mut()
                .chain(&mut node.outputs)
                .flatten()
                .for_each(renumber);
        }
    }
}
