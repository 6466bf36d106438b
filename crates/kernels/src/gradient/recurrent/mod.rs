//! Back-propagation through time of recurrent cells (Werbos 1990). The forward pass is computed again.

mod activation;
mod gru;
mod lstm;
mod plain;

use rayon::prelude::*;

use crate::product::{Strided, multiply};
use crate::real::Real;
use crate::recurrent::{Cell, CellState, CellWeights, Sequences};

/// One step of one sequence, forward with what the way back needs, and back.
pub trait CellGradient<T: Real>: Cell<T> {
    /// Moves the state by one step; `row` is what the input adds to the gates, biases included. Gives what
    /// [`CellGradient::back`] needs.
    fn forward(&self, weights: &CellWeights<'_, T>, row: &[T], state: &mut CellState<T>) -> Vec<T>;

    /// Takes the gradient `carried` of the state after a step to that of the state before it, `h`, and writes those of the
    /// products with the input and with the state; adds to that of the peepholes.
    fn back(
        &self,
        weights: &CellWeights<'_, T>,
        saved: &[T],
        h: &[T],
        carried: &mut CellState<T>,
        gates: [&mut [T]; 2],
        peepholes: &mut [T],
    );

    /// What the recurrent weights of the last gate were multiplied with, if it was not the state.
    fn source<'s>(&self, _saved: &'s [T]) -> Option<&'s [T]> {
        None
    }
}

/// Gradients of the results of one direction.
pub struct Arriving<'a, T> {
    /// Of the output at a step of a sequence.
    pub of_output: &'a (dyn Fn(usize, usize) -> Option<&'a [T]> + Sync),
    /// Of the last state, `[batch, hidden]` each; `c` is empty without a memory.
    pub of_last: CellState<T>,
}

/// Gradients of the arguments of one direction.
pub struct Leaving<T> {
    /// `[steps * batch, inputs]` in the order of x.
    pub x: Vec<T>,
    /// `[gates * hidden, inputs]`.
    pub input: Vec<T>,
    /// `[gates * hidden, hidden]`.
    pub recurrent: Vec<T>,
    /// `[2 * gates * hidden]`.
    pub bias: Vec<T>,
    /// Of the initial state.
    pub initial: CellState<T>,
    /// `[3 * hidden]`.
    pub peepholes: Vec<T>,
}

/// What one sequence leaves behind.
struct OneSequence<T> {
    /// For each step the row of x.
    rows: Vec<usize>,
    of_input: Vec<T>,
    of_recurrent: Vec<T>,
    /// The state before each step, and what the last gate was multiplied with.
    before: Vec<T>,
    source: Vec<T>,
    initial: CellState<T>,
    peepholes: Vec<T>,
}

/// The gradients of one direction, from the initial `state` and the gradients of the results.
///
/// # Panics
/// When a slice does not have the length that the sizes say.
pub fn back_through_time<T: Real, C: CellGradient<T>>(
    cell: &C,
    sequences: &Sequences<'_, T>,
    weights: &CellWeights<'_, T>,
    state: &CellState<T>,
    arriving: &Arriving<'_, T>,
) -> Leaving<T> {
    let bias = weights.bias.map(|bias| cell.input_bias(bias, weights.hidden));
    let each: Vec<OneSequence<T>> = (0..sequences.batch)
        .into_par_iter()
        .map(|sequence| {
            one_sequence(
                cell,
                sequences,
                weights,
                bias.as_deref(),
                state,
                arriving,
                sequence,
            )
        })
        .collect();
    gather(C::GATES * weights.hidden, sequences, weights, &each)
}

fn one_sequence<T: Real, C: CellGradient<T>>(
    cell: &C,
    sequences: &Sequences<'_, T>,
    weights: &CellWeights<'_, T>,
    bias: Option<&[T]>,
    state: &CellState<T>,
    arriving: &Arriving<'_, T>,
    sequence: usize,
) -> OneSequence<T> {
    let (hidden, width) = (weights.hidden, C::GATES * weights.hidden);
    let own = |state: &CellState<T>| {
        let range = sequence * hidden..(sequence + 1) * hidden;
        let part = |values: &[T]| values.get(range.clone()).unwrap_or(&[]).to_vec();
        CellState {
            h: part(&state.h),
            c: part(&state.c),
        }
    };
    let positions = positions(sequences, sequence);
    let row = |&position: &usize| match sequences.batch_first {
        true => sequence * sequences.steps + position,
        false => position * sequences.batch + sequence,
    };
    let mut one = OneSequence {
        rows: positions.iter().map(row).collect(),
        of_input: vec![T::ZERO; positions.len() * width],
        of_recurrent: vec![T::ZERO; positions.len() * width],
        before: Vec::with_capacity(positions.len() * hidden),
        source: Vec::with_capacity(positions.len() * hidden),
        initial: own(&arriving.of_last),
        peepholes: vec![T::ZERO; 3 * hidden],
    };
    let saved = one.forward(cell, sequences, weights, bias, own(state));
    for (step, saved) in saved.iter().enumerate().rev() {
        if let Some(dy) = (arriving.of_output)(positions[step], sequence) {
            one.initial.h.iter_mut().zip(dy).for_each(|(dh, &dy)| *dh += dy);
        }
        let gates = step * width..(step + 1) * width;
        let gates = [&mut one.of_input[gates.clone()], &mut one.of_recurrent[gates]];
        let h = &one.before[step * hidden..(step + 1) * hidden];
        cell.back(weights, saved, h, &mut one.initial, gates, &mut one.peepholes);
    }
    one
}

