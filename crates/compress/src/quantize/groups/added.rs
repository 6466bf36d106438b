//! What is added to a weight in levels, and how both are fitted to each other.

use super::low_rank::{LowRank, weighted};
use super::outliers::Outliers;
use super::rounded::{GroupRows, RoundedRow};
use super::{GroupAlgorithm, Needs};
use crate::plan::Decision;
use crate::quantize::layerwise::{Layout, Moments};

/// Turns of rounding what the addition leaves and of fitting the addition to what rounding leaves (CALDERA, algorithm 1).
const TURNS: usize = 6;
/// Share of the mean that is added to the diagonal of second moments where weights make up for earlier products.
const DAMPING: f64 = 0.01;

/// What is added.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Addition {
    /// Nothing.
    None,
    /// A product in float, of 16 bits, of this rank.
    LowRank(usize),
    /// This share of the weights, 0 to 1, keeps 16 bits.
    Outliers(f64),
}

/// What was found.
#[derive(Clone, Debug)]
pub(super) enum Added {
    LowRank(LowRank),
    Outliers(Outliers),
}

impl Added {
    /// The sum with rows in levels.
    pub(super) fn onto(&self, levels: &[f32]) -> Vec<f32> {
        let mut sum = levels.to_vec();
        self.add(&mut sum, 1.0);
        sum
    }

    fn add(&self, rows: &mut [f32], factor: f32) {
        match self {
            Added::LowRank(product) => {
                let pairs = rows.iter_mut().zip(product.values());
                pairs.for_each(|(row, value)| *row += factor * value);
            }
            Added::Outliers(outliers) => {
                for (place, value) in outliers.places.iter().zip(&outliers.values) {
                    rows[*place] += factor * value;
                }
            }
        }
    }

    /// What the plan says of it, for a product named by its output whose weight lies in this way; `levels` are the rows that it is added to.
    pub(super) fn decision(&self, product: &str, layout: Layout, levels: &[f32], depth: usize) -> Decision {
        match self {
            Added::LowRank(added) => added.decision(product),
            Added::Outliers(outliers) => outliers.decision(product, layout, levels, depth),
        }
    }
}

/// Rows in levels, and what makes up for the rest: of several turns, those of least error. `None` where inputs are no finite numbers.
pub(super) fn rounded(
    job: &GroupRows<'_>,
    moments: &Moments,
    algorithm: &dyn GroupAlgorithm,
    addition: Addition,
) -> Option<(Vec<RoundedRow>, Option<Added>)> {
    let targets = match algorithm.needs() {
        Needs::FloatInputs => moments.targets(job.rows, DAMPING),
        _ => job.rows.to_vec(),
    };
    // The targets make up for earlier products already.
    let settled = moments.settled();
    let start = match addition {
        Addition::None => return Some((algorithm.round(job)?, None)),
        Addition::LowRank(_) => None,
        Addition::Outliers(share) => Some(Outliers::choose(job, &targets, &settled, share)?),
    };
    let mut left = targets.clone();
    if let Some(outliers) = &start {
        outliers.places.iter().for_each(|place| left[*place] = 0.0);
    }
    let mut best: Option<(f64, Vec<RoundedRow>, Added)> = None;
    for _ in 0..TURNS {
        let rows = algorithm.round(&GroupRows {
            rows: &left,
            moments: Some(&settled),
            ..*job
        })?;
        let levels = rows.iter().flat_map(|row| row.values(job.format.group_len()));
        let levels: Vec<f32> = levels.collect();
        let error = difference(&targets, &levels);
        let added = match (&start, addition) {
            (Some(chosen), _) => Added::Outliers(chosen.fitted(&error, &settled)),
            (None, Addition::LowRank(rank)) => Added::LowRank(LowRank::of(&error, &settled, rank)),
            (None, _) => return None,
        };
        left.clone_from(&targets);
        added.add(&mut left, -1.0);
        let error = output_error(&difference(&left, &levels), &settled);
        if best.as_ref().is_none_or(|(least, ..)| error < *least) {
            best = Some((error, rows, added));
        }
    }
    best.map(|(_, rows, added)| (rows, Some(added)))
}

fn difference(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// The squared error that this error of a weight adds to the outputs, on average.
fn output_error(error: &[f32], moments: &Moments) -> f64 {
    let weighted = weighted(error, moments);
    let pairs = weighted.iter().zip(error);
    pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}
