//! Coupling: which channels, neurons, heads and hidden units must go together.
//!
//! Each op has a rule (`rules/`) that says which positions along the axes of its inputs and outputs belong together: an addition ties
//! the channels of both branches, a depthwise convolution its filters to its input, attention the heads of queries to those of keys
//! and values. Positions that are tied, over the whole graph, are a [`Unit`]: they are removed together or not at all. Units that
//! touch the same axes are a [`Group`], as the channels of one layer are (Fang et al. 2023, "DepGraph", ask the same question of
//! layers; here it is answered for each position, so that concatenation, padding and heads need nothing special).
//!
//! What cannot be proven safe is locked, with the reason. [`Coupling::remove`] cuts units out; the result computes what the graph
//! would compute if all weights of these units were zero. [`Coupling::permute`] lets units change places.

mod adapt;
mod permute;
mod remove;
mod rules;
mod shapes;
mod site;
mod slots;

pub use remove::RemoveError;

use std::collections::{BTreeMap, HashMap};

use crate::{Graph, Op, ValueId};
use site::Site;
use slots::Slots;

/// An axis of a value.
pub type Axis = (ValueId, usize);

/// What goes together in a graph.
#[derive(Clone, Debug, Default)]
pub struct Coupling {
    /// Units that can go, by the axes that they touch, in the order of the graph.
    pub groups: Vec<Group>,
    /// Axes of weights with positions that stay.
    pub locked: Vec<Locked>,
}

/// Units that touch the same axes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// These axes, of constants and of data.
    pub axes: Vec<Axis>,
    /// In the order of their first position.
    pub units: Vec<Unit>,
}

/// Positions that are removed together: for each axis of the group, some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Number of the axis in [`Group::axes`], and position along it; sorted.
    pub positions: Vec<(u32, u32)>,
}

/// An axis of a weight that has positions that stay, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    /// The axis.
    pub axis: Axis,
    /// How many of its positions stay.
    pub positions: usize,
    /// The first reason.
    pub reason: String,
}

impl Unit {
    /// Positions along one axis of the group.
    pub fn along(&self, axis: usize) -> impl Iterator<Item = usize> {
        let of_axis = move |(number, _): &&(u32, u32)| *number as usize == axis;
        self.positions
            .iter()
            .filter(of_axis)
            .map(|(_, position)| *position as usize)
    }
}

/// Finds what goes together. Types must have been inferred ([`crate::infer_shapes`]).
pub fn coupling(graph: &Graph) -> Coupling {
    let Some(mut slots) = Slots::new(graph) else {
        return Coupling::default();
    };
    lock_interface(graph, &mut slots);
    let fixed = fixed(graph);
    let shape_only = shapes::shape_only(graph);
    for node in &graph.nodes {
        let mut site = Site {
            graph,
            node,
            slots: &mut slots,
            fixed: &fixed,
        };
        rules::couple(&mut site, &shape_only);
    }
    collect(graph, &mut slots)
}

/// Inputs and outputs of the graph, and what graphs inside of nodes read, stay as they are.
fn lock_interface(graph: &Graph, slots: &mut Slots) {
    let names = graph.names();
    let captured = graph.nodes.iter().flat_map(|node| node.op.subgraphs());
    let captured: Vec<String> = captured.flat_map(Graph::captured_names).collect();
    let captured = captured
        .iter()
        .filter_map(|name| names.get(name.as_str()).copied());
    let kinds = [
        (graph.inputs.clone(), "it is an input of the model"),
        (graph.outputs.clone(), "it is an output of the model"),
        (captured.collect(), "a graph inside of a node reads it"),
    ];
    for (values, why) in kinds {
        for value in values {
            let reason = format!("`{}`: {why}", graph.value(value).name);
            (0..slots.axes_of(value)).for_each(|axis| slots.lock((value, axis), &reason));
        }
    }
}

/// By value: whether it depends on constants only.
fn fixed(graph: &Graph) -> Vec<bool> {
    let mut fixed: Vec<bool> = (0..graph.values.len())
        .map(|index| graph.constant(ValueId::new(index)).is_some())
        .collect();
    for node in &graph.nodes {
        let is_fixed = matches!(
            node.op,
            Op::Unary(_) | Op::Cast(_) | Op::Transpose(_) | Op::Reshape(_) | Op::DequantizeLinear(_)
        ) && node.inputs.iter().flatten().all(|input| fixed[input.index()]);
        for output in node.outputs.iter().flatten() {
            fixed[output.index()] |= is_fixed;
        }
    }
    fixed
}

/// The positions of one set.
#[derive(Default)]
struct Members {
    positions: Vec<(Axis, usize)>,
    has_weights: bool,
}

fn collect(graph: &Graph, slots: &mut Slots) -> Coupling {
    let mut sets: BTreeMap<u32, Members> = BTreeMap::new();
    let mut locked = Vec::new();
    for index in 0..graph.values.len() {
        let value = ValueId::new(index);
        let is_weight = graph
            .constant(value)
            .is_some_and(|tensor| tensor.dtype().is_float());
        for axis in (0..slots.axes_of(value)).map(|axis| (value, axis)) {
            let mut stays: Option<Locked> = None;
            for position in 0..slots.size(axis).unwrap_or(0) {
                let Some(set) = slots.set(axis, position) else {
                    continue;
                };
                match slots.reason(set) {
                    Some(reason) => {
                        stays
                            .get_or_insert_with(|| Locked {
                                axis,
                                positions: 0,
                                reason: reason.to_owned(),
                            })
                            .positions += 1;
                    }
                    None => {
                        let members = sets.entry(set).or_default();
                        members.positions.push((axis, position));
                        members.has_weights |= is_weight;
                    }
                }
            }
            let is_matrix = is_weight && slots.axes_of(value) > 1;
            locked.extend(stays.filter(|_| is_matrix && slots.size(axis) != Some(1)));
        }
    }
    Coupling {
        groups: groups(sets.into_values().filter(|set| set.has_weights)),
        locked,
    }
}

/// Sets by the axes that they touch.
fn groups(sets: impl Iterator<Item = Members>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut numbers: HashMap<Vec<Axis>, usize> = HashMap::new();
    for set in sets {
        // Positions were found in order, so those of an axis are neighbours.
        let mut axes: Vec<Axis> = set.positions.iter().map(|(axis, _)| *axis).collect();
        axes.dedup();
        let number = *numbers.entry(axes).or_insert_with_key(|axes| {
            groups.push(Group {
                axes: axes.clone(),
                units: Vec::new(),
            });
            groups.len() - 1
        });
        let group = &mut groups[number];
        let mut axis = 0;
        let mut positions = Vec::with_capacity(set.positions.len());
        for (of, position) in set.positions {
            axis += group.axes[axis..]
                .iter()
                .position(|known| *known == of)
                .unwrap_or(0);
            positions.push((axis as u32, position as u32));
        }
        group.units.push(Unit { positions });
    }
    groups
}
