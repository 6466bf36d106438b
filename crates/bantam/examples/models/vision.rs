//! Convolutional networks, with the layers of the papers.

use bantam::graph::ops::*;
use bantam::graph::{Model, ValueId};
use bantam::networks::Net;
use bantam::tensor::DType;

use crate::layers::{Conv, Layers};

/// Factor on the weights of a residual branch's last convolution.
const BRANCH: f64 = 0.3;

/// He et al. 2015, figure 5; stride in the 3x3 convolution of bottlenecks.
fn resnet(name: &str, blocks: [usize; 4], bottleneck: bool) -> Model {
    let mut net = Net::new(name);
    let mut x = net.input("image", DType::F32, &[3, 224, 224]);
    x = net.folded_conv(x, Conv::new(3, 64, 7, 2));
    x = net.relu(x);
    x = net.max_pool(x, 3, 2, 1);
    let mut channels = 64;
    for (stage, blocks) in blocks.into_iter().enumerate() {
        let width = 64 << stage;
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let out = if bottleneck { 4 * width } else { width };
            let branch = if bottleneck {
                let reduced = net.folded_conv(x, Conv::new(channels, width, 1, 1));
                let reduced = net.relu(reduced);
                let middle = net.folded_conv(reduced, Conv::new(width, width, 3, stride));
                let middle = net.relu(middle);
                net.folded_conv(
                    middle,
                    Conv {
                        gain: BRANCH,
                        ..Conv::new(width, out, 1, 1)
                    },
                )
            } else {
                let middle = net.folded_conv(x, Conv::new(channels, width, 3, stride));
                let middle = net.relu(middle);
                net.folded_conv(
                    middle,
                    Conv {
                        gain: BRANCH,
                        ..Conv::new(width, out, 3, 1)
                    },
                )
            };
            let shortcut = if channels == out && stride == 1 {
                x
            } else {
                net.folded_conv(x, Conv::new(channels, out, 1, stride))
            };
            let sum = net.sum(branch, shortcut);
            x = net.relu(sum);
            channels = out;
        }
    }
    let scores = net.classifier(x, channels, 1000);
    net.finish(scores)
}

pub(crate) fn resnet18() -> Model {
    resnet("resnet18", [2, 2, 2, 2], false)
}

pub(crate) fn resnet50() -> Model {
    resnet("resnet50", [3, 4, 6, 3], true)
}

/// Sandler et al. 2018, table 2.
pub(crate) fn mobilenet_v2() -> Model {
    let mut net = Net::new("mobilenet_v2");
    let image = net.input("image", DType::F32, &[3, 224, 224]);
    let stem = net.folded_conv(image, Conv::new(3, 32, 3, 2));
    let mut x = net.relu6(stem);
    let mut channels = 32;
    // expansion, channels, blocks, stride
    let stages = [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ];
    for (expansion, out, blocks, stride) in stages {
        for block in 0..blocks {
            let stride = if block == 0 { stride } else { 1 };
            let wide = channels * expansion;
            let mut branch = x;
            if expansion > 1 {
                branch = net.folded_conv(branch, Conv::new(channels, wide, 1, 1));
                branch = net.relu6(branch);
            }
            branch = net.folded_conv(branch, Conv::depthwise(wide, 3, stride));
            branch = net.relu6(branch);
            let residual = stride == 1 && channels == out;
            let gain = if residual { BRANCH } else { 1.0 };
            branch = net.folded_conv(
                branch,
                Conv {
                    gain,
                    ..Conv::new(wide, out, 1, 1)
                },
            );
            x = if residual { net.sum(x, branch) } else { branch };
            channels = out;
        }
    }
    x = net.folded_conv(x, Conv::new(channels, 1280, 1, 1));
    x = net.relu6(x);
    let scores = net.classifier(x, 1280, 1000);
    net.finish(scores)
}

/// Tan and Le 2019, table 1, with SiLU and squeeze and excitation.
pub(crate) fn efficientnet_b0() -> Model {
    let mut net = Net::new("efficientnet_b0");
    let image = net.input("image", DType::F32, &[3, 224, 224]);
    let stem = net.folded_conv(image, Conv::new(3, 32, 3, 2));
    let mut x = net.silu(stem);
    let mut channels = 32;
    // expansion, channels, blocks, stride, kernel
    let stages = [
        (1, 16, 1, 1, 3),
        (6, 24, 2, 2, 3),
        (6, 40, 2, 2, 5),
        (6, 80, 3, 2, 3),
        (6, 112, 3, 1, 5),
        (6, 192, 4, 2, 5),
        (6, 320, 1, 1, 3),
    ];
    for (expansion, out, blocks, stride, kernel) in stages {
        for block in 0..blocks {
            let stride = if block == 0 { stride } else { 1 };
            let wide = channels * expansion;
            let mut branch = x;
            if expansion > 1 {
                branch = net.folded_conv(branch, Conv::new(channels, wide, 1, 1));
                branch = net.silu(branch);
            }
            branch = net.folded_conv(branch, Conv::depthwise(wide, kernel, stride));
            branch = net.silu(branch);
            branch = squeeze_and_excite(&mut net, branch, wide, channels / 4);
            let residual = stride == 1 && channels == out;
            let gain = if residual { BRANCH } else { 1.0 };
            branch = net.folded_conv(
                branch,
                Conv {
                    gain,
                    ..Conv::new(wide, out, 1, 1)
                },
            );
            x = if residual { net.sum(x, branch) } else { branch };
            channels = out;
        }
    }
    x = net.folded_conv(x, Conv::new(channels, 1280, 1, 1));
    x = net.silu(x);
    let scores = net.classifier(x, 1280, 1000);
    net.finish(scores)
}

fn squeeze_and_excite(net: &mut Net, x: ValueId, channels: usize, squeezed: usize) -> ValueId {
    let mean = net.add(GlobalAveragePool {}, &[x]);
    let small = net.folded_conv(mean, Conv::new(channels, squeezed, 1, 1));
    let small = net.silu(small);
    let large = net.folded_conv(small, Conv::new(squeezed, channels, 1, 1));
    let gate = net.add(Unary::Sigmoid, &[large]);
    net.add(Binary::Mul, &[x, gate])
}
