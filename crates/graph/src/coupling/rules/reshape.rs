//! Reshape and its kin: axes that are cut or merged go with the outermost of what they become.

use super::super::site::{Done, Site};
use super::super::slots::are_equal;
use super::UNKNOWN;
use crate::{Dim, ValueId};

/// Neighbouring axes before and after a reshape that hold the same elements.
type Block = (std::ops::Range<usize>, std::ops::Range<usize>);

/// The finest blocks, from both ends; where sizes are not known, what lies between is one block, whose number is given too. `None`
/// when the elements cannot be the same.
fn blocks(from: &[Dim], to: &[Dim]) -> Option<(Vec<Block>, Option<usize>)> {
    let mut blocks = Vec::new();
    let (mut i, mut j) = (0, 0);
    while let Some((left, right)) = next(from[i..].iter(), to[j..].iter()) {
        blocks.push((i..i + left, j..j + right));
        (i, j) = (i + left, j + right);
    }
    let (mut end, mut other_end) = (from.len(), to.len());
    let mut behind = Vec::new();
    while let Some((left, right)) = next(from[i..end].iter().rev(), to[j..other_end].iter().rev()) {
        behind.push((end - left..end, other_end - right..other_end));
        (end, other_end) = (end - left, other_end - right);
    }
    let between = (i..end, j..other_end);
    let known = |dims: &[Dim]| dims.iter().map(Dim::known).collect::<Option<Vec<usize>>>();
    let sizes = known(&from[between.0.clone()]).zip(known(&to[between.1.clone()]));
    let open = match sizes {
        // Sizes of 1 may be left over.
        Some((left, right)) if left.iter().chain(&right).any(|size| *size != 1) => return None,
        Some(_) => None,
        None => Some(blocks.len()),
    };
    if !between.0.is_empty() || !between.1.is_empty() {
        blocks.push(between);
    }
    blocks.extend(behind.into_iter().rev());
    Some((blocks, open))
}

/// How many dimensions at the beginning of both sides hold the same elements; the fewest, at least one.
fn next<'a>(
    from: impl Iterator<Item = &'a Dim> + Clone,
    to: impl Iterator<Item = &'a Dim> + Clone,
) -> Option<(usize, usize)> {
    if let (Some(a), Some(b)) = (from.clone().next(), to.clone().next())
        && are_equal(a, b)
    {
        return Some((1, 1));
    }
    let (mut from, mut to) = (from, to);
    let (mut taken, mut other) = (0, 0);
    let (mut left, mut right) = (1usize, 1usize);
    loop {
        let grows_left = taken == 0 || left < right;
        let side = if grows_left { from.next() } else { to.next() };
        match side {
            Some(dim) => {
                let size = dim.known()?;
                match grows_left {
                    true => (left, taken) = (left.checked_mul(size)?, taken + 1),
                    false => (right, other) = (right.checked_mul(size)?, other + 1),
                }
            }
            // One side has ended: only sizes of 1 can be left over.
            None if left == 1 && taken + other > 0 => return Some((taken, other)),
            None if grows_left && taken == 0 && to.clone().next().is_some() => {
                return (to.next()?.known()? == 1).then_some((0, 1));
            }
            None => return None,
        }
        if left == right && taken > 0 && (other > 0 || left == 1) {
            return Some((taken, other));
        }
    }
}

pub(super) fn reshape(site: &mut Site<'_>) -> Done {
    between(site, site.input(0)?, site.output()?)
}

pub(super) fn flatten(site: &mut Site<'_>) -> Done {
    between(site, site.input(0)?, site.output()?)
}

