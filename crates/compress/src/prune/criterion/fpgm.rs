//! Channels by how far they are from the others of their layer.

use bantam_graph::coupling::Group;
use rayon::prelude::*;

use super::channels::{Slice, slices};
use super::{ChannelScope, Criterion, Evidence, Judges, Needs, PruneError, Weight};

/// The sum of the distances of a channel's filter from all filters of its layer: those near the geometric median are what the others can
/// stand for (He et al. 2019, equation 6).
pub(super) struct Fpgm;

impl Criterion for Fpgm {
    fn name(&self) -> &'static str {
        "fpgm"
    }

    fn summary(&self) -> &'static str {
        "the sum of the distances of a channel's filter from the others of its layer, those near the geometric median going first (He et \
         al. 2019); needs no data; channels alone"
    }

    fn channel_scope(&self) -> ChannelScope {
        ChannelScope::Group
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn judges(&self) -> Judges {
        Judges::Channels
    }

    fn of_units(&self, evidence: &Evidence<'_>, groups: &[&Group]) -> Result<Vec<Vec<f64>>, PruneError> {
        let values = evidence.values()?;
        let of_group = |group: &&Group| {
            let mut slices = slices(evidence.weights, group);
            // Where a group makes nothing, what reads it has to do.
            if slices.iter().any(|slice| slice.outputs) {
                slices.retain(|slice| slice.outputs);
            }
            let mut distances = vec![0.0; group.units.len()];
            for slice in &slices {
                let filters = filters(
                    &evidence.weights[slice.weight],
                    &values[slice.weight],
                    group,
                    slice,
                );
                let distance = |own: &Vec<f64>| filters.iter().map(|other| apart(own, other)).sum::<f64>();
                let found: Vec<f64> = filters.par_iter().map(distance).collect();
                (distances.iter_mut().zip(found)).for_each(|(sum, distance)| *sum += distance);
            }
            distances
        };
        Ok(groups.iter().map(of_group).collect())
    }
}

/// By unit, its elements of a weight.
fn filters(weight: &Weight, values: &[f32], group: &Group, slice: &Slice) -> Vec<Vec<f64>> {
    let inner: usize = weight.shape[slice.axis + 1..].iter().product();
    let step = weight.shape[slice.axis] * inner;
    let of_unit = |unit: &bantam_graph::coupling::Unit| {
        let positions = unit.along(slice.number);
        let runs = positions.flat_map(|position| {
            let rows = values.chunks_exact(step.max(1));
            rows.flat_map(move |row| row[position * inner..][..inner].iter().copied().map(f64::from))
        });
        runs.collect()
    };
    group.units.iter().map(of_unit).collect()
}

fn apart(a: &[f64], b: &[f64]) -> f64 {
    (a.iter().zip(b))
        .map(|(a, b)| (a - b).powi(2))
        .sum::<f64>()
        .sqrt()
}
