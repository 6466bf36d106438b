//! [`Graph`]: values, and nodes in topological order.

mod error;
mod node;
mod order;

pub use error::GraphError;
pub use node::{Node, Notes};

use std::collections::HashMap;

use bantam_tensor::{DType, Tensor};

use crate::{Dim, Op, ValueType};

/// A value of one graph; an index into [`Graph::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(u32);

/// A node of one graph; an index into [`Graph::nodes`], valid until the graph is edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

macro_rules! index {
    ($id:ident) => {
        impl $id {
            /// The id of this position.
            ///
            /// # Panics
            /// Above `u32::MAX`, which loaders refuse first.
            pub fn new(index: usize) -> $id {
                $id(u32::try_from(index).expect("fewer than 2^32 items"))
            }
            /// The position.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}
index!(ValueId);
index!(NodeId);

/// Something that flows along the edges: an input, a weight or a node's output.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Value {
    /// Unique within the graph; never empty.
    pub name: String,
    /// What is known of its type.
    pub ty: ValueType,
    /// The constant it stands for (for a graph input: its default).
    pub initializer: Option<Tensor>,
    /// The file's documentation.
    pub doc: String,
    /// The file's key-value pairs.
    pub metadata: Vec<(String, String)>,
}

/// A directed acyclic graph of nodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// The file's name for it.
    pub name: String,
    /// The file's documentation.
    pub doc: String,
    /// Every value; a [`ValueId`] indexes it.
    pub values: Vec<Value>,
    /// Every node, each after the nodes it reads from.
    pub nodes: Vec<Node>,
    /// Values that the caller gives; those with an initializer may be left out.
    pub inputs: Vec<ValueId>,
    /// Values that the caller gets.
    pub outputs: Vec<ValueId>,
    /// The file's key-value pairs.
    pub metadata: Vec<(String, String)>,
    /// Encoded ONNX `TensorAnnotation`s, kept as they were.
    pub quantization_annotations: Vec<Vec<u8>>,
}

impl Graph {
    /// The value with this id.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// The value with this id, to change.
    pub fn value_mut(&mut self, id: ValueId) -> &mut Value {
        &mut self.values[id.index()]
    }

    /// The node with this id.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// Every node with its id.
    pub fn node_ids(&self) -> impl ExactSizeIterator<Item = (NodeId, &Node)> {
        self.nodes
            .iter()
            .enumerate()
            .map(|(index, node)| (NodeId::new(index), node))
    }

    /// How messages call a node: its name and op, or its op and first output.
    pub fn describe(&self, node: &Node) -> String {
        match node.outputs.iter().flatten().next() {
            _ if !node.name.is_empty() => format!("`{}` ({})", node.name, node.op.name()),
            Some(&output) => format!("`{}` (for `{}`)", node.op.name(), self.value(output).name),
            None => format!("`{}`", node.op.name()),
        }
    }

    /// The value of this name.
    pub fn value_by_name(&self, name: &str) -> Option<ValueId> {
        self.values
            .iter()
            .position(|value| value.name == name)
            .map(ValueId::new)
    }

    /// The constant that a value stands for: an initializer that callers cannot override.
    pub fn constant(&self, id: ValueId) -> Option<&Tensor> {
        let tensor = self.value(id).initializer.as_ref()?;
        (!self.inputs.contains(&id)).then_some(tensor)
    }

    /// The constant that input `index` of a node stands for.
    pub fn constant_input(&self, node: &Node, index: usize) -> Option<&Tensor> {
        self.constant(node.input(index)?)
    }

    /// The node that produces each value, by value index.
    pub fn producers(&self) -> Vec<Option<NodeId>> {
        let mut producers = vec![None; self.values.len()];
        for (id, node) in self.node_ids() {
            for output in node.outputs.iter().flatten() {
                producers[output.index()] = Some(id);
            }
        }
        producers
    }

    /// The nodes that read each value and the input's position, by value index; reads from inside a node's
    /// subgraphs are given as position [`Graph::CAPTURED`].
    pub fn consumers(&self) -> Vec<Vec<(NodeId, usize)>> {
        let mut consumers = vec![Vec::new(); self.values.len()];
        let by_name = self.any_subgraph().then(|| self.names());
        for (id, node) in self.node_ids() {
            for (position, input) in node.inputs.iter().enumerate() {
                if let Some(input) = input {
                    consumers[input.index()].push((id, position));
                }
            }
            let Some(by_name) = &by_name else { continue };
            for name in node.op.subgraphs().into_iter().flat_map(Graph::captured_names) {
                if let Some(value) = by_name.get(name.as_str()) {
                    consumers[value.index()].push((id, Graph::CAPTURED));
                }
            }
        }
        consumers
    }

    /// The position that [`Graph::consumers`] gives for a read from inside a subgraph.
    pub const CAPTURED: usize = usize::MAX;

    fn any_subgraph(&self) -> bool {
        self.nodes.iter().any(|node| !node.op.subgraphs().is_empty())
    }

    /// Every value by its name.
    pub fn names(&self) -> HashMap<&str, ValueId> {
        self.values
            .iter()
            .enumerate()
            .map(|(index, value)| (value.name.as_str(), ValueId::new(index)))
            .collect()
    }

    /// For a subgraph: names that it reads, also from inside its own subgraphs, and that it does not define.
    pub fn captured_names(&self) -> Vec<String> {
        let mut defined = vec![false; self.values.len()];
        for (index, value) in self.values.iter().enumerate() {
            defined[index] = value.initializer.is_some();
        }
        let outputs = self.nodes.iter().flat_map(|node| node.outputs.iter().flatten());
        for id in self.inputs.iter().chain(outputs) {
            defined[id.index()] = true;
        }
        let mut names: Vec<String> = Vec::new();
        let reads = self.nodes.iter().flat_map(|node| node.inputs.iter().flatten());
        for id in reads.chain(&self.outputs).filter(|id| !defined[id.index()]) {
            names.push(self.value(*id).name.clone());
        }
        let nested = self.nodes.iter().flat_map(|node| node.op.subgraphs());
        let mut nested = nested.flat_map(Graph::captured_names).peekable();
        if nested.peek().is_some() {
            let own = self.names();
            let defined_here = |name: &String| own.get(name.as_str()).is_some_and(|id| defined[id.index()]);
            names.extend(nested.filter(|name| !defined_here(name)));
        }
        names.sort();
        names.dedup();
        names
    }

    /// Adds a value. The name is made unique by a suffix if it is taken or empty.
    pub fn add_value(&mut self, value: Value) -> ValueId {
        let mut value = value;
        value.name = self.unique_name(&value.name);
        self.values.push(value);
        ValueId::new(self.values.len() - 1)
    }

    /// `name`, or `name_1`, `name_2`... whichever is free.
    pub fn unique_name(&self, name: &str) -> String {
        if !name.is_empty() && self.value_by_name(name).is_none() {
            return name.to_owned();
        }
        let stem = if name.is_empty() { "value" } else { name };
        (1..)
            .map(|n| format!("{stem}_{n}"))
            .find(|name| self.value_by_name(name).is_none())
            .expect("endless")
    }

    /// Adds a graph input.
    pub fn add_input(&mut self, name: &str, dtype: DType, shape: Vec<Dim>) -> ValueId {
        let ty = ValueType::tensor(dtype, shape);
        let id = self.add_value(Value {
            name: name.to_owned(),
            ty,
            ..Value::default()
        });
        self.inputs.push(id);
        id
    }

    /// Adds a constant.
    pub fn add_constant(&mut self, name: &str, tensor: Tensor) -> ValueId {
        let shape = tensor.shape().iter().copied().map(Dim::Known).collect();
        let ty = ValueType::tensor(tensor.dtype(), shape);
        self.add_value(Value {
            name: name.to_owned(),
            ty,
            initializer: Some(tensor),
            ..Value::default()
        })
    }

    /// Adds a node with one output at the end; the output is named after the node.
    pub fn add_node(&mut self, name: &str, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        let output = self.add_value(Value {
            name: name.to_owned(),
            ..Value::default()
        });
        self.nodes.push(Node::new(name, op.into(), inputs, &[output]));
        output
    }
}

#[cfg(test)]
mod tests;
