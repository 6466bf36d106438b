//! What surrounds a node: dequantized inputs, and what quantizes its output.

use std::collections::HashSet;

use bantam_graph::ops::Unary;
use bantam_graph::{Graph, Node, NodeId, Op, ValueId};
use bantam_tensor::{DType, Tensor};

/// Looks around in a graph.
pub(super) struct Search<'g> {
    pub(super) graph: &'g Graph,
    observed: &'g HashSet<ValueId>,
    producers: Vec<Option<NodeId>>,
    consumers: Vec<Vec<(NodeId, usize)>>,
}

/// Codes with constant scales and zero points.
#[derive(Clone, Copy)]
pub(super) struct Codes<'g> {
    pub(super) value: ValueId,
    pub(super) dtype: DType,
    pub(super) scale: &'g Tensor,
    pub(super) scale_value: ValueId,
    pub(super) zero: Option<&'g Tensor>,
    pub(super) zero_value: Option<ValueId>,
    /// Where the scales differ.
    pub(super) axis: i64,
}

impl Codes<'_> {
    /// True when there is one scale for all.
    pub(super) fn is_per_tensor(&self) -> bool {
        self.scale.len() == 1
    }

    /// True for the codes that the operators on codes take.
    pub(super) fn is_byte(&self) -> bool {
        matches!(self.dtype, DType::U8 | DType::I8)
    }

    /// The one zero point.
    pub(super) fn zero_point(&self) -> Option<i64> {
        match self.zero {
            None => Some(0),
            Some(zero) => match zero.to_i64().ok()?.as_slice() {
                [zero] => Some(*zero),
                _ => None,
            },
        }
    }

    /// True when equal codes mean equal reals.
    pub(super) fn same_grid(&self, other: &Codes<'_>) -> bool {
        self.dtype == other.dtype
            && self.is_per_tensor()
            && other.is_per_tensor()
            && self.scale.as_bytes() == other.scale.as_bytes()
            && self.zero_point() == other.zero_point()
    }
}

impl<'g> Search<'g> {
    pub(super) fn new(graph: &'g Graph, observed: &'g HashSet<ValueId>) -> Search<'g> {
        Search {
            graph,
            observed,
            producers: graph.producers(),
            consumers: graph.consumers(),
        }
    }

    /// The codes behind input `index` of a node, if that is dequantized to `f32`.
    pub(super) fn dequantized(&self, node: &Node, index: usize) -> Option<Codes<'g>> {
        let producer = self.graph.node(self.producers[node.input(index)?.index()]?);
        let Op::DequantizeLinear(op) = &producer.op else {
            return None;
        };
        let plain = op.block_size == 0 && op.output_dtype.is_none() && producer.extra.is_empty();
        plain
            .then(|| self.codes(producer, producer.input(0)?, op.axis))
            .flatten()
    }

    /// Codes `value` with the scale and zero point of a QuantizeLinear or DequantizeLinear.
    fn codes(&self, node: &Node, value: ValueId, axis: i64) -> Option<Codes<'g>> {
        let scale_value = node.input(1)?;
        let scale = self
            .graph
            .constant(scale_value)
            .filter(|scale| scale.dtype() == DType::F32)?;
        let zero_value = node.input(2);
        let zero = match zero_value {
            Some(id) => Some(self.graph.constant(id)?),
            None => None,
        };
        let of_value = || {
            self.graph
                .constant(value)
                .map(Tensor::dtype)
                .or_else(|| self.graph.value(value).ty.dtype())
        };
        let dtype = zero.map(Tensor::dtype).or_else(of_value)?;
        Some(Codes {
            value,
            dtype,
            scale,
            scale_value,
            zero,
            zero_value,
            axis,
        })
    }

    /// The node that quantizes the output of `node`, perhaps behind a clamp that saturation makes superfluous, with one
    /// scale and to bytes.
    pub(super) fn quantized(&self, node: NodeId) -> Option<(NodeId, Codes<'g>)> {
        let next = self.only_reader(node)?;
        match &self.graph.node(next).op {
            Op::QuantizeLinear(_) => self.quantizer(next),
            Op::Unary(Unary::Relu) | Op::Clip(_) => {
                let (last, codes) = self.quantizer(self.only_reader(next)?)?;
                self.clamp_is_superfluous(self.graph.node(next), &codes)?
                    .then_some((last, codes))
            }
            _ => None,
        }
    }

    fn quantizer(&self, id: NodeId) -> Option<(NodeId, Codes<'g>)> {
        let node = self.graph.node(id);
        let Op::QuantizeLinear(op) = &node.op else {
            return None;
        };
        if op.block_size != 0 || op.precision.is_some() || !node.extra.is_empty() || node.input(2).is_none() {
            return None;
        }
        let codes = self.codes(node, node.output(0)?, op.axis)?;
        (codes.is_per_tensor() && codes.is_byte() && codes.zero_point().is_some()).then_some((id, codes))
    }

    /// Whether no code stands for a real beyond the bounds of a Relu or Clip.
    fn clamp_is_superfluous(&self, clamp: &Node, codes: &Codes<'_>) -> Option<bool> {
        let (min, max) = if codes.dtype == DType::U8 {
            (0, 255)
        } else {
            (-128, 127)
        };
        let (scale, zero) = (codes.scale.to_f32().ok()?[0], codes.zero_point()?);
        let real = |code: i64| (code - zero) as f32 * scale;
        let bound = |index: usize, default: f32| match clamp.input(index) {
            None => Some(default),
            Some(_) => self
                .graph
                .constant_input(clamp, index)?
                .to_f32()
                .ok()?
                .first()
                .copied(),
        };
        let (low, high) = match clamp.op {
            Op::Clip(_) => (bound(1, f32::NEG_INFINITY)?, bound(2, f32::INFINITY)?),
            _ => (0.0, f32::INFINITY),
        };
        // A bound between two codes would still act on the code next to it.
        Some(clamp.extra.is_empty() && real(min) >= low && real(max) <= high)
    }

    /// The only reader of a node's only output, as its first input, if nobody else sees the value.
    pub(super) fn only_reader(&self, node: NodeId) -> Option<NodeId> {
        let [Some(value)] = *self.graph.node(node).outputs.as_slice() else {
            return None;
        };
        let hidden = !self.observed.contains(&value) && !self.graph.outputs.contains(&value);
        match self.consumers[value.index()].as_slice() {
            &[(reader, 0)] if hidden => Some(reader),
            _ => None,
        }
    }
}
