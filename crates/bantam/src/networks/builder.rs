//! [`Net`]: a graph under construction.

use bantam_graph::ops::{
    AutoPad, Clip, Conv, Flatten, Gemm, GlobalAveragePool, MatMul, MaxPool, Reshape, Softmax, Transpose,
};
use bantam_graph::ops::{BatchNormalization, Binary, Unary};
use bantam_graph::{Dim, Graph, Model, Op, OperatorSet, ValueId};
use bantam_tensor::{DType, Tensor};

use super::random::Random;
use crate::Error;

/// The opset of the files: the newest that ONNX Runtime and OpenVINO take in full.
const OPSET: i64 = 20;

/// Most elements of a network's weights: 2 GiB of float32.
const MOST_ELEMENTS: usize = 1 << 29;

/// How a convolution's window moves. Windows are square.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Steps from one window to the next.
    pub stride: usize,
    /// Zeros on each side.
    pub padding: usize,
    /// Groups of channels.
    pub groups: usize,
}

impl Window {
    /// One group, padded so that a stride of 1 keeps the size.
    pub fn same(kernel: usize, stride: usize) -> Window {
        Window {
            stride,
            padding: kernel / 2,
            groups: 1,
        }
    }

    /// One group without padding.
    pub fn valid(stride: usize) -> Window {
        Window {
            stride,
            padding: 0,
            groups: 1,
        }
    }
}

/// A graph under construction. Nodes and constants without a name of their own are numbered.
#[derive(Debug)]
pub struct Net {
    /// The graph so far.
    pub graph: Graph,
    random: Random,
    names: usize,
    elements: usize,
}

impl Net {
    /// An empty graph.
    pub fn new(name: &str) -> Net {
        let graph = Graph {
            name: name.to_owned(),
            ..Graph::default()
        };
        Net {
            graph,
            random: Random::new(0),
            names: 0,
            elements: 0,
        }
    }

    /// An input whose first dimension is the batch.
    pub fn input(&mut self, name: &str, dtype: DType, sizes: &[usize]) -> ValueId {
        let batch = Dim::Symbol("batch".into());
        let dims = std::iter::once(batch).chain(sizes.iter().map(|size| Dim::Known(*size)));
        self.graph.add_input(name, dtype, dims.collect())
    }

    /// A node with a numbered name.
    pub fn add(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        let op = op.into();
        let name = self.number(&op.name().to_lowercase());
        self.graph.add_node(&name, op, inputs)
    }

    /// `STEM_1`, `STEM_2` and so on: a name that is not taken.
    pub fn number(&mut self, stem: &str) -> String {
        self.names += 1;
        format!("{stem}_{}", self.names)
    }

    /// A constant with a numbered name.
    pub fn constant(&mut self, tensor: Tensor) -> ValueId {
        let name = self.number("constant");
        self.graph.add_constant(&name, tensor)
    }

    /// A constant list of integers.
    pub fn integers(&mut self, values: &[i64]) -> ValueId {
        self.constant(Tensor::from_vec1(values))
    }

    /// Normally distributed numbers of mean 0.
    pub fn normal(&mut self, shape: &[usize], deviation: f64) -> ValueId {
        let elements = shape.iter().product();
        let values: Vec<f32> = (0..elements)
            .map(|_| (self.random.normal() * deviation) as f32)
            .collect();
        self.constant(Tensor::from_slice(shape, &values).expect("as many as the shape says"))
    }

    /// Zeros for [`super::initialize`] to fill.
    ///
    /// # Errors
    /// When the network has grown larger than 2 GiB.
    pub fn weights(&mut self, name: &str, shape: &[usize]) -> Result<ValueId, Error> {
        let elements = shape
            .iter()
            .try_fold(1usize, |product, size| product.checked_mul(*size));
        let total = elements.and_then(|elements| self.elements.checked_add(elements));
        let total = total
            .filter(|total| *total <= MOST_ELEMENTS)
            .ok_or_else(|| Error::Usage {
                message: format!(
                    "with `{name}` of shape {shape:?} the network has more than {MOST_ELEMENTS} weights"
                ),
                hint: "choose a smaller --input, --width, --hidden or --classes".to_owned(),
            })?;
        self.elements = total;
        let zeros = Tensor::zeros(DType::F32, shape).expect("the size was checked");
        Ok(self.graph.add_constant(name, zeros))
    }

    /// A convolution with given weights `[out, channels / groups, kernel, kernel]` and perhaps a bias.
    pub fn convolution(&mut self, name: &str, inputs: &[ValueId], kernel: usize, window: Window) -> ValueId {
        let both = |size: usize| vec![size as i64; 2];
        let op = Conv {
            auto_pad: AutoPad::NotSet,
            dilations: both(1),
            group: window.groups as i64,
            kernel_shape: both(kernel),
            pads: vec![window.padding as i64; 4],
            strides: both(window.stride),
        };
        self.graph.add_node(name, op, inputs)
    }

    /// A convolution from `channels` to `out` with a bias; weights are `NAME.weight`, `NAME.bias`.
    pub fn conv(
        &mut self,
        name: &str,
        x: ValueId,
        (channels, out, kernel): (usize, usize, usize),
        window: Window,
    ) -> Result<ValueId, Error> {
        let shape = [out, channels / window.groups, kernel, kernel];
        let weights = self.weights(&format!("{name}.weight"), &shape)?;
        let bias = self.weights(&format!("{name}.bias"), &[out])?;
        Ok(self.convolution(name, &[x, weights, bias], kernel, window))
    }

