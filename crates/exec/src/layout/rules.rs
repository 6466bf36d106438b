//! Which ops can run with the channels last, and how they are told.

use bantam_graph::{Graph, Node, Op, ValueId};
use bantam_tensor::{DType, Tensor};

use super::{Regions, permuted, to_channels_last};

/// The rank of the data of a convolution or of one of its gradients: these always run with the channels last.
pub(super) fn rank_of_anchor(graph: &Graph, node: &Node) -> Option<usize> {
    if !node.extra.is_empty() {
        return None;
    }
    match node.op {
        Op::QLinearConv(_) => {
            let filters = graph.constant_input(node, 3)?;
            (filters.rank() > 2).then_some(filters.rank())
        }
        Op::Conv(_) => rank_of_filters(graph, node.input(1)?),
        Op::ConvInputGradient(_) => rank_of_filters(graph, node.input(1)?),
        Op::ConvWeightGradient(_) => rank_of_filters(graph, node.output(0)?),
        _ => None,
    }
}

/// The rank of filters of `f32` none of whose dimensions is 0.
fn rank_of_filters(graph: &Graph, filters: ValueId) -> Option<usize> {
    let ty = &graph.value(filters).ty;
    let (dtype, sizes) = match graph.constant(filters) {
        Some(constant) => (constant.dtype(), constant.shape().to_vec()),
        None => {
            let sizes: Option<Vec<usize>> = ty.shape()?.iter().map(bantam_graph::Dim::known).collect();
            (ty.dtype()?, sizes?)
        }
    };
    (dtype == DType::F32 && sizes.len() > 2 && !sizes.contains(&0)).then_some(sizes.len())
}

/// Which inputs of an op have channels, if the op can run with the channels last.
pub(crate) fn data_inputs(node: &Node) -> Vec<usize> {
    match &node.op {
        Op::Conv(_) | Op::GlobalAveragePool(_) => vec![0],
        Op::QLinearConv(_) | Op::QLinearSigmoid(_) | Op::QLinearLeakyRelu(_) | Op::MaxPool(_) => vec![0],
        Op::QLinearGlobalAveragePool(op) if !op.channels_last => vec![0],
        Op::Unary(_) | Op::Clip(_) | Op::QuantizeLinear(_) | Op::DequantizeLinear(_) => vec![0],
        Op::HardSigmoid(_) | Op::LeakyRelu(_) | Op::Gelu(_) | Op::Swish(_) => vec![0],
        Op::Binary(_) => vec![0, 1],
        Op::QLinearAdd(_) | Op::QLinearMul(_) => vec![0, 3],
        Op::Slice(_) | Op::Pad(_) => vec![0],
        Op::Concat(_) => (0..node.inputs.len()).collect(),
        Op::QLinearConcat(_) => (2..node.inputs.len()).step_by(3).collect(),
        Op::BatchNormalization(op) if !op.training_mode => vec![0],
        Op::BatchNormalizationTraining(_) | Op::FakeQuant(_) => vec![0],
        Op::SliceGradient(_) | Op::PadGradient(_) | Op::Reduce(_) => vec![0],
        Op::ConvInputGradient(_) => vec![0],
        Op::ConvWeightGradient(_) | Op::MaxPoolGradient(_) => vec![0, 1],
        Op::BatchNormalizationGradient(_) | Op::ActivationGradient(_) => vec![0, 1],
        Op::ClipGradient(_) | Op::FakeQuantGradient(_) => vec![0, 1],
        _ => vec![],
    }
}

/// Which outputs have channels.
pub(crate) fn data_outputs(node: &Node) -> Vec<usize> {
    match &node.op {
        Op::ConvWeightGradient(_) => vec![],
        Op::Reduce(op) if !op.keepdims => vec![],
        _ => vec![0],
    }
}

/// Whether all outputs that a node names are understood.
pub(super) fn has_all_outputs(node: &Node) -> bool {
    match &node.op {
        Op::BatchNormalizationTraining(_) | Op::BatchNormalizationGradient(_) | Op::FakeQuantGradient(_) => {
            true
        }
        _ => node.outputs.iter().flatten().count() == 1 && node.output(0).is_some(),
    }
}

/// Ops of two inputs that are broadcast.
pub(super) fn is_pairwise(op: &Op) -> bool {
    matches!(op, Op::Binary(_) | Op::QLinearAdd(_) | Op::QLinearMul(_))
}

/// Ops of inputs of one shape that are cheaper with one of them brought into order than without: gradients, which
/// go on to those of convolutions.
pub(super) fn enters(op: &Op) -> bool {
    matches!(
        op,
        Op::ActivationGradient(_)
            | Op::ClipGradient(_)
            | Op::FakeQuantGradient(_)
            | Op::BatchNormalizationGradient(_)
            | Op::MaxPoolGradient(_)
    )
}

