//! The gradient of attention.

use rayon::prelude::*;

use crate::attention::{Attention, Heads};
use crate::product::{Strided, multiply};
use crate::real::Real;

/// What the forward pass computed, `[batch, query_heads, queries, keys]`.
#[derive(Clone, Copy, Debug)]
pub struct Scores<'a, T> {
    /// After softmax.
    pub probabilities: &'a [T],
    /// After the soft cap, if there is one.
    pub capped: Option<&'a [T]>,
}

/// The gradients to be written, by heads.
#[derive(Debug)]
pub struct Gradients<'a, T> {
    /// `[batch, query_heads, queries, width]`.
    pub q: &'a mut [T],
    /// `[batch, key_heads, keys, width]`.
    pub k: &'a mut [T],
    /// `[batch, key_heads, keys, value_width]`.
    pub v: &'a mut [T],
    /// Of the scores after the masks, `[batch, query_heads, queries, keys]`.
    pub scores: &'a mut [T],
}

/// Writes the gradients of q, k, v and the masked scores from that of the output.
///
/// # Panics
/// When a slice does not have the length that the sizes say.
pub fn attention<T: Real>(
    args: &Attention<'_, T>,
    dy: Heads<'_, T>,
    scores: Scores<'_, T>,
    gradients: Gradients<'_, T>,
) {
    let Gradients {
        q,
        k,
        v,
        scores: of_scores,
    } = gradients;
    let group = args.query_heads / args.key_heads;
    let of_group = group * args.queries;
    let sizes = [
        of_group * args.width,
        args.keys * args.width,
        args.keys * args.value_width,
        of_group * args.keys,
    ];
    if sizes.contains(&0) {
        [q, k, v, of_scores]
            .into_iter()
            .for_each(|gradient| gradient.fill(T::ZERO));
        return;
    }
    let keys = k.par_chunks_mut(sizes[1]).zip(v.par_chunks_mut(sizes[2]));
    let queries = q.par_chunks_mut(sizes[0]).zip(of_scores.par_chunks_mut(sizes[3]));
    keys.zip(queries)
        .enumerate()
        .for_each(|(index, ((k, v), (q, of_scores)))| {
            let (q, of_scores) = (
                q.chunks_mut(args.queries * args.width),
                of_scores.chunks_mut(args.queries * args.keys),
            );
            for (within, (q, of_scores)) in q.zip(of_scores).enumerate() {
                let gradients = Gradients {
                    q,
                    k: &mut *k,
                    v: &mut *v,
                    scores: of_scores,
                };
                one_head(args, dy, scores, index * group + within, within > 0, gradients);
            }
        });
}

/// One query head of one sample; the gradients of keys and values are added to those of the heads before it.
fn one_head<T: Real>(
    args: &Attention<'_, T>,
    dy: Heads<'_, T>,
    scores: Scores<'_, T>,
    index: usize,
    add: bool,
    gradients: Gradients<'_, T>,
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
    let at = index * queries * keys..(index + 1) * queries * keys;
    let probabilities = &scores.probabilities[at.clone()];
    let dy = dy.head(sample, head, 0..queries, value_width);
    let v = args.v.head(sample, key_head, 0..keys, value_width);
    multiply(dy, v.transposed(), gradients.scores, keys, T::ONE, false);
    for (ds, p) in gradients
        .scores
        .chunks_exact_mut(keys)
        .zip(probabilities.chunks_exact(keys))
    {
        let sum = ds.iter().zip(p).fold(T::ZERO, |sum, (&ds, &p)| sum + ds * p);
        ds.iter_mut().zip(p).for_each(|(ds, &p)| *ds = p * (*ds - sum));
    }
    let p = Strided::new(probabilities, queries, keys, keys);
    multiply(p.transposed(), dy, gradients.v, value_width, T::ONE, add);
    let through_cap = args.soft_cap.zip(scores.capped).map(|(cap, capped)| {
        let slope = |(&ds, &capped): (&T, &T)| ds * (T::ONE - (capped / cap) * (capped / cap));
        gradients
            .scores
            .iter()
            .zip(&capped[at])
            .map(slope)
            .collect::<Vec<T>>()
    });
    let ds = Strided::new(
        through_cap.as_deref().unwrap_or(gradients.scores),
        queries,
        keys,
        keys,
    );
    let (q, k) = (
        args.q.head(sample, head, 0..queries, width),
        args.k.head(sample, key_head, 0..keys, width),
    );
    multiply(ds, k, gradients.q, width, args.scale, false);
    multiply(ds.transposed(), q, gradients.k, width, args.scale, add);
}
