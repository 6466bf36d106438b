//! Channels by what their normalization multiplies them with.

use bantam_graph::coupling::Group;
use bantam_graph::{Graph, Op, ValueId};

use super::{Criterion, Evidence, Judges, Needs, PruneError};

/// The size of a channel's scale in BatchNormalization (network slimming, Liu et al. 2017): what it was normalized to, whatever its weights
/// are. Training with a penalty on these scales (`train --regularization batch-normalization`) makes many of them vanish.
pub(super) struct BatchNormalization;

impl Criterion for BatchNormalization {
    fn name(&self) -> &'static str {
        "batch-normalization"
    }

    fn summary(&self) -> &'static str {
        "the size of a channel's scale in BatchNormalization (Liu et al. 2017); needs no data; channels alone, of networks that have it"
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn judges(&self) -> Judges {
        Judges::Channels
    }

    /// What is normalized has one measure in all layers.
    fn compares_groups(&self) -> bool {
        true
    }

    fn of_units(&self, evidence: &Evidence<'_>, groups: &[&Group]) -> Result<Vec<Vec<f64>>, PruneError> {
        let scales = scales(evidence.graph);
        let mut found = false;
        let mut of_group = |group: &&Group| {
            let mut sums: Vec<Option<f64>> = vec![None; group.units.len()];
            for (number, (value, _)) in group.axes.iter().enumerate() {
                let tensor = evidence.graph.constant(*value).filter(|_| scales.contains(value));
                let Some(tensor) = tensor else { continue };
                let numbers = tensor.to_f32()?;
                for (sum, unit) in sums.iter_mut().zip(&group.units) {
                    for position in unit.along(number) {
                        *sum.get_or_insert(0.0) += f64::from(numbers[position].abs());
                        found = true;
                    }
                }
            }
            // Channels that nothing normalizes cannot be judged, and stay.
            Ok(sums.into_iter().map(|sum| sum.unwrap_or(f64::INFINITY)).collect())
        };
        let saliency = groups
            .iter()
            .map(&mut of_group)
            .collect::<Result<_, PruneError>>()?;
        match found {
            true => Ok(saliency),
            false => Err(PruneError::Setting {
                problem: "batch-normalization looks at scales of BatchNormalization, and no channel that can go has one".to_owned(),
                hint: "another criterion, as --criterion magnitude; exporters may have folded the normalization into the weights",
            }),
        }
    }
}

/// Constants that BatchNormalization multiplies channels with.
fn scales(graph: &Graph) -> Vec<ValueId> {
    let norms = graph
        .nodes
        .iter()
        .filter(|node| matches!(node.op, Op::BatchNormalization(_)));
    norms.filter_map(|node| node.input(1)).collect()
}
