//! [`Net`]: a graph under construction, with seeded random weights.

use bantam::formats::data::SplitMix64;
use bantam::graph::ops::*;
use bantam::graph::{Dim, Graph, Model, Op, OperatorSet, ValueId};
use bantam::tensor::{DType, Tensor};

/// The opset of the files: the newest that ONNX Runtime and OpenVINO take in full.
const OPSET: i64 = 20;

/// A convolution's sizes.
#[derive(Clone, Copy)]
pub(crate) struct Conv {
    pub(crate) channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) groups: usize,
    /// Factor on the weights: below 1 at the end of residual branches, so that sums do not grow with depth.
    pub(crate) gain: f32,
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

/// A graph under construction.
pub(crate) struct Net {
    pub(crate) graph: Graph,
    generator: SplitMix64,
    names: usize,
}

impl Net {
    pub(crate) fn new(name: &str) -> Net {
        let graph = Graph {
            name: name.to_owned(),
            ..Graph::default()
        };
        Net {
            graph,
            generator: SplitMix64::new(0),
            names: 0,
        }
    }

    /// An input whose first dimension is the batch.
    pub(crate) fn input(&mut self, name: &str, dtype: DType, sizes: &[usize]) -> ValueId {
        let batch = Dim::Symbol("batch".into());
        let dims = std::iter::once(batch).chain(sizes.iter().map(|size| Dim::Known(*size)));
        self.graph.add_input(name, dtype, dims.collect())
    }

    pub(crate) fn add(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        let op = op.into();
        self.names += 1;
        let name = format!("{}_{}", op.name().to_lowercase(), self.names);
        self.graph.add_node(&name, op, inputs)
    }

    pub(crate) fn constant(&mut self, tensor: Tensor) -> ValueId {
        self.names += 1;
        let name = format!("constant_{}", self.names);
        self.graph.add_constant(&name, tensor)
    }

    pub(crate) fn integers(&mut self, values: &[i64]) -> ValueId {
        self.constant(Tensor::from_vec1(values))
    }

    /// Normally distributed numbers of mean 0, nearly: sums of four uniform ones.
    pub(crate) fn normal(&mut self, shape: &[usize], deviation: f32) -> ValueId {
        let elements = shape.iter().product();
        let values: Vec<f32> = (0..elements)
            .map(|_| {
                let bits = self.generator.next_u64();
                let sum: u64 = (0..4).map(|part| bits >> (16 * part) & 0xffff).sum();
                // Each part has variance 1/12 of its range squared.
                (sum as f32 / 65536.0 - 2.0) * (3f32).sqrt() * deviation
            })
            .collect();
        self.constant(Tensor::from_slice(shape, &values).expect("as many as the shape says"))
    }

    /// A convolution with its BatchNormalization folded in, padded to keep the size.
    pub(crate) fn conv(&mut self, x: ValueId, sizes: Conv) -> ValueId {
        let of_group = sizes.channels / sizes.groups;
        let fan_in = of_group * sizes.kernel * sizes.kernel;
        let shape = [sizes.out_channels, of_group, sizes.kernel, sizes.kernel];
        let weights = self.normal(&shape, sizes.gain * (2.0 / fan_in as f32).sqrt());
        let bias = self.normal(&[sizes.out_channels], 0.1);
        let both = |size: usize| vec![size as i64; 2];
        let op = bantam::graph::ops::Conv {
            auto_pad: AutoPad::NotSet,
            dilations: both(1),
            group: sizes.groups as i64,
            kernel_shape: both(sizes.kernel),
            pads: vec![(sizes.kernel / 2) as i64; 4],
            strides: both(sizes.stride),
        };
        self.add(op, &[x, weights, bias])
    }

    pub(crate) fn relu(&mut self, x: ValueId) -> ValueId {
        self.add(Unary::Relu, &[x])
    }

    pub(crate) fn relu6(&mut self, x: ValueId) -> ValueId {
        let low = self.constant(Tensor::scalar(0f32));
        let high = self.constant(Tensor::scalar(6f32));
        self.add(Clip {}, &[x, low, high])
    }

    pub(crate) fn silu(&mut self, x: ValueId) -> ValueId {
        let gate = self.add(Unary::Sigmoid, &[x]);
        self.add(Binary::Mul, &[x, gate])
    }

    pub(crate) fn sum(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.add(Binary::Add, &[a, b])
    }

    /// Mean over positions, then a dense layer to `classes`.
    pub(crate) fn classifier(&mut self, x: ValueId, channels: usize, classes: usize) -> ValueId {
        let mean = self.add(GlobalAveragePool {}, &[x]);
        let flat = self.add(Flatten { axis: 1 }, &[mean]);
        let weights = self.normal(&[classes, channels], (1.0 / channels as f32).sqrt());
        let bias = self.normal(&[classes], 0.1);
        let gemm = Gemm {
            alpha: 1.0,
            beta: 1.0,
            transA: false,
            transB: true,
        };
        self.add(gemm, &[flat, weights, bias])
    }

    /// `x * weights + bias` over the last dimension.
    pub(crate) fn linear(&mut self, x: ValueId, from: usize, to: usize, bias: bool) -> ValueId {
        let weights = self.normal(&[from, to], (1.0 / from as f32).sqrt());
        let product = self.add(MatMul {}, &[x, weights]);
        if !bias {
            return product;
        }
        let bias = self.normal(&[to], 0.02);
        self.sum(bias, product)
    }

    pub(crate) fn reshape(&mut self, x: ValueId, shape: &[i64]) -> ValueId {
        let shape = self.integers(shape);
        self.add(Reshape { allowzero: false }, &[x, shape])
    }

    pub(crate) fn transpose(&mut self, x: ValueId, perm: &[i64]) -> ValueId {
        let perm = Some(perm.to_vec());
        self.add(Transpose { perm }, &[x])
    }

    pub(crate) fn finish(mut self, output: ValueId) -> Model {
        self.graph.outputs.push(output);
        let mut model = Model::new(self.graph);
        model.opsets.push(OperatorSet {
            domain: String::new(),
            version: OPSET,
        });
        model
    }
}
