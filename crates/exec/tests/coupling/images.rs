//! Random networks of convolutions.

use bantam_graph::ops::{
    AutoPad, Concat, ConvTranspose, DepthToSpace, DepthToSpaceMode, Flatten, GlobalAveragePool, HardSigmoid,
    InstanceNormalization, LeakyRelu, MaxPool, Pad, PadMode, Reduce, ReduceKind, Slice, SpaceToDepth, Split,
    Swish,
};
use bantam_graph::ops::{Binary, Unary};
use bantam_graph::{Graph, ValueId};

use crate::net::Net;

pub(crate) fn random(seed: u64) -> Graph {
    let mut net = Net::new(seed);
    let mut x = net.image(3);
    let width = 4 + 2 * net.random.below(3);
    x = net.conv(x, width, 3, 1, 1);
    for _ in 0..2 + net.random.below(3) {
        x = part(&mut net, x);
    }
    let y = head(&mut net, x);
    net.graph.outputs = vec![y];
    net.graph
}

fn part(net: &mut Net, x: ValueId) -> ValueId {
    match net.random.below(13) {
        0 => plain(net, x),
        1 => depthwise(net, x),
        2 => residual(net, x),
        3 => concatenated(net, x),
        4 => split(net, x),
        5 => padded_shortcut(net, x),
        6 => squeeze_and_excitation(net, x),
        7 => space(net, x),
        8 => transposed(net, x),
        9 => twice(net, x),
        10 => grouped(net, x),
        11 => scaled(net, x),
        _ => dense(net, x),
    }
}

fn head(net: &mut Net, x: ValueId) -> ValueId {
    match net.random.below(3) {
        0 => net.classes(x, 3),
        1 => {
            let flat = net.add(Flatten { axis: 1 }, &[x]);
            net.scores(flat, 3)
        }
        _ => {
            let axes = net.integers(&[-1, 2]);
            let op = Reduce {
                kind: ReduceKind::Max,
                keepdims: false,
                noop_with_empty_axes: false,
            };
            let flat = net.add(op, &[x, axes]);
            net.scores(flat, 3)
        }
    }
}

/// Functions of each element, also such that zero does not give zero.
fn activation(net: &mut Net, x: ValueId) -> ValueId {
    match net.random.below(6) {
        0 => net.add(Unary::Relu, &[x]),
        1 => net.add(Unary::Sigmoid, &[x]),
        2 => net.add(LeakyRelu { alpha: 0.1 }, &[x]),
        3 => net.add(
            HardSigmoid {
                alpha: 0.2,
                beta: 0.5,
            },
            &[x],
        ),
        4 => net.add(Swish { alpha: 1.0 }, &[x]),
        _ => {
            let channels = net.size(x, 1);
            let slopes = net.weights(&[channels, 1, 1], 4);
            net.add(Binary::PRelu, &[x, slopes])
        }
    }
}

fn plain(net: &mut Net, x: ValueId) -> ValueId {
    let outputs = 3 + net.random.below(6);
    let kernel = 1 + 2 * net.random.below(2);
    let y = net.conv(x, outputs, kernel, 1, 1);
    let y = match net.random.below(3) {
        0 => y,
        1 => net.batch_normalization(y),
        _ => {
            let (scale, bias) = (net.positive(&[outputs]), net.weights(&[outputs], 4));
            net.add(InstanceNormalization { epsilon: 1e-3 }, &[y, scale, bias])
        }
    };
    activation(net, y)
}

fn depthwise(net: &mut Net, x: ValueId) -> ValueId {
    let channels = net.size(x, 1);
    let outputs = channels * (1 + net.random.below(2));
    let y = net.conv(x, outputs, 3, 1, channels);
    let y = net.batch_normalization(y);
    activation(net, y)
}

fn residual(net: &mut Net, x: ValueId) -> ValueId {
    let channels = net.size(x, 1);
    let inner = plain(net, x);
    let back = net.conv(inner, channels, 3, 1, 1);
    let back = net.batch_normalization(back);
    let sum = net.sum(x, back);
    activation(net, sum)
}

fn concatenated(net: &mut Net, x: ValueId) -> ValueId {
    let (a, b) = (plain(net, x), plain(net, x));
    net.add(Concat { axis: 1 }, &[a, b, x])
}

fn dense(net: &mut Net, x: ValueId) -> ValueId {
    let a = plain(net, x);
    let first = net.add(Concat { axis: 1 }, &[x, a]);
    let b = plain(net, first);
    net.add(Concat { axis: -3 }, &[first, b])
}

