//! Channels by what the next layer loses.

use std::collections::HashMap;

use bantam_graph::coupling::Group;
use bantam_kernels::matmul::{Onto, Product, multiply_batch};

use super::channels::slices;
use super::{Criterion, Evidence, Judges, Needs, PruneError, Weight};
use crate::quantize::layerwise::Moments;

/// Greedily, the channel without which the outputs of the layers that read the group lose least, given those that are gone already: the
/// squared error (Luo et al. 2017, equation 6 and algorithm 1) over the squares of these outputs, around their means, which biases and
/// statistics give back. The error of any set of channels follows from the second moments of the layers' inputs, for all places at once
/// instead of the sampled ones of the paper.
pub(super) struct ThiNet;

impl Criterion for ThiNet {
    fn name(&self) -> &'static str {
        "thinet"
    }

    fn summary(&self) -> &'static str {
        "what the squared error of the next layer's outputs grows by when the channel goes, greedily (Luo et al. 2017); channels alone"
    }

    fn needs(&self) -> Needs {
        Needs::Inputs
    }

    fn judges(&self) -> Judges {
        Judges::Channels
    }

    fn of_units(&self, evidence: &Evidence<'_>, groups: &[&Group]) -> Result<Vec<Vec<f64>>, PruneError> {
        let values = evidence.values()?;
        let mut readers: HashMap<usize, Vec<(usize, usize)>> = HashMap::new();
        for (place, group) in groups.iter().enumerate() {
            for slice in slices(evidence.weights, group) {
                if !slice.outputs {
                    let reads = readers.entry(slice.weight).or_default();
                    reads.push((place, slice.number));
                }
            }
        }
        let mut shared: Vec<Option<Vec<f64>>> = vec![None; groups.len()];
        evidence.moments_around_means(self.name(), &mut |index, moments| {
            let Some(reads) = readers.get(&index) else {
                return Ok(());
            };
            let weight = &evidence.weights[index];
            let products = products(weight, &weight.by_rows(values[index].clone()), moments);
            let energy: f64 = products.iter().flatten().sum::<f64>().max(f64::MIN_POSITIVE);
            for &(place, number) in reads {
                let size = groups[place].units.len();
                let sums = shared[place].get_or_insert_with(|| vec![0.0; size * size]);
                add_errors(sums, groups[place], number, weight, &products, energy);
            }
            Ok(())
        })?;
        let of_group = |(errors, group): (Option<Vec<f64>>, &&Group)| {
            let size = group.units.len();
            // What no listed product reads stays.
            errors.map_or_else(|| vec![f64::INFINITY; size], |errors| greedy(&errors, size))
        };
        Ok(shared.into_iter().zip(groups).map(of_group).collect())
    }
}

/// For each group of a weight, by pairs of elements of a row, the sum over rows of the product of what they add to outputs:
/// `(W^T W) * H`, element by element.
fn products(weight: &Weight, rows: &[f32], moments: &[Moments]) -> Vec<Vec<f64>> {
    let depth = weight.depth;
    let in_group = rows.len() / weight.groups / depth;
    let of_group = |(rows, moments): (&[f32], &Moments)| {
        let product = Product {
            rows: depth,
            columns: depth,
            depth: in_group,
            a_strides: [1, depth],
            b_strides: [depth, 1],
        };
        let mut gram = vec![0.0; depth * depth];
        multiply_batch(&product, &[[0, 0]], [rows, rows], 1.0, Onto::Nothing, &mut gram);
        (gram.iter().zip(&moments.second))
            .map(|(gram, second)| f64::from(*gram) * second)
            .collect()
    };
    (rows.chunks_exact(in_group * depth))
        .zip(moments)
        .map(of_group)
        .collect()
}

/// Adds to `sums`, by pairs of units, what the squared error of all outputs has of them, as a share of `energy`.
fn add_errors(
    sums: &mut [f64],
    group: &Group,
    number: usize,
    weight: &Weight,
    products: &[Vec<f64>],
    energy: f64,
) {
    // Which unit an element of a row belongs to.
    let mut owner = vec![None; weight.depth];
    for (unit, positions) in group.units.iter().enumerate() {
        for position in positions.along(number) {
            owner[position * weight.places..][..weight.places].fill(Some(unit));
        }
    }
    let size = group.units.len();
    for products in products {
        for (row, left) in products.chunks_exact(weight.depth).zip(&owner) {
            let Some(left) = left else { continue };
            for (value, right) in row.iter().zip(&owner) {
                if let Some(right) = right {
                    sums[left * size + right] += value / energy;
                }
            }
        }
    }
}

/// By unit, what the error grows by when it goes after all those that go before it; never less than that of those before.
fn greedy(errors: &[f64], size: usize) -> Vec<f64> {
    let mut growth: Vec<f64> = (0..size).map(|unit| errors[unit * size + unit]).collect();
    let (mut left, mut saliency): (Vec<usize>, _) = ((0..size).collect(), vec![0.0; size]);
    let mut largest = 0f64;
    while let Some(place) = (0..left.len()).min_by(|a, b| growth[left[*a]].total_cmp(&growth[left[*b]])) {
        let goes = left.remove(place);
        largest = match growth[goes].is_nan() {
            true => f64::NAN,
            false => largest.max(growth[goes]),
        };
        saliency[goes] = largest;
        for &unit in &left {
            growth[unit] += errors[goes * size + unit] + errors[unit * size + goes];
        }
    }
    saliency
}

#[cfg(test)]
mod tests {
    use super::greedy;

    #[test]
    fn what_cancels_goes_together() {
        // Outputs have 3 a - 3 b + c of three independent units with a = b: without both nothing is lost.
        let (a, b, c) = ([3.0, 0.0], [-3.0, 0.0], [0.0, 4.0]);
        let units = [a, b, c];
        let errors: Vec<f64> = (0..9)
            .map(|at| (0..2).map(|k| units[at / 3][k] * units[at % 3][k]).sum())
            .collect();
        assert_eq!(greedy(&errors, 3), [9.0, 9.0, 16.0]);
    }
}
