//! Gated recurrent unit.

use super::{Cell, CellActivation, CellState, CellWeights, Recurrent, add};
use crate::real::Real;

/// A GRU cell; its gates are update, reset, hidden.
#[derive(Clone, Copy, Debug)]
pub struct Gru {
    /// Of the gates, of the candidate.
    pub activations: [CellActivation; 2],
    /// Bound of the arguments of the activations.
    pub clip: Option<f32>,
    /// The reset gate multiplies the product with the state (and its bias) instead of the state.
    pub linear_before_reset: bool,
}

impl<T: Real> Cell<T> for Gru {
    const GATES: usize = 3;

    fn input_bias(&self, bias: &[T], hidden: usize) -> Vec<T> {
        let (input, recurrent) = bias.split_at(3 * hidden);
        let mut sum = input.to_vec();
        // The reset gate multiplies the recurrent bias of the candidate when `linear_before_reset`.
        let joined = if self.linear_before_reset {
            2 * hidden
        } else {
            3 * hidden
        };
        add(&mut sum[..joined], &recurrent[..joined]);
        sum
    }

    fn step(
        &self,
        recurrent: &Recurrent<'_, T>,
        projected: &[Option<&[T]>],
        state: &mut CellState<T>,
        gates: &mut [T],
    ) {
        let hidden = recurrent.weights.hidden;
        if hidden == 0 {
            return;
        }
        recurrent.multiply(&state.h, gates, 3 * hidden, 0..2 * hidden);
        // What the candidate's product is taken of.
        let mut source = state.h.clone();
        for ((row, gates), source) in projected
            .iter()
            .zip(gates.chunks_exact_mut(3 * hidden))
            .zip(source.chunks_exact_mut(hidden))
        {
            let Some(row) = row else { continue };
            let gates = &mut gates[..2 * hidden];
            add(gates, &row[..2 * hidden]);
            self.activations[0].apply(gates, self.clip);
            if !self.linear_before_reset {
                source
                    .iter_mut()
                    .zip(&gates[hidden..])
                    .for_each(|(source, &reset)| *source *= reset);
            }
        }
        recurrent.multiply(&source, gates, 3 * hidden, 2 * hidden..3 * hidden);
        for ((row, gates), h) in projected
            .iter()
            .zip(gates.chunks_exact_mut(3 * hidden))
            .zip(state.h.chunks_exact_mut(hidden))
        {
            let Some(row) = row else { continue };
            self.update(recurrent.weights, &row[2 * hidden..], gates, h);
        }
    }
}

impl Gru {
    /// Moves the state of one sequence: `gates` are update, reset and the recurrent product of the candidate.
    fn update<T: Real>(&self, weights: &CellWeights<'_, T>, row: &[T], gates: &mut [T], h: &mut [T]) {
        let hidden = h.len();
        let (update, rest) = gates.split_at_mut(hidden);
        let (reset, candidate) = rest.split_at_mut(hidden);
        if self.linear_before_reset {
            if let Some(bias) = weights.bias {
                add(candidate, &bias[5 * hidden..]);
            }
            candidate
                .iter_mut()
                .zip(reset.iter())
                .for_each(|(candidate, &reset)| *candidate *= reset);
        }
        add(candidate, row);
        self.activations[1].apply(candidate, self.clip);
        for ((h, &update), &candidate) in h.iter_mut().zip(update.iter()).zip(candidate.iter()) {
            *h = (T::ONE - update) * candidate + update * *h;
        }
    }
}