    /// A convolution without bias, `CONV`, and its BatchNormalization, `NORM`.
    pub fn conv_norm(
        &mut self,
        (conv, norm): (&str, &str),
        x: ValueId,
        (channels, out, kernel): (usize, usize, usize),
        window: Window,
    ) -> Result<ValueId, Error> {
        let shape = [out, channels / window.groups, kernel, kernel];
        let weights = self.weights(&format!("{conv}.weight"), &shape)?;
        let y = self.convolution(conv, &[x, weights], kernel, window);
        let mut inputs = vec![y];
        for part in ["weight", "bias", "running_mean", "running_var"] {
            inputs.push(self.weights(&format!("{norm}.{part}"), &[out])?);
        }
        let op = BatchNormalization {
            epsilon: 1e-5,
            momentum: 0.9,
            training_mode: false,
        };
        Ok(self.graph.add_node(norm, op, &inputs))
    }

    /// `x * weights^T + bias` of two dimensions, as Gemm with weights `[to, from]`.
    pub fn dense(&mut self, name: &str, x: ValueId, from: usize, to: usize) -> Result<ValueId, Error> {
        let weights = self.weights(&format!("{name}.weight"), &[to, from])?;
        let bias = self.weights(&format!("{name}.bias"), &[to])?;
        Ok(self.gemm(name, [x, weights, bias]))
    }

    /// Gemm with given weights `[to, from]` and bias `[to]`.
    pub fn gemm(&mut self, name: &str, inputs: [ValueId; 3]) -> ValueId {
        let op = Gemm {
            alpha: 1.0,
            beta: 1.0,
            transA: false,
            transB: true,
        };
        self.graph.add_node(name, op, &inputs)
    }

    /// `x * weights + bias` over the last dimension, as MatMul with weights `[from, to]`.
    pub fn linear(&mut self, name: &str, x: ValueId, from: usize, to: usize) -> Result<ValueId, Error> {
        let weights = self.weights(&format!("{name}.weight"), &[from, to])?;
        let bias = self.weights(&format!("{name}.bias"), &[to])?;
        let product = self
            .graph
            .add_node(&format!("{name}.product"), MatMul {}, &[x, weights]);
        Ok(self.graph.add_node(name, Binary::Add, &[product, bias]))
    }

    /// Rectifier.
    pub fn relu(&mut self, x: ValueId) -> ValueId {
        self.add(Unary::Relu, &[x])
    }

    /// Rectifier with an upper bound of 6.
    pub fn relu6(&mut self, x: ValueId) -> ValueId {
        let low = self.constant(Tensor::scalar(0f32));
        let high = self.constant(Tensor::scalar(6f32));
        self.add(Clip {}, &[x, low, high])
    }

    /// Element-wise sum.
    pub fn sum(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.add(Binary::Add, &[a, b])
    }

    /// Largest of each window; square windows, `padding` on each side.
    pub fn max_pool(&mut self, x: ValueId, kernel: usize, stride: usize, padding: usize) -> ValueId {
        let op = MaxPool {
            auto_pad: AutoPad::NotSet,
            ceil_mode: false,
            dilations: vec![],
            kernel_shape: vec![kernel as i64; 2],
            pads: vec![padding as i64; 4],
            strides: vec![stride as i64; 2],
            storage_order: 0,
        };
        self.add(op, &[x])
    }

    /// Mean over positions: `[N, C, ...]` to `[N, C]`.
    pub fn global_mean(&mut self, x: ValueId) -> ValueId {
        let mean = self.add(GlobalAveragePool {}, &[x]);
        self.flatten(mean)
    }

    /// All dimensions but the first become one.
    pub fn flatten(&mut self, x: ValueId) -> ValueId {
        self.add(Flatten { axis: 1 }, &[x])
    }

    /// A new shape; 0 keeps a size, -1 is inferred.
    pub fn reshape(&mut self, x: ValueId, shape: &[i64]) -> ValueId {
        let shape = self.integers(shape);
        self.add(Reshape { allowzero: false }, &[x, shape])
    }

    /// Permuted dimensions.
    pub fn transpose(&mut self, x: ValueId, perm: &[i64]) -> ValueId {
        let perm = Some(perm.to_vec());
        self.add(Transpose { perm }, &[x])
    }

    /// `softmax(q * k / sqrt(size) + mask) * v`, `k` with its last two dimensions swapped (Vaswani et al. 2017, equation 1).
    pub fn attention(&mut self, [q, k, v]: [ValueId; 3], size: usize, mask: Option<ValueId>) -> ValueId {
        let scores = self.add(MatMul {}, &[q, k]);
        let root = self.constant(Tensor::scalar((size as f32).sqrt()));
        let mut scores = self.add(Binary::Div, &[scores, root]);
        if let Some(mask) = mask {
            scores = self.sum(scores, mask);
        }
        let shares = self.add(Softmax { axis: -1 }, &[scores]);
        self.add(MatMul {}, &[shares, v])
    }

    /// The model, with one output.
    pub fn finish(mut self, output: ValueId) -> Model {
        self.graph.outputs.push(output);
        let mut model = Model::new(self.graph);
        model.opsets.push(OperatorSet {
            domain: String::new(),
            version: OPSET,
        });
        model
    }
}
