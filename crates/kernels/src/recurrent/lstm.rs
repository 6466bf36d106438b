//! Long short-term memory.

use super::{Cell, CellActivation, CellState, Recurrent, add};
use crate::real::Real;

/// An LSTM cell; its gates are input, output, forget, cell.
#[derive(Clone, Copy, Debug)]
pub struct Lstm<'a, T> {
    /// Of the gates, of the candidate, of the memory.
    pub activations: [CellActivation; 3],
    /// Bound of the arguments of the activations of the gates and the candidate; the memory is not clipped, as in ONNX
    /// Runtime (the specification can be read either way).
    pub clip: Option<f32>,
    /// The forget gate is 1 minus the input gate.
    pub input_forget: bool,
    /// `[3 * hidden]`: weights of the memory in the input, output and forget gates.
    pub peepholes: Option<&'a [T]>,
}

impl<T: Real> Cell<T> for Lstm<'_, T> {
    const GATES: usize = 4;

    fn step(
        &self,
        recurrent: &Recurrent<'_, T>,
        projected: &[Option<&[T]>],
        state: &mut CellState<T>,
        gates: &mut [T],
    ) {
        let hidden = recurrent.weights.hidden;
        recurrent.multiply(&state.h, gates, 4 * hidden, 0..4 * hidden);
        for (sequence, row) in projected.iter().enumerate() {
            let Some(row) = row else { continue };
            let gates = &mut gates[sequence * 4 * hidden..][..4 * hidden];
            add(gates, row);
            let range = sequence * hidden..(sequence + 1) * hidden;
            self.update(gates, &mut state.h[range.clone()], &mut state.c[range]);
        }
    }
}

impl<T: Real> Lstm<'_, T> {
    /// Moves the state of one sequence; `gates` are the arguments of the activations without peepholes.
    fn update(&self, gates: &mut [T], h: &mut [T], c: &mut [T]) {
        let hidden = h.len();
        let [of_gates, of_candidate, of_memory] = self.activations;
        let (input, rest) = gates.split_at_mut(hidden);
        let (output, rest) = rest.split_at_mut(hidden);
        let (forget, candidate) = rest.split_at_mut(hidden);
        if let Some(peepholes) = self.peepholes {
            add_product(input, &peepholes[..hidden], c);
            add_product(forget, &peepholes[2 * hidden..], c);
        }
        of_gates.apply(input, self.clip);
        if self.input_forget {
            forget
                .iter_mut()
                .zip(input.iter())
                .for_each(|(forget, &input)| *forget = T::ONE - input);
        } else {
            of_gates.apply(forget, self.clip);
        }
        of_candidate.apply(candidate, self.clip);
        for i in 0..hidden {
            c[i] = forget[i] * c[i] + input[i] * candidate[i];
        }
        if let Some(peepholes) = self.peepholes {
            add_product(output, &peepholes[hidden..2 * hidden], c);
        }
        of_gates.apply(output, self.clip);
        h.copy_from_slice(c);
        of_memory.apply(h, None);
        h.iter_mut()
            .zip(output.iter())
            .for_each(|(h, &output)| *h *= output);
    }
}

/// `a += b * c`.
fn add_product<T: Real>(a: &mut [T], b: &[T], c: &[T]) {
    a.iter_mut().zip(b).zip(c).for_each(|((a, &b), &c)| *a += b * c);
}
