//! Masks that grow.

use super::{Amount, Criterion, Scope, Sparse, SparseMethod, budget, choose, clear};
use crate::train::TrainError;
use crate::train::state::State;

impl Sparse {
    /// Before step `step`: masks grow if it is time.
    pub(in crate::train) fn begin(&mut self, step: u64, state: &mut State) -> Result<(), TrainError> {
        let grows = matches!(
            self.settings.method,
            SparseMethod::Gradual | SparseMethod::Feedback
        );
        if !grows || !self.span.is_due(step) {
            return Ok(());
        }
        let grown = self.grown(self.span.done(step), state)?;
        for (mask, grown) in self.masks.iter_mut().zip(grown) {
            let stays = mask
                .iter()
                .zip(&grown)
                .map(|(before, now)| *now && (self.is_open || *before));
            *mask = stays.collect();
        }
        self.is_open &= step < self.span.last;
        if !self.is_open {
            self.apply(state)?;
        }
        Ok(())
    }

    /// The masks when so much of their change is done.
    fn grown(&self, done: f64, state: &State) -> Result<Vec<Vec<bool>>, TrainError> {
        let scores = self.current_scores(state)?;
        if let Amount::Pattern { stay, of } = self.settings.amount {
            let pairs = self.layers.iter().zip(&scores);
            return Ok(pairs
                .map(|(layer, scores)| choose::pattern(layer, scores, stay, of))
                .collect());
        }
        let last = self.settings.amount.share();
        let sparsity = self.settings.schedule().sparsity([self.initial, last], done);
        if self.settings.scope() == Scope::Global {
            let total = scores.iter().map(Vec::len).sum();
            return Ok(choose::largest_of_all(&scores, budget::kept(total, sparsity)));
        }
        let counts = self.budget(sparsity);
        Ok(scores
            .iter()
            .zip(counts)
            .map(|(scores, count)| choose::largest(scores, count))
            .collect())
    }

    /// The criterion's score of each weight; where weights behind the mask do not learn, these come last.
    fn current_scores(&self, state: &State) -> Result<Vec<Vec<f32>>, TrainError> {
        let mut scores = match self.settings.criterion {
            Criterion::Magnitude => {
                let weights = self
                    .layers
                    .iter()
                    .map(|layer| state.weights[layer.parameter].to_f32());
                let weights = weights.collect::<Result<Vec<Vec<f32>>, _>>()?;
                weights
                    .into_iter()
                    .map(|it| it.into_iter().map(f32::abs).collect())
                    .collect()
            }
            _ => self.scores.clone(),
        };
        if !self.is_open {
            for (scores, mask) in scores.iter_mut().zip(&self.masks) {
                clear(scores, mask, f32::NEG_INFINITY);
            }
        }
        Ok(scores)
    }
}
