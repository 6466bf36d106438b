//! A network made linear and nowhere negative: weights by their sizes, activations passed through, nothing added.

use bantam_graph::ops::{BatchNormalization, Binary, ReduceKind, Unary, Variadic};
use bantam_graph::{Graph, InferOptions, Node, Op, ValueId, infer_shapes};
use bantam_tensor::Tensor;

use super::PruneError;

/// The graph with `|w|` for each weight, `|scale| / sqrt(variance + epsilon)` for each normalization, without activations and biases.
/// Values keep their ids; constants that are listed keep theirs too.
///
/// # Errors
/// At ops that are neither linear nor activations, as attention and normalization by what is in the data.
pub(super) fn linearized(graph: &Graph, listed: &[ValueId]) -> Result<Graph, PruneError> {
    let mut linear = Linearized {
        varies: vec![false; graph.values.len()],
        graph: graph.clone(),
        listed,
        nodes: Vec::with_capacity(graph.nodes.len()),
    };
    for input in &graph.inputs {
        linear.varies[input.index()] = graph.constant(*input).is_none();
    }
    for node in &graph.nodes {
        linear.node(graph, node.clone())?;
    }
    let mut result = linear.graph;
    result.nodes = linear.nodes;
    infer_shapes(&mut result, &InferOptions::default())?;
    Ok(result)
}

struct Linearized<'a> {
    graph: Graph,
    /// By value: whether numbers of the input flow through it.
    varies: Vec<bool>,
    listed: &'a [ValueId],
    nodes: Vec<Node>,
}

impl Linearized<'_> {
    fn node(&mut self, graph: &Graph, mut node: Node) -> Result<(), PruneError> {
        let varying: Vec<usize> = (0..node.inputs.len())
            .filter(|index| node.input(*index).is_some_and(|input| self.flows(input)))
            .collect();
        let floats = |value: &ValueId| (graph.value(*value).ty.dtype()).is_some_and(|dtype| dtype.is_float());
        if varying.is_empty() || !node.outputs.iter().flatten().any(floats) {
            self.nodes.push(node);
            return Ok(());
        }
        let outputs: Vec<ValueId> = node.outputs.iter().flatten().copied().collect();
        let refused = || PruneError::NotLinear {
            node: graph.describe(&node),
        };
        match (role(graph, &node), &varying[..]) {
            (Some(Role::Linear), _) => {}
            (Some(Role::Activation), [0, ..]) => pass_through(&mut node, 0),
            (Some(Role::Product), [only]) => self.positive_product(&mut node, *only)?,
            (Some(Role::Normalization), [0]) => self.scale_alone(&mut node)?,
            (Some(Role::Sum), [only]) if same_shape(graph, &node, *only) => pass_through(&mut node, *only),
            (Some(Role::Sum), [_, _]) => node.op = Op::Binary(Binary::Add),
            _ => return Err(refused()),
        }
        outputs
            .iter()
            .for_each(|output| self.varies[output.index()] = true);
        self.nodes.push(node);
        Ok(())
    }

    fn flows(&self, value: ValueId) -> bool {
        self.varies.get(value.index()).copied().unwrap_or(false)
    }

    /// A product with the sizes of its weight, and without bias.
    fn positive_product(&mut self, node: &mut Node, varying: usize) -> Result<(), PruneError> {
        node.inputs.truncate(2);
        let Some(weight) = node.input(1 - varying.min(1)) else {
            return Ok(());
        };
        let positive = match self.graph.constant(weight) {
            Some(tensor) => {
                let values: Vec<f32> = tensor.to_f32()?.into_iter().map(f32::abs).collect();
                let tensor = Tensor::from_slice(tensor.shape(), &values)?;
                match self.listed.contains(&weight) {
                    true => {
                        self.graph.values[weight.index()].initializer = Some(tensor);
                        weight
                    }
                    false => self.graph.add_constant("positive", tensor),
                }
            }
            None => {
                let value = self.graph.add_value(bantam_graph::Value::default());
                self.nodes
                    .push(Node::new("positive", Op::Unary(Unary::Abs), &[weight], &[value]));
                value
            }
        };
        node.inputs[1 - varying.min(1)] = Some(positive);
        Ok(())
    }

    /// A normalization that multiplies alone.
    fn scale_alone(&mut self, node: &mut Node) -> Result<(), PruneError> {
        let Op::BatchNormalization(BatchNormalization { epsilon, .. }) = &node.op else {
            return Ok(());
        };
        let epsilon = *epsilon;
        let numbers = |index: usize| match self.graph.constant_input(node, index) {
            Some(tensor) => Ok(tensor.to_f32()?),
            None => Err(PruneError::NotLinear {
                node: self.graph.describe(node),
            }),
        };
        let (scale, variance) = (numbers(1)?, numbers(4)?);
        let factor = |(scale, variance): (&f32, &f32)| scale.abs() / (variance + epsilon).sqrt();
        let factors: Vec<f32> = scale.iter().zip(&variance).map(factor).collect();
        let count = factors.len();
        let constants = [factors, vec![0.0; count], vec![0.0; count], vec![1.0; count]];
        for (place, numbers) in constants.into_iter().enumerate() {
            let constant = self.graph.add_constant("normalized", Tensor::from_vec1(&numbers));
            node.inputs[1 + place] = Some(constant);
        }
        Ok(())
    }
}

