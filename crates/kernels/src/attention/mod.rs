//! Scaled dot-product attention over heads.

#[cfg(test)]
mod tests;

use rayon::prelude::*;

use crate::elementwise::function::tanh;
use crate::product::{FEW_ROWS, Strided, multiply};
use crate::real::Real;
use crate::rows::maximum;
use crate::softmax::softmax_row_in_place;

/// Queries, keys or values: row `r` of head `h` of sample `b` starts at
/// `b * strides[0] + h * strides[1] + r * strides[2]`.
#[derive(Clone, Copy, Debug)]
pub struct Heads<'a, T> {
    /// The elements.
    pub values: &'a [T],
    /// Steps between samples, heads and rows.
    pub strides: [usize; 3],
}

impl<'a, T: Real> Heads<'a, T> {
    pub(crate) fn head(
        &self,
        sample: usize,
        head: usize,
        rows: std::ops::Range<usize>,
        width: usize,
    ) -> Strided<'a, T> {
        let start = sample * self.strides[0] + head * self.strides[1] + rows.start * self.strides[2];
        let values = if rows.is_empty() {
            &[]
        } else {
            &self.values[start..]
        };
        Strided::new(values, rows.len(), width, self.strides[2])
    }
}

/// What is added to the scores; keys beyond the first `keys` are masked.
#[derive(Clone, Copy, Debug)]
pub struct AttentionMask<'a, T> {
    /// The summands, minus infinity where masked.
    pub values: &'a [T],
    /// Steps between samples, heads and queries; 0 where they share.
    pub strides: [usize; 3],
    /// Number of keys that the mask covers.
    pub keys: usize,
}

/// The keys that the queries of one sample may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visible {
    /// Number of keys that are not padding.
    pub keys: usize,
    /// Query `i` stands at the place of key `i + offset`.
    pub offset: i64,
    /// How far back a query sees.
    pub before: Option<i64>,
    /// How far ahead a query sees; 0 for causal attention.
    pub after: Option<i64>,
}

impl Visible {
    /// All keys.
    pub fn all(keys: usize) -> Visible {
        Visible {
            keys,
            offset: 0,
            before: None,
            after: None,
        }
    }

    /// The keys that query `query` sees.
    fn range(self, query: usize) -> std::ops::Range<usize> {
        let place = (query as i64).saturating_add(self.offset);
        let inside = |key: i64| usize::try_from(key).unwrap_or(0).min(self.keys);
        let end = self.after.map_or(self.keys, |after| {
            inside(place.saturating_add(after).saturating_add(1))
        });
        let start = self
            .before
            .map_or(0, |before| inside(place.saturating_sub(before)));
        start.min(end)..end
    }
}

/// A stage of the scores that can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScoreStage {
    /// Scaled products.
    Products,
    /// After the soft cap.
    Capped,
    /// After the masks.
    Masked,
    /// After softmax.
    Probabilities,
}

/// The arguments of [`attention`].
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a, T> {
    /// `[batch, query_heads, queries, width]`.
    pub q: Heads<'a, T>,
    /// `[batch, key_heads, keys, width]`.
    pub k: Heads<'a, T>,
    /// `[batch, key_heads, keys, value_width]`.
    pub v: Heads<'a, T>,
    /// A multiple of `key_heads`.
    pub query_heads: usize,
    /// Heads of keys and values, each shared by neighbouring query heads.
    pub key_heads: usize,
    /// Queries per head.
    pub queries: usize,
    /// Keys per head.
    pub keys: usize,
    /// Elements of a query or key.
    pub width: usize,
    /// Elements of a value.
    pub value_width: usize,
    /// Factor of the products.
    pub scale: T,
    /// `cap * tanh(score / cap)` is applied to the scores.
    pub soft_cap: Option<T>,
    /// Added to the scores.
    pub mask: Option<AttentionMask<'a, T>>,
    /// One per sample.
    pub visible: &'a [Visible],
}

/// Queries whose scores are computed at once.
const BLOCK: usize = 64;

