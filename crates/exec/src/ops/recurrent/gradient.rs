//! Back-propagation through time.

use bantam_graph::ops::{CellKind, Direction, RecurrentGradient};
use bantam_kernels::Real;
use bantam_kernels::gradient::recurrent::{Arriving, CellGradient, Leaving, back_through_time};
use bantam_kernels::recurrent::{CellActivation, CellState, CellWeights, Gru, Lstm, PlainCell};

use super::sizes::{Sizes, check};
use super::{Shared, of_direction};
use crate::inputs::Inputs;
use crate::operator::Outputs;
use crate::ops::floats::{fill, in_real, read, read_optional};
use crate::{Context, OpError};

/// Positions of the gradients of all h, the last h and the last c.
const ARRIVING: [usize; 3] = [8, 9, 10];

/// The inputs of the cell, and the gradients of its outputs. Outputs: the gradients of x, w, r, bias, initial h, initial c
/// and peepholes.
pub(in crate::ops) fn gradient(
    op: &RecurrentGradient,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Outputs, OpError> {
    let shared = shared!(op);
    let gates = match op.cell {
        CellKind::Lstm => 4,
        CellKind::Gru => 3,
        CellKind::Rnn => 1,
    };
    let sizes = Sizes::new(gates, &shared, inputs)?;
    check(inputs, 6, "the initial c", &sizes.state_shape())?;
    check(inputs, 7, "peepholes", &[sizes.directions, 3 * sizes.hidden])?;
    check(
        inputs,
        ARRIVING[0],
        "the gradient of the output",
        &sizes.output_shape(),
    )?;
    check(
        inputs,
        ARRIVING[1],
        "the gradient of the last h",
        &sizes.state_shape(),
    )?;
    check(
        inputs,
        ARRIVING[2],
        "the gradient of the last c",
        &sizes.state_shape(),
    )?;
    in_real!(inputs.required(0)?.dtype(), 0, T => {
        let run = Run { op, shared, sizes: &sizes, inputs, context };
        run.cells::<T>()
    })
}

struct Run<'a> {
    op: &'a RecurrentGradient,
    shared: Shared<'a>,
    sizes: &'a Sizes,
    inputs: &'a Inputs<'a>,
    context: &'a Context,
}

impl Run<'_> {
    fn cells<T: Real>(&self) -> Result<Outputs, OpError> {
        let (clip, hidden) = (self.shared.clip, self.sizes.hidden);
        let sigmoid = CellActivation::Sigmoid;
        let tanh = CellActivation::Tanh;
        match self.op.cell {
            CellKind::Lstm => {
                let peepholes = read_optional::<T>(self.inputs, 7)?;
                let cells = self
                    .shared
                    .activations([sigmoid, tanh, tanh])?
                    .into_iter()
                    .enumerate();
                let cells = cells.map(|(direction, activations)| Lstm {
                    activations,
                    clip,
                    input_forget: self.op.input_forget,
                    peepholes: peepholes
                        .as_ref()
                        .map(|all| &all[direction * 3 * hidden..][..3 * hidden]),
                });
                self.directions::<T, _>(&cells.collect::<Vec<_>>(), true)
            }
            CellKind::Gru => {
                let linear_before_reset = self.op.linear_before_reset;
                let cells = self.shared.activations([sigmoid, tanh])?.into_iter();
                let cells = cells.map(|activations| Gru {
                    activations,
                    clip,
                    linear_before_reset,
                });
                self.directions::<T, _>(&cells.collect::<Vec<_>>(), false)
            }
            CellKind::Rnn => {
                let cells = self.shared.activations([tanh])?.into_iter();
                let cells = cells.map(|[activation]| PlainCell { activation, clip });
                self.directions::<T, _>(&cells.collect::<Vec<_>>(), false)
            }
        }
    }

    /// The gradients by each direction's cell.
    fn directions<T: Real, C: CellGradient<T>>(&self, cells: &[C], memory: bool) -> Result<Outputs, OpError> {
        let sizes = self.sizes;
        let (x, w, r) = (
            read::<T>(self.inputs, 0)?,
            read::<T>(self.inputs, 1)?,
            read::<T>(self.inputs, 2)?,
        );
        let optional = |index: usize| read_optional::<T>(self.inputs, index);
        let (bias, of_y) = (optional(3)?, optional(ARRIVING[0])?);
        let (h, c) = (optional(5)?, optional(6)?);
        let (last_h, last_c) = (optional(ARRIVING[1])?, optional(ARRIVING[2])?);
        let state = |h: Option<&[T]>, c: Option<&[T]>, direction: usize| CellState {
            h: sizes.initial(h, direction),
            c: if memory {
                sizes.initial(c, direction)
            } else {
                Vec::new()
            },
        };
        let each = cells.iter().enumerate().map(|(direction, cell)| {
            let weights = CellWeights {
                input: of_direction(&w, direction, cells.len()),
                recurrent: of_direction(&r, direction, cells.len()),
                bias: bias
                    .as_ref()
                    .map(|bias| of_direction(bias, direction, cells.len())),
                hidden: sizes.hidden,
            };
            let reverse = self.shared.direction == Direction::Reverse || direction == 1;
            let of_y = of_y.as_deref();
            let of_output = |step: usize, sequence: usize| {
                of_y.map(|dy| &dy[sizes.output_at(step, direction, sequence)..][..sizes.hidden])
            };
            let arriving = Arriving {
                of_output: &of_output,
                of_last: state(last_h.as_deref(), last_c.as_deref(), direction),
            };
            let initial = state(h.as_deref(), c.as_deref(), direction);
            back_through_time(cell, &sizes.sequences(&x, reverse), &weights, &initial, &arriving)
        });
        self.outputs(&each.collect::<Vec<_>>(), memory)
    }

    fn outputs<T: Real>(&self, each: &[Leaving<T>], memory: bool) -> Result<Outputs, OpError> {
        let (inputs, context) = (self.inputs, self.context);
        let dtype = inputs.required(0)?.dtype();
        let joined = |index: usize, part: fn(&Leaving<T>) -> &[T]| {
            let Some(like) = inputs.optional(index) else {
                return Ok(None);
            };
            let gradient = fill(context, dtype, like.shape(), |all: &mut [T]| {
                all.iter_mut()
                    .zip(each.iter().flat_map(part))
                    .for_each(|(slot, &value)| *slot = value);
            });
            gradient.map(Some)
        };
        let of_x = fill(context, dtype, inputs.required(0)?.shape(), |all: &mut [T]| {
            all.fill(T::ZERO);
            for leaving in each {
                all.iter_mut()
                    .zip(&leaving.x)
                    .for_each(|(sum, &value)| *sum += value);
            }
        })?;
        let states = |part: fn(&Leaving<T>) -> &Vec<T>| {
            let states: Vec<Vec<T>> = each.iter().map(|leaving| part(leaving).clone()).collect();
            self.sizes.last(&states, dtype, context)
        };
        Ok(vec![
            Some(of_x),
            joined(1, |leaving| &leaving.input)?,
            joined(2, |leaving| &leaving.recurrent)?,
            joined(3, |leaving| &leaving.bias)?,
            states(|leaving| &leaving.initial.h)?,
            if memory {
                states(|leaving| &leaving.initial.c)?
            } else {
                None
            },
            joined(7, |leaving| &leaving.peepholes)?,
        ])
    }
}