/// Makes a node give one of its inputs.
fn pass_through(node: &mut Node, input: usize) {
    node.op = Op::Unary(Unary::Identity);
    node.inputs = vec![node.inputs[input]];
    node.outputs.truncate(1);
}

fn same_shape(graph: &Graph, node: &Node, input: usize) -> bool {
    let shape = |value: Option<ValueId>| value.and_then(|value| graph.value(value).ty.shape());
    shape(node.input(input)) == shape(node.output(0))
}

enum Role {
    /// Linear, or a choice among its inputs.
    Linear,
    /// An element-wise function, of its first input alone.
    Activation,
    /// Weights and what they are multiplied with.
    Product,
    Normalization,
    Sum,
}

fn role(graph: &Graph, node: &Node) -> Option<Role> {
    Some(match &node.op {
        Op::AveragePool(_) | Op::MaxPool(_) | Op::GlobalAveragePool(_) | Op::GlobalMaxPool(_) => Role::Linear,
        Op::Concat(_) | Op::Split(_) | Op::Slice(_) | Op::Gather(_) | Op::Reshape(_) | Op::Flatten(_) => {
            Role::Linear
        }
        Op::Squeeze(_) | Op::Unsqueeze(_) | Op::Transpose(_) | Op::Expand(_) | Op::Tile(_) => Role::Linear,
        Op::Pad(_) | Op::Resize(_) | Op::DepthToSpace(_) | Op::SpaceToDepth(_) | Op::Cast(_) => Role::Linear,
        Op::Variadic(Variadic::Sum | Variadic::Mean | Variadic::Max) => Role::Linear,
        Op::Reduce(reduce) if matches!(reduce.kind, ReduceKind::Mean | ReduceKind::Sum | ReduceKind::Max) => {
            Role::Linear
        }
        Op::Conv(_) | Op::ConvTranspose(_) | Op::Gemm(_) | Op::MatMul(_) | Op::Binary(Binary::Mul) => {
            Role::Product
        }
        // A divisor that flows is no product.
        Op::Binary(Binary::Div) if node.input(1).is_some_and(|by| graph.constant(by).is_some()) => {
            Role::Product
        }
        Op::BatchNormalization(_) => Role::Normalization,
        Op::Binary(Binary::Add | Binary::Sub) => Role::Sum,
        Op::Unary(
            Unary::Relu
            | Unary::Sigmoid
            | Unary::Tanh
            | Unary::HardSwish
            | Unary::Mish
            | Unary::Softplus
            | Unary::Softsign,
        )
        | Op::Unary(Unary::Identity | Unary::Abs | Unary::Neg)
        | Op::Binary(Binary::PRelu) => Role::Activation,
        Op::Elu(_) | Op::Selu(_) | Op::Celu(_) | Op::LeakyRelu(_) | Op::HardSigmoid(_) => Role::Activation,
        Op::ThresholdedRelu(_) | Op::Gelu(_) | Op::Swish(_) | Op::Clip(_) | Op::Lrn(_) => Role::Activation,
        Op::MsGelu(_) | Op::FastGelu(_) | Op::QuickGelu(_) | Op::Dropout(_) => Role::Activation,
        // At the end, predictions are made of scores.
        Op::Softmax(_) | Op::LogSoftmax(_) if graph.outputs.first().copied() == node.output(0) => {
            Role::Activation
        }
        _ => return None,
    })
}
