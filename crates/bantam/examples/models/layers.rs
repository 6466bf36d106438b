//! Layers with random weights, as a deployed network has them: BatchNormalization folded into convolutions.

use bantam::graph::ValueId;
use bantam::graph::ops::{Binary, MatMul, Unary};
use bantam::networks::{Net, Window};

/// A convolution's sizes.
#[derive(Clone, Copy)]
pub(crate) struct Conv {
    pub(crate) channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) groups: usize,
    /// Factor on the weights: below 1 at the end of residual branches, so that sums do not grow with depth.
    pub(crate) gain: f64,
}

impl Conv {
    pub(crate) fn new(channels: usize, out_channels: usize, kernel: usize, stride: usize) -> Conv {
        Conv {
            channels,
            out_channels,
            kernel,
            stride,
            groups: 1,
            gain: 1.0,
        }
    }

    pub(crate) fn depthwise(channels: usize, kernel: usize, stride: usize) -> Conv {
        Conv {
            groups: channels,
            ..Conv::new(channels, channels, kernel, stride)
        }
    }
}

/// Layers that only these networks have.
pub(crate) trait Layers {
    /// A convolution with its BatchNormalization folded in, padded to keep the size.
    fn folded_conv(&mut self, x: ValueId, sizes: Conv) -> ValueId;
    /// `x * sigmoid(x)`.
    fn silu(&mut self, x: ValueId) -> ValueId;
    /// Mean over positions, then a dense layer to `classes`.
    fn classifier(&mut self, x: ValueId, channels: usize, classes: usize) -> ValueId;
    /// `x * weights + bias` over the last dimension.
    fn random_linear(&mut self, x: ValueId, from: usize, to: usize, bias: bool) -> ValueId;
}

impl Layers for Net {
    fn folded_conv(&mut self, x: ValueId, sizes: Conv) -> ValueId {
        let of_group = sizes.channels / sizes.groups;
        let fan_in = of_group * sizes.kernel * sizes.kernel;
        let shape = [sizes.out_channels, of_group, sizes.kernel, sizes.kernel];
        let weights = self.normal(&shape, sizes.gain * (2.0 / fan_in as f64).sqrt());
        let bias = self.normal(&[sizes.out_channels], 0.1);
        let window = Window {
            groups: sizes.groups,
            ..Window::same(sizes.kernel, sizes.stride)
        };
        let name = self.number("conv");
        self.convolution(&name, &[x, weights, bias], sizes.kernel, window)
    }

    fn silu(&mut self, x: ValueId) -> ValueId {
        let gate = self.add(Unary::Sigmoid, &[x]);
        self.add(Binary::Mul, &[x, gate])
    }

    fn classifier(&mut self, x: ValueId, channels: usize, classes: usize) -> ValueId {
        let flat = self.global_mean(x);
        let weights = self.normal(&[classes, channels], (1.0 / channels as f64).sqrt());
        let bias = self.normal(&[classes], 0.1);
        let name = self.number("gemm");
        self.gemm(&name, [flat, weights, bias])
    }

    fn random_linear(&mut self, x: ValueId, from: usize, to: usize, bias: bool) -> ValueId {
        let weights = self.normal(&[from, to], (1.0 / from as f64).sqrt());
        let product = self.add(MatMul {}, &[x, weights]);
        if !bias {
            return product;
        }
        let bias = self.normal(&[to], 0.02);
        self.sum(bias, product)
    }
}
