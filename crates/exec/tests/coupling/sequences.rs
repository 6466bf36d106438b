//! Random networks of attention, gated layers and recurrent cells.

use bantam_graph::ops::{
    Attention, Concat, Direction, Gru, LayerNormalization, Lstm, MatMul, Reshape, Rnn, RotaryEmbedding,
    Shape, Slice, Softmax, Swish, Transpose, Unsqueeze,
};
use bantam_graph::ops::{Reduce, ReduceKind, Squeeze, Unary};
use bantam_graph::{Graph, ValueId};

use crate::net::Net;

const WIDTH: usize = 6;

pub(crate) fn random(seed: u64) -> Graph {
    let mut net = Net::new(seed);
    let input = net.sequence(5);
    let mut x = net.linear(input, 5, WIDTH);
    for _ in 0..1 + net.random.below(3) {
        x = part(&mut net, x);
    }
    let axes = net.integers(&[1]);
    let op = Reduce {
        kind: ReduceKind::Mean,
        keepdims: false,
        noop_with_empty_axes: false,
    };
    let rows = net.add(op, &[x, axes]);
    let y = net.scores(rows, 3);
    net.graph.outputs = vec![y];
    net.graph
}

fn part(net: &mut Net, x: ValueId) -> ValueId {
    let normal = match net.random.below(2) {
        0 => x,
        _ => {
            let (scale, bias) = (net.positive(&[WIDTH]), net.weights(&[WIDTH], 4));
            let op = LayerNormalization {
                axis: -1,
                epsilon: 1e-3,
                stash_type: 1,
            };
            net.add(op, &[x, scale, bias])
        }
    };
    let y = match net.random.below(6) {
        0 => heads(net, normal),
        5 => flattened(net, normal),
        1 => fused_heads(net, normal),
        2 => gated(net, normal),
        3 => recurrent(net, normal),
        _ => joint_projection(net, normal),
    };
    net.sum(x, y)
}

/// `[2, 4, heads * size]` to `[2, heads, 4, size]`.
fn apart(net: &mut Net, x: ValueId, heads: usize, size: usize) -> ValueId {
    let shape = net.integers(&[0, -1, heads as i64, size as i64]);
    let y = net.add(Reshape { allowzero: false }, &[x, shape]);
    net.add(
        Transpose {
            perm: Some(vec![0, 2, 1, 3]),
        },
        &[y],
    )
}

fn together(net: &mut Net, x: ValueId, width: usize) -> ValueId {
    let y = net.add(
        Transpose {
            perm: Some(vec![0, 2, 1, 3]),
        },
        &[x],
    );
    let shape = net.integers(&[0, 0, width as i64]);
    net.add(Reshape { allowzero: false }, &[y, shape])
}

fn softmax_attention(net: &mut Net, [q, k, v]: [ValueId; 3]) -> ValueId {
    let k = net.add(
        Transpose {
            perm: Some(vec![0, 1, 3, 2]),
        },
        &[k],
    );
    let scores = net.add(MatMul {}, &[q, k]);
    let shares = net.add(Softmax { axis: -1 }, &[scores]);
    net.add(MatMul {}, &[shares, v])
}

/// Attention of single ops; key and value heads may be fewer, and are then repeated.
fn heads(net: &mut Net, x: ValueId) -> ValueId {
    let (heads, size) = (2 + net.random.below(3), 3);
    let width = heads * size;
    let [q, k, v] = [0; 3].map(|_| {
        let projected = net.linear(x, WIDTH, width);
        apart(net, projected, heads, size)
    });
    let mixed = softmax_attention(net, [q, k, v]);
    let flat = together(net, mixed, width);
    net.linear(flat, width, WIDTH)
}

/// One product for queries, keys and values, cut apart behind it.
fn joint_projection(net: &mut Net, x: ValueId) -> ValueId {
    let (heads, size) = (2, 3);
    let width = heads * size;
    let all = net.linear(x, WIDTH, 3 * width);
    let parts = [0, 1, 2].map(|part| {
        let first = (part * width) as i64;
        let (starts, ends) = (net.integers(&[first]), net.integers(&[first + width as i64]));
        let axes = net.integers(&[-1]);
        let one = net.add(Slice {}, &[all, starts, ends, axes]);
        apart(net, one, heads, size)
    });
    let mixed = softmax_attention(net, parts);
    let flat = together(net, mixed, width);
    net.linear(flat, width, WIDTH)
}

/// Products on a list of all tokens of the batch, put apart again by shapes that are computed.
fn flattened(net: &mut Net, x: ValueId) -> ValueId {
    let (heads, size) = (2 + net.random.below(2), 3);
    let width = heads * size;
    let shape = net.add(Shape { end: None, start: 0 }, &[x]);
    let (starts, ends) = (net.integers(&[0]), net.integers(&[2]));
    let open = net.add(Slice {}, &[shape, starts, ends]);
    let list = net.integers(&[-1, WIDTH as i64]);
    let flat = net.add(Reshape { allowzero: false }, &[x, list]);
    let operands = [0; 3].map(|_| {
        let projected = net.linear(flat, WIDTH, width);
        let inner = net.integers(&[heads as i64, size as i64]);
        let shape = net.add(Concat { axis: 0 }, &[open, inner]);
        let apart = net.add(Reshape { allowzero: false }, &[projected, shape]);
        net.add(
            Transpose {
                perm: Some(vec![0, 2, 1, 3]),
            },
            &[apart],
        )
    });
    let mixed = softmax_attention(net, operands);
    let together = net.add(
        Transpose {
            perm: Some(vec![0, 2, 1, 3]),
        },
        &[mixed],
    );
    let list = net.integers(&[-1, width as i64]);
    let flat = net.add(Reshape { allowzero: false }, &[together, list]);
    let y = net.linear(flat, width, WIDTH);
    net.add(Reshape { allowzero: false }, &[y, shape])
}

