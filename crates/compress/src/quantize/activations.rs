//! Scales of activations, from what was observed.

use std::collections::BTreeMap;

use bantam_graph::{Graph, ValueId};
use bantam_tensor::QParams;
use rayon::prelude::*;

use super::placement::Placement;
use super::{QuantizeError, QuantizeSettings};
use crate::range::RangeGoal;
use crate::stats::{Observed, Stats};
use crate::target::OpRole;

/// Values whose ranges are needed: those with scales, less those that only have moved elements of another.
pub(super) fn observed_values(
    graph: &Graph,
    settings: &QuantizeSettings,
    placement: &Placement,
) -> Vec<ValueId> {
    let producers = graph.producers();
    let is_moved = |value: &ValueId| {
        let producer = producers[value.index()].map(|id| (id, &graph.node(id).op));
        producer.is_some_and(|(id, op)| {
            placement.kept[id.index()].is_none() && settings.target.role(op) == OpRole::Movement
        })
    };
    placement
        .quantized
        .iter()
        .copied()
        .filter(|value| !is_moved(value))
        .collect()
}

/// Scale and zero point of every quantized value, by value.
pub(super) fn activation_params(
    graph: &Graph,
    stats: &Stats,
    settings: &QuantizeSettings,
    placement: &Placement,
) -> Result<Vec<Option<QParams>>, QuantizeError> {
    let mut groups: BTreeMap<ValueId, Observed> = Default::default();
    for value in observed_values(graph, settings, placement) {
        let Some(observed) = stats.get(value, settings.range.stat()) else {
            continue;
        };
        if observed.has_non_finite() {
            return Err(QuantizeError::NonFiniteActivation {
                name: graph.value(value).name.clone(),
            });
        }
        let root = placement.scale_of[value.index()].expect("a quantized value");
        groups
            .entry(root)
            .and_modify(|group| group.merge(observed))
            .or_insert_with(|| observed.clone());
    }
    let goal = RangeGoal {
        format: settings.activations,
        symmetric: settings.symmetric_activations,
    };
    let groups: Vec<(ValueId, Observed)> = groups.into_iter().collect();
    let params: BTreeMap<ValueId, QParams> = (groups.par_iter())
        .map(|(root, observed)| {
            let (scale, zero_point) = chosen(observed, goal, settings);
            let dtype = goal.format.storage();
            (
                *root,
                QParams {
                    dtype,
                    axis: None,
                    group: None,
                    scale: vec![scale],
                    zero_point: vec![zero_point],
                },
            )
        })
        .collect();
    let params = prescribed(graph, settings, placement, params);
    Ok(placement
        .scale_of
        .iter()
        .map(|root| params.get(root.as_ref()?).cloned())
        .collect())
}

/// Scale and zero point of what was observed.
fn chosen(observed: &Observed, goal: RangeGoal, settings: &QuantizeSettings) -> (f32, i32) {
    let range = settings.range.range(observed, goal);
    let form = settings.target.scales;
    let Observed::Histogram(histogram) = observed else {
        return form.params(goal.format, goal.symmetric, range, None);
    };
    let bins = histogram.bins().map(|(x, count)| (x as f32, count as f32));
    let (centres, counts): (Vec<f32>, Vec<f32>) = bins.unzip();
    let error = |scale, zero_point| goal.squared_error(&centres, &counts, (scale, zero_point));
    form.params(goal.format, goal.symmetric, range, Some(&error))
}

/// The scales with those that the target prescribes for the results of some ops.
fn prescribed(
    graph: &Graph,
    settings: &QuantizeSettings,
    placement: &Placement,
    mut params: BTreeMap<ValueId, QParams>,
) -> BTreeMap<ValueId, QParams> {
    for (_, node) in graph
        .node_ids()
        .filter(|(id, _)| placement.kept[id.index()].is_none())
    {
        let found = settings.target.fixed_output(&node.op, settings.activations);
        let root = node
            .output(0)
            .and_then(|output| placement.scale_of[output.index()]);
        if let (Some((scale, zero_point)), Some(params)) =
            (found, root.and_then(|root| params.get_mut(&root)))
        {
            (params.scale, params.zero_point) = (vec![scale], vec![zero_point]);
        }
    }
    params
}
