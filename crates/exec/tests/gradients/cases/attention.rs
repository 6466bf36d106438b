//! Attention and recurrent cells.

use bantam_graph::ops::*;
use bantam_tensor::Tensor;

use crate::check::{Case, Input, case, drawn, integers, x};

pub(crate) fn cases() -> Vec<Case> {
    [attention(), rotary()].into_iter().flatten().collect()
}

fn plain() -> Attention {
    Attention {
        is_causal: false,
        kv_num_heads: None,
        left_window_size: -1,
        q_num_heads: None,
        qk_matmul_output_mode: 0,
        right_window_size: -1,
        scale: None,
        softcap: 0.0,
        softmax_precision: None,
    }
}

fn attention() -> Vec<Case> {
    let causal = || Attention {
        is_causal: true,
        ..plain()
    };
    let joined = Attention {
        q_num_heads: Some(4),
        kv_num_heads: Some(2),
        softcap: 2.0,
        ..plain()
    };
    let heads =
        |queries: usize, keys: usize| vec![x(&[2, 2, queries, 3]), x(&[2, 2, keys, 3]), x(&[2, 2, keys, 4])];
    let with = |mut inputs: Vec<Input>, mask: Input| {
        inputs.push(mask);
        inputs
    };
    let truths = Tensor::from_bools(
        &[3, 4],
        &[
            true, true, false, true, false, true, true, true, true, false, false, true,
        ],
    );
    vec![
        case("attention", plain(), heads(3, 4)),
        case("attention, causal", causal(), heads(5, 5)),
        case(
            "attention, scaled, in a window",
            Attention {
                left_window_size: 2,
                scale: Some(0.3),
                ..causal()
            },
            heads(5, 5),
        ),
        case(
            "attention with a mask that learns",
            plain(),
            with(heads(3, 4), x(&[2, 3, 4])),
        ),
        case(
            "attention with a mask of truths",
            plain(),
            with(heads(3, 4), Input::Constant(truths.unwrap())),
        ),
        case(
            "attention, joined heads that share keys, capped",
            joined,
            vec![x(&[2, 3, 12]), x(&[2, 4, 6]), x(&[2, 4, 4])],
        ),
    ]
}

fn rotary() -> Vec<Case> {
    let op = |interleaved, num_heads, rotary_embedding_dim| RotaryEmbedding {
        interleaved,
        num_heads,
        rotary_embedding_dim,
    };
    let cache = |shape: &[usize], name: f64| Input::Given(drawn(shape, -1.0 - name, 1.0));
    vec![
        case(
            "rotation",
            op(false, 0, 0),
            vec![x(&[2, 2, 3, 4]), cache(&[2, 3, 2], 0.0), cache(&[2, 3, 2], 0.1)],
        ),
        case(
            "rotation of neighbours",
            op(true, 2, 2),
            vec![
                x(&[1, 3, 8]),
                cache(&[5, 1], 0.0),
                cache(&[5, 1], 0.1),
                integers(&[1, 3], &[0, 2, 4]),
            ],
        ),
    ]
}
