//! Convolutions and pools: the channels are axis 1, what lies behind them are positions.

use super::super::site::{Done, Site};
use crate::ValueId;

const POSITION: &str = "this axis is of positions, not of channels";

/// Sizes of a convolution's channels.
struct Channels {
    x: ValueId,
    weight: ValueId,
    y: ValueId,
    input: usize,
    output: usize,
    groups: usize,
}

impl Channels {
    /// Inputs and outputs of one group.
    fn of_group(&self) -> (usize, usize) {
        (self.input / self.groups, self.output / self.groups)
    }
}

/// Batches go together, positions stay; gives the sizes of the channels.
fn channels(site: &mut Site<'_>, group: i64) -> Option<Channels> {
    let (x, weight, y) = (site.input(0)?, site.input(1)?, site.output()?);
    let rank = site.rank(x)?;
    if site.rank(weight)? != rank || site.rank(y)? != rank || rank < 2 {
        return None;
    }
    site.same((x, 0), (y, 0));
    for value in [x, weight, y] {
        site.lock_axes(value, 2..rank, POSITION)?;
    }
    let groups = usize::try_from(group).ok().filter(|groups| *groups > 0)?;
    let (input, output) = (site.size((x, 1))?, site.size((y, 1))?);
    if !input.is_multiple_of(groups) || !output.is_multiple_of(groups) {
        return None;
    }
    if !site.fixed[x.index()] && !site.fixed[weight.index()] {
        site.lock_axes(weight, 0..rank, "its weight is not constant")?;
        site.lock((x, 1), "its weight is not constant");
        site.lock((y, 1), "its weight is not constant");
    }
    Some(Channels {
        x,
        weight,
        y,
        input,
        output,
        groups,
    })
}

/// Weight `[M, C / group, ...]`; bias `[M]` and an addend of the output's shape.
pub(super) fn conv(site: &mut Site<'_>, group: i64) -> Done {
    let found = channels(site, group)?;
    let Channels {
        x,
        weight,
        y,
        input,
        output,
        ..
    } = found;
    if site.size((weight, 0))? != output {
        return None;
    }
    site.same((weight, 0), (y, 1));
    let (inputs, outputs) = found.of_group();
    if found.groups > 1 && inputs == 1 {
        // Depthwise: a channel goes with its own filters.
        (0..output).for_each(|row| site.link(((x, 1), row / outputs), ((weight, 0), row)));
        site.lock((weight, 1), "it is depthwise");
    } else {
        (0..input).for_each(|channel| site.link(((x, 1), channel), ((weight, 1), channel % inputs)));
        // Groups stay as large as each other.
        (outputs..output).for_each(|row| site.link(((weight, 0), row), ((weight, 0), row % outputs)));
    }
    if let Some(bias) = site.input(2) {
        site.same((bias, 0), (y, 1));
    }
    match site.input(3) {
        Some(addend) => site.join(addend, y),
        None => Some(()),
    }
}

/// Weight `[C, M / group, ...]`; bias `[M]`.
pub(super) fn conv_transpose(site: &mut Site<'_>, group: i64) -> Done {
    let found = channels(site, group)?;
    let Channels {
        x,
        weight,
        y,
        input,
        output,
        ..
    } = found;
    let (inputs, outputs) = found.of_group();
    site.same((x, 1), (weight, 0));
    if found.groups > 1 && inputs == 1 {
        (0..output).for_each(|channel| site.link(((weight, 0), channel / outputs), ((y, 1), channel)));
        site.lock((weight, 1), "it is depthwise");
    } else {
        (0..output).for_each(|channel| site.link(((y, 1), channel), ((weight, 1), channel % outputs)));
        (inputs..input).for_each(|row| site.link(((weight, 0), row), ((weight, 0), row % inputs)));
    }
    if let Some(bias) = site.input(2) {
        site.same((bias, 0), (y, 1));
    }
    Some(())
}

/// Channels stay what they are, positions are mixed.
pub(super) fn pool(site: &mut Site<'_>) -> Done {
    let (x, node) = (site.input(0)?, site.node);
    let rank = site.rank(x)?;
    for output in node.outputs.iter().flatten() {
        for axis in 0..rank.min(2) {
            site.same((x, axis), (*output, axis));
        }
        site.lock_axes(*output, 2..rank, POSITION)?;
    }
    if let Some(indices) = node.output(1) {
        site.lock_value(indices, "its indices count all elements");
    }
    site.lock_axes(x, 2..rank, POSITION)
}
