//! Transformer networks.

use bantam::graph::ops::*;
use bantam::graph::{Model, ValueId};
use bantam::networks::Net;
use bantam::tensor::{DType, Tensor};

use crate::layers::Layers;

/// Vaswani et al. 2017, in the form of MiniLM: 6 layers of width 384, 12 heads, 128 tokens.
pub(crate) fn encoder() -> Model {
    const WIDTH: usize = 384;
    const HEADS: usize = 12;
    const TOKENS: usize = 128;
    let mut net = Net::new("encoder");
    let ids = net.input("ids", DType::I64, &[TOKENS]);
    let vocabulary = net.normal(&[8192, WIDTH], 1.0);
    let words = net.add(Gather { axis: 0 }, &[vocabulary, ids]);
    let positions = net.normal(&[TOKENS, WIDTH], 0.5);
    let sum = net.sum(words, positions);
    let mut x = layer_norm(&mut net, sum, WIDTH);
    for _ in 0..6 {
        let q = net.random_linear(x, WIDTH, WIDTH, true);
        let k = net.random_linear(x, WIDTH, WIDTH, true);
        let v = net.random_linear(x, WIDTH, WIDTH, true);
        let [q, k, v] = [(q, [0, 2, 1, 3]), (k, [0, 2, 3, 1]), (v, [0, 2, 1, 3])].map(|(x, perm)| {
            let heads = net.reshape(x, &[0, 0, HEADS as i64, (WIDTH / HEADS) as i64]);
            net.transpose(heads, &perm)
        });
        let context = net.attention([q, k, v], WIDTH / HEADS, None);
        let context = net.transpose(context, &[0, 2, 1, 3]);
        let context = net.reshape(context, &[0, 0, WIDTH as i64]);
        let projected = net.random_linear(context, WIDTH, WIDTH, true);
        let sum = net.sum(projected, x);
        x = layer_norm(&mut net, sum, WIDTH);
        let wide = net.random_linear(x, WIDTH, 4 * WIDTH, true);
        let wide = net.add(
            Gelu {
                approximate: GeluApproximation::None,
            },
            &[wide],
        );
        let narrow = net.random_linear(wide, 4 * WIDTH, WIDTH, true);
        let sum = net.sum(narrow, x);
        x = layer_norm(&mut net, sum, WIDTH);
    }
    net.finish(x)
}

fn layer_norm(net: &mut Net, x: ValueId, width: usize) -> ValueId {
    let scale = net.constant(Tensor::from_vec1(&vec![1f32; width]));
    let bias = net.normal(&[width], 0.02);
    let op = LayerNormalization {
        axis: -1,
        epsilon: 1e-12,
        stash_type: 1,
    };
    net.add(op, &[x, scale, bias])
}

