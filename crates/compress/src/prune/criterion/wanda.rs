//! Weights by what comes in.

use super::{Criterion, Evidence, Needs, PruneError, Scope};

/// `|w|` times the length of the input that it is multiplied with, compared within an output (Sun et al. 2023).
pub(super) struct Wanda;

impl Criterion for Wanda {
    fn name(&self) -> &'static str {
        "wanda"
    }

    fn summary(&self) -> &'static str {
        "the size of the weight times the root mean square of its input, compared within each output (Sun et al. 2023)"
    }

    fn needs(&self) -> Needs {
        Needs::Inputs
    }

    fn scope(&self) -> Scope {
        Scope::Row
    }

    fn saliency(&self, evidence: &Evidence<'_>) -> Result<Vec<Vec<f32>>, PruneError> {
        let values = evidence.values()?;
        let mut saliencies = Vec::with_capacity(values.len());
        evidence.moments(self.name(), &mut |index, moments| {
            let weight = &evidence.weights[index];
            let mut rows = weight.by_rows(values[index].clone());
            let lengths: Vec<Vec<f64>> = moments.iter().map(|moments| moments.diagonal()).collect();
            let in_group = weight.rows / weight.groups;
            for (row, values) in rows.chunks_exact_mut(weight.depth).enumerate() {
                let of_group = &lengths[row / in_group];
                let scaled = values.iter_mut().zip(of_group);
                scaled.for_each(|(value, square)| *value = (f64::from(value.abs()) * square.sqrt()) as f32);
            }
            saliencies.push(weight.as_stored(rows));
            Ok(())
        })?;
        Ok(saliencies)
    }
}
