//! Sizes that can be compared from layer to layer.

use super::{Criterion, Evidence, Needs, PruneError};

/// The square of a weight as a share of those of its layer that are not smaller (Lee et al. 2021, equation 5).
pub(super) struct Lamp;

impl Criterion for Lamp {
    fn name(&self) -> &'static str {
        "lamp"
    }

    fn summary(&self) -> &'static str {
        "the square of the weight over the sum of the squares of those in its layer that are not smaller (Lee et al. 2021); needs no data"
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn saliency(&self, evidence: &Evidence<'_>) -> Result<Vec<Vec<f32>>, PruneError> {
        Ok(evidence.values()?.iter().map(|values| scores(values)).collect())
    }
}

fn scores(values: &[f32]) -> Vec<f32> {
    let square = |index: usize| f64::from(values[index]).powi(2);
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*b].abs().total_cmp(&values[*a].abs()).then(a.cmp(b)));
    let (mut scores, mut sum) = (vec![0.0; values.len()], 0.0);
    for index in order {
        sum += square(index);
        scores[index] = if sum > 0.0 {
            (square(index) / sum) as f32
        } else {
            0.0
        };
    }
    scores
}

#[cfg(test)]
mod tests {
    #[test]
    fn shares_of_what_is_not_smaller() {
        let scores = super::scores(&[1.0, -2.0, 0.0, 3.0]);
        assert_eq!(scores, [1.0 / 14.0, 4.0 / 13.0, 0.0, 1.0]);
    }
}
