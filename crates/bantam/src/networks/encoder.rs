//! A transformer encoder on images.

use bantam_graph::ops::{Gelu, GeluApproximation, LayerNormalization, Reduce, ReduceKind};
use bantam_graph::{Model, ValueId};
use bantam_tensor::DType;

use super::{Initialization, Net, Network, Shape, Window, finish};
use crate::Error;

pub(super) const ENCODER_TINY: Network = Network {
    name: "encoder-tiny",
    summary: "vision transformer on patches of 4x4 pixels, 4 layers of width 128 (after Dosovitskiy et al. 2021)",
    input: &[3, 32, 32],
    hidden: &[],
    initialization: Initialization::Standard,
    build: encoder,
};

/// Pixels of a patch each way.
const PATCH: usize = 4;
const LAYERS: usize = 4;
/// Features of one attention head.
const HEAD: usize = 32;

/// Patches with learned positions, layers that normalize before each part, and the mean over positions. The feed-forward
/// parts are twice as wide as the layers, as is usual for small images (Hassani et al. 2021, CCT).
fn encoder(shape: &Shape) -> Result<Model, Error> {
    let [channels, height, image_width] = shape.image(PATCH)?;
    if height % PATCH != 0 || image_width % PATCH != 0 {
        return Err(Error::Usage {
            message: format!(
                "images of {height}x{image_width} pixels cannot be cut in patches of {PATCH}x{PATCH}"
            ),
            hint: format!("choose an --input whose height and width are multiples of {PATCH}"),
        });
    }
    let width = shape.scaled(128, HEAD);
    let tokens = (height / PATCH) * (image_width / PATCH);
    let mut net = Net::new(shape.name);
    let input = net.input("input", DType::F32, &shape.input);
    let patches = net.conv("patches", input, (channels, width, PATCH), Window::valid(PATCH))?;
    let patches = net.reshape(patches, &[0, width as i64, tokens as i64]);
    let patches = net.transpose(patches, &[0, 2, 1]);
    let positions = net.weights("positions", &[tokens, width])?;
    let mut x = net.sum(patches, positions);
    for layer in 0..LAYERS {
        x = encoder_layer(&mut net, &format!("layers.{layer}"), x, width)?;
    }
    let x = layer_norm(&mut net, "norm", x, width)?;
    let mean = mean_over_positions(&mut net, x);
    let logits = net.dense("classifier", mean, width, shape.classes)?;
    Ok(finish(net, logits))
}

fn encoder_layer(net: &mut Net, name: &str, x: ValueId, width: usize) -> Result<ValueId, Error> {
    let normal = layer_norm(net, &format!("{name}.norm1"), x, width)?;
    let context = self_attention(net, &format!("{name}.attention"), normal, width)?;
    let x = net.sum(x, context);
    let normal = layer_norm(net, &format!("{name}.norm2"), x, width)?;
    let wide = net.linear(&format!("{name}.wide"), normal, width, 2 * width)?;
    let approximate = GeluApproximation::None;
    let wide = net.add(Gelu { approximate }, &[wide]);
    let narrow = net.linear(&format!("{name}.narrow"), wide, 2 * width, width)?;
    Ok(net.sum(x, narrow))
}

/// Queries, keys and values by head, their attention, and the projection of the heads side by side.
fn self_attention(net: &mut Net, name: &str, x: ValueId, width: usize) -> Result<ValueId, Error> {
    let heads = (width / HEAD) as i64;
    let mut parts = Vec::new();
    for (part, perm) in [
        ("query", [0, 2, 1, 3]),
        ("key", [0, 2, 3, 1]),
        ("value", [0, 2, 1, 3]),
    ] {
        let projected = net.linear(&format!("{name}.{part}"), x, width, width)?;
        let apart = net.reshape(projected, &[0, 0, heads, HEAD as i64]);
        parts.push(net.transpose(apart, &perm));
    }
    let context = net.attention([parts[0], parts[1], parts[2]], HEAD, None);
    let context = net.transpose(context, &[0, 2, 1, 3]);
    let context = net.reshape(context, &[0, 0, width as i64]);
    net.linear(&format!("{name}.projection"), context, width, width)
}

fn layer_norm(net: &mut Net, name: &str, x: ValueId, width: usize) -> Result<ValueId, Error> {
    let scale = net.weights(&format!("{name}.weight"), &[width])?;
    let bias = net.weights(&format!("{name}.bias"), &[width])?;
    let op = LayerNormalization {
        axis: -1,
        epsilon: 1e-5,
        stash_type: 1,
    };
    Ok(net.graph.add_node(name, op, &[x, scale, bias]))
}

fn mean_over_positions(net: &mut Net, x: ValueId) -> ValueId {
    let axes = net.integers(&[1]);
    let op = Reduce {
        kind: ReduceKind::Mean,
        keepdims: false,
        noop_with_empty_axes: false,
    };
    net.add(op, &[x, axes])
}
