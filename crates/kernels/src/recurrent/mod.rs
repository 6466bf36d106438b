//! Recurrent cells over sequences: LSTM, GRU and the plain cell, as the ONNX specification defines them.

mod activation;
mod gru;
mod lstm;
mod plain;
#[cfg(test)]
mod tests;

pub use activation::CellActivation;
pub use gru::Gru;
pub use lstm::Lstm;
pub use plain::PlainCell;

use rayon::prelude::*;

use crate::product::{FEW_ROWS, Strided, multiply};
use crate::real::Real;

/// A batch of sequences: `x` is `[steps, batch, inputs]`, or `[batch, steps, inputs]` when `batch_first`.
#[derive(Clone, Copy, Debug)]
pub struct Sequences<'a, T> {
    /// The elements.
    pub x: &'a [T],
    /// Length of the longest sequence.
    pub steps: usize,
    /// Number of sequences.
    pub batch: usize,
    /// Elements of one step of one sequence.
    pub inputs: usize,
    /// Order of the first two dimensions.
    pub batch_first: bool,
    /// Length of each sequence, at most `steps`; all of `steps` when absent.
    pub lengths: Option<&'a [usize]>,
    /// Read from the last valid step to the first.
    pub reverse: bool,
}

/// The weights of one direction.
#[derive(Clone, Copy, Debug)]
pub struct CellWeights<'a, T> {
    /// `[gates * hidden, inputs]`.
    pub input: &'a [T],
    /// `[gates * hidden, hidden]`.
    pub recurrent: &'a [T],
    /// `[2 * gates * hidden]`: of the input product, then of the recurrent product.
    pub bias: Option<&'a [T]>,
    /// Size of the state.
    pub hidden: usize,
}

/// What a cell carries from step to step, `[batch, hidden]` each.
#[derive(Clone, Debug)]
pub struct CellState<T> {
    /// The output of the last step.
    pub h: Vec<T>,
    /// The memory of an LSTM; empty for the others.
    pub c: Vec<T>,
}

/// One step of a kind of cell.
pub trait Cell<T: Real>: Sync {
    /// Number of gates.
    const GATES: usize;

    /// The bias that is added to the product with the input, `[GATES * hidden]`.
    fn input_bias(&self, bias: &[T], hidden: usize) -> Vec<T> {
        let (input, recurrent) = bias.split_at(Self::GATES * hidden);
        input
            .iter()
            .zip(recurrent)
            .map(|(&input, &recurrent)| input + recurrent)
            .collect()
    }

    /// Moves the state of the sequences that are not over. `projected[b]` holds what the input of sequence `b` adds to
    /// its gates, `[GATES * hidden]`; `None` when the sequence is over. `gates` is memory for `[batch, GATES * hidden]`.
    fn step(
        &self,
        recurrent: &Recurrent<'_, T>,
        projected: &[Option<&[T]>],
        state: &mut CellState<T>,
        gates: &mut [T],
    );
}

/// Runs a cell over sequences, from `state` to the state after each sequence's last step. `emit(step, sequence, h)` gets
/// each output; `projected` is memory for `[steps * batch, GATES * hidden]`.
///
/// # Panics
/// When a slice does not have the length that the sizes say.
pub fn run_cell<T: Real, C: Cell<T>>(
    cell: &C,
    sequences: &Sequences<'_, T>,
    weights: &CellWeights<'_, T>,
    state: &mut CellState<T>,
    projected: &mut [T],
    mut emit: impl FnMut(usize, usize, &[T]),
) {
    let (steps, batch, hidden) = (sequences.steps, sequences.batch, weights.hidden);
    let width = C::GATES * hidden;
    project(cell, sequences, weights, projected);
    let recurrent = Recurrent::new(weights, width, batch);
    let mut gates = vec![T::ZERO; batch * width];
    for step in 0..steps {
        let at = |sequence: usize| {
            let length = sequences.lengths.map_or(steps, |lengths| lengths[sequence]);
            (step < length).then(|| {
                if sequences.reverse {
                    length - 1 - step
                } else {
                    step
                }
            })
        };
        let row = |sequence: usize| {
            let position = at(sequence)?;
            let row = if sequences.batch_first {
                sequence * steps + position
            } else {
                position * batch + sequence
            };
            Some(&projected[row * width..][..width])
        };
        let rows: Vec<Option<&[T]>> = (0..batch).map(row).collect();
        if rows.iter().all(Option::is_none) {
            break;
        }
        cell.step(&recurrent, &rows, state, &mut gates);
        for sequence in 0..batch {
            if let Some(position) = at(sequence) {
                emit(position, sequence, &state.h[sequence * hidden..][..hidden]);
            }
        }
    }
}

/// Rows of the input that one thread projects at once.
const ROWS: usize = 64;

/// The product of all inputs with the input weights, plus bias: `[rows of x, gates * hidden]`.
fn project<T: Real, C: Cell<T>>(
    cell: &C,
    sequences: &Sequences<'_, T>,
    weights: &CellWeights<'_, T>,
    projected: &mut [T],
) {
    let (inputs, width) = (sequences.inputs, C::GATES * weights.hidden);
    if projected.is_empty() {
        return;
    }
    let bias = weights.bias.map(|bias| cell.input_bias(bias, weights.hidden));
    let w = Strided::new(weights.input, width, inputs, inputs);
    projected
        .par_chunks_mut(ROWS * width)
        .enumerate()
        .for_each(|(chunk, projected)| {
            match &bias {
                Some(bias) => projected
                    .chunks_exact_mut(width)
                    .for_each(|row| row.copy_from_slice(bias)),
                None => projected.fill(T::ZERO),
            }
            let x = Strided::new(
                &sequences.x[chunk * ROWS * inputs..],
                projected.len() / width,
                inputs,
                inputs,
            );
            multiply(x, w.transposed(), projected, width, T::ONE, true);
        });
}

/// The recurrent weights of one direction, arranged for the size of the batch.
#[derive(Debug)]
pub struct Recurrent<'a, T> {
    weights: &'a CellWeights<'a, T>,
    /// `[hidden, gates * hidden]`, when it is worth it.
    transposed: Option<Vec<T>>,
}

impl<'a, T: Real> Recurrent<'a, T> {
    fn new(weights: &'a CellWeights<'a, T>, width: usize, batch: usize) -> Recurrent<'a, T> {
        let matrix = Strided::new(weights.recurrent, width, weights.hidden, weights.hidden);
        Recurrent {
            weights,
            transposed: (batch > FEW_ROWS).then(|| matrix.transposed_copy()),
        }
    }

    /// `gates[.., columns] = h * recurrent[columns, ..]^T` for the whole batch, `gates` being `[batch, width]`.
    fn multiply(&self, h: &[T], gates: &mut [T], width: usize, columns: std::ops::Range<usize>) {
        let hidden = self.weights.hidden;
        let Some(batch) = h.len().checked_div(hidden) else {
            return;
        };
        let h = Strided::new(h, batch, hidden, hidden);
        let matrix = match &self.transposed {
            Some(values) => Strided::new(&values[columns.start..], hidden, columns.len(), width),
            None => {
                let rows = &self.weights.recurrent[columns.start * hidden..];
                Strided::new(rows, columns.len(), hidden, hidden).transposed()
            }
        };
        multiply(h, matrix, &mut gates[columns.start..], width, T::ONE, false);
    }
}

/// `a += b`.
fn add<T: Real>(a: &mut [T], b: &[T]) {
    a.iter_mut().zip(b).for_each(|(a, &b)| *a += b);
}
