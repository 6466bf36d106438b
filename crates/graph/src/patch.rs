//! [`Patch`]: the only way to edit a graph.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bantam_tensor::Tensor;

use crate::ops::Unary;
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
            names: all_names(graph),
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
        value.name = free_name(&stem, &self.names);
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

    /// Adds a node; its place is found from what it reads. Its name gets a suffix if it is taken.
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
    /// that this patch adds still read `old`. Replacements chain: with `a` by `b` and `b` by `c`, readers of `a`
    /// read `c`.
    pub fn replace_uses(&mut self, old: ValueId, new: ValueId) {
        self.uses.insert(old, new);
    }

    /// Sets or replaces a constant.
    pub fn set_initializer(&mut self, value: ValueId, tensor: Tensor) {
        self.initializers.insert(value, tensor);
    }

    /// Applies the edits, sorts the nodes and drops values that nothing refers to any more.
    ///
    /// Graph outputs keep their names: where an output is replaced, the new value takes over its name, or gives it to
    /// an Identity if it has a name to keep itself.
    ///
    /// # Errors
    /// When the edits make a cycle; the graph is then of no use.
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
        let mut added = self.nodes;
        redirect(graph, &self.uses, &mut added);
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
        name_apart(&graph.nodes, &mut added);
        graph.nodes.extend(added);
        graph.sort()?;
        graph.drop_unused_values();
        Ok(())
    }
}

/// Gives suffixes to names of added nodes that are taken: runtimes refuse two nodes of one name.
fn name_apart(nodes: &[Node], added: &mut [Node]) {
    let mut taken: BTreeSet<String> = nodes.iter().map(|node| node.name.clone()).collect();
    for node in added.iter_mut().filter(|node| !node.name.is_empty()) {
        node.name = free_name(&node.name, &taken);
        taken.insert(node.name.clone());
    }
}

/// `stem`, or `stem` with the first number that makes it new.
fn free_name(stem: &str, taken: &BTreeSet<String>) -> String {
    let numbered = (1..).map(|n| format!("{stem}_{n}"));
    let mut names = std::iter::once(stem.to_owned()).chain(numbered);
    names.find(|name| !taken.contains(name)).expect("endless")
}

/// Names of a graph's values and of those in its subgraphs.
fn all_names(graph: &Graph) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = graph.values.iter().map(|value| value.name.clone()).collect();
    let subgraphs = graph.nodes.iter().flat_map(|node| node.op.subgraphs());
    subgraphs.for_each(|subgraph| names.extend(all_names(subgraph)));
    names
}

/// Moves reads of the old graph to other values. `added` are the patch's own nodes, whose subgraphs only follow
/// changes of names.
fn redirect(graph: &mut Graph, uses: &BTreeMap<ValueId, ValueId>, added: &mut Vec<Node>) {
    let uses: BTreeMap<ValueId, ValueId> = uses.keys().map(|&old| (old, end_of_chain(uses, old))).collect();
    for input in graph
        .nodes
        .iter_mut()
        .flat_map(|node| node.inputs.iter_mut().flatten())
    {
        *input = uses.get(input).copied().unwrap_or(*input);
    }
    let name = |graph: &Graph, id: ValueId| graph.value(id).name.clone();
    let touched: BTreeSet<ValueId> = uses.iter().flat_map(|(&old, &new)| [old, new]).collect();
    let before: Vec<(ValueId, String)> = touched.iter().map(|&id| (id, name(graph, id))).collect();
    let mut identities = Vec::new();
    for (&old, &new) in &uses {
        if graph.outputs.contains(&old) {
            identities.extend(replace_output(graph, old, new));
        }
    }
    let renamed = |to: &dyn Fn(ValueId) -> ValueId| -> HashMap<String, String> {
        before
            .iter()
            .map(|(id, old)| (old.clone(), name(graph, to(*id))))
            .collect()
    };
    let followed = renamed(&|id| uses.get(&id).copied().unwrap_or(id));
    let kept = renamed(&|id| id);
    for (nodes, names) in [(&mut graph.nodes, followed), (&mut *added, kept)] {
        let subgraphs = nodes.iter_mut().flat_map(|node| node.op.subgraphs_mut());
        subgraphs.for_each(|subgraph| rename_captured(subgraph, &names));
    }
    added.extend(identities);
}

fn end_of_chain(uses: &BTreeMap<ValueId, ValueId>, start: ValueId) -> ValueId {
    let mut end = start;
    for _ in 0..uses.len() {
        match uses.get(&end) {
            Some(&next) => end = next,
            None => break,
        }
    }
    end
}

/// Lets the graph output `old` be `new` under the old name. Gives the node that copies `new` where that has a name
/// to keep itself.
fn replace_output(graph: &mut Graph, old: ValueId, new: ValueId) -> Option<Node> {
    let (old_name, new_name) = (graph.value(old).name.clone(), graph.value(new).name.clone());
    let ty = graph.value(old).ty.clone();
    let must_copy = graph.outputs.contains(&new) || graph.inputs.contains(&new);
    let output = if must_copy {
        graph.value_mut(old).name = graph.unique_name(&format!("{old_name}_replaced"));
        graph.add_value(Value {
            name: old_name,
            ty,
            ..Value::default()
        })
    } else {
        graph.value_mut(old).name = new_name;
        graph.value_mut(new).name = old_name;
        graph.value_mut(new).ty = ty;
        new
    };
    let outputs = graph.outputs.iter_mut().filter(|id| **id == old);
    outputs.for_each(|id| *id = output);
    must_copy.then(|| Node::new("", Op::Unary(Unary::Identity), &[new], &[output]))
}

/// Renames the values that a subgraph captures from outside, all at once. Captured values that get one name become
/// one value.
pub(crate) fn rename_captured(graph: &mut Graph, names: &HashMap<String, String>) {
    let captured = graph.captured_names().into_iter();
    let names: HashMap<String, String> = captured
        .filter_map(|name| {
            names
                .get(&name)
                .filter(|to| **to != name)
                .map(|to| (name, to.clone()))
        })
        .collect();
    if names.is_empty() {
        return;
    }
    let mut holders: HashMap<String, ValueId> = HashMap::new();
    let mut renamed = Vec::new();
    for (index, value) in graph.values.iter().enumerate() {
        match names.get(&value.name) {
            Some(to) => renamed.push((ValueId::new(index), to.clone())),
            None => _ = holders.insert(value.name.clone(), ValueId::new(index)),
        }
    }
    let mut merged = HashMap::new();
    for (id, to) in renamed {
        match holders.get(&to) {
            Some(&holder) => _ = merged.insert(id, holder),
            None => {
                graph.value_mut(id).name = to.clone();
                holders.insert(to, id);
            }
        }
    }
    let reads = graph
        .nodes
        .iter_mut()
        .flat_map(|node| node.inputs.iter_mut().flatten());
    reads
        .chain(&mut graph.outputs)
        .for_each(|id| *id = merged.get(id).copied().unwrap_or(*id));
    for subgraph in graph.nodes.iter_mut().flat_map(|node| node.op.subgraphs_mut()) {
        rename_captured(subgraph, &names);
    }
    graph.drop_unused_values();
}

#[cfg(test)]
mod tests;