/// The steps of a sequence in the order in which they are read.
fn positions<T>(sequences: &Sequences<'_, T>, sequence: usize) -> Vec<usize> {
    let length = sequences
        .lengths
        .map_or(sequences.steps, |lengths| lengths[sequence]);
    match sequences.reverse {
        false => (0..length).collect(),
        true => (0..length).rev().collect(),
    }
}

impl<T: Real> OneSequence<T> {
    /// Runs the cell, notes the states, and gives what it saves of each step.
    fn forward<C: CellGradient<T>>(
        &mut self,
        cell: &C,
        sequences: &Sequences<'_, T>,
        weights: &CellWeights<'_, T>,
        bias: Option<&[T]>,
        mut state: CellState<T>,
    ) -> Vec<Vec<T>> {
        let mut saved = Vec::with_capacity(self.rows.len());
        for &row in &self.rows {
            let mut gates = bias.map_or_else(|| vec![T::ZERO; C::GATES * weights.hidden], <[T]>::to_vec);
            add_product(
                weights.input,
                &sequences.x[row * sequences.inputs..][..sequences.inputs],
                &mut gates,
            );
            let before = state.h.clone();
            let step = cell.forward(weights, &gates, &mut state);
            self.source
                .extend_from_slice(cell.source(&step).unwrap_or(&before));
            self.before.extend(before);
            saved.push(step);
        }
        saved
    }
}

/// Joins the sequences: the gradients of weights are products over all steps of all of them.
fn gather<T: Real>(
    width: usize,
    sequences: &Sequences<'_, T>,
    weights: &CellWeights<'_, T>,
    each: &[OneSequence<T>],
) -> Leaving<T> {
    let (hidden, inputs) = (weights.hidden, sequences.inputs);
    let join = |part: fn(&OneSequence<T>) -> &[T]| each.iter().flat_map(part).copied().collect::<Vec<T>>();
    let (of_input, of_recurrent) = (join(|one| &one.of_input), join(|one| &one.of_recurrent));
    let (before, source) = (join(|one| &one.before), join(|one| &one.source));
    let rows: Vec<usize> = each.iter().flat_map(|one| &one.rows).copied().collect();
    let x: Vec<T> = rows
        .iter()
        .flat_map(|&row| &sequences.x[row * inputs..][..inputs])
        .copied()
        .collect();
    let mut of_x = vec![T::ZERO; rows.len() * inputs];
    let gates = Strided::new(&of_input, rows.len(), width, width);
    multiply(
        gates,
        Strided::new(weights.input, width, inputs, inputs),
        &mut of_x,
        inputs,
        T::ONE,
        false,
    );
    let mut leaving = Leaving {
        x: vec![T::ZERO; sequences.steps * sequences.batch * inputs],
        input: product_over_rows(&of_input, width, 0..width, &x, inputs),
        recurrent: product_over_rows(&of_recurrent, width, 0..width - hidden, &before, hidden),
        bias: [sums(&of_input, width), sums(&of_recurrent, width)].concat(),
        initial: CellState {
            h: join(|one| &one.initial.h),
            c: join(|one| &one.initial.c),
        },
        peepholes: sums(&join(|one| &one.peepholes), 3 * hidden),
    };
    leaving.recurrent.extend(product_over_rows(
        &of_recurrent,
        width,
        width - hidden..width,
        &source,
        hidden,
    ));
    for (&row, of_x) in rows.iter().zip(of_x.chunks_exact(inputs)) {
        leaving.x[row * inputs..][..inputs].copy_from_slice(of_x);
    }
    leaving
}

/// `a^T b` for some columns of `a`, whose rows have `width` elements, and `b`, whose rows have `columns`.
fn product_over_rows<T: Real>(
    a: &[T],
    width: usize,
    of_a: std::ops::Range<usize>,
    b: &[T],
    columns: usize,
) -> Vec<T> {
    let mut product = vec![T::ZERO; of_a.len() * columns];
    let rows = a.len() / width;
    if rows > 0 && !product.is_empty() {
        let a = Strided::new(&a[of_a.start..], rows, of_a.len(), width).transposed();
        multiply(
            a,
            Strided::new(b, rows, columns, columns),
            &mut product,
            columns,
            T::ONE,
            false,
        );
    }
    product
}

/// Sums of columns.
fn sums<T: Real>(values: &[T], width: usize) -> Vec<T> {
    let mut sums = vec![T::ZERO; width];
    for row in values.chunks_exact(width) {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += value);
    }
    sums
}

/// `y += matrix * x`, a row of the matrix for each element of `y`.
fn add_product<T: Real>(matrix: &[T], x: &[T], y: &mut [T]) {
    for (y, row) in y.iter_mut().zip(matrix.chunks_exact(x.len())) {
        *y += row
            .iter()
            .zip(x)
            .fold(T::ZERO, |sum, (&weight, &x)| sum + weight * x);
    }
}

/// `x += matrix^T * y`.
fn add_transposed<T: Real>(matrix: &[T], y: &[T], x: &mut [T]) {
    for (&y, row) in y.iter().zip(matrix.chunks_exact(x.len())) {
        x.iter_mut().zip(row).for_each(|(x, &weight)| *x += weight * y);
    }
}
