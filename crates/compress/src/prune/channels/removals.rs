//! What a plan says of the units that go.

use bantam_graph::Graph;
use bantam_graph::coupling::Group;

use super::ChannelSettings;
use super::units::Units;
use crate::plan::{Action, Decision, Site};

/// A decision for each group, at the first constant that it touches.
pub(super) fn removals(
    graph: &Graph,
    units: &Units<'_>,
    gone: &[Vec<bool>],
    settings: &ChannelSettings,
) -> Vec<Decision> {
    units
        .listed()
        .zip(gone)
        .filter_map(|(group, gone)| removal(graph, group, gone, settings))
        .collect()
}

fn removal(graph: &Graph, group: &Group, gone: &[bool], settings: &ChannelSettings) -> Option<Decision> {
    let mut axes = group.axes.iter().enumerate();
    let (number, (value, axis)) = axes.find(|(_, (value, _))| graph.constant(*value).is_some())?;
    let (all, kind, criterion) = (group.units.len(), settings.kind.name(), settings.criterion.name());
    let removed: Vec<_> = group.units.iter().zip(gone).filter(|(_, gone)| **gone).collect();
    let positions = removed
        .iter()
        .flat_map(|(unit, _)| unit.along(number).map(|position| position as u32));
    let (action, why) = match removed.len() {
        0 => (
            Action::Keep,
            format!("none of {all} {kind}s is among the least by {criterion}"),
        ),
        count => (
            Action::RemoveChannels {
                axis: *axis,
                positions: positions.collect(),
            },
            format!("{count} of {all} {kind}s go, chosen by {criterion}"),
        ),
    };
    Some(Decision {
        site: Site::Value(graph.value(*value).name.clone()),
        action,
        why,
        sqnr_db: None,
    })
}
