//! The layout of regions: convolutions of codes want their channels last, and what lies between two of them stays so.
//!
//! Inside a region, values have the shape `[batch, spatial..., channels]`. Transpose nodes stand at its edges only:
//! before a convolution whose input comes from outside, and before readers that cannot do without the graph's own order.
//! `rules` says which ops can run so.

mod rules;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use bantam_graph::ops::{Transpose, Unary};
use bantam_graph::{Graph, Node, NodeId, Op, Value, ValueId, ValueType};

pub(crate) use rules::{data_inputs, data_outputs};
use rules::{enters, is_pairwise, rank_of_anchor};

/// The order of dimensions that moves the channels from second to last.
pub(crate) fn to_channels_last(rank: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rank).collect();
    if rank > 1 {
        order[1..].rotate_left(1);
    }
    order
}

/// The order of dimensions that moves the channels from last to second.
pub(crate) fn to_channels_first(rank: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rank).collect();
    if rank > 1 {
        order[1..].rotate_right(1);
    }
    order
}

/// A shape with its dimensions in another order.
pub(crate) fn permuted(shape: &[usize], order: &[usize]) -> Vec<usize> {
    order.iter().map(|&axis| shape[axis]).collect()
}

/// A graph with the channels last where that pays off.
pub(crate) struct Layout<'g> {
    pub(crate) graph: Cow<'g, Graph>,
    /// The nodes that run so.
    pub(crate) channels_last: HashSet<NodeId>,
    /// Observed values that exist with their channels last only, by the value that stands for them.
    pub(crate) stands_for: HashMap<ValueId, ValueId>,
}

/// The graph with the channels last where that pays off. Values keep their ids; observed ones exist in the graph's own
/// order, but for those that may be seen `in_any_order`.
pub(crate) fn choose<'g>(
    graph: Cow<'g, Graph>,
    observed: &HashSet<ValueId>,
    in_any_order: &HashSet<ValueId>,
) -> Layout<'g> {
    if !graph
        .node_ids()
        .any(|(_, node)| rank_of_anchor(&graph, node).is_some())
    {
        return Layout {
            graph,
            channels_last: HashSet::new(),
            stands_for: HashMap::new(),
        };
    }
    let mut graph = graph.into_owned();
    let nodes = std::mem::take(&mut graph.nodes);
    let mut regions = Regions {
        graph,
        forms: HashMap::new(),
        absent: HashSet::new(),
        moved_to_second: HashMap::new(),
        channels_last: HashSet::new(),
    };
    nodes.into_iter().for_each(|node| regions.add(node));
    let ordered = observed.difference(in_any_order);
    let seen: Vec<ValueId> = regions.graph.outputs.iter().chain(ordered).copied().collect();
    seen.into_iter().for_each(|value| regions.restore(value));
    let absent = observed.intersection(&regions.absent);
    Layout {
        stands_for: absent.map(|value| (regions.forms[value].value, *value)).collect(),
        graph: Cow::Owned(regions.graph),
        channels_last: regions.channels_last,
    }
}

/// A value with its channels last.
#[derive(Clone, Copy)]
struct Form {
    value: ValueId,
    rank: usize,
}

struct Regions {
    graph: Graph,
    /// By the value in the graph's own order.
    forms: HashMap<ValueId, Form>,
    /// Values that exist with their channels last only.
    absent: HashSet<ValueId>,
    /// Values that a node of the graph has moved their channels to second place of, by the results.
    moved_to_second: HashMap<ValueId, Form>,
    channels_last: HashSet<NodeId>,
}

impl Regions {
    fn add(&mut self, mut node: Node) {
        if let Some(rank) = self.rank_of(&node) {
            let outputs = data_outputs(&node);
            for index in data_inputs(&node) {
                node.inputs[index] = node.input(index).map(|input| self.channels_last(input, rank));
            }
            self.tell(&mut node, rank);
            for index in outputs {
                let Some(output) = node.output(index) else {
                    continue;
                };
                let form = self.new_value(output, "channels_last");
                node.outputs[index] = Some(form);
                self.forms.insert(output, Form { value: form, rank });
                self.absent.insert(output);
            }
            self.channels_last.insert(NodeId::new(self.graph.nodes.len()));
        } else if let Some(form) = self.moved_to_last(&node) {
            node.op = Unary::Identity.into();
            node.inputs = vec![Some(form)];
        } else {
            self.note_moved_to_second(&node);
            let captured = node.op.subgraphs().into_iter().flat_map(Graph::captured_names);
            let captured: Vec<ValueId> = captured
                .filter_map(|name| self.graph.value_by_name(&name))
                .collect();
            if node
                .inputs
                .iter()
                .flatten()
                .any(|input| self.absent.contains(input))
            {
                log::debug!(
                    "layout: {} needs the graph's own order, or its inputs differ in theirs",
                    self.graph.describe(&node)
                );
            }
            let read: Vec<ValueId> = node.inputs.iter().flatten().copied().chain(captured).collect();
            read.into_iter().for_each(|value| self.restore(value));
        }
        self.graph.nodes.push(node);
    }

