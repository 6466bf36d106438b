//! Normalization.

use super::error::Problem;
use super::tape::{Site, Tape};
use crate::ops::{
    BatchNormalization, BatchNormalizationGradient, GroupNormalizationGradient, LayerNormalizationGradient,
    LpNormalization, Lrn, LrnGradient, MeanVarianceNormalization, Reduce, ReduceKind, Unary,
};
use crate::{Op, ValueId};

type Done = Result<(), Problem>;

/// Emits an op whose outputs are the gradients of x, scale and bias, as far as they are needed.
fn three(tape: &mut Tape, site: &Site, op: impl Into<Op>, inputs: &[ValueId]) -> [Option<ValueId>; 3] {
    let wanted = [0, 1, 2].map(|position| tape.wanted(site, position).is_some());
    if !wanted.contains(&true) {
        return [None; 3];
    }
    let inputs = inputs.iter().copied().map(Some).collect();
    let gradients = tape.node_with(op, inputs, &wanted);
    [gradients[0], gradients[1], gradients[2]]
}

fn give_three(tape: &mut Tape, site: &Site, gradients: [Option<ValueId>; 3]) {
    for (position, gradient) in gradients.into_iter().enumerate() {
        if let (Some(input), Some(gradient)) = (site.node.input(position), gradient) {
            tape.give(input, gradient);
        }
    }
}

/// By the statistics of the batch.
pub(super) fn batch_training(tape: &mut Tape, site: &Site) -> Done {
    let dy = site.dy()?;
    let (mean, inverse) = (tape.output(site, 3), tape.output(site, 4));
    let op = BatchNormalizationGradient { frozen: false };
    let gradients = three(tape, site, op, &[dy, site.x(0), site.x(1), mean, inverse]);
    give_three(tape, site, gradients);
    Ok(())
}

/// By given statistics, which may have gradients too.
pub(super) fn batch(tape: &mut Tape, site: &Site, op: &BatchNormalization) -> Done {
    if op.training_mode {
        return Err(Problem {
            reason: "in the standard's training mode it does not keep the statistics of the batch".to_owned(),
            hint: "replace it by the form for training (`training_mode`)",
        });
    }
    let (x, scale, mean, variance, dy) = (site.x(0), site.x(1), site.x(3), site.x(4), site.dy()?);
    let shifted = tape.plus(variance, f64::from(op.epsilon));
    let root = tape.unary(Unary::Sqrt, shifted);
    let inverse = tape.unary(Unary::Reciprocal, root);
    let statistics = [tape.needs(mean), tape.needs(variance)];
    let wanted = [
        tape.needs(x),
        tape.needs(scale) || statistics[1],
        tape.needs(site.x(2)) || statistics[0],
    ];
    let inputs = [dy, x, scale, mean, inverse].map(Some).to_vec();
    let gradients = tape.node_with(BatchNormalizationGradient { frozen: true }, inputs, &wanted);
    let at = |position: usize| gradients.get(position).copied().flatten();
    give_three(tape, site, [at(0), at(1), at(2)]);
    let factor = tape.mul(scale, inverse);
    if let Some(of_bias) = at(2).filter(|_| statistics[0]) {
        let product = tape.mul(of_bias, factor);
        let gradient = tape.neg(product);
        tape.give(mean, gradient);
    }
    if let Some(of_scale) = at(1).filter(|_| statistics[1]) {
        let product = tape.mul(of_scale, factor);
        let product = tape.mul(product, inverse);
        let gradient = tape.times(product, -0.5);
        tape.give(variance, gradient);
    }
    Ok(())
}

/// LayerNormalization and RMSNormalization under their names.
pub(super) fn rows(tape: &mut Tape, site: &Site, axis: i64, epsilon: f32, root_mean_square: bool) -> Done {
    let dy = site.dy()?;
    let op = LayerNormalizationGradient {
        axis,
        epsilon,
        root_mean_square,
    };
    let mut gradients = three(tape, site, op, &[dy, site.x(0), site.x(1)]);
    if let Some(bias) = site
        .node
        .input(2)
        .filter(|&bias| !tape.same_shape(bias, site.x(1)))
    {
        if tape.needs(bias) {
            tape.give_summed(site, bias, dy)?;
        }
        gradients[2] = None;
    }
    give_three(tape, site, gradients);
    Ok(())
}

/// Positions of the inputs of the forms with a skip connection.
pub(super) struct Skip {
    pub(super) root_mean_square: bool,
    pub(super) beta: Option<usize>,
    pub(super) bias: usize,
    pub(super) epsilon: f32,
}

