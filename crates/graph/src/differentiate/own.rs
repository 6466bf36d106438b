//! Random numbers and rounding to codes.

use super::error::Problem;
use super::movement::{same_op, unchanged};
use super::tape::{Site, Tape};
use crate::Op;
use crate::ops::{DropoutTraining, FakeQuant, FakeQuantGradient, FakeSign, FakeSignGradient};

/// The standard's Dropout, where it keeps everything.
pub(super) fn dropout(tape: &mut Tape, site: &Site) -> Result<(), Problem> {
    let training = site.node.input(2).map(|mode| tape.graph.constant(mode));
    let inference = match training {
        None => true,
        Some(mode) => mode
            .and_then(|mode| mode.to_i64().ok())
            .is_some_and(|mode| mode == [0]),
    };
    if inference {
        return unchanged(tape, site);
    }
    Err(Problem {
        reason: "in training mode it draws numbers that cannot be drawn again".to_owned(),
        hint: "replace it by the form for training (`training_mode`)",
    })
}

pub(super) fn dropout_training(tape: &mut Tape, site: &Site, op: &DropoutTraining) -> Result<(), Problem> {
    same_op(tape, site, op.clone())
}

pub(super) fn fake_quant(tape: &mut Tape, site: &Site, op: &FakeQuant) -> Result<(), Problem> {
    let gradient = FakeQuantGradient {
        axis: op.axis,
        gradient_scale: op.gradient_scale,
        high: op.high,
        low: op.low,
    };
    of_quantizer(tape, site, gradient)
}

pub(super) fn fake_sign(tape: &mut Tape, site: &Site, op: &FakeSign) -> Result<(), Problem> {
    let gradient = FakeSignGradient {
        axis: op.axis,
        bound: op.bound,
        estimator: op.estimator,
        gradient_scale: op.gradient_scale,
    };
    of_quantizer(tape, site, gradient)
}

/// The gradients of x and two parameters, from dy and all of these.
fn of_quantizer(tape: &mut Tape, site: &Site, gradient: impl Into<Op>) -> Result<(), Problem> {
    let dy = site.dy()?;
    let wanted = [0, 1, 2].map(|position| tape.wanted(site, position).is_some());
    let inputs = vec![Some(dy), Some(site.x(0)), Some(site.x(1)), Some(site.x(2))];
    let gradients = tape.node_with(gradient, inputs, &wanted);
    for (position, gradient) in gradients.into_iter().enumerate() {
        gradient
            .into_iter()
            .for_each(|gradient| tape.give(site.x(position), gradient));
    }
    Ok(())
}
