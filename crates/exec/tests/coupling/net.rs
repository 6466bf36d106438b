//! A graph under construction, with random weights.

use bantam_graph::ops::{
    AutoPad, BatchNormalization, Binary, Conv, Flatten, Gemm, GlobalAveragePool, MatMul,
};
use bantam_graph::{Dim, Graph, Node, Op, Value, ValueId};
use bantam_tensor::{DType, SplitMix64, Tensor};

pub(crate) struct Net {
    pub(crate) graph: Graph,
    pub(crate) random: SplitMix64,
    names: usize,
}

impl Net {
    pub(crate) fn new(seed: u64) -> Net {
        Net {
            graph: Graph::default(),
            random: SplitMix64::new(seed),
            names: 0,
        }
    }

    /// An input `[batch, channels, 8, 8]`.
    pub(crate) fn image(&mut self, channels: usize) -> ValueId {
        let dims = vec![
            Dim::Symbol("batch".to_owned()),
            channels.into(),
            8.into(),
            8.into(),
        ];
        self.graph.add_input("input", DType::F32, dims)
    }

    /// An input `[batch, tokens, width]`.
    pub(crate) fn sequence(&mut self, width: usize) -> ValueId {
        let open = |name: &str| Dim::Symbol(name.to_owned());
        self.graph.add_input(
            "input",
            DType::F32,
            vec![open("batch"), open("tokens"), width.into()],
        )
    }

    fn name(&mut self, stem: &str) -> String {
        self.names += 1;
        format!("{stem}{}", self.names)
    }

    pub(crate) fn add(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        let op = op.into();
        let name = self.name(&op.name().to_lowercase());
        self.graph.add_node(&name, op, inputs)
    }

    /// A node with optional inputs and several outputs.
    pub(crate) fn add_many(
        &mut self,
        op: impl Into<Op>,
        inputs: &[Option<ValueId>],
        outputs: usize,
    ) -> Vec<ValueId> {
        let op = op.into();
        let name = self.name(&op.name().to_lowercase());
        let outputs: Vec<ValueId> = (0..outputs)
            .map(|index| {
                self.graph.add_value(Value {
                    name: format!("{name}_{index}"),
                    ..Value::default()
                })
            })
            .collect();
        let mut node = Node::new(name, op, &[], &outputs);
        node.inputs = inputs.to_vec();
        self.graph.nodes.push(node);
        outputs
    }

    pub(crate) fn integers(&mut self, values: &[i64]) -> ValueId {
        let name = self.name("integers");
        self.graph.add_constant(&name, Tensor::from_vec1(values))
    }

    /// Numbers around zero, divided by the root of `fan`.
    pub(crate) fn weights(&mut self, shape: &[usize], fan: usize) -> ValueId {
        let scale = 2.0 / (fan.max(1) as f32).sqrt();
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count)
            .map(|_| (self.random.unit() * 2.0 - 1.0) * scale)
            .collect();
        let name = self.name("weight");
        self.graph
            .add_constant(&name, Tensor::from_slice(shape, &values).expect("as many"))
    }

    /// Numbers from 0.5 to 1.5.
    pub(crate) fn positive(&mut self, shape: &[usize]) -> ValueId {
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| 0.5 + self.random.unit()).collect();
        let name = self.name("scale");
        self.graph
            .add_constant(&name, Tensor::from_slice(shape, &values).expect("as many"))
    }

    /// Size of an axis of what was built so far.
    pub(crate) fn size(&mut self, value: ValueId, axis: usize) -> usize {
        bantam_graph::infer_shapes(&mut self.graph, &bantam_graph::InferOptions::default()).expect("fits");
        let dims = self.graph.value(value).ty.shape().expect("known");
        dims[axis].known().expect("known")
    }

    /// A convolution that keeps the size (with a stride of 1), with a bias.
    pub(crate) fn conv(
        &mut self,
        x: ValueId,
        outputs: usize,
        kernel: usize,
        stride: i64,
        groups: usize,
    ) -> ValueId {
        let inputs = self.size(x, 1) / groups;
        let weight = self.weights(&[outputs, inputs, kernel, kernel], inputs * kernel * kernel);
        let bias = self.weights(&[outputs], 4);
        self.convolve(x, &[weight, bias], kernel, stride, groups)
    }

    /// A convolution with given weights.
    pub(crate) fn convolve(
        &mut self,
        x: ValueId,
        weights: &[ValueId],
        kernel: usize,
        stride: i64,
        groups: usize,
    ) -> ValueId {
        let op = Conv {
            auto_pad: AutoPad::NotSet,
            dilations: Vec::new(),
            group: groups as i64,
            kernel_shape: vec![kernel as i64; 2],
            pads: vec![kernel as i64 / 2; 4],
            strides: vec![stride; 2],
        };
        self.add(op, &[&[x], weights].concat())
    }

    pub(crate) fn batch_normalization(&mut self, x: ValueId) -> ValueId {
        let channels = self.size(x, 1);
        let (scale, variance) = (self.positive(&[channels]), self.positive(&[channels]));
        let (bias, mean) = (self.weights(&[channels], 4), self.weights(&[channels], 4));
        let op = BatchNormalization {
            epsilon: 1e-5,
            momentum: 0.9,
            training_mode: false,
        };
        self.add(op, &[x, scale, bias, mean, variance])
    }

    pub(crate) fn sum(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.add(Binary::Add, &[a, b])
    }

    pub(crate) fn product(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.add(Binary::Mul, &[a, b])
    }

    /// `x W + b` along the last axis.
    pub(crate) fn linear(&mut self, x: ValueId, inputs: usize, outputs: usize) -> ValueId {
        let weight = self.weights(&[inputs, outputs], inputs);
        let y = self.add(MatMul {}, &[x, weight]);
        let bias = self.weights(&[outputs], 4);
        self.sum(y, bias)
    }

    /// Means over positions, then a linear layer; the value is called `output`.
    pub(crate) fn classes(&mut self, x: ValueId, classes: usize) -> ValueId {
        let means = self.add(GlobalAveragePool {}, &[x]);
        let flat = self.add(Flatten { axis: 1 }, &[means]);
        self.scores(flat, classes)
    }

    /// A linear layer on rows, with its weight either way round; the value is called `output`.
    pub(crate) fn scores(&mut self, x: ValueId, classes: usize) -> ValueId {
        let (inputs, transposed) = (self.size(x, 1), self.random.below(2) == 0);
        let shape = if transposed {
            [classes, inputs]
        } else {
            [inputs, classes]
        };
        let (weight, bias) = (self.weights(&shape, inputs), self.weights(&[classes], 4));
        let op = Gemm {
            alpha: 1.0,
            beta: 1.0,
            transA: false,
            transB: transposed,
        };
        self.graph.add_node("output", op, &[x, weight, bias])
    }
}
