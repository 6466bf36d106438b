//! Which channels of a model go together.

use std::path::{Path, PathBuf};

use bantam_graph::coupling::{Group, Locked};
use bantam_graph::{Graph, InferOptions, coupling, infer_shapes};
use serde::Serialize;

use crate::{Error, pipeline};

/// What can be removed from a model, and what stays.
#[derive(Clone, Debug, Serialize)]
pub struct CouplingReport {
    /// The model's file.
    pub model: PathBuf,
    /// Units that can go, by the weights that they touch.
    pub groups: Vec<GroupReport>,
    /// Axes of weights with positions that stay, and why.
    pub locked: Vec<LockedReport>,
}

/// Units that touch the same axes.
#[derive(Clone, Debug, Serialize)]
pub struct GroupReport {
    /// Number of units: channels, neurons, heads.
    pub units: usize,
    /// The axes of weights and other constants that they touch.
    pub weights: Vec<AxisReport>,
}

/// An axis of a constant, and how much of it a unit is.
#[derive(Clone, Debug, Serialize)]
pub struct AxisReport {
    /// The constant's name.
    pub weight: String,
    /// The axis.
    pub axis: usize,
    /// Positions along it that the first unit has.
    pub positions: usize,
}

/// An axis that stays, or part of it.
#[derive(Clone, Debug, Serialize)]
pub struct LockedReport {
    /// The weight's name.
    pub weight: String,
    /// The axis.
    pub axis: usize,
    /// Positions that stay.
    pub positions: usize,
    /// Why.
    pub reason: String,
}

/// Finds out what can be removed from a model.
///
/// # Errors
/// When the model cannot be read, or its shapes contradict each other.
pub fn couplings(path: &Path) -> Result<CouplingReport, Error> {
    let mut graph = pipeline::inline(&pipeline::load(path)?)?.into_owned().graph;
    infer_shapes(&mut graph, &InferOptions::default())?;
    let found = coupling(&graph);
    Ok(CouplingReport {
        model: path.to_owned(),
        groups: found
            .groups
            .iter()
            .map(|group| group_report(&graph, group))
            .collect(),
        locked: found
            .locked
            .iter()
            .map(|locked| locked_report(&graph, locked))
            .collect(),
    })
}

fn group_report(graph: &Graph, group: &Group) -> GroupReport {
    let constants = group.axes.iter().enumerate();
    let constants = constants.filter(|(_, (value, _))| graph.constant(*value).is_some());
    let axis = |(number, (value, axis)): (usize, &(bantam_graph::ValueId, usize))| AxisReport {
        weight: graph.value(*value).name.clone(),
        axis: *axis,
        positions: group.units.first().map_or(0, |unit| unit.along(number).count()),
    };
    GroupReport {
        units: group.units.len(),
        weights: constants.map(axis).collect(),
    }
}

fn locked_report(graph: &Graph, locked: &Locked) -> LockedReport {
    LockedReport {
        weight: graph.value(locked.axis.0).name.clone(),
        axis: locked.axis.1,
        positions: locked.positions,
        reason: locked.reason.clone(),
    }
}
