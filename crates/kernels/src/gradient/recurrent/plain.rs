//! The plain cell.

use super::activation::back;
use super::{CellGradient, add_product, add_transposed};
use crate::real::Real;
use crate::recurrent::{CellState, CellWeights, PlainCell};

impl<T: Real> CellGradient<T> for PlainCell {
    fn forward(&self, weights: &CellWeights<'_, T>, row: &[T], state: &mut CellState<T>) -> Vec<T> {
        let mut argument = row.to_vec();
        add_product(weights.recurrent, &state.h, &mut argument);
        state.h.copy_from_slice(&argument);
        self.activation.apply(&mut state.h, self.clip);
        argument
    }

    fn back(
        &self,
        weights: &CellWeights<'_, T>,
        saved: &[T],
        _: &[T],
        carried: &mut CellState<T>,
        [of_input, of_recurrent]: [&mut [T]; 2],
        _: &mut [T],
    ) {
        of_input.copy_from_slice(&carried.h);
        back(self.activation, of_input, saved, self.clip);
        of_recurrent.copy_from_slice(of_input);
        carried.h.fill(T::ZERO);
        add_transposed(weights.recurrent, of_recurrent, &mut carried.h);
    }
}