fn split(net: &mut Net, x: ValueId) -> ValueId {
    let channels = net.size(x, 1);
    if channels < 2 {
        return plain(net, x);
    }
    let first = 1 + net.random.below(channels - 1);
    let sizes = net.integers(&[first as i64, (channels - first) as i64]);
    let op = Split {
        axis: 1,
        num_outputs: None,
    };
    let parts = net.add_many(op, &[Some(x), Some(sizes)], 2);
    let changed = plain(net, parts[0]);
    net.add(Concat { axis: 1 }, &[changed, parts[1]])
}

/// Option A of He et al. 2016: every other position, and channels of zeros on both sides.
fn padded_shortcut(net: &mut Net, x: ValueId) -> ValueId {
    let channels = net.size(x, 1);
    if net.size(x, 2) < 2 {
        return plain(net, x);
    }
    let y = net.conv(x, channels + 4, 3, 2, 1);
    let (starts, ends) = (net.integers(&[0, 0]), net.integers(&[i64::MAX, i64::MAX]));
    let (axes, steps) = (net.integers(&[2, 3]), net.integers(&[2, 2]));
    let some = net.add(Slice {}, &[x, starts, ends, axes, steps]);
    let pads = net.integers(&[0, 2, 0, 0, 0, 2, 0, 0]);
    let wide = net.add(
        Pad {
            mode: PadMode::Constant,
        },
        &[some, pads],
    );
    let sum = net.sum(wide, y);
    activation(net, sum)
}

fn squeeze_and_excitation(net: &mut Net, x: ValueId) -> ValueId {
    let channels = net.size(x, 1);
    let means = net.add(GlobalAveragePool {}, &[x]);
    let few = net.conv(means, 3, 1, 1, 1);
    let few = net.add(Unary::Relu, &[few]);
    let gates = net.conv(few, channels, 1, 1, 1);
    let gates = net.add(Unary::Sigmoid, &[gates]);
    net.product(x, gates)
}

fn space(net: &mut Net, x: ValueId) -> ValueId {
    let mode = match net.random.below(2) {
        0 => DepthToSpaceMode::DepthColumnRow,
        _ => DepthToSpaceMode::ColumnRowDepth,
    };
    if net.size(x, 2).is_multiple_of(2) && net.random.below(2) == 0 {
        let y = net.add(SpaceToDepth { blocksize: 2, mode }, &[x]);
        return net.conv(y, 4, 1, 1, 1);
    }
    let y = net.conv(x, 12, 1, 1, 1);
    let y = net.add(DepthToSpace { blocksize: 2, mode }, &[y]);
    let pool = MaxPool {
        auto_pad: AutoPad::NotSet,
        ceil_mode: false,
        dilations: Vec::new(),
        kernel_shape: vec![2, 2],
        pads: Vec::new(),
        strides: vec![2, 2],
        storage_order: 0,
    };
    net.add(pool, &[y])
}

fn transposed(net: &mut Net, x: ValueId) -> ValueId {
    let channels = net.size(x, 1);
    let groups = match net.random.below(3) {
        0 => 1,
        1 => channels,
        _ if channels.is_multiple_of(2) => 2,
        _ => 1,
    };
    let share = 1 + net.random.below(3);
    let weight = net.weights(&[channels, share, 3, 3], channels / groups * 9);
    let bias = net.weights(&[share * groups], 4);
    let op = ConvTranspose {
        auto_pad: AutoPad::NotSet,
        dilations: Vec::new(),
        group: groups as i64,
        kernel_shape: vec![3, 3],
        pads: vec![1; 4],
        strides: vec![1, 1],
        output_padding: Vec::new(),
        output_shape: Vec::new(),
    };
    net.add(op, &[x, weight, bias])
}

/// One weight that two convolutions share.
fn twice(net: &mut Net, x: ValueId) -> ValueId {
    let channels = net.size(x, 1);
    let weight = net.weights(&[channels, channels, 3, 3], 9 * channels);
    let first = net.convolve(x, &[weight], 3, 1, 1);
    let first = net.add(Unary::Relu, &[first]);
    net.convolve(first, &[weight], 3, 1, 1)
}

fn grouped(net: &mut Net, x: ValueId) -> ValueId {
    let wide = net.conv(x, 8, 1, 1, 1);
    let wide = activation(net, wide);
    let outputs = 4 + 4 * net.random.below(2);
    let groups = 2 + 2 * net.random.below(2);
    let y = net.conv(wide, outputs, 3, 1, groups);
    activation(net, y)
}

/// Factors and addends of channels, of all, and of positions.
fn scaled(net: &mut Net, x: ValueId) -> ValueId {
    let (channels, height) = (net.size(x, 1), net.size(x, 2));
    let factors = net.weights(&[channels, 1, 1], 1);
    let addends = net.weights(&[1, channels, 1, 1], 4);
    let position = net.weights(&[height, 1], 4);
    let y = net.product(x, factors);
    let y = net.sum(addends, y);
    let y = net.sum(y, position);
    let one = net.weights(&[1], 1);
    net.product(one, y)
}
