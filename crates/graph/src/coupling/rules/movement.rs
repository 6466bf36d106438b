//! Ops that move elements.

use super::super::site::{Done, Site};
use super::{MIXES, unchanged};
use crate::ValueId;
use crate::infer::slice_positions;
use crate::ops::{DepthToSpaceMode, PadMode};

/// Joined values lie one after the other.
pub(super) fn concat(site: &mut Site<'_>, axis: i64) -> Done {
    let (y, node) = (site.output()?, site.node);
    let axis = site.axis(y, axis)?;
    let parts: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
    pieces(site, y, &parts, axis)
}

/// Parts lie one after the other.
pub(super) fn split(site: &mut Site<'_>, axis: i64) -> Done {
    let (x, node) = (site.input(0)?, site.node);
    let axis = site.axis(x, axis)?;
    let parts: Vec<ValueId> = node.outputs.iter().flatten().copied().collect();
    if parts.len() != node.outputs.len() || (site.input(1).is_some() && site.integers(1).is_none()) {
        return None;
    }
    pieces(site, x, &parts, axis)
}

fn pieces(site: &mut Site<'_>, whole: ValueId, parts: &[ValueId], axis: usize) -> Done {
    let mut start = Some(0);
    for &part in parts {
        for other in (0..site.rank(whole)?).filter(|other| *other != axis) {
            site.same((whole, other), (part, other));
        }
        let size = site.size((part, axis));
        match (start, size) {
            (Some(first), Some(size)) => {
                (0..size).for_each(|index| site.link(((whole, axis), first + index), ((part, axis), index)));
            }
            _ => site.lock((part, axis), "it lies behind parts whose sizes are not known"),
        }
        start = start.zip(size).map(|(start, size)| start + size);
    }
    Some(())
}

/// Positions that are taken go with where they are put.
pub(super) fn slice(site: &mut Site<'_>) -> Done {
    let (x, y) = (site.input(0)?, site.output()?);
    let (starts, ends) = (site.integers(1)?, site.integers(2)?);
    let axes = site.listed_axes(x, 3, starts.len())?;
    let steps = match site.input(4) {
        Some(_) => site.integers(4)?,
        None => vec![1; starts.len()],
    };
    for axis in (0..site.rank(x)?).filter(|axis| !axes.contains(axis)) {
        site.same((x, axis), (y, axis));
    }
    for (index, axis) in axes.into_iter().enumerate() {
        let (from, to) = ((x, axis), (y, axis));
        let (start, end, step) = (*starts.get(index)?, *ends.get(index)?, *steps.get(index)?);
        let positions: Option<Vec<usize>> = (site.size(from))
            .and_then(|size| slice_positions(size, start, end, step))
            .map(Iterator::collect);
        match positions {
            Some(positions) if step == 1 => {
                for (place, position) in positions.into_iter().enumerate() {
                    site.link((from, position), (to, place));
                }
            }
            _ => {
                site.lock(from, "it takes some of them");
                site.lock(to, "it takes some of them");
            }
        }
    }
    Some(())
}

/// What is padded goes with where it is put; what is added goes with what it meets later.
pub(super) fn pad(site: &mut Site<'_>, mode: PadMode) -> Done {
    let (x, y) = (site.input(0)?, site.output()?);
    let pads = site.integers(1)?;
    let count = pads.len() / 2;
    let axes = site.listed_axes(x, 3, count)?;
    for axis in 0..site.rank(x)? {
        let (from, to) = ((x, axis), (y, axis));
        let (begin, end) = match axes.iter().position(|listed| *listed == axis) {
            Some(index) => (*pads.get(index)?, *pads.get(index + count)?),
            None => (0, 0),
        };
        if begin == 0 && end == 0 {
            site.same(from, to);
        } else if let (PadMode::Constant, Some(size), Ok(begin), true) =
            (mode, site.size(from), usize::try_from(begin), end >= 0)
        {
            (0..size).for_each(|index| site.link((from, index), (to, begin + index)));
        } else {
            site.lock(from, MIXES);
            site.lock(to, MIXES);
        }
    }
    Some(())
}

