//! Long short-term memory.

use super::activation::back;
use super::{CellGradient, add_product, add_transposed};
use crate::real::Real;
use crate::recurrent::{CellState, CellWeights, Lstm};

/// What is kept of a step, `hidden` elements each.
struct Saved<'a, T> {
    /// Arguments of the gates input, output, forget and cell, then their values.
    arguments: &'a [T],
    values: &'a [T],
    /// The memory before and after, and the activation of the latter.
    before: &'a [T],
    after: &'a [T],
    seen: &'a [T],
}

impl<'a, T> Saved<'a, T> {
    fn new(saved: &'a [T]) -> Saved<'a, T> {
        let hidden = saved.len() / 11;
        let part = |first: usize, count: usize| &saved[first * hidden..(first + count) * hidden];
        Saved {
            arguments: part(0, 4),
            values: part(4, 4),
            before: part(8, 1),
            after: part(9, 1),
            seen: part(10, 1),
        }
    }
}

impl<T: Real> Lstm<'_, T> {
    /// The peephole of the input (0), output (1) or forget (2) gate.
    fn peephole(&self, gate: usize, hidden: usize) -> Option<&[T]> {
        self.peepholes.map(|all| &all[gate * hidden..(gate + 1) * hidden])
    }

    /// `h = output * f(c)`: the gradients of the output gate's argument and of the memory.
    fn back_through_output(
        &self,
        saved: &Saved<'_, T>,
        carried: &mut CellState<T>,
        of_input: &mut [T],
        peepholes: &mut [T],
    ) {
        let hidden = saved.after.len();
        let [of_gates, _, of_memory] = self.activations;
        let gate = hidden..2 * hidden;
        let values = &saved.values[gate.clone()];
        let mut through: Vec<T> = carried
            .h
            .iter()
            .zip(values)
            .map(|(&dh, &output)| dh * output)
            .collect();
        back(of_memory, &mut through, saved.after, None);
        carried
            .c
            .iter_mut()
            .zip(&through)
            .for_each(|(dc, &through)| *dc += through);
        let output = &mut of_input[gate.clone()];
        let seen = carried.h.iter().zip(saved.seen);
        output
            .iter_mut()
            .zip(seen)
            .for_each(|(slot, (&dh, &seen))| *slot = dh * seen);
        back(of_gates, output, &saved.arguments[gate.clone()], self.clip);
        if let Some(peephole) = self.peephole(1, hidden) {
            add_scaled(&mut carried.c, output, peephole);
            add_scaled(&mut peepholes[gate], output, saved.after);
        }
    }

    /// `c = forget * before + input * candidate`: the gradients of the other arguments and of the memory before.
    fn back_through_memory(
        &self,
        saved: &Saved<'_, T>,
        carried: &mut CellState<T>,
        of_input: &mut [T],
        peepholes: &mut [T],
    ) {
        let hidden = saved.after.len();
        let [of_gates, of_candidate, _] = self.activations;
        for i in 0..hidden {
            let dc = carried.c[i];
            let of_forget = dc * saved.before[i];
            of_input[i] = dc * saved.values[3 * hidden + i];
            of_input[3 * hidden + i] = dc * saved.values[i];
            carried.c[i] = dc * saved.values[2 * hidden + i];
            if self.input_forget {
                of_input[i] = of_input[i] - of_forget;
            } else {
                of_input[2 * hidden + i] = of_forget;
            }
        }
        for (index, activation) in [(0, of_gates), (2, of_gates), (3, of_candidate)] {
            let gate = index * hidden..(index + 1) * hidden;
            back(
                activation,
                &mut of_input[gate.clone()],
                &saved.arguments[gate],
                self.clip,
            );
        }
        for index in [0, 2] {
            if let Some(peephole) = self.peephole(index, hidden) {
                let gate = index * hidden..(index + 1) * hidden;
                add_scaled(&mut carried.c, &of_input[gate.clone()], peephole);
                add_scaled(&mut peepholes[gate.clone()], &of_input[gate], saved.before);
            }
        }
    }
}

fn add_scaled<T: Real>(y: &mut [T], a: &[T], b: &[T]) {
    y.iter_mut().zip(a).zip(b).for_each(|((y, &a), &b)| *y += a * b);
}

impl<T: Real> CellGradient<T> for Lstm<'_, T> {
    fn forward(&self, weights: &CellWeights<'_, T>, row: &[T], state: &mut CellState<T>) -> Vec<T> {
        let hidden = weights.hidden;
        let [of_gates, of_candidate, of_memory] = self.activations;
        let mut arguments = row.to_vec();
        add_product(weights.recurrent, &state.h, &mut arguments);
        for gate in [0, 2] {
            if let Some(peephole) = self.peephole(gate, hidden) {
                add_scaled(
                    &mut arguments[gate * hidden..(gate + 1) * hidden],
                    peephole,
                    &state.c,
                );
            }
        }
        let before = state.c.clone();
        let mut values = arguments.clone();
        of_gates.apply(&mut values[..hidden], self.clip);
        if self.input_forget {
            for i in 0..hidden {
                values[2 * hidden + i] = T::ONE - values[i];
            }
        } else {
            of_gates.apply(&mut values[2 * hidden..3 * hidden], self.clip);
        }
        of_candidate.apply(&mut values[3 * hidden..], self.clip);
        for i in 0..hidden {
            state.c[i] = values[2 * hidden + i] * before[i] + values[i] * values[3 * hidden + i];
        }
        if let Some(peephole) = self.peephole(1, hidden) {
            add_scaled(&mut arguments[hidden..2 * hidden], peephole, &state.c);
        }
        values[hidden..2 * hidden].copy_from_slice(&arguments[hidden..2 * hidden]);
        of_gates.apply(&mut values[hidden..2 * hidden], self.clip);
        let mut seen = state.c.clone();
        of_memory.apply(&mut seen, None);
        for i in 0..hidden {
            state.h[i] = seen[i] * values[hidden + i];
        }
        [arguments, values, before, state.c.clone(), seen].concat()
    }

    fn back(
        &self,
        weights: &CellWeights<'_, T>,
        saved: &[T],
        _: &[T],
        carried: &mut CellState<T>,
        [of_input, of_recurrent]: [&mut [T]; 2],
        peepholes: &mut [T],
    ) {
        let saved = Saved::new(saved);
        self.back_through_output(&saved, carried, of_input, peepholes);
        self.back_through_memory(&saved, carried, of_input, peepholes);
        of_recurrent.copy_from_slice(of_input);
        carried.h.fill(T::ZERO);
        add_transposed(weights.recurrent, of_recurrent, &mut carried.h);
    }
}
