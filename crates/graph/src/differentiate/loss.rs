//! Softmax and losses.

use super::error::Problem;
use super::tape::{Site, Tape};
use crate::ops::{
    LogSoftmaxGradient, NegativeLogLikelihoodGradient, NegativeLogLikelihoodLoss,
    SoftmaxCrossEntropyGradient, SoftmaxCrossEntropyLoss, SoftmaxGradient,
};

pub(super) fn softmax(tape: &mut Tape, site: &Site, axis: i64) -> Result<(), Problem> {
    let (y, dy) = (site.y(0)?, site.dy()?);
    let dx = tape.node(SoftmaxGradient { axis }, &[dy, y]);
    tape.give(site.x(0), dx);
    Ok(())
}

pub(super) fn log_softmax(tape: &mut Tape, site: &Site, axis: i64) -> Result<(), Problem> {
    let (y, dy) = (site.y(0)?, site.dy()?);
    let dx = tape.node(LogSoftmaxGradient { axis }, &[dy, y]);
    tape.give(site.x(0), dx);
    Ok(())
}

const NO_WEIGHTS: &str = "the gradient with respect to class weights is not written";

pub(super) fn cross_entropy(
    tape: &mut Tape,
    site: &Site,
    op: &SoftmaxCrossEntropyLoss,
) -> Result<(), Problem> {
    let (scores, labels) = (site.x(0), site.x(1));
    if tape.wanted(site, 2).is_some() {
        return Err(Problem::new(NO_WEIGHTS));
    }
    let logarithms = tape.output(site, 1);
    if let Some(dy) = site.dy.first().copied().flatten() {
        let gradient = SoftmaxCrossEntropyGradient {
            ignore_index: op.ignore_index,
            reduction: op.reduction.clone(),
        };
        let inputs = vec![Some(dy), Some(logarithms), Some(labels), site.node.input(2)];
        let dx = tape.node_with(gradient, inputs, &[true])[0];
        dx.into_iter().for_each(|dx| tape.give(scores, dx));
    }
    if let Some(dy) = site.dy.get(1).copied().flatten() {
        let dx = tape.node(LogSoftmaxGradient { axis: 1 }, &[dy, logarithms]);
        tape.give(scores, dx);
    }
    Ok(())
}

pub(super) fn log_likelihood(
    tape: &mut Tape,
    site: &Site,
    op: &NegativeLogLikelihoodLoss,
) -> Result<(), Problem> {
    let (x, labels, dy) = (site.x(0), site.x(1), site.dy()?);
    if tape.wanted(site, 2).is_some() {
        return Err(Problem::new(NO_WEIGHTS));
    }
    let gradient = NegativeLogLikelihoodGradient {
        ignore_index: op.ignore_index,
        reduction: op.reduction.clone(),
    };
    let shape = tape.shape_of(x);
    let inputs = vec![Some(dy), Some(labels), Some(shape), site.node.input(2)];
    let dx = tape.node_with(gradient, inputs, &[true])[0];
    dx.into_iter().for_each(|dx| tape.give(x, dx));
    Ok(())
}
