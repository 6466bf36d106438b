//! Attention and recurrent cells.

use bantam_graph::ops::*;
use bantam_tensor::Tensor;

use crate::check::{Case, Input, case, drawn, integers, x};

pub(crate) fn cases() -> Vec<Case> {
    [attention(), rotary(), lstm(), gru(), plain_cell()]
        .into_iter()
        .flatten()
        .collect()
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

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// x, w, r, bias, sequence lengths, initial h of a cell: 4 steps, 2 sequences, 3 inputs, 2 hidden.
fn cell_inputs(gates: usize, directions: usize) -> Vec<Input> {
    vec![
        x(&[4, 2, 3]),
        x(&[directions, gates * 2, 3]),
        x(&[directions, gates * 2, 2]),
        x(&[directions, gates * 4]),
        integers(&[2], &[4, 3]),
        x(&[directions, 2, 2]),
    ]
}

fn lstm() -> Vec<Case> {
    let op = || Lstm {
        activation_alpha: vec![],
        activation_beta: vec![],
        activations: vec![],
        clip: None,
        direction: Direction::Forward,
        hidden_size: Some(2),
        layout: 0,
        input_forget: false,
    };
    let all = |directions: usize| {
        let mut inputs = cell_inputs(4, directions);
        inputs.extend([x(&[directions, 2, 2]), x(&[directions, 6])]);
        inputs
    };
    let others = Lstm {
        activations: names(&["HardSigmoid", "Softsign", "ScaledTanh"]),
        activation_alpha: vec![0.2, 1.5],
        activation_beta: vec![0.5, 0.7],
        clip: Some(1.3),
        input_forget: true,
        ..op()
    };
    vec![
        case("lstm", op(), vec![x(&[3, 2, 3]), x(&[1, 8, 3]), x(&[1, 8, 2])]),
        case("lstm with everything", op(), all(1)).outputs(&[true, true, true]),
        case(
            "lstm both ways",
            Lstm {
                direction: Direction::Bidirectional,
                ..op()
            },
            all(2),
        )
        .outputs(&[true, true, true]),
        case(
            "lstm by its last state",
            Lstm {
                direction: Direction::Reverse,
                ..op()
            },
            all(1),
        )
        .outputs(&[false, true, false]),
        case("lstm with other functions", others, all(1)).outputs(&[true, true, true]),
        case(
            "lstm, batch first",
            Lstm { layout: 1, ..op() },
            vec![x(&[2, 3, 3]), x(&[1, 8, 3]), x(&[1, 8, 2])],
        )
        .outputs(&[true, true, true]),
    ]
}

fn gru() -> Vec<Case> {
    let op = |linear_before_reset, direction| Gru {
        activation_alpha: vec![],
        activation_beta: vec![],
        activations: vec![],
        clip: None,
        direction,
        hidden_size: Some(2),
        layout: 0,
        linear_before_reset,
    };
    vec![
        case("gru", op(false, Direction::Forward), cell_inputs(3, 1)).outputs(&[true, true]),
        case(
            "gru, reset after the product",
            op(true, Direction::Forward),
            cell_inputs(3, 1),
        )
        .outputs(&[true, true]),
        case(
            "gru both ways",
            op(false, Direction::Bidirectional),
            cell_inputs(3, 2),
        ),
        case(
            "gru without bias",
            op(true, Direction::Reverse),
            vec![x(&[3, 2, 3]), x(&[1, 6, 3]), x(&[1, 6, 2])],
        ),
    ]
}

fn plain_cell() -> Vec<Case> {
    let op = |activations: &[&str], direction| Rnn {
        activation_alpha: vec![],
        activation_beta: vec![],
        activations: names(activations),
        clip: None,
        direction,
        hidden_size: Some(2),
        layout: 0,
    };
    vec![
        case("plain cell", op(&[], Direction::Forward), cell_inputs(1, 1)).outputs(&[true, true]),
        case(
            "plain cells both ways",
            op(&["Sigmoid", "Elu"], Direction::Bidirectional),
            cell_inputs(1, 2),
        )
        .outputs(&[true, true]),
    ]
}
