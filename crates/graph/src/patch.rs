//! [`Patch`]: the only way to edit a graph.

use std::collections::{BTreeMap, BTreeSet};

use bantam_tensor::Tensor;

use crate::{Graph, GraphError, Node, NodeId, Op, Value, ValueId};

/// A set of edits, made against one graph and applied at once.
///
/// Edits speak of the graph as it was when the patch was started: ids stay valid until the patch is applied.
#[derive(Clone, Debug, Default)]
pub struct Patch {
    first_new: usize,
    values: Vec<Value>,
    names: BTreeSet<String>,
    nodes: Vec<Node>,
    removed: BTreeSet<NodeId>,
    ops: BTreeMap<NodeId, Op>,
    inputs: BTreeMap<(NodeId, usize), Option<ValueId>>,
    uses: BTreeMap<ValueId, ValueId>,
    initializers: BTreeMap<ValueId, Tensor>,
}

impl Patch {
    /// No edits yet, of this graph.
    pub fn new(graph: &Graph) -> Patch {
        Patch {
            first_new: graph.values.len(),
            names: graph.values.iter().map(|value| value.name.clone()).collect(),
            ..Patch::default()
        }
    }

    /// True when applying it would change nothing.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
            && self.removed.is_empty()
            && self.ops.is_empty()
            && self.inputs.is_empty()
            && self.uses.is_empty()
            && self.initializers.is_empty()
    }

    /// Adds a value; its name gets a suffix if it is taken.
    pub fn add_value(&mut self, mut value: Value) -> ValueId {
        let stem = if value.name.is_empty() {
            "value".to_owned()
        } else {
            std::mem::take(&mut value.name)
        };
        let numbered = (1..).map(|n| format!("{stem}_{n}"));
        let free = std::iter::once(stem.clone())
            .chain(numbered)
            .find(|name| !self.names.contains(name));
        value.name = free.expect("endless");
        self.names.insert(value.name.clone());
        self.values.push(value);
        ValueId::new(self.first_new + self.values.len() - 1)
    }

    /// Adds a constant.
    pub fn add_constant(&mut self, name: &str, tensor: Tensor) -> ValueId {
        let shape = tensor.shape().iter().copied().map(crate::Dim::Known).collect();
        let ty = crate::ValueType::tensor(tensor.dtype(), shape);
        self.add_value(Value {
            name: name.to_owned(),
            ty,
            initializer: Some(tensor),
            ..Value::default()
        })
    }

    /// Adds a node; its place is found from what it reads.
    pub fn add_node(&mut self, node: Node) {
        self.nodes.push(node);
    }

    /// Removes a node. Its outputs must then have no reader, or another producer.
    pub fn remove_node(&mut self, node: NodeId) {
        self.removed.insert(node);
    }

    /// Replaces what a node computes.
    pub fn set_op(&mut self, node: NodeId, op: Op) {
        self.ops.insert(node, op);
    }

    /// Lets input `position` of a node read another value, or none. Positions past the end are added.
    pub fn set_input(&mut self, node: NodeId, position: usize, value: Option<ValueId>) {
        self.inputs.insert((node, position), value);
    }

    /// Lets every node of the old graph, every subgraph and every graph output that reads `old` read `new`; nodes
    /// that this patch adds still read `old`.
    pub fn replace_uses(&mut self, old: ValueId, new: ValueId) {
        self.uses.insert(old, new);
    }

    /// Sets or replaces a constant.
    pub fn set_initializer(&mut self, value: ValueId, tensor: Tensor) {
        self.initializers.insert(value, tensor);
    }

    /// Applies the edits, sorts the nodes and drops values that nothing refers to any more.
    ///
    /// Graph outputs keep their names: where a use of an output is replaced, the new value takes over its name.
    ///
    /// # Errors
    /// When the edits make a cycle.
    pub fn apply(self, graph: &mut Graph) -> Result<(), GraphError> {
        debug_assert_eq!(
            self.first_new,
            graph.values.len(),
            "the patch is of another graph"
        );
        graph.values.extend(self.values);
        for (value, tensor) in self.initializers {
            let shape = tensor.shape().iter().copied().map(crate::Dim::Known).collect();
            graph.value_mut(value).ty = crate::ValueType::tensor(tensor.dtype(), shape);
            graph.value_mut(value).initializer = Some(tensor);
        }
        for (node, op) in self.ops {
            graph.nodes[node.index()].op = op;
        }
        redirect(graph, &self.uses);
        for ((node, position), value) in self.inputs {
            let inputs = &mut graph.nodes[node.index()].inputs;
            if inputs.len() <= position {
                inputs.resize(position + 1, None);
            }
            inputs[position] = value;
        }
        let mut index = 0;
        graph.nodes.retain(|_| {
            index += 1;
            !self.removed.contains(&NodeId::new(index - 1))
        });
        graph.nodes.extend(self.nodes);
        graph.sort()?;
        graph.drop_unused_values();
        Ok(())
    }
}

/// Moves reads of the old graph to other values.
fn redirect(graph: &mut Graph, uses: &BTreeMap<ValueId, ValueId>) {
    for input in graph
        .nodes
        .iter_mut()
        .flat_map(|node| node.inputs.iter_mut().flatten())
    {
        if let Some(new) = uses.get(input) {
            *input = *new;
        }
    }
    for (&old, &new) in uses {
        let (old_name, new_name) = (graph.value(old).name.clone(), graph.value(new).name.clone());
        let is_output = graph.outputs.contains(&old);
        if is_output && !graph.outputs.contains(&new) && !graph.inputs.contains(&new) {
            graph
                .outputs
                .iter_mut()
                .filter(|id| **id == old)
                .for_each(|id| *id = new);
            let ty = graph.value(old).ty.clone();
            graph.value_mut(new).ty = ty;
            graph.value_mut(new).name = old_name.clone();
            graph.value_mut(old).name = new_name;
        } else {
            graph
                .outputs
                .iter_mut()
                .filter(|id| **id == old)
                .for_each(|id| *id = new);
            let subgraphs = graph.nodes.iter_mut().flat_map(|node| node.op.subgraphs_mut());
            subgraphs.for_each(|subgraph| rename_captured(subgraph, &old_name, &new_name));
        }
    }
}

/// Renames a value that a subgraph captures from outside.
fn rename_captured(graph: &mut Graph, old: &str, new: &str) {
    if !graph.captured_names().iter().any(|name| name == old) {
        return;
    }
    if let Some(id) = graph.value_by_name(old) {
        graph.value_mut(id).name = new.to_owned();
    }
    for subgraph in graph.nodes.iter_mut().flat_map(|node| node.op.subgraphs_mut()) {
        rename_captured(subgraph, old, new);
    }
}