/// Writes `softmax(scale * q k^T + mask) v` to `y`, `[batch, query_heads, queries, value_width]`, and a stage of the scores
/// to `scores`, `[batch, query_heads, queries, keys]`. A query that sees no key gets zeros.
///
/// # Panics
/// When a slice is too short for the sizes.
pub fn attention<T: Real>(args: &Attention<'_, T>, y: &mut [T], scores: Option<(ScoreStage, &mut [T])>) {
    let &Attention {
        query_heads,
        queries,
        keys,
        value_width,
        ..
    } = args;
    if queries == 0 || query_heads == 0 || value_width == 0 {
        return;
    }
    let heads = y.par_chunks_mut(queries * value_width).enumerate();
    match scores {
        Some((stage, scores)) if keys > 0 => {
            heads
                .zip(scores.par_chunks_mut(queries * keys))
                .for_each(|((index, y), scores)| {
                    one_head(args, index, y, |at, row, of_row| {
                        if at == stage {
                            scores[row * keys..][..keys].copy_from_slice(of_row);
                        }
                    });
                });
        }
        _ => heads.for_each(|(index, y)| one_head(args, index, y, |_, _, _| {})),
    }
}

/// One head of one sample; `see` gets each row of scores at each stage.
fn one_head<T: Real>(
    args: &Attention<'_, T>,
    index: usize,
    y: &mut [T],
    mut see: impl FnMut(ScoreStage, usize, &[T]),
) {
    let &Attention {
        queries,
        keys,
        width,
        value_width,
        ..
    } = args;
    let (sample, head) = (index / args.query_heads, index % args.query_heads);
    let key_head = head / (args.query_heads / args.key_heads);
    let k = args.k.head(sample, key_head, 0..keys, width);
    let arranged = (queries > FEW_ROWS).then(|| k.transposed_copy());
    let k_transposed = match &arranged {
        Some(values) => Strided::new(values, width, keys, keys),
        None => k.transposed(),
    };
    let v = args.v.head(sample, key_head, 0..keys, value_width);
    let mut scores = vec![T::ZERO; BLOCK.min(queries) * keys];
    for first in (0..queries).step_by(BLOCK) {
        let rows = first..(first + BLOCK).min(queries);
        let q = args.q.head(sample, head, rows.clone(), width);
        multiply(q, k_transposed, &mut scores, keys, args.scale, false);
        for query in rows.clone().take(if keys == 0 { 0 } else { rows.len() }) {
            let row = &mut scores[(query - first) * keys..][..keys];
            see(ScoreStage::Products, query, row);
            if let Some(cap) = args.soft_cap {
                soft_cap(row, cap);
            }
            see(ScoreStage::Capped, query, row);
            let sees_any = mask_row(args, sample, head, query, row);
            see(ScoreStage::Masked, query, row);
            if sees_any && maximum(row) > T::NEG_INFINITY {
                softmax_row_in_place(row);
            } else {
                row.fill(T::ZERO);
            }
            see(ScoreStage::Probabilities, query, row);
        }
        let probabilities = Strided::new(&scores, rows.len(), keys, keys);
        multiply(
            probabilities,
            v,
            &mut y[first * value_width..],
            value_width,
            T::ONE,
            false,
        );
    }
}

fn soft_cap<T: Real>(row: &mut [T], cap: T) {
    row.iter_mut().for_each(|score| *score = *score / cap);
    tanh(row);
    row.iter_mut().for_each(|score| *score *= cap);
}

/// Adds what all masks together say to the scores of one query; false when they leave no key.
fn mask_row<T: Real>(
    args: &Attention<'_, T>,
    sample: usize,
    head: usize,
    query: usize,
    row: &mut [T],
) -> bool {
    let visible = args.visible[sample].range(query);
    row[visible.end..].fill(T::NEG_INFINITY);
    row[..visible.start].fill(T::NEG_INFINITY);
    let Some(mask) = &args.mask else {
        return !visible.is_empty();
    };
    let covered = visible.start.min(mask.keys)..visible.end.min(mask.keys);
    row[covered.end.max(visible.start)..visible.end].fill(T::NEG_INFINITY);
    let start = sample * mask.strides[0] + head * mask.strides[1] + query * mask.strides[2];
    let summands = &mask.values[start + covered.start..start + covered.end];
    row[covered]
        .iter_mut()
        .zip(summands)
        .for_each(|(score, &summand)| *score += summand);
    summands.iter().any(|&summand| summand != T::NEG_INFINITY)
}
