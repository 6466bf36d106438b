//! Reshape and its kin: axes that are cut or merged go with the outermost of what they become.

use super::super::site::{Done, Site};
use super::super::slots::are_equal;
use crate::{Dim, ValueId};

/// Neighbouring axes before and after a reshape that hold the same elements.
type Block = (std::ops::Range<usize>, std::ops::Range<usize>);

/// The finest blocks; `None` when sizes that matter are not known.
fn blocks(from: &[Dim], to: &[Dim]) -> Option<Vec<Block>> {
    let mut blocks = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < from.len() || j < to.len() {
        let (first_i, first_j) = (i, j);
        if i < from.len() && j < to.len() && are_equal(&from[i], &to[j]) {
            (i, j) = (i + 1, j + 1);
        } else {
            let (mut left, mut right) = (1usize, 1usize);
            loop {
                let take_left = i < from.len() && (i == first_i || left < right);
                let take_right = j < to.len() && (j == first_j || right < left);
                if take_left {
                    left = left.checked_mul(from[i].known()?)?;
                    i += 1;
                } else if take_right {
                    right = right.checked_mul(to[j].known()?)?;
                    j += 1;
                } else {
                    break;
                }
            }
            if left != right {
                return None;
            }
        }
        blocks.push((first_i..i, first_j..j));
    }
    Some(blocks)
}

pub(super) fn reshape(site: &mut Site<'_>) -> Done {
    let (x, y) = (site.input(0)?, site.output()?);
    if site.integers(1).is_none() && super::super::adapt::dynamic_shape(site.graph, x, y).is_none() {
        return None;
    }
    between(site, x, y)
}

pub(super) fn flatten(site: &mut Site<'_>) -> Done {
    between(site, site.input(0)?, site.output()?)
}

fn between(site: &mut Site<'_>, x: ValueId, y: ValueId) -> Done {
    let blocks = blocks(site.dims(x)?, site.dims(y)?)?;
    for (from, to) in blocks {
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

    #[test]
    fn blocks_are_as_small_as_can_be() {
        let cases: &[(&[usize], &[usize], Option<Vec<Block>>)] = &[
            (
                &[0, 64, 1, 1],
                &[0, 64],
                Some(vec![(0..1, 0..1), (1..2, 1..2), (2..4, 2..2)]),
            ),
            (
                &[0, 5, 64],
                &[0, 5, 8, 8],
                Some(vec![(0..1, 0..1), (1..2, 1..2), (2..3, 2..4)]),
            ),
            (&[2, 3, 4, 4], &[2, 48], Some(vec![(0..1, 0..1), (1..4, 1..2)])),
            (&[6, 4], &[4, 6], Some(vec![(0..2, 0..2)])),
            (&[0, 6], &[6, 0], None),
            (&[6], &[5], None),
        ];
        for (from, to, expected) in cases {
            assert_eq!(&blocks(&dims(from), &dims(to)), expected, "{from:?} {to:?}");
        }
    }
}