/// The axis that is looked up stays; those around it and those of the indices go where they go.
pub(super) fn gather(site: &mut Site<'_>, axis: i64) -> Done {
    let (x, indices, y) = (site.input(0)?, site.input(1)?, site.output()?);
    let axis = site.axis(x, axis)?;
    let (rank, inner) = (site.rank(x)?, site.rank(indices)?);
    (0..axis).for_each(|axis| site.same((x, axis), (y, axis)));
    (0..inner).for_each(|index| site.same((indices, index), (y, axis + index)));
    (axis + 1..rank).for_each(|axis| site.same((x, axis), (y, axis + inner - 1)));
    site.lock((x, axis), "it is looked up by index");
    Some(())
}

pub(super) fn transpose(site: &mut Site<'_>, perm: Option<&[i64]>) -> Done {
    let (x, y) = (site.input(0)?, site.output()?);
    let rank = site.rank(x)?;
    let perm: Vec<usize> = match perm {
        None => (0..rank).rev().collect(),
        Some(perm) => perm
            .iter()
            .map(|axis| site.axis(x, *axis))
            .collect::<Option<_>>()?,
    };
    for (to, from) in perm.into_iter().enumerate() {
        site.same((x, from), (y, to));
    }
    Some(())
}

pub(super) fn tile(site: &mut Site<'_>) -> Done {
    let (x, y) = (site.input(0)?, site.output()?);
    for (axis, times) in site.integers(1)?.into_iter().enumerate() {
        if times == 1 {
            site.same((x, axis), (y, axis));
        } else {
            site.lock((x, axis), "it is repeated");
            site.lock((y, axis), "it is repeated");
        }
    }
    Some(())
}

pub(super) fn top_k(site: &mut Site<'_>, axis: i64) -> Done {
    let (x, node) = (site.input(0)?, site.node);
    let axis = site.axis(x, axis)?;
    for output in node.outputs.iter().flatten() {
        for other in (0..site.rank(x)?).filter(|other| *other != axis) {
            site.same((x, other), (*output, other));
        }
        site.lock((*output, axis), MIXES);
    }
    site.lock((x, axis), MIXES);
    Some(())
}

/// Sums and products so far, along the axis in input 1.
pub(super) fn running(site: &mut Site<'_>) -> Done {
    let x = site.input(0)?;
    let axis = site.axis(x, *site.integers(1)?.first()?)?;
    unchanged(site)?;
    site.lock((x, axis), MIXES);
    Some(())
}

pub(super) fn triangle(site: &mut Site<'_>) -> Done {
    let x = site.input(0)?;
    let rank = site.rank(x)?;
    unchanged(site)?;
    site.lock_axes(x, rank.checked_sub(2)?..rank, "its diagonal counts them")
}

/// Channels that become neighbouring positions of one channel go together.
pub(super) fn depth_to_space(site: &mut Site<'_>, mode: DepthToSpaceMode) -> Done {
    let (x, y) = (site.input(0)?, site.output()?);
    between_depth_and_space(site, x, y, mode)
}

/// Neighbouring positions of a channel become channels.
pub(super) fn space_to_depth(site: &mut Site<'_>, mode: DepthToSpaceMode) -> Done {
    let (x, y) = (site.input(0)?, site.output()?);
    between_depth_and_space(site, y, x, mode)
}

fn between_depth_and_space(
    site: &mut Site<'_>,
    deep: ValueId,
    wide: ValueId,
    mode: DepthToSpaceMode,
) -> Done {
    let (all, channels) = (site.size((deep, 1))?, site.size((wide, 1))?);
    let area = all.checked_div(channels)?;
    site.same((deep, 0), (wide, 0));
    for index in 0..all {
        let channel = match mode {
            DepthToSpaceMode::DepthColumnRow => index % channels,
            DepthToSpaceMode::ColumnRowDepth => index / area,
        };
        site.link(((deep, 1), index), ((wide, 1), channel));
    }
    for value in [deep, wide] {
        site.lock_axes(value, 2..4, "this axis is of positions, not of channels")?;
    }
    Some(())
}
