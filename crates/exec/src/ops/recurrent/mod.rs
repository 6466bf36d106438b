//! LSTM, GRU, RNN.

/// The attributes of an op that has all of them.
macro_rules! shared {
    ($op:expr) => {
        $crate::ops::recurrent::Shared {
            alphas: &$op.activation_alpha,
            betas: &$op.activation_beta,
            names: &$op.activations,
            clip: $op.clip,
            direction: $op.direction,
            hidden_size: $op.hidden_size,
            layout: $op.layout,
        }
    };
}

mod gradient;
mod sizes;
#[cfg(test)]
mod tests;

use bantam_graph::ops::{self as graph, Direction};
use bantam_kernels::Real;
use bantam_kernels::recurrent::{
    Cell, CellActivation, CellState, CellWeights, Gru, Lstm, PlainCell, run_cell,
};

pub(super) use self::gradient::gradient;
use self::sizes::{Sizes, check};
use crate::inputs::Inputs;
use crate::operator::Outputs;
use crate::ops::floats::{fill, in_real, read, read_optional};
use crate::{Context, OpError};

/// The attributes that the cells share.
#[derive(Clone, Copy)]
struct Shared<'a> {
    alphas: &'a [f32],
    betas: &'a [f32],
    names: &'a [String],
    clip: Option<f32>,
    direction: Direction,
    hidden_size: Option<i64>,
    layout: i64,
}

impl Shared<'_> {
    fn directions(&self) -> usize {
        if self.direction == Direction::Bidirectional {
            2
        } else {
            1
        }
    }

    /// The activation functions of every direction; `default` when the node names none. The parameters go to the
    /// functions that take some, in order.
    fn activations<const N: usize>(
        &self,
        default: [CellActivation; N],
    ) -> Result<Vec<[CellActivation; N]>, OpError> {
        if self.names.is_empty() {
            return Ok(vec![default; self.directions()]);
        }
        let expected = N * self.directions();
        if self.names.len() != expected {
            return Err(OpError::value(format!(
                "{} activations, expected {expected}",
                self.names.len()
            )));
        }
        let (mut alphas, mut betas) = (self.alphas.iter().copied(), self.betas.iter().copied());
        let mut parsed = Vec::with_capacity(expected);
        for name in self.names {
            let activation = CellActivation::parse(name, &mut alphas, &mut betas);
            parsed.push(activation.ok_or_else(|| OpError::Unsupported(format!("the activation `{name}`")))?);
        }
        Ok(parsed.as_chunks().0.to_vec())
    }
}

/// x, w, r, bias, sequence lengths, initial h, initial c, peepholes. Outputs: all h, last h, last c.
pub(super) fn lstm(op: &graph::Lstm, inputs: &Inputs<'_>, context: &Context) -> Result<Outputs, OpError> {
    let shared = shared!(op);
    let default = [
        CellActivation::Sigmoid,
        CellActivation::Tanh,
        CellActivation::Tanh,
    ];
    let activations = shared.activations(default)?;
    let sizes = Sizes::new(4, &shared, inputs)?;
    check(inputs, 7, "peepholes", &[sizes.directions, 3 * sizes.hidden])?;
    in_real!(inputs.required(0)?.dtype(), 0, T => {
        let peepholes = read_optional::<T>(inputs, 7)?;
        let cells = (0..sizes.directions).map(|direction| Lstm {
            activations: activations[direction],
            clip: shared.clip,
            input_forget: op.input_forget,
            peepholes: peepholes.as_ref().map(|p| &p[direction * 3 * sizes.hidden..][..3 * sizes.hidden]),
        });
        run::<T, _>(&cells.collect::<Vec<_>>(), true, shared.direction, &sizes, inputs, context)
    })
}

