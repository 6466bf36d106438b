//! Values in BF16: what convolutions, batch normalization and their gradients hand to each other, with the channels last.
//!
//! Casts stand where such a value is read by something else, and where one comes from elsewhere. Kernels compute in `f32`,
//! but that convolutions multiply factors of BF16; numbers for each channel, weights and their gradients stay `f32`.

use std::collections::{HashMap, HashSet};

use bantam_graph::ops::{ActivationFunction, Binary, Cast, PadMode, Unary};
use bantam_graph::{Graph, Node, NodeId, Op, Value, ValueId, ValueType};
use bantam_tensor::{DType, Tensor};
use half::bf16;

use crate::layout::{Layout, data_inputs, data_outputs};

/// The graph with values in BF16 where its nodes can take them. Values keep their ids; nodes get new ones.
pub(crate) fn store(laid_out: Layout<'_>) -> Layout<'_> {
    if has_subgraphs(&laid_out.graph) {
        log::debug!("bf16: a graph with subgraphs stays in f32");
        return laid_out;
    }
    let mut graph = laid_out.graph.into_owned();
    let nodes = std::mem::take(&mut graph.nodes);
    let mut stored = Stored {
        graph,
        stored: HashSet::new(),
        casts: HashMap::new(),
        channels_last: HashSet::new(),
    };
    for (index, node) in nodes.into_iter().enumerate() {
        stored.add(node, laid_out.channels_last.contains(&NodeId::new(index)));
    }
    Layout {
        graph: std::borrow::Cow::Owned(stored.graph),
        channels_last: stored.channels_last,
        stands_for: laid_out.stands_for,
    }
}

fn has_subgraphs(graph: &Graph) -> bool {
    graph.nodes.iter().any(|node| !node.op.subgraphs().is_empty())
}

struct Stored {
    graph: Graph,
    /// Values that are BF16 now.
    stored: HashSet<ValueId>,
    /// The same values in another type.
    casts: HashMap<(ValueId, DType), ValueId>,
    channels_last: HashSet<NodeId>,
}

impl Stored {
    fn add(&mut self, mut node: Node, channels_last: bool) {
        if channels_last && self.takes(&node) {
            for index in data_inputs(&node) {
                let cast = node.input(index).map(|value| self.narrow(value));
                node.inputs[index] = cast;
            }
            if matches!(node.op, Op::Clip(_)) {
                self.narrow_bounds(&mut node);
            }
            for index in data_outputs(&node) {
                if let Some(value) = node.output(index) {
                    set_dtype(&mut self.graph.values[value.index()].ty, DType::BF16);
                    self.stored.insert(value);
                }
            }
        } else {
            for index in 0..node.inputs.len() {
                let wide = node.input(index).map(|value| self.widen(value));
                node.inputs[index] = wide;
            }
        }
        if channels_last {
            self.channels_last.insert(NodeId::new(self.graph.nodes.len()));
        }
        self.graph.nodes.push(node);
    }

    /// Whether a node with its channels last can take and give BF16 where it has data.
    fn takes(&self, node: &Node) -> bool {
        let is_float = |value: &ValueId| {
            let value = self.graph.value(*value);
            matches!(value.ty.dtype(), Some(DType::F32 | DType::BF16)) && value.initializer.is_none()
        };
        let all_are_float = || {
            let inputs = data_inputs(node)
                .into_iter()
                .filter_map(|index| node.input(index));
            let outputs = data_outputs(node)
                .into_iter()
                .filter_map(|index| node.output(index));
            inputs.chain(outputs).all(|value| is_float(&value))
        };
        let op = match &node.op {
            Op::Conv(_) | Op::ConvInputGradient(_) | Op::ConvWeightGradient(_) => true,
            Op::BatchNormalization(_)
            | Op::BatchNormalizationTraining(_)
            | Op::BatchNormalizationGradient(_) => true,
            Op::Unary(Unary::Relu) | Op::Binary(Binary::Add) => true,
            Op::ActivationGradient(op) => op.function == ActivationFunction::Relu,
            Op::Clip(_) => (1..node.inputs.len()).all(|index| self.bound(node, index).is_some()),
            Op::ClipGradient(_) | Op::Slice(_) | Op::SliceGradient(_) => true,
            Op::Pad(op) => op.mode == PadMode::Constant && node.input(2).is_none(),
            Op::PadGradient(_) => true,
            _ => false,
        };
        op && node.extra.is_empty() && all_are_float()
    }

    /// A bound of a Clip that BF16 has: infinity for none.
    fn bound(&self, node: &Node, index: usize) -> Option<bf16> {
        if node.input(index).is_none() {
            return Some(bf16::INFINITY);
        }
        let values = self.graph.constant_input(node, index)?.to_f32().ok()?;
        let bound = bf16::from_f32(*values.first()?);
        (values == [bound.to_f32()]).then_some(bound)
    }

    fn narrow_bounds(&mut self, node: &mut Node) {
        for index in 1..node.inputs.len() {
            if let (Some(bound), Some(_)) = (self.bound(node, index), node.input(index)) {
                node.inputs[index] = Some(self.graph.add_constant("bound", Tensor::scalar(bound)));
            }
        }
    }

    fn narrow(&mut self, value: ValueId) -> ValueId {
        match self.stored.contains(&value) {
            true => value,
            false => self.cast(value, DType::BF16),
        }
    }

    fn widen(&mut self, value: ValueId) -> ValueId {
        match self.stored.contains(&value) {
            true => self.cast(value, DType::F32),
            false => value,
        }
    }

    fn cast(&mut self, value: ValueId, to: DType) -> ValueId {
        if let Some(cast) = self.casts.get(&(value, to)) {
            return *cast;
        }
        let facts = self.graph.value(value);
        let name = format!("{}_{to}", facts.name);
        let mut ty = facts.ty.clone();
        set_dtype(&mut ty, to);
        let cast = self.graph.add_value(Value {
            name: name.clone(),
            ty,
            ..Value::default()
        });
        let op = Cast {
            to,
            saturate: true,
            round_mode: "up".to_owned(),
        };
        self.graph
            .nodes
            .push(Node::new(&name, op.into(), &[value], &[cast]));
        self.casts.insert((value, to), cast);
        cast
    }
}

fn set_dtype(ty: &mut ValueType, to: DType) {
    if let ValueType::Tensor { dtype, .. } = ty {
        *dtype = Some(to);
    }
}
