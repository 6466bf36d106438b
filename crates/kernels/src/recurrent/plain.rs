//! The plain recurrent cell.

use super::{Cell, CellActivation, CellState, Recurrent, add};
use crate::real::Real;

/// `h = f(x W^T + h R^T + b)`.
#[derive(Clone, Copy, Debug)]
pub struct PlainCell {
    /// The function `f`.
    pub activation: CellActivation,
    /// Bound of the argument of the activation.
    pub clip: Option<f32>,
}

impl<T: Real> Cell<T> for PlainCell {
    const GATES: usize = 1;

    fn step(
        &self,
        recurrent: &Recurrent<'_, T>,
        projected: &[Option<&[T]>],
        state: &mut CellState<T>,
        gates: &mut [T],
    ) {
        let hidden = recurrent.weights.hidden;
        recurrent.multiply(&state.h, gates, hidden, 0..hidden);
        for (sequence, row) in projected.iter().enumerate() {
            let Some(row) = row else { continue };
            let h = &mut state.h[sequence * hidden..][..hidden];
            h.copy_from_slice(&gates[sequence * hidden..][..hidden]);
            add(h, row);
            self.activation.apply(h, self.clip);
        }
    }
}