/// x, w, r, bias, sequence lengths, initial h. Outputs: all h, last h.
pub(super) fn gru(op: &graph::Gru, inputs: &Inputs<'_>, context: &Context) -> Result<Outputs, OpError> {
    let shared = shared!(op);
    let activations = shared.activations([CellActivation::Sigmoid, CellActivation::Tanh])?;
    let sizes = Sizes::new(3, &shared, inputs)?;
    let (clip, linear_before_reset) = (shared.clip, op.linear_before_reset);
    let cells = activations.into_iter().map(|activations| Gru {
        activations,
        clip,
        linear_before_reset,
    });
    let cells: Vec<Gru> = cells.collect();
    in_real!(inputs.required(0)?.dtype(), 0, T => run::<T, _>(&cells, false, shared.direction, &sizes, inputs, context))
}

/// x, w, r, bias, sequence lengths, initial h. Outputs: all h, last h.
pub(super) fn plain(op: &graph::Rnn, inputs: &Inputs<'_>, context: &Context) -> Result<Outputs, OpError> {
    let shared = shared!(op);
    let activations = shared.activations([CellActivation::Tanh])?;
    let sizes = Sizes::new(1, &shared, inputs)?;
    let cells = activations.into_iter().map(|[activation]| PlainCell {
        activation,
        clip: shared.clip,
    });
    let cells: Vec<PlainCell> = cells.collect();
    in_real!(inputs.required(0)?.dtype(), 0, T => run::<T, _>(&cells, false, shared.direction, &sizes, inputs, context))
}

/// Runs one cell per direction. Outputs: all h, last h, and last c when the cells have a `memory`.
fn run<T: Real, C: Cell<T>>(
    cells: &[C],
    memory: bool,
    direction: Direction,
    sizes: &Sizes,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Outputs, OpError> {
    let (x, w, r) = (
        read::<T>(inputs, 0)?,
        read::<T>(inputs, 1)?,
        read::<T>(inputs, 2)?,
    );
    let bias = read_optional::<T>(inputs, 3)?;
    let given_h = read_optional::<T>(inputs, 5)?;
    let given_c = if memory {
        read_optional::<T>(inputs, 6)?
    } else {
        None
    };
    let dtype = inputs.required(0)?.dtype();
    let mut scratch = context.uninitialized(T::DTYPE, &[sizes.steps, sizes.batch, sizes.width])?;
    let projected = scratch.values_mut::<T>()?;
    let (mut last_h, mut last_c) = (Vec::new(), Vec::new());
    let y = fill(context, dtype, &sizes.output_shape(), |y: &mut [T]| {
        y.fill(T::ZERO);
        for (index, cell) in cells.iter().enumerate() {
            let weights = CellWeights {
                input: of_direction(&w, index, cells.len()),
                recurrent: of_direction(&r, index, cells.len()),
                bias: bias.as_ref().map(|bias| of_direction(bias, index, cells.len())),
                hidden: sizes.hidden,
            };
            let sequences = sizes.sequences(&x, direction == Direction::Reverse || index == 1);
            let h = sizes.initial(given_h.as_deref(), index);
            let c = if memory {
                sizes.initial(given_c.as_deref(), index)
            } else {
                Vec::new()
            };
            let mut state = CellState { h, c };
            run_cell(
                cell,
                &sequences,
                &weights,
                &mut state,
                projected,
                |step, sequence, h| {
                    y[sizes.output_at(step, index, sequence)..][..sizes.hidden].copy_from_slice(h);
                },
            );
            last_h.push(state.h);
            last_c.push(state.c);
        }
    })?;
    context.recycle(scratch);
    let mut outputs = vec![Some(y), sizes.last(&last_h, dtype, context)?];
    if memory {
        outputs.push(sizes.last(&last_c, dtype, context)?);
    }
    Ok(outputs)
}

/// The part of an input that belongs to one direction.
fn of_direction<T>(values: &[T], index: usize, directions: usize) -> &[T] {
    let length = values.len() / directions;
    &values[index * length..][..length]
}