impl Regions {
    /// Whether a node's op and its other inputs do not depend on where the channels are, or can be told.
    pub(super) fn can_run(&self, node: &Node, rank: usize) -> bool {
        let known = |index: usize| self.graph.constant_input(node, index).is_some();
        let known_or_absent = |index: usize| node.input(index).is_none() || known(index);
        match &node.op {
            Op::QLinearConcat(op) => op.axis == 1 || op.axis == 1 - rank as i64,
            Op::Concat(op) => op.axis == 1 || op.axis == 1 - rank as i64,
            Op::Slice(_) => known(1) && known_or_absent(3),
            Op::SliceGradient(_) => known(1) && known(2) && known_or_absent(4),
            Op::Pad(_) => self.pads_all(node, 1, rank) && node.input(3).is_none(),
            Op::PadGradient(_) => known(1) && self.pads_all(node, 2, rank) && node.input(3).is_none(),
            // Only as anchors.
            Op::ConvInputGradient(_) | Op::ConvWeightGradient(_) => false,
            Op::BatchNormalization(_)
            | Op::BatchNormalizationTraining(_)
            | Op::BatchNormalizationGradient(_)
            | Op::MaxPoolGradient(_) => {
                let input = node.input(0).map(|input| &self.graph.value(input).ty);
                input.is_some_and(|ty| ty.dtype() == Some(DType::F32))
            }
            Op::QuantizeLinear(_) | Op::DequantizeLinear(_) => self
                .graph
                .constant_input(node, 1)
                .is_some_and(|scale| scale.len() == 1),
            Op::Reduce(op) => self.integers(node, 1).is_some_and(|axes| {
                let moved: Vec<i64> = axes.iter().map(|&axis| moved_axis(axis, rank)).collect();
                // Without the reduced dimensions, samples and channels must be where they were.
                !axes.is_empty() && (op.keepdims || (1..rank as i64 - 1).all(|axis| moved.contains(&axis)))
            }),
            _ => true,
        }
    }

    fn pads_all(&self, node: &Node, index: usize, rank: usize) -> bool {
        let pads = self.graph.constant_input(node, index);
        pads.is_some_and(|pads| pads.len() == 2 * rank)
    }

    /// Tells an op where the channels are, by its attributes or by constants in the new order.
    pub(super) fn tell(&mut self, node: &mut Node, rank: usize) {
        match &mut node.op {
            Op::QLinearConcat(op) => op.axis = rank as i64 - 1,
            Op::Concat(op) => op.axis = rank as i64 - 1,
            Op::QLinearGlobalAveragePool(op) => op.channels_last = true,
            Op::FakeQuant(op) => op.axis = op.axis.map(|axis| moved_axis(axis, rank)),
            Op::FakeQuantGradient(op) => op.axis = op.axis.map(|axis| moved_axis(axis, rank)),
            Op::Slice(_) => self.tell_axes(node, [1, 3], rank),
            Op::SliceGradient(_) => {
                self.tell_shape(node, 1);
                self.tell_axes(node, [2, 4], rank);
            }
            Op::Pad(_) => self.tell_pads(node, 1, rank),
            Op::PadGradient(_) => {
                self.tell_shape(node, 1);
                self.tell_pads(node, 2, rank);
            }
            Op::Reduce(_) => self.tell_axes(node, [1, 1], rank),
            _ => {}
        }
    }

    /// Axes at input `axes`; as many as there are elements in input `like` where they are left out.
    fn tell_axes(&mut self, node: &mut Node, [like, axes]: [usize; 2], rank: usize) {
        let old = match self.integers(node, axes) {
            Some(axes) => axes,
            None => (0..self.integers(node, like).map_or(0, |like| like.len() as i64)).collect(),
        };
        let moved = old.iter().map(|&axis| moved_axis(axis, rank)).collect();
        node.inputs.resize(node.inputs.len().max(axes + 1), None);
        node.inputs[axes] = Some(self.add_integers("axes", moved));
    }

    fn tell_pads(&mut self, node: &mut Node, index: usize, rank: usize) {
        let pads = self.integers(node, index).unwrap_or_default();
        let order = to_channels_last(rank);
        let moved = (0..2 * rank).map(|index| pads[index / rank * rank + order[index % rank]]);
        node.inputs[index] = Some(self.add_integers("pads", moved.collect()));
    }

    fn tell_shape(&mut self, node: &mut Node, index: usize) {
        let sizes = self.integers(node, index).unwrap_or_default();
        let sizes: Vec<usize> = sizes.into_iter().map(|size| size as usize).collect();
        let moved = permuted(&sizes, &to_channels_last(sizes.len()));
        let moved = moved.into_iter().map(|size| size as i64).collect();
        node.inputs[index] = Some(self.add_integers("shape", moved));
    }

    fn integers(&self, node: &Node, index: usize) -> Option<Vec<i64>> {
        self.graph.constant_input(node, index)?.to_i64().ok()
    }

    fn add_integers(&mut self, name: &str, values: Vec<i64>) -> ValueId {
        self.graph.add_constant(name, Tensor::from_vec1(&values))
    }
}

/// Where an axis is when the channels are last.
fn moved_axis(axis: i64, rank: usize) -> i64 {
    let rank = rank as i64;
    match if axis < 0 { axis + rank } else { axis } {
        0 => 0,
        1 => rank - 1,
        // What is no axis stays none.
        axis if axis < rank => axis - 1,
        axis => axis,
    }
}
