//! Attention against its formula.

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
