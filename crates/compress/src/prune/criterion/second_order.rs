//! What the outputs of a layer change by when a weight goes and the others make up for it.

use super::{Criterion, Evidence, Needs, PruneError};
use crate::prune::reconstruct::Inverse;
use crate::quantize::layerwise::Moments;

/// `w^2 / [H^-1]_ii` of the optimal brain surgeon (Hassibi and Stork 1993) for the squared error of the layer's outputs, as a
/// share of the squares of all its outputs, so that layers can be compared.
pub(super) struct Obs;

impl Criterion for Obs {
    fn name(&self) -> &'static str {
        "obs"
    }

    fn summary(&self) -> &'static str {
        "the squared error of the layer's outputs when the weight goes and its row makes up for it, over their squares \
         (Hassibi and Stork 1993)"
    }

    fn needs(&self) -> Needs {
        Needs::Inputs
    }

    fn saliency(&self, evidence: &Evidence<'_>) -> Result<Vec<Vec<f32>>, PruneError> {
        let values = evidence.values()?;
        let mut saliencies = Vec::with_capacity(values.len());
        evidence.moments(self.name(), &mut |index, moments| {
            let weight = &evidence.weights[index];
            let mut rows = weight.by_rows(values[index].clone());
            let of_group = rows.len() / weight.groups;
            let groups = || rows.chunks_exact(of_group).zip(moments);
            let energy: f64 = groups().map(|(rows, moments)| energy(rows, moments)).sum();
            let inverses: Option<Vec<Inverse>> = moments.iter().map(Inverse::of).collect();
            let inverses = inverses.ok_or_else(|| PruneError::NotFinite {
                criterion: self.name(),
                weight: weight.name.clone(),
            })?;
            for (rows, inverse) in rows.chunks_exact_mut(of_group).zip(&inverses) {
                let diagonal = inverse.diagonal();
                let error = |value: f32, inverse: f64| {
                    f64::from(value).powi(2) / inverse / energy.max(f64::MIN_POSITIVE)
                };
                for row in rows.chunks_exact_mut(weight.depth) {
                    let scored = row.iter_mut().zip(&diagonal);
                    scored.for_each(|(value, inverse)| *value = error(*value, *inverse) as f32);
                }
            }
            saliencies.push(weight.as_stored(rows));
            Ok(())
        })?;
        Ok(saliencies)
    }
}

/// The sum of the squares of the outputs of these rows: `w H w` of each.
fn energy(rows: &[f32], moments: &Moments) -> f64 {
    let depth = moments.depth;
    let product = |row: &[f32], column: &[f64]| {
        row.iter()
            .zip(column)
            .map(|(w, h)| f64::from(*w) * h)
            .sum::<f64>()
    };
    let of_row = |row: &[f32]| {
        let columns = moments.second.chunks_exact(depth).zip(row);
        columns
            .map(|(column, w)| f64::from(*w) * product(row, column))
            .sum::<f64>()
    };
    rows.chunks_exact(depth).map(of_row).sum()
}