/// Attention as one op, with grouped queries and rotary positions.
fn fused_heads(net: &mut Net, x: ValueId) -> ValueId {
    let (keys, share, size) = (1 + net.random.below(3), 1 + net.random.below(2), 4);
    let queries = keys * share;
    let q = net.linear(x, WIDTH, queries * size);
    let k = net.linear(x, WIDTH, keys * size);
    let v = net.linear(x, WIDTH, keys * size);
    let mut operands = [q, k, v];
    if net.random.below(2) == 0 {
        let (cosines, sines) = (
            net.weights(&[2, 4, size / 2], 1),
            net.weights(&[2, 4, size / 2], 1),
        );
        for (operand, heads) in operands.iter_mut().zip([queries, keys]) {
            let op = RotaryEmbedding {
                interleaved: false,
                num_heads: heads as i64,
                rotary_embedding_dim: 0,
            };
            *operand = net.add(op, &[*operand, cosines, sines]);
        }
    }
    let op = Attention {
        is_causal: net.random.below(2) == 0,
        kv_num_heads: Some(keys as i64),
        left_window_size: -1,
        q_num_heads: Some(queries as i64),
        qk_matmul_output_mode: 0,
        right_window_size: -1,
        scale: None,
        softcap: 0.0,
        softmax_precision: None,
    };
    let y = net.add(op, &operands);
    net.linear(y, queries * size, WIDTH)
}

fn gated(net: &mut Net, x: ValueId) -> ValueId {
    let width = 5 + net.random.below(5);
    let (up, gate) = (net.linear(x, WIDTH, width), net.linear(x, WIDTH, width));
    let gate = net.add(Swish { alpha: 1.0 }, &[gate]);
    let product = net.product(up, gate);
    let joined = match net.random.below(2) {
        0 => product,
        _ => {
            let other = net.linear(x, WIDTH, 3);
            let other = net.add(Unary::Sigmoid, &[other]);
            net.add(Concat { axis: -1 }, &[product, other])
        }
    };
    let all = net.size(joined, 2);
    net.linear(joined, all, WIDTH)
}

fn recurrent(net: &mut Net, x: ValueId) -> ValueId {
    let x = net.linear(x, WIDTH, 4);
    let x = net.add(
        Transpose {
            perm: Some(vec![1, 0, 2]),
        },
        &[x],
    );
    let (hidden, directions) = (3 + net.random.below(4), 1 + net.random.below(2));
    let direction = match directions {
        1 => Direction::Forward,
        _ => Direction::Bidirectional,
    };
    let kind = net.random.below(3);
    let gates = [4, 3, 1][kind];
    let weight = net.weights(&[directions, gates * hidden, 4], 4);
    let recurrence = net.weights(&[directions, gates * hidden, hidden], hidden);
    let bias = net.weights(&[directions, 2 * gates * hidden], 4);
    let inputs = [Some(x), Some(weight), Some(recurrence), Some(bias)];
    macro_rules! cell {
        ($op:ident { $($extra:tt)* }) => {
            $op {
                activation_alpha: Vec::new(),
                activation_beta: Vec::new(),
                activations: Vec::new(),
                clip: None,
                direction,
                hidden_size: Some(hidden as i64),
                layout: 0,
                $($extra)*
            }
        };
    }
    let y = match kind {
        0 => net.add_many(cell!(Lstm { input_forget: false }), &inputs, 1),
        1 => net.add_many(
            cell!(Gru {
                linear_before_reset: false
            }),
            &inputs,
            1,
        ),
        _ => net.add_many(cell!(Rnn {}), &inputs, 1),
    };
    // [4, directions, 2, hidden]
    if directions == 1 {
        let axes = net.integers(&[1]);
        let y = net.add(Squeeze {}, &[y[0], axes]);
        let y = net.add(
            Transpose {
                perm: Some(vec![1, 0, 2]),
            },
            &[y],
        );
        return net.linear(y, hidden, WIDTH);
    }
    let axes = net.integers(&[1]);
    let op = Reduce {
        kind: ReduceKind::Sum,
        keepdims: false,
        noop_with_empty_axes: false,
    };
    let y = net.add(op, &[y[0], axes]);
    let axes = net.integers(&[0]);
    let y = net.add(Unsqueeze {}, &[y, axes]);
    let y = net.add(Squeeze {}, &[y, axes]);
    let y = net.add(
        Transpose {
            perm: Some(vec![1, 0, 2]),
        },
        &[y],
    );
    net.linear(y, hidden, WIDTH)
}
