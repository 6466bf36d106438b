//! Channels that a plan puts in another order.

use bantam_graph::{Coupling, Graph, InferOptions, coupling, infer_shapes};

use super::RewriteError;
use super::remove::units_by_position;
use crate::plan::{Action, Plan, Site};

/// Moves the positions that the plan names, with all that is coupled with them.
pub(super) fn permute_channels(graph: Graph, plan: &Plan) -> Result<Graph, RewriteError> {
    let permutes = |action: &Action| matches!(action, Action::PermuteChannels { .. });
    if !plan.decisions.iter().any(|decision| permutes(&decision.action)) {
        return Ok(graph);
    }
    let mut typed = graph.clone();
    infer_shapes(&mut typed, &InferOptions::default())?;
    let (coupling, mut permuted) = (coupling(&typed), graph);
    for decision in &plan.decisions {
        let (Action::PermuteChannels { axis, order }, Site::Value(name)) = (&decision.action, &decision.site)
        else {
            continue;
        };
        let value = typed
            .value_by_name(name)
            .ok_or_else(|| RewriteError::Unknown { name: name.clone() })?;
        let wrong = |problem| RewriteError::Order {
            name: name.clone(),
            axis: *axis,
            problem,
        };
        let (group, order) = units(&coupling, (value, *axis), order).map_err(wrong)?;
        permuted = coupling
            .permute(&permuted, group, &order)
            .map_err(|_| wrong("cannot be done safely"))?;
    }
    Ok(permuted)
}

/// The group whose units move, and their order.
fn units(
    coupling: &Coupling,
    axis: bantam_graph::coupling::Axis,
    order: &[u32],
) -> Result<(usize, Vec<usize>), &'static str> {
    let known = units_by_position(coupling);
    let mut moves = (0u32..).zip(order).filter(|(to, from)| to != *from);
    let unit = |position: u32| known.get(&(axis, position)).copied().ok_or("stays");
    let Some((first, _)) = moves.clone().next() else {
        return Err("is the order that they have");
    };
    let (group, _) = unit(first)?;
    let mut units: Vec<usize> = (0..coupling.groups[group].units.len()).collect();
    moves.try_for_each(|(to, from)| match (unit(to)?, unit(*from)?) {
        ((of, to), (also, from)) if of == group && also == group => {
            units[to] = from;
            Ok(())
        }
        _ => Err("mixes channels of several layers"),
    })?;
    Ok((group, units))
}
