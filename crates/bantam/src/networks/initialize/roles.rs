//! Which constants are which weights, found by op.

use bantam_graph::ops::{Binary, Unary};
use bantam_graph::{Graph, Node, NodeId, Op, ValueId};
use bantam_tensor::{DType, Tensor};

use super::fans::Fans;
use super::{Filling, Initialization};
use crate::Error;

/// Deviation of embeddings and positions.
const EMBEDDING: f64 = 0.02;

/// Initial slope of PRelu.
const SLOPE: f64 = 0.25;

/// What the constants of a graph are filled with, in the order of the nodes that read them.
pub(super) fn fillings(graph: &Graph, scheme: Initialization) -> Result<Vec<(ValueId, Filling)>, Error> {
    let mut finder = Finder {
        graph,
        scheme,
        producers: graph.producers(),
        consumers: graph.consumers(),
        found: Vec::new(),
    };
    for node in &graph.nodes {
        finder.node(node)?;
    }
    Ok(finder.found)
}

struct Finder<'g> {
    graph: &'g Graph,
    scheme: Initialization,
    producers: Vec<Option<NodeId>>,
    consumers: Vec<Vec<(NodeId, usize)>>,
    found: Vec<(ValueId, Filling)>,
}

impl Finder<'_> {
    fn node(&mut self, node: &Node) -> Result<(), Error> {
        match &node.op {
            Op::Conv(op) => self.convolution(node, op.group, 2)?,
            Op::FusedConv(op) => self.convolution(node, op.group, 2)?,
            Op::DeformConv(op) => self.convolution(node, op.group, 3)?,
            Op::ConvTranspose(op) => {
                self.weight(node, 1, |shape| Fans::of_transposed(shape, op.group))?;
                self.values(node, &[(2, 0.0)]);
            }
            Op::Gemm(op) => {
                self.weight(node, 0, |shape| Fans::of_matrix(shape, !op.transA))?;
                self.weight(node, 1, |shape| Fans::of_matrix(shape, op.transB))?;
                self.values(node, &[(2, 0.0)]);
            }
            Op::MatMul(_) => {
                self.weight(node, 0, |shape| Fans::of_matrix(shape, true))?;
                self.weight(node, 1, |shape| Fans::of_matrix(shape, false))?;
            }
            Op::BatchNormalization(_) => self.values(node, &[(1, 1.0), (2, 0.0), (3, 0.0), (4, 1.0)]),
            Op::InstanceNormalization(_) | Op::GroupNormalization(_) | Op::LayerNormalization(_) => {
                self.values(node, &[(1, 1.0), (2, 0.0)]);
            }
            Op::RmsNormalization(_) | Op::SimplifiedLayerNormalization(_) => self.values(node, &[(1, 1.0)]),
            Op::SkipLayerNormalization(_) => self.values(node, &[(2, 1.0), (3, 0.0), (4, 0.0)]),
            Op::SkipSimplifiedLayerNormalization(_) => self.values(node, &[(2, 1.0), (3, 0.0)]),
            Op::BiasGelu(_) => self.values(node, &[(1, 0.0)]),
            Op::Lstm(_) => {
                self.recurrent(node);
                self.values(node, &[(7, 0.0)]);
            }
            Op::Gru(_) | Op::Rnn(_) => self.recurrent(node),
            Op::Binary(Binary::PRelu) => self.values(node, &[(1, SLOPE)]),
            Op::Binary(Binary::Add) => self.addend(node),
            Op::Gather(op) if op.axis == 0 => self.embedding(node),
            Op::QLinearConv(_) | Op::QLinearMatMul(_) | Op::QGemm(_) | Op::MatMulNBits(_) => {
                return Err(self.quantized(node));
            }
            Op::ConvInteger(_) | Op::MatMulInteger(_) | Op::MatMulIntegerToFloat(_) => {
                return Err(self.quantized(node));
            }
            _ => {}
        }
        Ok(())
    }

    fn convolution(&mut self, node: &Node, groups: i64, bias: usize) -> Result<(), Error> {
        self.weight(node, 1, |shape| Fans::of_convolution(shape, groups))?;
        self.values(node, &[(bias, 0.0)]);
        Ok(())
    }

    /// The weight in input `position`, if it is a constant.
    fn weight(
        &mut self,
        node: &Node,
        position: usize,
        fans: impl Fn(&[usize]) -> Option<Fans>,
    ) -> Result<(), Error> {
        if self.is_dequantized(node, position) {
            return Err(self.quantized(node));
        }
        let Some((id, tensor)) = self.constant(node, position) else {
            return Ok(());
        };
        if let Some(fans) = fans(tensor.shape()) {
            let rectified = node.output(0).is_some_and(|output| self.is_rectified(output));
            self.found.push((id, fans.filling(self.scheme, rectified)));
        }
        Ok(())
    }

    /// Constants in these inputs become these numbers.
    fn values(&mut self, node: &Node, values: &[(usize, f64)]) {
        for (position, value) in values {
            if let Some((id, _)) = self.constant(node, *position) {
                self.found.push((id, Filling::Value(*value)));
            }
        }
    }

    /// Weights `[directions, gates * hidden, ...]` and biases of a cell.
    fn recurrent(&mut self, node: &Node) {
        let hidden = self
            .constant(node, 2)
            .and_then(|(_, tensor)| tensor.shape().last().copied());
        let bound = 1.0 / (hidden.unwrap_or(1).max(1) as f64).sqrt();
        for position in [1, 2] {
            if let Some((id, _)) = self.constant(node, position) {
                self.found.push((id, Filling::Uniform(bound)));
            }
        }
        self.values(node, &[(3, 0.0)]);
    }

    /// A table that rows are taken from.
    fn embedding(&mut self, node: &Node) {
        if let Some((id, _)) = self.constant(node, 0).filter(|(_, table)| table.rank() >= 2) {
            self.found.push((id, Filling::Normal(EMBEDDING)));
        }
    }

    /// What is added: the bias of a product, or positions.
    fn addend(&mut self, node: &Node) {
        for (position, other) in [(0, 1), (1, 0)] {
            let Some((id, tensor)) = self.constant(node, position) else {
                continue;
            };
            let extents = tensor.shape().iter().filter(|size| **size > 1).count();
            let to_product = node.input(other).is_some_and(|id| self.is_product(id));
            if extents == 1 && to_product {
                self.found.push((id, Filling::Value(0.0)));
            } else if extents > 1 && looks_trained(tensor) {
                self.found.push((id, Filling::Normal(EMBEDDING)));
            }
        }
    }

    /// The float constant in input `position`.
    fn constant(&self, node: &Node, position: usize) -> Option<(ValueId, &Tensor)> {
        let id = node.input(position)?;
        let tensor = self.graph.value(id).initializer.as_ref()?;
        let is_filled = |dtype| matches!(dtype, DType::F64 | DType::F32 | DType::F16 | DType::BF16);
        is_filled(tensor.dtype()).then_some((id, tensor))
    }

    fn producer(&self, id: ValueId) -> Option<&Node> {
        self.producers[id.index()].map(|node| self.graph.node(node))
    }

    fn is_product(&self, id: ValueId) -> bool {
        let is_product = |op: &Op| {
            matches!(
                op,
                Op::MatMul(_) | Op::Gemm(_) | Op::Conv(_) | Op::ConvTranspose(_)
            )
        };
        self.producer(id).is_some_and(|node| is_product(&node.op))
    }

    fn is_dequantized(&self, node: &Node, position: usize) -> bool {
        let producer = node.input(position).and_then(|id| self.producer(id));
        producer.is_some_and(|producer| {
            matches!(producer.op, Op::DequantizeLinear(_) | Op::MsDequantizeLinear(_))
                && self.graph.constant_input(producer, 0).is_some()
        })
    }

    fn quantized(&self, node: &Node) -> Error {
        Error::Usage {
            message: format!("the weights of {} are quantized", self.graph.describe(node)),
            hint: "draw the weights of the float model, and quantize that".to_owned(),
        }
    }

    /// True where what reads a value, directly or behind a bias, a pool and the like, is a rectifier or a normalization.
    fn is_rectified(&self, value: ValueId) -> bool {
        let mut value = value;
        // No chain is longer than the graph.
        for _ in 0..self.graph.nodes.len() {
            let readers = &self.consumers[value.index()];
            let ops = || readers.iter().map(|(node, _)| self.graph.node(*node));
            if ops().any(|node| rectifies(&node.op)) {
                return true;
            }
            let onward = ops()
                .find(|node| self.passes_on(node))
                .and_then(|node| node.output(0));
            match onward {
                Some(next) => value = next,
                None => return false,
            }
        }
        false
    }

    /// Nodes that keep the variance, or nearly so.
    fn passes_on(&self, node: &Node) -> bool {
        match &node.op {
            Op::Unary(Unary::Identity) | Op::Dropout(_) | Op::MaxPool(_) | Op::AveragePool(_) => true,
            Op::Reshape(_) | Op::Flatten(_) | Op::Transpose(_) => true,
            Op::Binary(Binary::Add) => (0..2).any(|position| self.constant(node, position).is_some()),
            _ => false,
        }
    }
}

fn rectifies(op: &Op) -> bool {
    match op {
        Op::Unary(op) => matches!(op, Unary::Relu | Unary::HardSwish | Unary::Mish),
        Op::Binary(op) => *op == Binary::PRelu,
        Op::LeakyRelu(_) | Op::ThresholdedRelu(_) | Op::Elu(_) | Op::Celu(_) | Op::Swish(_) | Op::Clip(_) => {
            true
        }
        Op::BatchNormalization(_) | Op::InstanceNormalization(_) | Op::GroupNormalization(_) => true,
        _ => false,
    }
}

/// False for masks: few different numbers, or very large ones.
fn looks_trained(tensor: &Tensor) -> bool {
    let Ok(values) = tensor.to_f32() else {
        return false;
    };
    if values.iter().all(|value| *value == 0.0) {
        return true;
    }
    let [first, second] = [
        values.first(),
        values.iter().find(|value| Some(*value) != values.first()),
    ];
    let varied = values
        .iter()
        .any(|value| Some(value) != first && Some(value) != second);
    varied && values.iter().all(|value| value.abs() < 100.0)
}
