//! Few weights that keep 16 bits beside the codes of all others (SpQR, Dettmers et al. 2023).
//!
//! A weight matters by `(w - q)^2 / [H^-1]_ii`, what rounding it adds to the error of the outputs if all others make up for it (section 3). An outlier is
//! one without which the rest of its group, on a grid of its own, loses that much less (section 4.1). Once they are chosen, their values are
//! those of least error beside the codes of the others.

use bantam_kernels::cholesky::{cholesky, cholesky_solve};
use rayon::prelude::*;

use super::fit::ranged;
use super::low_rank::of_16_bits;
use super::rounded::{GroupRows, RoundedRow};
use crate::packed::Numbers;
use crate::plan::{Action, Decision, Site};
use crate::prune::reconstruct::Inverse;
use crate::quantize::layerwise::{Layout, Moments};

/// Share of the mean that is added to the diagonal of a system that values are solved for by.
const DAMPING: f64 = 1e-4;
/// The largest float of 16 bits.
const LARGEST: f32 = 65504.0;

/// Weights that keep 16 bits.
#[derive(Clone, Debug)]
pub(super) struct Outliers {
    /// Ascending, in the order of rows.
    pub(super) places: Vec<usize>,
    /// What is added to the level at each of them.
    pub(super) values: Vec<f32>,
    depth: usize,
}

impl Outliers {
    /// This share of the weights, those that it helps most. `None` where inputs are no finite numbers.
    pub(super) fn choose(
        job: &GroupRows<'_>,
        rows: &[f32],
        moments: &Moments,
        share: f64,
    ) -> Option<Outliers> {
        let weights: Vec<f64> = Inverse::of(moments)?
            .diagonal()
            .iter()
            .map(|variance| 1.0 / variance.max(f64::MIN_POSITIVE))
            .collect();
        let of_row = |row: &[f32]| gains(job, row, &weights);
        let gains: Vec<f64> = rows.par_chunks_exact(job.depth).flat_map_iter(of_row).collect();
        let count = (share * rows.len() as f64).round() as usize;
        let mut places: Vec<usize> = (0..rows.len()).collect();
        // Equal ones in the order of rows.
        places.sort_by(|a, b| gains[*b].total_cmp(&gains[*a]));
        places.truncate(count);
        places.sort_unstable();
        Some(Outliers {
            values: places.iter().map(|place| rows[*place]).collect(),
            places,
            depth: job.depth,
        })
    }

    /// The same weights with the values that leave least of an error of all weights.
    pub(super) fn fitted(&self, error: &[f32], moments: &Moments) -> Outliers {
        let by_row = self.places.chunk_by(|a, b| a / self.depth == b / self.depth);
        let rows: Vec<&[usize]> = by_row.collect();
        let solve = |places: &&[usize]| solved(places, error, moments);
        let values: Vec<f32> = rows.par_iter().flat_map_iter(solve).collect();
        Outliers {
            values,
            ..self.clone()
        }
    }

    /// What the plan says of them: places and whole values as the weight lies.
    pub(super) fn decision(&self, product: &str, layout: Layout, levels: &[f32], depth: usize) -> Decision {
        let rows = levels.len() / depth.max(1);
        let place = |place: &usize| match layout {
            Layout::Rows => *place,
            Layout::Columns => place % depth * rows + place / depth,
        };
        let sums = self.places.iter().zip(&self.values);
        let mut elements: Vec<(usize, f32)> =
            sums.map(|(at, value)| (place(at), levels[*at] + value)).collect();
        elements.sort_by_key(|(place, _)| *place);
        let values: Vec<f32> = (elements.iter())
            .map(|(_, value)| value.clamp(-LARGEST, LARGEST))
            .collect();
        Decision {
            site: Site::Node(product.to_owned()),
            action: Action::KeepOutliers {
                places: elements.into_iter().map(|(place, _)| place as u64).collect(),
                values: Numbers(of_16_bits(&values)),
            },
            why: "their groups lose much less without them".to_owned(),
            sqnr_db: None,
        }
    }
}

/// By how much the weighted error of its group shrinks without each weight of a row.
fn gains(job: &GroupRows<'_>, row: &[f32], weights: &[f64]) -> Vec<f64> {
    let len = job.format.group_len();
    let groups = row.chunks(len).zip(weights.chunks(len));
    let of_group = |(group, weights): (&[f32], &[f64])| {
        let whole = loss(job, group, weights);
        let mut without = group.to_vec();
        let gain = |place: usize| {
            without[place] = 0.0;
            let gain = whole - loss(job, &without, weights);
            without[place] = group[place];
            gain
        };
        (0..group.len()).map(gain).collect::<Vec<f64>>()
    };
    groups.flat_map(of_group).collect()
}

/// The weighted squared error of nearest codes.
fn loss(job: &GroupRows<'_>, group: &[f32], weights: &[f64]) -> f64 {
    let rounded = RoundedRow::nearest(group, job.format, ranged(group, job.format));
    let values = rounded.values(job.format.group_len());
    let errors = values.zip(group).map(|(value, x)| f64::from(value - x));
    errors
        .zip(weights)
        .map(|(error, weight)| weight * error * error)
        .sum()
}

/// What is added at these places of one row, so that least of the row's error is left: `H_PP v = (H e)_P`.
fn solved(places: &[usize], error: &[f32], moments: &Moments) -> Vec<f32> {
    let depth = moments.depth;
    let Some(first) = places.first().map(|place| place / depth * depth) else {
        return Vec::new();
    };
    let row = &error[first..first + depth];
    let second = |a: usize, b: usize| moments.second[(a - first) * depth + b - first];
    let of_row = |place: &usize| -> f64 {
        let seconds = &moments.second[(place - first) * depth..][..depth];
        seconds.iter().zip(row).map(|(h, e)| h * f64::from(*e)).sum()
    };
    let mut right: Vec<f64> = places.iter().map(of_row).collect();
    let size = places.len();
    let mut matrix: Vec<f64> = (0..size * size)
        .map(|index| second(places[index / size], places[index % size]))
        .collect();
    let mean = (0..size).map(|index| matrix[index * size + index]).sum::<f64>() / size as f64;
    (0..size).for_each(|index| matrix[index * size + index] += DAMPING * mean + f64::MIN_POSITIVE);
    if !cholesky(&mut matrix, size) {
        // Inputs that never came: the weights as they are.
        return places.iter().map(|place| error[*place]).collect();
    }
    cholesky_solve(&matrix, size, &mut right);
    right.into_iter().map(|value| value as f32).collect()
}
