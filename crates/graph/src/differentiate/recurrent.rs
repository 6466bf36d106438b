//! Recurrent cells.

use super::error::Problem;
use super::tape::{Site, Tape};
use crate::ops::{CellKind, Gru, Lstm, RecurrentGradient, Rnn};

/// The attributes that the cells share.
macro_rules! gradient_of {
    ($op:expr, $cell:ident) => {
        RecurrentGradient {
            activation_alpha: $op.activation_alpha.clone(),
            activation_beta: $op.activation_beta.clone(),
            activations: $op.activations.clone(),
            cell: CellKind::$cell,
            clip: $op.clip,
            direction: $op.direction,
            hidden_size: $op.hidden_size,
            input_forget: false,
            layout: $op.layout,
            linear_before_reset: false,
        }
    };
}

pub(super) fn lstm(tape: &mut Tape, site: &Site, op: &Lstm) -> Result<(), Problem> {
    let gradient = RecurrentGradient {
        input_forget: op.input_forget,
        ..gradient_of!(op, Lstm)
    };
    back(tape, site, gradient)
}

pub(super) fn gru(tape: &mut Tape, site: &Site, op: &Gru) -> Result<(), Problem> {
    let gradient = RecurrentGradient {
        linear_before_reset: op.linear_before_reset,
        ..gradient_of!(op, Gru)
    };
    back(tape, site, gradient)
}

pub(super) fn plain(tape: &mut Tape, site: &Site, op: &Rnn) -> Result<(), Problem> {
    back(tape, site, gradient_of!(op, Rnn))
}

/// The inputs that have gradients, in the order of the outputs of the gradient.
const INPUTS: [usize; 7] = [0, 1, 2, 3, 5, 6, 7];

fn back(tape: &mut Tape, site: &Site, op: RecurrentGradient) -> Result<(), Problem> {
    let mut inputs: Vec<_> = (0..8).map(|position| site.node.input(position)).collect();
    inputs.extend((0..3).map(|position| site.dy.get(position).copied().flatten()));
    let wanted = INPUTS.map(|position| tape.wanted(site, position).is_some());
    let gradients = tape.node_with(op, inputs, &wanted);
    for (position, gradient) in INPUTS.into_iter().zip(gradients) {
        if let Some(gradient) = gradient {
            tape.give(site.x(position), gradient);
        }
    }
    Ok(())
}
