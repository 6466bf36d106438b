//! Pooling.

use super::error::Problem;
use super::tape::{Site, Tape};
use crate::ValueId;
use crate::ops::{AveragePool, AveragePoolGradient, Binary, Expand, LpPool, MaxPool, MaxPoolGradient, Unary};

pub(super) fn max_pool(tape: &mut Tape, site: &Site, op: &MaxPool) -> Result<(), Problem> {
    let (x, dy) = (site.x(0), site.dy()?);
    let gradient = MaxPoolGradient {
        auto_pad: op.auto_pad,
        ceil_mode: op.ceil_mode,
        dilations: op.dilations.clone(),
        kernel_shape: op.kernel_shape.clone(),
        pads: op.pads.clone(),
        strides: op.strides.clone(),
    };
    let dx = tape.node(gradient, &[dy, x]);
    tape.give(x, dx);
    Ok(())
}

pub(super) fn average_pool(tape: &mut Tape, site: &Site, op: &AveragePool) -> Result<(), Problem> {
    let (x, dy) = (site.x(0), site.dy()?);
    let gradient = AveragePoolGradient {
        auto_pad: op.auto_pad,
        ceil_mode: op.ceil_mode,
        count_include_pad: op.count_include_pad,
        dilations: op.dilations.clone(),
        kernel_shape: op.kernel_shape.clone(),
        pads: op.pads.clone(),
        strides: op.strides.clone(),
        sum: false,
    };
    let shape = tape.shape_of(x);
    let dx = tape.node(gradient, &[dy, shape]);
    tape.give(x, dx);
    Ok(())
}

/// `y = sum(|x|^p)^(1/p)` over windows: `dx = sign(x) |x|^(p-1) * sum over windows of dy / y^(p-1)`.
pub(super) fn lp_pool(tape: &mut Tape, site: &Site, op: &LpPool) -> Result<(), Problem> {
    let (x, y, dy) = (site.x(0), site.y(0)?, site.dy()?);
    let share = norm_share(tape, y, dy, op.p);
    let gradient = AveragePoolGradient {
        auto_pad: op.auto_pad,
        ceil_mode: op.ceil_mode,
        count_include_pad: false,
        dilations: op.dilations.clone(),
        kernel_shape: op.kernel_shape.clone(),
        pads: op.pads.clone(),
        strides: op.strides.clone(),
        sum: true,
    };
    let shape = tape.shape_of(x);
    let spread = tape.node(gradient, &[share, shape]);
    let slope = norm_slope(tape, x, op.p);
    let dx = tape.mul(slope, spread);
    tape.give(x, dx);
    Ok(())
}

/// `dy / y^(p-1)`; 0 where y is 0.
pub(super) fn norm_share(tape: &mut Tape, y: ValueId, dy: ValueId, p: i64) -> ValueId {
    let divisor = match p {
        1 => return dy,
        2 => y,
        _ => {
            let exponent = tape.scalar((p - 1) as f64);
            tape.node(Binary::Pow, &[y, exponent])
        }
    };
    let zero = tape.scalar(0.0);
    let quotient = tape.div(dy, divisor);
    let nothing = tape.node(Binary::Equal, &[y, zero]);
    tape.choose(nothing, zero, quotient)
}

/// `sign(x) |x|^(p-1)`.
pub(super) fn norm_slope(tape: &mut Tape, x: ValueId, p: i64) -> ValueId {
    match p {
        1 => tape.unary(Unary::Sign, x),
        2 => x,
        _ => {
            let sign = tape.unary(Unary::Sign, x);
            let size = tape.unary(Unary::Abs, x);
            let exponent = tape.scalar((p - 1) as f64);
            let power = tape.node(Binary::Pow, &[size, exponent]);
            tape.mul(sign, power)
        }
    }
}

pub(super) fn global_average(tape: &mut Tape, site: &Site) -> Result<(), Problem> {
    let (x, dy) = (site.x(0), site.dy()?);
    let axes: Vec<usize> = (2..tape.rank(x)?).collect();
    let count = tape.count_over(x, site.y(0)?, Some(&axes));
    let share = tape.div(dy, count);
    let shape = tape.shape_of(x);
    let dx = tape.node(Expand {}, &[share, shape]);
    tape.give(x, dx);
    Ok(())
}

/// Equal maxima share the gradient.
pub(super) fn global_max(tape: &mut Tape, site: &Site) -> Result<(), Problem> {
    let (x, y, dy) = (site.x(0), site.y(0)?, site.dy()?);
    let rank = tape.rank(x)? as i64;
    let axes: Vec<i64> = (2..rank).collect();
    let mask = tape.equal(x, y);
    let ties = tape.sum_over(mask, &axes, true);
    let share = tape.div(dy, ties);
    let dx = tape.mul(mask, share);
    tape.give(x, dx);
    Ok(())
}

pub(super) fn global_norm(tape: &mut Tape, site: &Site, p: i64) -> Result<(), Problem> {
    let (x, y, dy) = (site.x(0), site.y(0)?, site.dy()?);
    let share = norm_share(tape, y, dy, p);
    let slope = norm_slope(tape, x, p);
    let dx = tape.mul(slope, share);
    tape.give(x, dx);
    Ok(())
}