/// One block of a Llama of 1.1 billion weights (TinyLlama: width 2048, 32 heads on 4 key-value heads, 5632 wide), on a
/// prompt of 128 tokens.
pub(crate) fn llama_block() -> Model {
    const WIDTH: usize = 2048;
    const HEADS: usize = 32;
    const SHARED: usize = 4;
    const SIZE: usize = WIDTH / HEADS;
    const TOKENS: usize = 128;
    let mut net = Net::new("llama_block");
    let x = net.input("hidden", DType::F32, &[TOKENS, WIDTH]);
    let normal = rms_norm(&mut net, x, WIDTH);
    let heads = |net: &mut Net, count: usize| {
        let projected = net.random_linear(normal, WIDTH, count * SIZE, false);
        let heads = net.reshape(projected, &[0, 0, count as i64, SIZE as i64]);
        net.transpose(heads, &[0, 2, 1, 3])
    };
    let [q, k, v] = [HEADS, SHARED, SHARED].map(|count| heads(&mut net, count));
    let angles: Vec<f32> = (0..TOKENS * SIZE)
        .map(|index| {
            let (token, pair) = (index / SIZE, index % (SIZE / 2));
            token as f32 * 10000f32.powf(-2.0 * pair as f32 / SIZE as f32)
        })
        .collect();
    let [cos, sin] = [f32::cos, f32::sin].map(|function| {
        let values: Vec<f32> = angles.iter().map(|angle| function(*angle)).collect();
        net.constant(Tensor::from_slice(&[TOKENS, SIZE], &values).expect("as many as the shape says"))
    });
    let [q, k] = [q, k].map(|x| rotate(&mut net, x, SIZE, cos, sin));
    let [k, v] = [k, v].map(|x| {
        let axis = net.integers(&[2]);
        let apart = net.add(Unsqueeze {}, &[x, axis]);
        let shape = [1, 1, HEADS / SHARED, 1, 1].map(|size| size as i64);
        let shape = net.integers(&shape);
        let repeated = net.add(Expand {}, &[apart, shape]);
        net.reshape(repeated, &[0, HEADS as i64, TOKENS as i64, SIZE as i64])
    });
    let k = net.transpose(k, &[0, 1, 3, 2]);
    let masked = |index: usize| {
        if index % TOKENS > index / TOKENS {
            -1e4f32
        } else {
            0.0
        }
    };
    let mask: Vec<f32> = (0..TOKENS * TOKENS).map(masked).collect();
    let mask = net.constant(Tensor::from_slice(&[TOKENS, TOKENS], &mask).expect("as many as the shape says"));
    let context = net.attention([q, k, v], SIZE, Some(mask));
    let context = net.transpose(context, &[0, 2, 1, 3]);
    let context = net.reshape(context, &[0, 0, WIDTH as i64]);
    let projected = net.random_linear(context, WIDTH, WIDTH, false);
    let x = net.sum(x, projected);
    let normal = rms_norm(&mut net, x, WIDTH);
    let gate = net.random_linear(normal, WIDTH, 5632, false);
    let gate = net.silu(gate);
    let up = net.random_linear(normal, WIDTH, 5632, false);
    let product = net.add(Binary::Mul, &[gate, up]);
    let down = net.random_linear(product, 5632, WIDTH, false);
    let y = net.sum(x, down);
    net.finish(y)
}

/// Written out, as exporters do below opset 23.
fn rms_norm(net: &mut Net, x: ValueId, width: usize) -> ValueId {
    let two = net.constant(Tensor::scalar(2f32));
    let square = net.add(Binary::Pow, &[x, two]);
    let axes = net.integers(&[-1]);
    let reduce = Reduce {
        kind: ReduceKind::Mean,
        keepdims: true,
        noop_with_empty_axes: false,
    };
    let mean = net.add(reduce, &[square, axes]);
    let epsilon = net.constant(Tensor::scalar(1e-5f32));
    let sum = net.sum(mean, epsilon);
    let root = net.add(Unary::Sqrt, &[sum]);
    let normal = net.add(Binary::Div, &[x, root]);
    let scale = net.constant(Tensor::from_vec1(&vec![1f32; width]));
    net.add(Binary::Mul, &[normal, scale])
}

/// Rotary position embedding on the halves of each head (Su et al. 2021).
fn rotate(net: &mut Net, x: ValueId, size: usize, cos: ValueId, sin: ValueId) -> ValueId {
    let half = (size / 2) as i64;
    let part = |net: &mut Net, from: i64, to: i64| {
        let bounds = [from, to, 3].map(|bound| net.integers(&[bound]));
        net.add(Slice {}, &[x, bounds[0], bounds[1], bounds[2]])
    };
    let (low, high) = (part(net, 0, half), part(net, half, 2 * half));
    let negated = net.add(Unary::Neg, &[high]);
    let turned = net.add(Concat { axis: -1 }, &[negated, low]);
    let straight = net.add(Binary::Mul, &[x, cos]);
    let turned = net.add(Binary::Mul, &[turned, sin]);
    net.sum(straight, turned)
}
