//! Scaled dot-product attention over heads.

use rayon::prelude::*;

use crate::elementwise::function::tanh;
use crate::product::{Strided, multiply};
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
    fn head(&self, sample: usize, head: usize, rows: std::ops::Range<usize>, width: usize) -> Strided<'a, T> {
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
    let v = args.v.head(sample, key_head, 0..keys, value_width);
    let mut scores = vec![T::ZERO; BLOCK.min(queries) * keys];
    let mut bias = vec![T::ZERO; keys];
    for first in (0..queries).step_by(BLOCK) {
        let rows = first..(first + BLOCK).min(queries);
        let q = args.q.head(sample, head, rows.clone(), width);
        multiply(q, k.transposed(), &mut scores, keys, args.scale, false);
        for query in rows.clone().take(if keys == 0 { 0 } else { rows.len() }) {
            let row = &mut scores[(query - first) * keys..][..keys];
            see(ScoreStage::Products, query, row);
            if let Some(cap) = args.soft_cap {
                soft_cap(row, cap);
            }
            see(ScoreStage::Capped, query, row);
            fill_bias(args, sample, head, query, &mut bias);
            row.iter_mut()
                .zip(&bias)
                .for_each(|(score, &bias)| *score += bias);
            see(ScoreStage::Masked, query, row);
            if maximum(&bias) == T::NEG_INFINITY || maximum(row) == T::NEG_INFINITY {
                row.fill(T::ZERO);
            } else {
                softmax_row_in_place(row);
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

/// What all masks together add to the scores of one query.
fn fill_bias<T: Real>(args: &Attention<'_, T>, sample: usize, head: usize, query: usize, bias: &mut [T]) {
    let visible = args.visible[sample].range(query);
    bias[visible.end..].fill(T::NEG_INFINITY);
    bias[..visible.start].fill(T::NEG_INFINITY);
    let seen = &mut bias[visible.clone()];
    let Some(mask) = &args.mask else {
        return seen.fill(T::ZERO);
    };
    let start = sample * mask.strides[0] + head * mask.strides[1] + query * mask.strides[2];
    let covered = mask.keys.clamp(visible.start, visible.end) - visible.start;
    seen[..covered].copy_from_slice(&mask.values[start + visible.start..][..covered]);
    seen[covered..].fill(T::NEG_INFINITY);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: (usize, usize, usize, usize, usize, usize, usize) = (2, 4, 2, 70, 5, 3, 2);

    fn samples(count: usize, seed: usize) -> Vec<f64> {
        (0..count)
            .map(|i| ((i * 73 + seed * 31) % 89) as f64 / 44.0 - 1.0)
            .collect()
    }

    /// Attention by its formula; the scores are those after softmax.
    fn naive(args: &Attention<'_, f64>, batch: usize) -> (Vec<f64>, Vec<f64>) {
        let (mut y, mut all) = (Vec::new(), Vec::new());
        for (b, h, i) in (0..batch)
            .flat_map(|b| (0..args.query_heads).map(move |h| (b, h)))
            .flat_map(|(b, h)| (0..args.queries).map(move |i| (b, h, i)))
        {
            let at = |heads: &Heads<'_, f64>, head: usize, row: usize, e: usize| {
                heads.values[b * heads.strides[0] + head * heads.strides[1] + row * heads.strides[2] + e]
            };
            let kv = h * args.key_heads / args.query_heads;
            let exponentials: Vec<f64> = (0..args.keys)
                .map(|j| {
                    let product: f64 = (0..args.width)
                        .map(|e| at(&args.q, h, i, e) * at(&args.k, kv, j, e))
                        .sum();
                    let score = product * args.scale;
                    let score = args.soft_cap.map_or(score, |cap| cap * (score / cap).tanh());
                    let (visible, ahead) = (args.visible[b], j as i64 - i as i64 - args.visible[b].offset);
                    let seen = visible.after.is_none_or(|after| ahead <= after)
                        && visible.before.is_none_or(|before| -ahead <= before)
                        && j < visible.keys;
                    let mask = args.mask.map_or(0.0, |m| {
                        if j < m.keys {
                            m.values[b * m.strides[0] + h * m.strides[1] + i * m.strides[2] + j]
                        } else {
                            f64::NEG_INFINITY
                        }
                    });
                    if seen { (score + mask).exp() } else { 0.0 }
                })
                .collect();
            let sum: f64 = exponentials.iter().sum();
            let weights: Vec<f64> = exponentials
                .iter()
                .map(|e| if sum == 0.0 { 0.0 } else { e / sum })
                .collect();
            y.extend((0..args.value_width).map(|e| {
                weights
                    .iter()
                    .enumerate()
                    .map(|(j, weight)| weight * at(&args.v, kv, j, e))
                    .sum::<f64>()
            }));
            all.extend(weights);
        }
        (y, all)
    }

    #[test]
    fn every_mask_matches_the_formula() {
        let (batch, query_heads, key_heads, queries, keys, width, value_width) = SIZES;
        let (q, k, v) = (
            samples(batch * query_heads * queries * width, 1),
            samples(batch * key_heads * keys * width, 2),
            samples(batch * key_heads * keys * value_width, 3),
        );
        let mask: Vec<f64> = samples(queries * 4, 4)
            .iter()
            .map(|&m| if m > 0.5 { f64::NEG_INFINITY } else { m })
            .collect();
        let heads = |values, count: usize, rows: usize, width: usize| Heads {
            values,
            strides: [count * rows * width, rows * width, width],
        };
        let all = Visible::all(keys);
        let causal = |offset| Visible {
            offset,
            after: Some(0),
            ..all
        };
        let visible = [
            [all, all],
            [causal(0), causal(-3)],
            [Visible::all(0), Visible { keys: 4, ..causal(2) }],
            [
                Visible {
                    before: Some(1),
                    ..causal(0)
                },
                Visible {
                    offset: -2,
                    before: Some(2),
                    after: Some(1),
                    ..all
                },
            ],
        ];
        let masks = [
            None,
            Some(AttentionMask {
                values: mask.as_slice(),
                strides: [0, 0, 4],
                keys: 4,
            }),
        ];
        for ((visible, mask), soft_cap) in visible
            .iter()
            .flat_map(|v| masks.map(|m| (v, m)))
            .flat_map(|pair| [None, Some(0.5)].map(|cap| (pair, cap)))
        {
            let args = Attention {
                q: heads(&q, query_heads, queries, width),
                k: heads(&k, key_heads, keys, width),
                v: heads(&v, key_heads, keys, value_width),
                query_heads,
                key_heads,
                queries,
                keys,
                width,
                value_width,
                scale: 0.7,
                soft_cap,
                mask,
                visible,
            };
            let mut y = vec![f64::NAN; batch * query_heads * queries * value_width];
            let mut scores = vec![f64::NAN; batch * query_heads * queries * keys];
            attention(&args, &mut y, Some((ScoreStage::Probabilities, &mut scores)));
            let (expected, probabilities) = naive(&args, batch);
            let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9);
            assert!(
                close(&y, &expected) && close(&scores, &probabilities),
                "{visible:?} {soft_cap:?}"
            );
        }
    }
}
