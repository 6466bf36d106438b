//! Normalization, reductions and quantization.

use super::super::site::{Done, Site};
use super::MIXES;
use crate::ops::{ArgReduce, Reduce};

/// Each channel (axis 1) has its own parameters, in the inputs from the second on.
pub(super) fn per_channel(site: &mut Site<'_>) -> Done {
    let (x, y, node) = (site.input(0)?, site.output()?, site.node);
    site.join(x, y)?;
    for parameter in node.inputs.iter().skip(1).flatten() {
        site.same((*parameter, 0), (x, 1));
    }
    for statistic in node.outputs.iter().skip(1).flatten() {
        site.same((*statistic, 0), (x, 1));
    }
    Some(())
}

/// Rows from `axis` on are normalized as a whole.
pub(super) fn rows(site: &mut Site<'_>, axis: i64) -> Done {
    let (x, node) = (site.input(0)?, site.node);
    let (axis, rank) = (site.axis(x, axis)?, site.rank(x)?);
    site.join(x, site.output()?)?;
    for statistic in node.outputs.iter().skip(1).flatten() {
        (0..axis).for_each(|axis| site.same((x, axis), (*statistic, axis)));
    }
    for parameter in node.inputs.iter().skip(1).flatten() {
        site.lock_value(*parameter, MIXES);
    }
    site.lock_axes(x, axis..rank, MIXES)
}

/// A sum that is normalized along the last axis.
pub(super) fn skip(site: &mut Site<'_>) -> Done {
    let (x, node) = (site.input(0)?, site.node);
    let last = site.rank(x)?.checked_sub(1)?;
    for other in [site.input(1), node.output(0), node.output(3)]
        .into_iter()
        .flatten()
    {
        site.join(x, other)?;
    }
    for parameter in node.inputs.iter().skip(2).flatten() {
        site.lock_value(*parameter, MIXES);
    }
    site.lock((x, last), MIXES);
    Some(())
}

pub(super) fn reduce(site: &mut Site<'_>, op: &Reduce) -> Done {
    let x = site.input(0)?;
    let listed = match site.input(1) {
        None => Vec::new(),
        Some(_) => site.integers(1)?,
    };
    let rank = site.rank(x)?;
    let reduced: Vec<usize> = match (listed.is_empty(), op.noop_with_empty_axes) {
        (true, true) => Vec::new(),
        (true, false) => (0..rank).collect(),
        (false, _) => listed
            .into_iter()
            .map(|axis| site.axis(x, axis))
            .collect::<Option<_>>()?,
    };
    without(site, &reduced, op.keepdims)
}

pub(super) fn arg_reduce(site: &mut Site<'_>, op: &ArgReduce) -> Done {
    let axis = site.axis(site.input(0)?, op.axis)?;
    without(site, &[axis], op.keepdims)
}

/// Some axes go, or keep one element.
fn without(site: &mut Site<'_>, reduced: &[usize], keeps: bool) -> Done {
    let (x, y) = (site.input(0)?, site.output()?);
    let mut to = 0;
    for axis in 0..site.rank(x)? {
        if reduced.contains(&axis) {
            site.lock((x, axis), MIXES);
            to += usize::from(keeps);
        } else {
            site.same((x, axis), (y, to));
            to += 1;
        }
    }
    Some(())
}

/// Scales and zero points of one axis go with it.
pub(super) fn quantization(site: &mut Site<'_>, axis: i64, block_size: i64) -> Done {
    let (x, y, node) = (site.input(0)?, site.output()?, site.node);
    if block_size != 0 {
        return None;
    }
    site.join(x, y)?;
    for parameter in node.inputs.iter().skip(1).flatten() {
        if site.rank(*parameter)? == 1 && site.size((*parameter, 0)) != Some(1) {
            let axis = site.axis(x, axis)?;
            site.same((*parameter, 0), (x, axis));
        }
    }
    Some(())
}
