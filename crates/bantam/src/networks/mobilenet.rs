//! Inverted bottlenecks for small images.

use bantam_graph::{Model, ValueId};
use bantam_tensor::DType;

use super::{Initialization, Net, Network, Shape, Window, finish};
use crate::Error;

pub(super) const MOBILENET_SMALL: Network = Network {
    name: "mobilenet-small",
    summary: "inverted bottlenecks with depthwise convolutions for small images (after Sandler et al. 2018)",
    input: &[3, 32, 32],
    hidden: &[],
    initialization: Initialization::Standard,
    build: mobilenet,
};

/// One row of a table of bottlenecks, as in Sandler et al. 2018, table 2.
struct Stage {
    expansion: usize,
    channels: usize,
    blocks: usize,
    stride: usize,
}

const STAGES: [Stage; 5] = [
    stage(1, 16, 1, 1),
    stage(6, 24, 2, 2),
    stage(6, 32, 3, 2),
    stage(6, 64, 3, 2),
    stage(6, 96, 1, 1),
];

const fn stage(expansion: usize, channels: usize, blocks: usize, stride: usize) -> Stage {
    Stage {
        expansion,
        channels,
        blocks,
        stride,
    }
}

/// Widths are multiples of 8, as in the paper.
const UNIT: usize = 8;

fn mobilenet(shape: &Shape) -> Result<Model, Error> {
    let [image_channels, ..] = shape.image(8)?;
    let mut channels = shape.scaled(16, UNIT);
    let mut net = Net::new(shape.name);
    let input = net.input("input", DType::F32, &shape.input);
    let mut x = net.conv_norm(
        ("stem.conv", "stem.bn"),
        input,
        (image_channels, channels, 3),
        Window::same(3, 1),
    )?;
    x = net.relu6(x);
    for (index, stage) in STAGES.iter().enumerate() {
        for block in 0..stage.blocks {
            let out = shape.scaled(stage.channels, UNIT);
            let stride = if block == 0 { stage.stride } else { 1 };
            let name = format!("stage{}.{block}", index + 1);
            x = bottleneck(&mut net, &name, x, (channels, out), (stage.expansion, stride))?;
            channels = out;
        }
    }
    let features = shape.scaled(256, UNIT);
    x = net.conv_norm(
        ("head.conv", "head.bn"),
        x,
        (channels, features, 1),
        Window::same(1, 1),
    )?;
    x = net.relu6(x);
    let mean = net.global_mean(x);
    let logits = net.dense("classifier", mean, features, shape.classes)?;
    Ok(finish(net, logits))
}

/// Expansion, depthwise convolution and linear projection, with a shortcut where the sizes allow (figure 3).
fn bottleneck(
    net: &mut Net,
    name: &str,
    x: ValueId,
    (channels, out): (usize, usize),
    (expansion, stride): (usize, usize),
) -> Result<ValueId, Error> {
    let names = |part: &str| (format!("{name}.{part}.conv"), format!("{name}.{part}.bn"));
    let wide = channels * expansion;
    let mut y = x;
    if expansion > 1 {
        let (conv, norm) = names("expand");
        y = net.conv_norm((&conv, &norm), y, (channels, wide, 1), Window::same(1, 1))?;
        y = net.relu6(y);
    }
    let (conv, norm) = names("depthwise");
    let depthwise = Window {
        groups: wide,
        ..Window::same(3, stride)
    };
    y = net.conv_norm((&conv, &norm), y, (wide, wide, 3), depthwise)?;
    y = net.relu6(y);
    let (conv, norm) = names("project");
    y = net.conv_norm((&conv, &norm), y, (wide, out, 1), Window::same(1, 1))?;
    let residual = stride == 1 && channels == out;
    Ok(if residual { net.sum(x, y) } else { y })
}