/// The normalization of x + skip + bias, which is output 3.
pub(super) fn skip(tape: &mut Tape, site: &Site, how: &Skip) -> Done {
    let (x, skip, gamma) = (site.x(0), site.x(1), site.x(2));
    let sum = tape.output(site, 3);
    let bias = tape.wanted(site, how.bias);
    let beta = how.beta.and_then(|beta| tape.wanted(site, beta));
    let mut of_sum = site.dy.get(3).copied().flatten();
    if let Some(dy) = site.dy.first().copied().flatten() {
        let op = LayerNormalizationGradient {
            axis: -1,
            epsilon: how.epsilon,
            root_mean_square: how.root_mean_square,
        };
        let into_sum = tape.needs(x) || tape.needs(skip) || bias.is_some();
        let wanted = [into_sum, tape.needs(gamma), beta.is_some()];
        let gradients = tape.node_with(op, vec![Some(dy), Some(sum), Some(gamma)], &wanted);
        for (value, gradient) in [(Some(gamma), gradients[1]), (beta, gradients[2])] {
            if let (Some(value), Some(gradient)) = (value, gradient) {
                tape.give(value, gradient);
            }
        }
        of_sum = match (of_sum, gradients[0]) {
            (Some(other), Some(own)) => Some(tape.add(other, own)),
            (other, own) => other.or(own),
        };
    }
    let Some(of_sum) = of_sum else { return Ok(()) };
    tape.give(x, of_sum);
    for input in [Some(skip), bias]
        .into_iter()
        .flatten()
        .filter(|&input| site.node.inputs.contains(&Some(input)))
    {
        if tape.needs(input) {
            let summed = tape.sum_to(of_sum, x, input);
            tape.give(input, summed);
        }
    }
    Ok(())
}

pub(super) fn groups(tape: &mut Tape, site: &Site, num_groups: i64, epsilon: f32) -> Done {
    let dy = site.dy()?;
    let op = GroupNormalizationGradient { epsilon, num_groups };
    let gradients = three(tape, site, op, &[dy, site.x(0), site.x(1)]);
    give_three(tape, site, gradients);
    Ok(())
}

pub(super) fn local_response(tape: &mut Tape, site: &Site, op: &Lrn) -> Done {
    let (x, dy) = (site.x(0), site.dy()?);
    let gradient = LrnGradient {
        alpha: op.alpha,
        beta: op.beta,
        bias: op.bias,
        size: op.size,
    };
    let dx = tape.node(gradient, &[dy, x]);
    tape.give(x, dx);
    Ok(())
}

fn keeping(kind: ReduceKind) -> Reduce {
    Reduce {
        kind,
        keepdims: true,
        noop_with_empty_axes: false,
    }
}

/// `y = x / n`: `dx = (dy - dn/dx * sum(dy * y)) / n`.
pub(super) fn lp(tape: &mut Tape, site: &Site, op: &LpNormalization) -> Done {
    let (x, y, dy) = (site.x(0), site.y(0)?, site.dy()?);
    let axis = tape.integers(&[op.axis]);
    let (kind, slope) = match op.p {
        1 => (ReduceKind::L1, tape.unary(Unary::Sign, x)),
        _ => (ReduceKind::L2, y),
    };
    let norm = tape.node(keeping(kind), &[x, axis]);
    let (zero, one) = (tape.scalar(0.0), tape.scalar(1.0));
    let nothing = tape.node(crate::ops::Binary::Equal, &[norm, zero]);
    let norm = tape.choose(nothing, one, norm);
    let product = tape.mul(dy, y);
    let along = tape.node(keeping(ReduceKind::Sum), &[product, axis]);
    let radial = tape.mul(slope, along);
    let rest = tape.sub(dy, radial);
    let dx = tape.div(rest, norm);
    tape.give(x, dx);
    Ok(())
}

/// `dx = (dy - mean(dy) - y * mean(dy * y)) / standard deviation`.
pub(super) fn mean_variance(tape: &mut Tape, site: &Site, op: &MeanVarianceNormalization) -> Done {
    let (x, y, dy) = (site.x(0), site.y(0)?, site.dy()?);
    let axes = tape.integers(&op.axes);
    let mean = |tape: &mut Tape, value| tape.node(keeping(ReduceKind::Mean), &[value, axes]);
    let centre = mean(tape, x);
    let centred = tape.sub(x, centre);
    let squares = tape.mul(centred, centred);
    let variance = mean(tape, squares);
    let deviation = tape.unary(Unary::Sqrt, variance);
    let deviation = tape.plus(deviation, 1e-9);
    let product = tape.mul(dy, y);
    let along = mean(tape, product);
    let radial = tape.mul(y, along);
    let shift = mean(tape, dy);
    let rest = tape.sub(dy, shift);
    let rest = tape.sub(rest, radial);
    let dx = tape.div(rest, deviation);
    tape.give(x, dx);
    Ok(())
}
