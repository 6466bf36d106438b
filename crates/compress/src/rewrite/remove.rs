//! Channels and layers that a plan removes.

use std::collections::{BTreeSet, HashMap};

use bantam_graph::coupling::Axis;
use bantam_graph::{Coupling, Graph, InferOptions, coupling, infer_shapes};

use super::RewriteError;
use crate::plan::{Action, Plan, Site};
use crate::prune::layers::{Block, residual_blocks, without};

/// Removes the residual blocks that the plan names.
pub(super) fn remove_layers(mut graph: Graph, plan: &Plan) -> Result<Graph, RewriteError> {
    let named = plan
        .decisions
        .iter()
        .filter_map(|decision| match (&decision.action, &decision.site) {
            (Action::RemoveLayer { keeps }, Site::Node(name)) => Some((name, keeps)),
            _ => None,
        });
    let named: Vec<(&String, &String)> = named.collect();
    if named.is_empty() {
        return Ok(graph);
    }
    infer_shapes(&mut graph, &InferOptions::default())?;
    let known = residual_blocks(&graph);
    let mut blocks = Vec::with_capacity(named.len());
    for (name, keeps) in named {
        let is_meant = |block: &&Block| {
            graph.value(block.output).name == *name && graph.value(block.skip).name == *keeps
        };
        let block = known.iter().find(is_meant);
        blocks.push(
            block
                .cloned()
                .ok_or_else(|| RewriteError::Layer { name: name.clone() })?,
        );
    }
    without(&graph, &blocks)
}

/// Removes the positions that the plan names, with all that is coupled with them.
pub(super) fn remove_channels(mut graph: Graph, plan: &Plan) -> Result<Graph, RewriteError> {
    let mut wanted = Vec::new();
    for decision in &plan.decisions {
        let (Action::RemoveChannels { axis, positions }, Site::Value(name)) =
            (&decision.action, &decision.site)
        else {
            continue;
        };
        let value = graph
            .value_by_name(name)
            .ok_or_else(|| RewriteError::Unknown { name: name.clone() })?;
        wanted.extend(positions.iter().map(|position| ((value, *axis), *position)));
    }
    if wanted.is_empty() {
        return Ok(graph);
    }
    infer_shapes(&mut graph, &InferOptions::default())?;
    let coupling = coupling(&graph);
    let units = units_by_position(&coupling);
    let mut removed = BTreeSet::new();
    for (axis, position) in wanted {
        let unit = units.get(&(axis, position)).ok_or_else(|| RewriteError::Stays {
            name: graph.value(axis.0).name.clone(),
            axis: axis.1,
            position,
            reason: reason(&coupling, axis),
        })?;
        removed.insert(*unit);
    }
    let removed: Vec<(usize, usize)> = removed.into_iter().collect();
    Ok(coupling.remove(&graph, &removed)?)
}

/// Group and number of the unit that each position belongs to.
pub(super) fn units_by_position(coupling: &Coupling) -> HashMap<(Axis, u32), (usize, usize)> {
    let mut units = HashMap::new();
    for (number, group) in coupling.groups.iter().enumerate() {
        for (unit, positions) in group.units.iter().enumerate() {
            for (axis, position) in &positions.positions {
                units.insert((group.axes[*axis as usize], *position), (number, unit));
            }
        }
    }
    units
}

fn reason(coupling: &Coupling, axis: Axis) -> String {
    let locked = coupling.locked.iter().find(|locked| locked.axis == axis);
    locked.map_or("there is no such position".to_owned(), |locked| {
        locked.reason.clone()
    })
}
