//! Goes through a graph layer by layer, with all samples at once.

use std::collections::BTreeMap;

use bantam_exec::{CompileOptions, Taps, compile};
use bantam_graph::{Graph, InferOptions, ValueId, infer_shapes, part};
use bantam_tensor::{Batch, Tensor};

use super::LayerwiseError;

/// Where in a graph we are: the values that nodes behind this place still read, for every batch.
pub(crate) struct Walk {
    live: BTreeMap<ValueId, Vec<Tensor>>,
    /// Nodes that are done.
    done: usize,
    batches: usize,
}

impl Walk {
    /// Before the first node.
    ///
    /// # Errors
    /// When a batch lacks an input of the graph.
    pub(crate) fn new(graph: &Graph, batches: &[Batch]) -> Result<Walk, LayerwiseError> {
        let mut live = BTreeMap::new();
        for &input in &graph.inputs {
            let value = graph.value(input);
            if value.initializer.is_some() {
                continue;
            }
            let of_batch = |batch: &Batch| {
                let found = batch.inputs.iter().find(|(name, _)| *name == value.name);
                found.map(|(_, tensor)| tensor.clone())
            };
            let tensors: Option<Vec<Tensor>> = batches.iter().map(of_batch).collect();
            let tensors = tensors.ok_or_else(|| LayerwiseError::NoInput {
                name: value.name.clone(),
            })?;
            live.insert(input, tensors);
        }
        Ok(Walk {
            live,
            done: 0,
            batches: batches.len(),
        })
    }

    /// Runs the nodes up to the one with this index, which is not run.
    ///
    /// # Errors
    /// When a node cannot be compiled or run.
    pub(crate) fn advance(&mut self, graph: &Graph, to: usize) -> Result<(), LayerwiseError> {
        if to <= self.done {
            return Ok(());
        }
        let (kept, computed) = self.needed(graph, to);
        if !computed.is_empty() {
            let inputs: Vec<ValueId> = self.live.keys().copied().collect();
            let mut part = part(graph, &inputs, &computed);
            infer_shapes(&mut part, &InferOptions::default())?;
            let program = compile(&part, &CompileOptions::default())?;
            for batch in 0..self.batches {
                let named = inputs.iter().map(|value| graph.value(*value).name.as_str());
                let tensors = inputs.iter().map(|value| self.live[value][batch].clone());
                let inputs: Vec<(&str, Tensor)> = named.zip(tensors).collect();
                let results = program.run(&inputs, &mut Taps::none())?;
                for (value, tensor) in computed.iter().zip(results) {
                    self.live.entry(*value).or_default().push(tensor);
                }
            }
        }
        self.live
            .retain(|value, _| kept.contains(value) || computed.contains(value));
        self.done = to;
        Ok(())
    }

    /// What is read at or behind the node with this index: of what is live, and of what the nodes before it compute.
    fn needed(&self, graph: &Graph, to: usize) -> (Vec<ValueId>, Vec<ValueId>) {
        let mut varies = vec![false; graph.values.len()];
        self.live.keys().for_each(|value| varies[value.index()] = true);
        let consumers = graph.consumers();
        let is_read = |value: ValueId| {
            let mut readers = consumers[value.index()].iter();
            readers.any(|(node, _)| node.index() >= to) || graph.outputs.contains(&value)
        };
        let mut computed = Vec::new();
        for node in &graph.nodes[self.done..to] {
            if node.inputs.iter().flatten().any(|input| varies[input.index()]) {
                for output in node.outputs.iter().flatten() {
                    varies[output.index()] = true;
                    computed.push(*output);
                }
            }
        }
        computed.retain(|value| is_read(*value));
        let kept = self
            .live
            .keys()
            .copied()
            .filter(|value| is_read(*value))
            .collect();
        (kept, computed)
    }

    /// The live values.
    pub(crate) fn values(&self) -> impl Iterator<Item = ValueId> {
        self.live.keys().copied()
    }

    /// What a live value holds, batch by batch.
    pub(crate) fn get(&self, value: ValueId) -> Option<&[Tensor]> {
        self.live.get(&value).map(Vec::as_slice)
    }
}