fn between(site: &mut Site<'_>, x: ValueId, y: ValueId) -> Done {
    let (blocks, open) = blocks(site.dims(x)?, site.dims(y)?)?;
    for (number, (from, to)) in blocks.into_iter().enumerate() {
        if Some(number) == open {
            site.lock_axes(x, from, UNKNOWN)?;
            site.lock_axes(y, to, UNKNOWN)?;
            continue;
        }
        let long = |site: &Site<'_>, value: ValueId, axes: std::ops::Range<usize>| -> Vec<usize> {
            axes.filter(|axis| site.size((value, *axis)) != Some(1)).collect()
        };
        let (from, to) = (long(site, x, from), long(site, y, to));
        match (from.as_slice(), to.as_slice()) {
            ([], []) => {}
            ([from], [to]) => site.same((x, *from), (y, *to)),
            ([from], [outer, inner @ ..]) => cut(site, (x, *from), (y, *outer), inner)?,
            ([outer, inner @ ..], [to]) => cut(site, (y, *to), (x, *outer), inner)?,
            _ => {
                let why = "it regroups several axes at once";
                site.lock_axes(x, from.iter().copied(), why)?;
                site.lock_axes(y, to.iter().copied(), why)?;
            }
        }
    }
    Some(())
}

/// One axis on one side is several on the other: the outermost of these in blocks, and those inside.
fn cut(site: &mut Site<'_>, whole: (ValueId, usize), outer: (ValueId, usize), inner: &[usize]) -> Done {
    let (all, count) = (site.size(whole)?, site.size(outer)?);
    let size = all.checked_div(count)?;
    (0..all).for_each(|index| site.link((whole, index), (outer, index / size.max(1))));
    site.lock_axes(
        outer.0,
        inner.iter().copied(),
        "this axis lies inside of one that is cut or merged",
    )
}

/// Axes of size 1 come or go; input 1 lists them.
pub(super) fn squeeze(site: &mut Site<'_>, adds: bool) -> Done {
    let (x, y) = (site.input(0)?, site.output()?);
    let (with, without) = if adds { (y, x) } else { (x, y) };
    let rank = site.rank(with)?;
    let singles: Vec<usize> = match site.input(1) {
        Some(_) => {
            let listed = site.integers(1)?;
            listed
                .into_iter()
                .map(|axis| site.axis(with, axis))
                .collect::<Option<_>>()?
        }
        None => (0..rank)
            .filter(|axis| site.size((with, *axis)) == Some(1))
            .collect(),
    };
    let others = (0..rank).filter(|axis| !singles.contains(axis));
    if others.clone().count() != site.rank(without)? {
        return None;
    }
    for (to, axis) in others.enumerate() {
        site.same((with, axis), (without, to));
    }
    singles
        .into_iter()
        .for_each(|axis| site.lock((with, axis), "it has one element"));
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dims(sizes: &[usize]) -> Vec<Dim> {
        sizes
            .iter()
            .map(|&size| match size {
                0 => Dim::Symbol("N".to_owned()),
                size => Dim::Known(size),
            })
            .collect()
    }

    type Case<'a> = (&'a [usize], &'a [usize], Option<(Vec<Block>, Option<usize>)>);

    #[test]
    fn blocks_are_as_small_as_can_be() {
        let cases: &[Case<'_>] = &[
            (
                &[0, 64, 1, 1],
                &[0, 64],
                Some((vec![(0..1, 0..1), (1..2, 1..2), (2..3, 2..2), (3..4, 2..2)], None)),
            ),
            (
                &[0, 5, 64],
                &[0, 5, 8, 8],
                Some((vec![(0..1, 0..1), (1..2, 1..2), (2..3, 2..4)], None)),
            ),
            (
                &[2, 3, 4, 4],
                &[2, 48],
                Some((vec![(0..1, 0..1), (1..4, 1..2)], None)),
            ),
            (&[6, 4], &[4, 6], Some((vec![(0..2, 0..2)], None))),
            (&[5], &[1, 5], Some((vec![(0..1, 0..2)], None))),
            // A flattened batch whose size is not known.
            (&[7, 64], &[0, 0, 8, 8], None),
            (&[0, 6], &[6, 0], Some((vec![(0..2, 0..2)], Some(0)))),
            (
                &[0, 64],
                &[1, 0, 8, 8],
                Some((vec![(0..0, 0..1), (0..1, 1..2), (1..2, 2..4)], None)),
            ),
            (&[6], &[5], None),
        ];
        for (from, to, expected) in cases {
            let got = blocks(&dims(from), &dims(to));
            match expected {
                Some(expected) => assert_eq!(got.as_ref(), Some(expected), "{from:?} {to:?}"),
                None => assert!(got.is_none_or(|(_, open)| open.is_some()), "{from:?} {to:?}"),
            }
        }
    }
}
