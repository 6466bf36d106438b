//! Channels by how often they hold anything.

use bantam_graph::coupling::Group;
use bantam_graph::ops::Unary;
use bantam_graph::{Graph, Op, ValueId};

use super::channels::{data, visit_data};
use super::{Criterion, Evidence, Judges, Needs, PruneError};

/// The share of what a channel gives behind its activation that is not zero: one minus the average percentage of zeros (Hu et al. 2016,
/// equation 1).
pub(super) struct Apoz;

impl Criterion for Apoz {
    fn name(&self) -> &'static str {
        "apoz"
    }

    fn summary(&self) -> &'static str {
        "the share of a channel's outputs behind its activation that are not zero (Hu et al. 2016); channels alone, of networks \
         whose activations give zeros"
    }

    fn needs(&self) -> Needs {
        Needs::Inputs
    }

    fn judges(&self) -> Judges {
        Judges::Channels
    }

    fn of_units(&self, evidence: &Evidence<'_>, groups: &[&Group]) -> Result<Vec<Vec<f64>>, PruneError> {
        let mut given = data(evidence.graph, groups);
        given.retain(|given| cuts(evidence.graph, given.value));
        if given.is_empty() {
            return Err(PruneError::Setting {
                problem: "apoz counts zeros, and no activation of this model gives any".to_owned(),
                hint: "another criterion, as --criterion correlation or thinet",
            });
        }
        let mut counts: Vec<Vec<(usize, usize)>> = (groups.iter())
            .map(|group| vec![(0, 0); group.units.len()])
            .collect();
        visit_data(evidence, self.name(), &given, &mut |given, rows, columns| {
            let units = counts[given.group]
                .iter_mut()
                .zip(rows.chunks_exact(columns.max(1)));
            for ((nonzero, all), row) in units {
                *nonzero += row.iter().filter(|value| **value != 0.0).count();
                *all += row.len();
            }
            Ok(())
        })?;
        // Channels that nothing cuts are never zero.
        let share = |(nonzero, all): (usize, usize)| match all {
            0 => 1.0,
            _ => nonzero as f64 / all as f64,
        };
        Ok((counts.into_iter())
            .map(|counts| counts.into_iter().map(share).collect())
            .collect())
    }
}

/// Whether a value is what an activation that gives zeros makes.
fn cuts(graph: &Graph, value: ValueId) -> bool {
    let mut makers = graph.nodes.iter().filter(|node| node.output(0) == Some(value));
    makers.any(|node| {
        matches!(
            node.op,
            Op::Unary(Unary::Relu) | Op::Unary(Unary::HardSwish) | Op::Clip(_) | Op::ThresholdedRelu(_)
        )
    })
}
