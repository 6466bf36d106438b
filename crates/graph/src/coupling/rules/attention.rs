//! Attention: heads are units, what lies inside them stays.

use super::super::Axis;
use super::super::site::{Done, Site};
use crate::ValueId;
use crate::ops::Attention;

const INSIDE: &str = "this axis lies inside of heads";

/// Heads along an axis: each of them is `size` positions.
struct Heads {
    axis: Axis,
    count: usize,
    size: usize,
}

impl Heads {
    /// Heads of a value with an axis of their own, or as blocks of the last one.
    fn of(site: &mut Site<'_>, value: ValueId, heads: Option<i64>) -> Option<Heads> {
        match site.rank(value)? {
            4 => {
                site.lock_axes(value, 2..4, INSIDE)?;
                Some(Heads {
                    axis: (value, 1),
                    count: site.size((value, 1))?,
                    size: 1,
                })
            }
            3 => {
                site.lock((value, 1), INSIDE);
                let count = usize::try_from(heads?).ok().filter(|count| *count > 0)?;
                let all = site.size((value, 2))?;
                all.is_multiple_of(count).then_some(Heads {
                    axis: (value, 2),
                    count,
                    size: all / count,
                })
            }
            _ => None,
        }
    }

    /// Heads go with those of another value; where there are fewer of these, several with one.
    fn with(&self, site: &mut Site<'_>, other: &Heads) -> Done {
        if other.count == 0 || !self.count.is_multiple_of(other.count) {
            return None;
        }
        let share = self.count / other.count;
        for head in 0..self.count {
            let first = (self.axis, head * self.size);
            for index in 0..self.size {
                site.link(first, (self.axis, head * self.size + index));
            }
            for index in 0..other.size {
                site.link(first, (other.axis, head / share * other.size + index));
            }
        }
        Some(())
    }
}

/// Query heads go with the key and value heads that they read.
pub(super) fn attention(site: &mut Site<'_>, op: &Attention) -> Done {
    let (q, k, v, y) = (site.input(0)?, site.input(1)?, site.input(2)?, site.output()?);
    let queries = Heads::of(site, q, op.q_num_heads)?;
    let keys = Heads::of(site, k, op.kv_num_heads)?;
    let values = Heads::of(site, v, op.kv_num_heads)?;
    let output = Heads::of(site, y, op.q_num_heads)?;
    queries.with(site, &keys)?;
    queries.with(site, &values)?;
    queries.with(site, &output)?;
    [q, k, v]
        .into_iter()
        .for_each(|value| site.same((value, 0), (y, 0)));
    let caches = [
        site.input(4),
        site.input(5),
        site.node.output(1),
        site.node.output(2),
    ];
    for cache in caches.into_iter().flatten() {
        let cache = Heads::of(site, cache, None)?;
        keys.with(site, &cache)?;
    }
    if let Some(scores) = site.node.output(3) {
        let scores = Heads::of(site, scores, None)?;
        queries.with(site, &scores)?;
    }
    mask(site, &queries)
}

/// A mask with heads of its own goes with these; one without is for all.
fn mask(site: &mut Site<'_>, queries: &Heads) -> Done {
    let Some(mask) = site.input(3) else {
        return Some(());
    };
    let rank = site.rank(mask)?;
    for axis in 0..rank {
        let of_heads =
            axis + 3 == rank && site.size((mask, axis)) == Some(queries.count) && queries.count > 1;
        if of_heads {
            let heads = Heads {
                axis: (mask, axis),
                count: queries.count,
                size: 1,
            };
            queries.with(site, &heads)?;
        } else {
            site.lock((mask, axis), INSIDE);
        }
    }
    Some(())
}

/// Heads stay what they are; the tables of angles are for all.
pub(super) fn rotary(site: &mut Site<'_>, heads: i64) -> Done {
    let (x, y, node) = (site.input(0)?, site.output()?, site.node);
    let heads = (heads > 0).then_some(heads);
    let (from, to) = (Heads::of(site, x, heads)?, Heads::of(site, y, heads)?);
    from.with(site, &to)?;
    site.same((x, 0), (y, 0));
    for table in node.inputs.iter().skip(1).flatten() {
        site.lock_value(*table, INSIDE);
    }
    Some(())
}
