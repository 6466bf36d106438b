//! Residual networks for small images.

use bantam_graph::ops::{Pad, PadMode, Slice};
use bantam_graph::{Model, ValueId};
use bantam_tensor::{DType, Tensor};

use super::{Initialization, Net, Network, Shape, Window, finish};
use crate::Error;

pub(super) const RESNET20: Network = Network {
    name: "resnet20",
    summary: "residual network of 20 layers for small images (He et al. 2015, section 4.2, shortcuts of option A)",
    input: &[3, 32, 32],
    hidden: &[],
    initialization: Initialization::Standard,
    build: |shape| resnet(shape, 3),
};

pub(super) const RESNET56: Network = Network {
    name: "resnet56",
    summary: "the same with 56 layers",
    input: &[3, 32, 32],
    hidden: &[],
    initialization: Initialization::Standard,
    build: |shape| resnet(shape, 9),
};

/// `6 * blocks + 2` layers: three stages, each with half the pixels and twice the channels of the one before.
fn resnet(shape: &Shape, blocks: usize) -> Result<Model, Error> {
    let [image_channels, ..] = shape.image(4)?;
    let stages = [16, 32, 64].map(|channels| shape.scaled(channels, 1));
    let mut net = Net::new(shape.name);
    let mut x = net.input("input", DType::F32, &shape.input);
    let mut channels = stages[0];
    x = net.conv_norm(
        ("conv1", "bn1"),
        x,
        (image_channels, channels, 3),
        Window::same(3, 1),
    )?;
    x = net.relu(x);
    for (stage, out) in stages.into_iter().enumerate() {
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let name = format!("layer{}.{block}", stage + 1);
            x = basic_block(&mut net, &name, x, (channels, out), stride)?;
            channels = out;
        }
    }
    let mean = net.global_mean(x);
    let logits = net.dense("linear", mean, channels, shape.classes)?;
    Ok(finish(net, logits))
}

/// Two 3x3 convolutions and the shortcut.
fn basic_block(
    net: &mut Net,
    name: &str,
    x: ValueId,
    (channels, out): (usize, usize),
    stride: usize,
) -> Result<ValueId, Error> {
    let names = |index: usize| (format!("{name}.conv{index}"), format!("{name}.bn{index}"));
    let (conv, norm) = names(1);
    let y = net.conv_norm((&conv, &norm), x, (channels, out, 3), Window::same(3, stride))?;
    let y = net.relu(y);
    let (conv, norm) = names(2);
    let y = net.conv_norm((&conv, &norm), y, (out, out, 3), Window::same(3, 1))?;
    let shortcut = shortcut(net, x, out - channels, stride);
    let sum = net.sum(y, shortcut);
    Ok(net.relu(sum))
}

/// Every `stride`-th pixel, with `missing` channels of zeros around (He et al. 2015, option A).
fn shortcut(net: &mut Net, x: ValueId, missing: usize, stride: usize) -> ValueId {
    let mut x = x;
    if stride > 1 {
        let stride = stride as i64;
        let bounds = [[0, 0], [i64::MAX, i64::MAX], [2, 3], [stride, stride]];
        let [starts, ends, axes, steps] = bounds.map(|values| net.integers(&values));
        x = net.add(Slice {}, &[x, starts, ends, axes, steps]);
    }
    if missing > 0 {
        let before = (missing / 2) as i64;
        let pads = net.integers(&[0, before, 0, 0, 0, missing as i64 - before, 0, 0]);
        let zero = net.constant(Tensor::scalar(0f32));
        x = net.add(
            Pad {
                mode: PadMode::Constant,
            },
            &[x, pads, zero],
        );
    }
    x
}
