//! Convolutions.

use super::error::Problem;
use super::tape::{Site, Tape};
use crate::ops::{AutoPad, Conv, ConvInputGradient, ConvTranspose, ConvWeightGradient};
use crate::{Dim, ValueId};

pub(super) fn conv(tape: &mut Tape, site: &Site, op: &Conv) -> Result<(), Problem> {
    let (x, weight, dy) = (site.x(0), site.x(1), site.dy()?);
    if tape.needs(x) {
        let gradient = ConvInputGradient {
            auto_pad: op.auto_pad,
            dilations: op.dilations.clone(),
            group: op.group,
            pads: op.pads.clone(),
            strides: op.strides.clone(),
        };
        let shape = tape.shape_of(x);
        let dx = tape.node(gradient, &[dy, weight, shape]);
        tape.give(x, dx);
    }
    if tape.needs(weight) {
        let gradient = ConvWeightGradient {
            auto_pad: op.auto_pad,
            dilations: op.dilations.clone(),
            group: op.group,
            pads: op.pads.clone(),
            strides: op.strides.clone(),
        };
        let shape = tape.shape_of(weight);
        let dw = tape.node(gradient, &[dy, x, shape]);
        tape.give(weight, dw);
    }
    bias(tape, site, dy)
}

/// The gradient of a bias of channels: the sum over all else.
fn bias(tape: &mut Tape, site: &Site, dy: ValueId) -> Result<(), Problem> {
    if let Some(bias) = tape.wanted(site, 2) {
        let rank = tape.rank(site.y(0)?)? as i64;
        let axes: Vec<i64> = (0..rank).filter(|&axis| axis != 1).collect();
        let sum = tape.sum_over(dy, &axes, false);
        tape.give(bias, sum);
    }
    Ok(())
}

/// The transpose of a convolution from y to x: its gradients are that convolution, and the gradient of that one's weight.
pub(super) fn conv_transpose(tape: &mut Tape, site: &Site, op: &ConvTranspose) -> Result<(), Problem> {
    let (x, weight, dy) = (site.x(0), site.x(1), site.dy()?);
    let pads = transposed_pads(tape, site, op)?;
    if tape.needs(x) {
        let conv = Conv {
            auto_pad: AutoPad::NotSet,
            dilations: op.dilations.clone(),
            group: op.group,
            kernel_shape: op.kernel_shape.clone(),
            pads: pads.clone(),
            strides: op.strides.clone(),
        };
        let dx = tape.node(conv, &[dy, weight]);
        tape.give(x, dx);
    }
    if tape.needs(weight) {
        let gradient = ConvWeightGradient {
            auto_pad: AutoPad::NotSet,
            dilations: op.dilations.clone(),
            group: op.group,
            pads,
            strides: op.strides.clone(),
        };
        let shape = tape.shape_of(weight);
        let dw = tape.node(gradient, &[x, dy, shape]);
        tape.give(weight, dw);
    }
    bias(tape, site, dy)
}

/// The pads of the convolution whose transpose this is.
fn transposed_pads(tape: &Tape, site: &Site, op: &ConvTranspose) -> Result<Vec<i64>, Problem> {
    let spatial = |value: ValueId| -> Result<Vec<Option<i64>>, Problem> {
        let dims = tape.dims(value)?;
        Ok(dims
            .iter()
            .skip(2)
            .map(|dim| Dim::known(dim).map(|size| size as i64))
            .collect())
    };
    let (input, kernel, output) = (spatial(site.x(0))?, spatial(site.x(1))?, spatial(site.y(0)?)?);
    let rank = input.len();
    let at = |list: &[i64], axis: usize, default: i64| list.get(axis).copied().unwrap_or(default);
    let mut pads = vec![0; 2 * rank];
    for axis in 0..rank {
        let (stride, added) = (at(&op.strides, axis, 1), at(&op.output_padding, axis, 0));
        let given = op.output_shape.is_empty() && matches!(op.auto_pad, AutoPad::NotSet | AutoPad::Valid);
        let explicit = |index| {
            if op.auto_pad == AutoPad::NotSet {
                at(&op.pads, index, 0)
            } else {
                0
            }
        };
        if given && added < stride {
            (pads[axis], pads[rank + axis]) = (explicit(axis), explicit(rank + axis));
            continue;
        }
        let (Some(input), Some(kernel), Some(output)) = (input[axis], kernel[axis], output[axis]) else {
            return Err(Problem::unknown_type(&tape.graph.value(site.x(0)).name));
        };
        let reach = (input - 1) * stride + (kernel - 1) * at(&op.dilations, axis, 1) + 1;
        let total = (reach + added - output).max(0);
        let before = match op.auto_pad {
            _ if given => explicit(axis),
            AutoPad::SameUpper => total / 2,
            _ => total - total / 2,
        };
        // What the convolution sees must end with the last window.
        let after = reach - output - before;
        if after < 0 && -after >= stride || after < -stride {
            return Err(Problem::new("its output is larger than what the windows reach"));
        }
        (pads[axis], pads[rank + axis]) = (before, after.max(0));
    }
    Ok(pads)
}
