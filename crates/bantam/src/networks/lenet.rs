//! Small convolutional networks without normalization.

use bantam_graph::Model;
use bantam_tensor::DType;

use super::{Initialization, Net, Network, Shape, Window, finish};
use crate::Error;

/// The network of LeCun et al. 1998 in the common form of Caffe's `examples/mnist/lenet.prototxt`.
pub(super) const LENET5: Network = Network {
    name: "lenet5",
    summary: "two 5x5 convolutions (20, 50) with max pooling and two dense layers (LeCun et al. 1998, as in Caffe)",
    input: &[1, 28, 28],
    hidden: &[],
    initialization: Initialization::Xavier,
    build: lenet5,
};

/// Frankle and Carbin 2019, figure 2.
pub(super) const CONV2: Network = Network {
    name: "conv2",
    summary: "two 3x3 convolutions (64, 64), max pooling and three dense layers (Frankle and Carbin 2019)",
    input: &[3, 32, 32],
    hidden: &[],
    initialization: Initialization::Xavier,
    build: conv2,
};

fn lenet5(shape: &Shape) -> Result<Model, Error> {
    // 16 pixels leave one behind the second pool.
    let [channels, height, width] = shape.image(16)?;
    let [first, second, hidden] = [20, 50, 500].map(|size| shape.scaled(size, 1));
    let mut net = Net::new(shape.name);
    let mut x = net.input("input", DType::F32, &shape.input);
    for (name, from, to) in [("conv1", channels, first), ("conv2", first, second)] {
        x = net.conv(name, x, (from, to, 5), Window::valid(1))?;
        x = net.max_pool(x, 2, 2, 0);
    }
    let left = |size: usize| ((size - 4) / 2 - 4) / 2;
    let x = net.flatten(x);
    let x = net.dense("fc1", x, second * left(height) * left(width), hidden)?;
    let x = net.relu(x);
    let logits = net.dense("fc2", x, hidden, shape.classes)?;
    Ok(finish(net, logits))
}

fn conv2(shape: &Shape) -> Result<Model, Error> {
    let [channels, height, width] = shape.image(2)?;
    let [features, hidden] = [64, 256].map(|size| shape.scaled(size, 1));
    let mut net = Net::new(shape.name);
    let mut x = net.input("input", DType::F32, &shape.input);
    for (name, from) in [("conv1", channels), ("conv2", features)] {
        x = net.conv(name, x, (from, features, 3), Window::same(3, 1))?;
        x = net.relu(x);
    }
    x = net.max_pool(x, 2, 2, 0);
    x = net.flatten(x);
    for (name, from) in [("fc1", features * (height / 2) * (width / 2)), ("fc2", hidden)] {
        x = net.dense(name, x, from, hidden)?;
        x = net.relu(x);
    }
    let logits = net.dense("fc3", x, hidden, shape.classes)?;
    Ok(finish(net, logits))
}
