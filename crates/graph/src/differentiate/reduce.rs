//! Reductions and running sums.

use super::error::Problem;
use super::pooling::{norm_share, norm_slope};
use super::tape::{Site, Tape};
use crate::ValueId;
use crate::ops::{CumProd, CumSum, Expand, Reduce, ReduceKind, Unary, Unsqueeze};

/// What is known of the reduced axes.
enum Axes {
    /// Nothing is reduced.
    None,
    /// All that there are, to a scalar.
    All,
    /// These, in order.
    Known(Vec<usize>),
    /// Those that the value holds when the graph runs.
    Computed(ValueId),
}

fn reduced_axes(tape: &Tape, site: &Site, op: &Reduce) -> Result<Axes, Problem> {
    let axes = match (site.node.input(1), tape.constant_integers(site.node.input(1))) {
        (Some(computed), None) => return Ok(Axes::Computed(computed)),
        (_, axes) => axes.unwrap_or_default(),
    };
    if axes.is_empty() {
        return Ok(match (op.noop_with_empty_axes, op.keepdims) {
            (true, _) => Axes::None,
            (false, false) => Axes::All,
            (false, true) => Axes::Known((0..tape.rank(site.x(0))?).collect()),
        });
    }
    let axes = axes.iter().map(|&axis| tape.axis(site.x(0), axis));
    axes.collect::<Result<_, _>>().map(Axes::Known)
}

/// A value in the output's shape with the reduced axes back at size 1.
fn kept(tape: &mut Tape, op: &Reduce, axes: &Axes, value: ValueId) -> ValueId {
    if op.keepdims {
        return value;
    }
    let axes = match axes {
        Axes::None | Axes::All => return value,
        Axes::Known(axes) => {
            let axes: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
            if axes.is_empty() {
                return value;
            }
            tape.integers(&axes)
        }
        Axes::Computed(axes) => *axes,
    };
    tape.node(Unsqueeze {}, &[value, axes])
}

pub(super) fn reduce(tape: &mut Tape, site: &Site, op: &Reduce) -> Result<(), Problem> {
    let (x, y) = (site.x(0), site.y(0)?);
    let axes = reduced_axes(tape, site, op)?;
    let dy = site.dy()?;
    let dy = kept(tape, op, &axes, dy);
    let kept_y = |tape: &mut Tape| kept(tape, op, &axes, y);
    let dx = match op.kind {
        ReduceKind::Sum => repeat(tape, dy, x, &axes),
        ReduceKind::Mean => {
            let share = match &axes {
                Axes::None => dy,
                Axes::Known(axes) => {
                    let count = tape.count_over(x, y, Some(axes));
                    tape.div(dy, count)
                }
                Axes::Computed(_) | Axes::All => {
                    let count = tape.count_over(x, y, None);
                    tape.div(dy, count)
                }
            };
            repeat(tape, share, x, &axes)
        }
        ReduceKind::SumSquare => {
            let double = tape.times(dy, 2.0);
            tape.mul(x, double)
        }
        ReduceKind::L1 | ReduceKind::L2 => {
            let p = if op.kind == ReduceKind::L1 { 1 } else { 2 };
            let y = kept_y(tape);
            let share = norm_share(tape, y, dy, p);
            let slope = norm_slope(tape, x, p);
            tape.mul(slope, share)
        }
        ReduceKind::LogSum => {
            let y = kept_y(tape);
            let sum = tape.unary(Unary::Exp, y);
            let share = tape.div(dy, sum);
            repeat(tape, share, x, &axes)
        }
        ReduceKind::LogSumExp => {
            let y = kept_y(tape);
            let difference = tape.sub(x, y);
            let share = tape.unary(Unary::Exp, difference);
            tape.mul(share, dy)
        }
        ReduceKind::Max | ReduceKind::Min => {
            let y = kept_y(tape);
            extremum(tape, x, y, dy, &axes)
        }
        ReduceKind::Prod => product(tape, x, dy, &axes)?,
    };
    tape.give(x, dx);
    Ok(())
}

fn repeat(tape: &mut Tape, value: ValueId, x: ValueId, axes: &Axes) -> ValueId {
    match axes {
        Axes::None => value,
        _ => {
            let shape = tape.shape_of(x);
            tape.node(Expand {}, &[value, shape])
        }
    }
}

fn reduction(kind: ReduceKind, keepdims: bool) -> Reduce {
    Reduce {
        kind,
        keepdims,
        noop_with_empty_axes: false,
    }
}

/// Equal maxima (or minima) share the gradient.
fn extremum(tape: &mut Tape, x: ValueId, y: ValueId, dy: ValueId, axes: &Axes) -> ValueId {
    let mask = tape.equal(x, y);
    let ties = match axes {
        Axes::None => return tape.mul(mask, dy),
        Axes::Known(axes) => {
            let axes: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
            tape.sum_over(mask, &axes, true)
        }
        Axes::Computed(axes) => tape.node(reduction(ReduceKind::Sum, true), &[mask, *axes]),
        Axes::All => tape.node(reduction(ReduceKind::Sum, false), &[mask]),
    };
    let share = tape.div(dy, ties);
    tape.mul(mask, share)
}

/// An element's slope is the product of the others: of those before and of those after it, axis by axis, so that zeros
/// do no harm.
fn product(tape: &mut Tape, x: ValueId, dy: ValueId, axes: &Axes) -> Result<ValueId, Problem> {
    let axes = match axes {
        Axes::None => return Ok(dy),
        Axes::Known(axes) => axes.clone(),
        Axes::All => (0..tape.rank(x)?).collect(),
        Axes::Computed(_) => return Err(Problem::new("its axes are not constant")),
    };
    // The products over the first axis, over the first two, ...
    let mut partial = vec![x];
    for &axis in axes.iter().take(axes.len().saturating_sub(1)) {
        let list = tape.integers(&[axis as i64]);
        let last = partial[partial.len() - 1];
        partial.push(tape.node(reduction(ReduceKind::Prod, true), &[last, list]));
    }
    let mut gradient = dy;
    for (&axis, &partial) in axes.iter().zip(&partial).rev() {
        let along = tape.integers(&[axis as i64]);
        for reverse in [false, true] {
            let exclusive = true;
            let others = tape.node(CumProd { exclusive, reverse }, &[partial, along]);
            gradient = tape.mul(others, gradient);
        }
    }
    Ok(gradient)
}

pub(super) fn running_sum(tape: &mut Tape, site: &Site, op: &CumSum) -> Result<(), Problem> {
    let (x, axis, dy) = (site.x(0), site.x(1), site.dy()?);
    let back = CumSum {
        exclusive: op.exclusive,
        reverse: !op.reverse,
    };
    let dx = tape.node(back, &[dy, axis]);
    tape.give(x, dx);
    Ok(())
}

/// `dx = running sum from behind of (dy * y) / x`, for elements that are not 0.
pub(super) fn running_product(tape: &mut Tape, site: &Site, op: &CumProd) -> Result<(), Problem> {
    let (x, axis, y, dy) = (site.x(0), site.x(1), site.y(0)?, site.dy()?);
    let weighted = tape.mul(dy, y);
    let back = CumSum {
        exclusive: op.exclusive,
        reverse: !op.reverse,
    };
    let sum = tape.node(back, &[weighted, axis]);
    let dx = tape.div(sum, x);
    tape.give(x, dx);
    Ok(())
}