    /// For a Transpose that moves the channels of a value to the end: the value that has them there already.
    fn moved_to_last(&self, node: &Node) -> Option<ValueId> {
        let form = self.forms.get(&node.input(0)?)?;
        moves(node, &to_channels_last(form.rank)).then_some(form.value)
    }

    /// Remembers what a Transpose that moves the channels to second place read.
    fn note_moved_to_second(&mut self, node: &Node) {
        let (Some(value), Some(output)) = (node.input(0), node.output(0)) else {
            return;
        };
        let rank = match &node.op {
            Op::Transpose(op) => op.perm.as_ref().map_or(0, Vec::len),
            _ => return,
        };
        if moves(node, &to_channels_first(rank)) {
            self.moved_to_second.insert(output, Form { value, rank });
        }
    }

    /// The rank of a node's data when it is to run with the channels last.
    fn rank_of(&self, node: &Node) -> Option<usize> {
        if let Some(rank) = rank_of_anchor(&self.graph, node) {
            return Some(rank);
        }
        let inputs = data_inputs(node);
        let forms = || {
            inputs
                .iter()
                .filter_map(|&index| self.forms.get(&node.input(index)?))
        };
        let rank = forms().next()?.rank;
        let single = |index: usize| {
            self.graph
                .constant_input(node, index)
                .is_some_and(|constant| constant.len() == 1 && constant.rank() <= 1)
        };
        let known = |index: usize| {
            node.input(index)
                .and_then(|input| self.forms.get(&input))
                .is_some_and(|form| form.rank == rank)
        };
        let fits = forms().all(|form| form.rank == rank)
            && inputs
                .iter()
                .all(|&index| known(index) || enters(&node.op) || (is_pairwise(&node.op) && single(index)));
        let understood = rules::has_all_outputs(node);
        (fits && understood && node.extra.is_empty() && self.can_run(node, rank)).then_some(rank)
    }

    /// A value with its channels last; constants of one element as they are.
    fn channels_last(&mut self, value: ValueId, rank: usize) -> ValueId {
        if let Some(form) = self.forms.get(&value) {
            return form.value;
        }
        if self
            .graph
            .constant(value)
            .is_some_and(|constant| constant.len() == 1 && constant.rank() <= 1)
        {
            return value;
        }
        if let Some(form) = self.moved_to_second.get(&value).filter(|form| form.rank == rank) {
            self.forms.insert(value, *form);
            return form.value;
        }
        let form = self.new_value(value, "channels_last");
        self.transpose(value, form, &to_channels_last(rank));
        self.forms.insert(value, Form { value: form, rank });
        form
    }

    /// Makes sure that a value exists in the graph's own order.
    fn restore(&mut self, value: ValueId) {
        if self.absent.remove(&value) {
            let form = self.forms[&value];
            log::debug!(
                "layout: `{}` goes back to the graph's order",
                self.graph.value(value).name
            );
            self.transpose(form.value, value, &to_channels_first(form.rank));
        }
    }

    fn new_value(&mut self, of: ValueId, suffix: &str) -> ValueId {
        let facts = self.graph.value(of);
        let name = format!("{}_{suffix}", facts.name);
        let mut ty = facts.ty.clone();
        if let ValueType::Tensor {
            shape: Some(dims), ..
        } = &mut ty
            && dims.len() > 1
        {
            dims[1..].rotate_left(1);
        }
        self.graph.add_value(Value {
            name,
            ty,
            ..Value::default()
        })
    }

    fn transpose(&mut self, from: ValueId, to: ValueId, order: &[usize]) {
        let perm = Some(order.iter().map(|&axis| axis as i64).collect());
        let name = self.graph.value(to).name.clone();
        let node = Node::new(name, Transpose { perm }.into(), &[from], &[to]);
        self.graph.nodes.push(node);
    }
}

/// Whether a node does nothing but bring dimensions into this order.
fn moves(node: &Node, order: &[usize]) -> bool {
    let Op::Transpose(op) = &node.op else {
        return false;
    };
    let same = |perm: &Vec<i64>| {
        perm.iter()
            .eq(order.iter().map(|&axis| axis as i64).collect::<Vec<_>>().iter())
    };
    node.extra.is_empty() && op.perm.as_ref().is_some_and(same)
}

#[cfg(test)]
mod tests;
