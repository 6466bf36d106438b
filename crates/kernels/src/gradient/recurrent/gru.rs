//! Gated recurrent unit.

use super::activation::back;
use super::{CellGradient, add_product, add_transposed};
use crate::real::Real;
use crate::recurrent::{CellState, CellWeights, Gru};

impl<T: Real> CellGradient<T> for Gru {
    /// Saves, `hidden` elements each: the arguments of update, reset and candidate, their values, and what the recurrent
    /// weights of the candidate were multiplied with or (`linear_before_reset`) gave.
    fn forward(&self, weights: &CellWeights<'_, T>, row: &[T], state: &mut CellState<T>) -> Vec<T> {
        let hidden = weights.hidden;
        let (of_gates, of_candidate) = weights.recurrent.split_at(2 * hidden * hidden);
        let mut arguments = row.to_vec();
        add_product(of_gates, &state.h, &mut arguments[..2 * hidden]);
        let mut values = arguments.clone();
        self.activations[0].apply(&mut values[..2 * hidden], self.clip);
        let reset = &values[hidden..2 * hidden];
        let candidate = &mut arguments[2 * hidden..];
        let kept: Vec<T> = if self.linear_before_reset {
            let mut product = weights
                .bias
                .map_or_else(|| vec![T::ZERO; hidden], |bias| bias[5 * hidden..].to_vec());
            add_product(of_candidate, &state.h, &mut product);
            for i in 0..hidden {
                candidate[i] += reset[i] * product[i];
            }
            product
        } else {
            let source: Vec<T> = state.h.iter().zip(reset).map(|(&h, &reset)| h * reset).collect();
            add_product(of_candidate, &source, candidate);
            source
        };
        values[2 * hidden..].copy_from_slice(&arguments[2 * hidden..]);
        self.activations[1].apply(&mut values[2 * hidden..], self.clip);
        for i in 0..hidden {
            state.h[i] = (T::ONE - values[i]) * values[2 * hidden + i] + values[i] * state.h[i];
        }
        [arguments, values, kept].concat()
    }

    fn back(
        &self,
        weights: &CellWeights<'_, T>,
        saved: &[T],
        h: &[T],
        carried: &mut CellState<T>,
        [of_input, of_recurrent]: [&mut [T]; 2],
        _: &mut [T],
    ) {
        let hidden = weights.hidden;
        let (arguments, rest) = saved.split_at(3 * hidden);
        let (values, kept) = rest.split_at(3 * hidden);
        let (of_gates, of_candidate) = weights.recurrent.split_at(2 * hidden * hidden);
        // h' = (1 - update) * candidate + update * h
        for i in 0..hidden {
            let dh = carried.h[i];
            of_input[i] = dh * (h[i] - values[2 * hidden + i]);
            of_input[2 * hidden + i] = dh * (T::ONE - values[i]);
            carried.h[i] = dh * values[i];
        }
        back(
            self.activations[1],
            &mut of_input[2 * hidden..],
            &arguments[2 * hidden..],
            self.clip,
        );
        let mut through = vec![T::ZERO; hidden];
        for i in 0..hidden {
            let (reset, candidate) = (values[hidden + i], of_input[2 * hidden + i]);
            if self.linear_before_reset {
                of_input[hidden + i] = candidate * kept[i];
                of_recurrent[2 * hidden + i] = candidate * reset;
            } else {
                of_recurrent[2 * hidden + i] = candidate;
            }
        }
        add_transposed(of_candidate, &of_recurrent[2 * hidden..], &mut through);
        for i in 0..hidden {
            if self.linear_before_reset {
                carried.h[i] += through[i];
            } else {
                of_input[hidden + i] = through[i] * h[i];
                carried.h[i] += through[i] * values[hidden + i];
            }
        }
        back(
            self.activations[0],
            &mut of_input[..2 * hidden],
            &arguments[..2 * hidden],
            self.clip,
        );
        of_recurrent[..2 * hidden].copy_from_slice(&of_input[..2 * hidden]);
        add_transposed(of_gates, &of_recurrent[..2 * hidden], &mut carried.h);
    }

    fn source<'s>(&self, saved: &'s [T]) -> Option<&'s [T]> {
        (!self.linear_before_reset).then(|| &saved[saved.len() / 7 * 6..])
    }
}
