//! The sizes of weights.

use super::{Criterion, Evidence, Needs, PruneError};

/// `|w|` (Han et al. 2015).
pub(super) struct Magnitude;

impl Criterion for Magnitude {
    fn name(&self) -> &'static str {
        "magnitude"
    }

    fn summary(&self) -> &'static str {
        "the size of the weight (Han et al. 2015); needs no data"
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn saliency(&self, evidence: &Evidence<'_>) -> Result<Vec<Vec<f32>>, PruneError> {
        let mut values = evidence.values()?;
        values.iter_mut().flatten().for_each(|value| *value = value.abs());
        Ok(values)
    }
}
