//! The units of a network that may go, what they matter, and what they save.

use bantam_graph::coupling::Group;
use bantam_graph::ops::{Binary, Variadic};
use bantam_graph::{Coupling, Graph, Op, ValueId};

use super::{ChannelSettings, Target, UnitKind};
use crate::prune::{PruneError, Weight};

/// Groups of a coupling that may lose units.
pub(super) struct Units<'a> {
    pub(super) coupling: &'a Coupling,
    /// Numbers of these groups.
    pub(super) groups: Vec<usize>,
    /// For each of them, what one unit saves, as a share of the whole network.
    pub(super) savings: Vec<f64>,
}

impl<'a> Units<'a> {
    /// Those of the right kind that have listed weights and none that is to stay.
    pub(super) fn new(
        (graph, sized): (&Graph, &Graph),
        coupling: &'a Coupling,
        weights: &[Weight],
        stays: &[ValueId],
        settings: &ChannelSettings,
    ) -> Result<Units<'a>, PruneError> {
        let is_wanted = removable(graph, coupling, (settings.kind, settings.streams));
        let has = |group: &Group, values: &dyn Fn(ValueId) -> bool| {
            group.axes.iter().any(|(value, _)| values(*value))
        };
        let fits = |number: &usize| {
            let group = &coupling.groups[*number];
            let weight = |value: ValueId| weights.iter().any(|weight| weight.value == value);
            is_wanted[*number] && has(group, &weight) && !has(group, &|value| stays.contains(&value))
        };
        let groups: Vec<usize> = (0..coupling.groups.len()).filter(fits).collect();
        let whole = settings.target.measure(sized).max(1) as f64;
        let mut savings = Vec::with_capacity(groups.len());
        for &group in &groups {
            let left = match settings.target {
                Target::Units => whole - 1.0,
                target => target.measure(&coupling.remove(sized, &[(group, 0)])?) as f64,
            };
            savings.push((whole - left).max(0.0) / whole);
        }
        Ok(Units {
            coupling,
            groups,
            savings,
        })
    }

    /// Number of units of a group, by its place among those that may lose some.
    pub(super) fn count(&self, place: usize) -> usize {
        self.coupling.groups[self.groups[place]].units.len()
    }

    /// The groups.
    pub(super) fn listed(&self) -> impl Iterator<Item = &'a Group> {
        let coupling = self.coupling;
        self.groups.iter().map(move |group| &coupling.groups[*group])
    }
}

/// By group: whether its units are of this kind and there are several, and whether it is no residual stream, unless streams may go too.
pub(crate) fn removable(
    graph: &Graph,
    coupling: &Coupling,
    (kind, with_streams): (UnitKind, bool),
) -> Vec<bool> {
    let (heads, streams) = (read_by_attention(graph), streams(graph));
    let of_group = |group: &Group| {
        let has = |marked: &[bool]| group.axes.iter().any(|(value, _)| marked[value.index()]);
        group.units.len() > 1 && has(&heads) == (kind == UnitKind::Head) && (with_streams || !has(&streams))
    };
    coupling.groups.iter().map(of_group).collect()
}

/// By value: whether attention mixes it over positions, as one op or as a Softmax.
fn read_by_attention(graph: &Graph) -> Vec<bool> {
    let mut read = vec![false; graph.values.len()];
    for node in &graph.nodes {
        let inputs = match node.op {
            Op::Attention(_) => 3,
            Op::Softmax(_) => 1,
            _ => 0,
        };
        let inputs = node.inputs.iter().take(inputs).flatten();
        inputs.for_each(|value| read[value.index()] = true);
    }
    read
}

/// By value: whether it is a sum of data, as residual streams are.
fn streams(graph: &Graph) -> Vec<bool> {
    let mut streams = vec![false; graph.values.len()];
    for node in &graph.nodes {
        let sums = matches!(node.op, Op::Binary(Binary::Add) | Op::Variadic(Variadic::Sum));
        let data = node
            .inputs
            .iter()
            .flatten()
            .filter(|input| graph.constant(**input).is_none());
        if let (true, Some(output)) = (sums && data.count() > 1, node.output(0)) {
            streams[output.index()] = true;
        }
    }
    streams
}
