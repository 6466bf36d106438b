//! What criteria of channels look at: the slices of weights that belong to a unit, and what units give.

use bantam_graph::coupling::Group;
use bantam_graph::{Graph, ValueId};
use bantam_tensor::Tensor;

use super::{Evidence, PruneError};
use crate::prune::Weight;
use crate::quantize::layerwise::{Layout, Walk};

/// Sums of elements' saliencies over all elements of units, in all weights that they touch.
pub(super) fn sums(
    criterion: &'static str,
    evidence: &Evidence<'_>,
    groups: &[&Group],
    elements: &[Vec<f32>],
) -> Result<Vec<Vec<f64>>, PruneError> {
    for (weight, elements) in evidence.weights.iter().zip(elements) {
        if elements.iter().any(|number| !number.is_finite()) {
            return Err(PruneError::NotFinite {
                criterion,
                weight: weight.name.clone(),
            });
        }
    }
    let of_group = |group: &&Group| {
        let mut sums = vec![0.0; group.units.len()];
        for slice in slices(evidence.weights, group) {
            let weight = &evidence.weights[slice.weight];
            let along = along(&elements[slice.weight], &weight.shape, slice.axis);
            for (sum, unit) in sums.iter_mut().zip(&group.units) {
                *sum += unit
                    .along(slice.number)
                    .map(|position| along[position])
                    .sum::<f64>();
            }
        }
        sums
    };
    Ok(groups.iter().map(of_group).collect())
}

/// Sums of elements by their position along an axis.
fn along(elements: &[f32], shape: &[usize], axis: usize) -> Vec<f64> {
    let inner: usize = shape[axis + 1..].iter().product();
    let mut sums = vec![0.0; shape[axis]];
    for (index, run) in elements.chunks_exact(inner.max(1)).enumerate() {
        sums[index % shape[axis]] += run.iter().map(|value| f64::from(*value)).sum::<f64>();
    }
    sums
}

/// Where a group lies in a weight.
pub(super) struct Slice {
    /// The weight's place in the evidence.
    pub(super) weight: usize,
    /// Number of the axis in the group.
    pub(super) number: usize,
    /// The axis of the weight.
    pub(super) axis: usize,
    /// Whether its positions are outputs of the weight; inputs if not.
    pub(super) outputs: bool,
}

/// The weights that a group touches.
pub(super) fn slices(weights: &[Weight], group: &Group) -> Vec<Slice> {
    let slice = |(number, (value, axis)): (usize, &(ValueId, usize))| {
        let place = weights.iter().position(|weight| weight.value == *value)?;
        let outputs = match weights[place].layout {
            Layout::Rows => *axis == 0,
            Layout::Columns => *axis + 1 == weights[place].shape.len(),
        };
        Some(Slice {
            weight: place,
            number,
            axis: *axis,
            outputs,
        })
    };
    group.axes.iter().enumerate().filter_map(slice).collect()
}

/// Data with one position for each unit of a group.
pub(super) struct Given {
    /// The group's place in the list.
    pub(super) group: usize,
    pub(super) value: ValueId,
    axis: usize,
    /// By unit, its position along the axis.
    positions: Vec<usize>,
}

/// All data with one position for each unit, in the order of the graph.
pub(super) fn data(graph: &Graph, groups: &[&Group]) -> Vec<Given> {
    let producers = graph.producers();
    let mut found = Vec::new();
    for (place, group) in groups.iter().enumerate() {
        for (number, (value, axis)) in group.axes.iter().enumerate() {
            let position = |unit: &bantam_graph::coupling::Unit| {
                let mut along = unit.along(number);
                along.next().filter(|_| along.next().is_none())
            };
            let positions: Option<Vec<usize>> = group.units.iter().map(position).collect();
            if let (Some(positions), Some(producer)) = (positions, producers[value.index()]) {
                let given = Given {
                    group: place,
                    value: *value,
                    axis: *axis,
                    positions,
                };
                found.push((producer.index(), given));
            }
        }
    }
    found.sort_by_key(|(producer, given)| (*producer, given.value, given.group));
    found.into_iter().map(|(_, given)| given).collect()
}

/// Shows `visit` what the units of a group give on each batch, `[units, positions and samples]` with as many columns as the last argument
/// says, for each of `given`, which are in the order of the graph.
pub(super) fn visit_data(
    evidence: &Evidence<'_>,
    criterion: &'static str,
    given: &[Given],
    visit: &mut dyn FnMut(&Given, &[f32], usize) -> Result<(), PruneError>,
) -> Result<(), PruneError> {
    let calibration = evidence.calibration(criterion)?;
    let (producers, of_all) = (evidence.graph.producers(), given.len());
    let mut walk = Walk::new(evidence.graph, &calibration.batches()?)?;
    for (index, given) in given.iter().enumerate() {
        (calibration.progress)(criterion, index, of_all);
        let Some(producer) = producers[given.value.index()] else {
            continue;
        };
        walk.advance(evidence.graph, producer.index() + 1)?;
        for tensor in walk.get(given.value).unwrap_or_default() {
            let rows = rows(tensor, given.axis, &given.positions)?;
            let columns = rows.len() / given.positions.len().max(1);
            visit(given, &rows, columns)?;
        }
    }
    Ok(())
}

/// `[positions, all else]` of a tensor, for some positions along an axis.
fn rows(tensor: &Tensor, axis: usize, positions: &[usize]) -> Result<Vec<f32>, PruneError> {
    let (values, shape) = (tensor.to_f32()?, tensor.shape());
    let inner: usize = shape[axis + 1..].iter().product();
    let size = shape[axis] * inner;
    let mut rows = Vec::with_capacity(positions.len() * values.len() / shape[axis].max(1));
    for position in positions {
        for outer in values.chunks_exact(size.max(1)) {
            rows.extend_from_slice(&outer[position * inner..][..inner]);
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_positions_along_the_axis() {
        let numbers: Vec<f32> = (0..12).map(|number| number as f32).collect();
        let tensor = Tensor::from_slice(&[2, 3, 2], &numbers).unwrap();
        assert_eq!(
            rows(&tensor, 1, &[2, 0]).unwrap(),
            [4., 5., 10., 11., 0., 1., 6., 7.]
        );
        assert_eq!(rows(&tensor, 2, &[1]).unwrap(), [1., 3., 5., 7., 9., 11.]);
    }

    #[test]
    fn sums_run_along_the_axis() {
        let numbers: Vec<f32> = (0..6).map(|number| number as f32).collect();
        assert_eq!(along(&numbers, &[2, 3], 0), [3.0, 12.0]);
        assert_eq!(along(&numbers, &[2, 3], 1), [3.0, 5.0, 7.0]);
    }
}
