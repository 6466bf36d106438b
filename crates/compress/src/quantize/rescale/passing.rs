//! Nodes that are linear in the scale of each channel, and where the channels lie behind them.

use bantam_graph::ops::{Attention, Binary, Unary};
use bantam_graph::{Node, Op, ValueId};

use super::follow::{Channels, Follower};

impl Follower<'_> {
    /// Where the channels lie behind a node that is linear in the scale of each.
    pub(super) fn passed(
        &self,
        node: &Node,
        position: usize,
        value: ValueId,
        channels: &Channels,
    ) -> Result<Channels, String> {
        let same = || Ok(channels.clone());
        let kept = |keeps: bool| match keeps {
            true => same(),
            false => Err(format!("{} moves its channels", self.graph.describe(node))),
        };
        let output = node.output(0).ok_or("an output is missing")?;
        match &node.op {
            Op::Unary(Unary::Relu | Unary::Identity | Unary::Neg | Unary::Abs) | Op::LeakyRelu(_) => same(),
            Op::Dropout(_) if position == 0 => same(),
            Op::Clip(_) if position == 0 => self.clip(node).map(|()| channels.clone()),
            Op::Binary(Binary::PRelu) if position == 0 => same(),
            Op::Binary(Binary::Mul) => kept(self.is_whole(value, output, channels)),
            Op::Binary(Binary::Div) if position == 0 => kept(self.is_whole(value, output, channels)),
            Op::MaxPool(_) | Op::AveragePool(_) | Op::GlobalAveragePool(_) | Op::GlobalMaxPool(_) => {
                kept(channels.axis == 1)
            }
            Op::Reduce(_) if position == 0 => self.reduced(node, channels),
            Op::Transpose(op) => {
                let rank = self.rank(value).unwrap_or_default();
                let order: Vec<usize> = match op.perm.as_deref() {
                    Some(perm) => perm.iter().map(|axis| *axis as usize).collect(),
                    None => (0..rank).rev().collect(),
                };
                let axis = order.iter().position(|axis| *axis == channels.axis);
                axis.map(|axis| Channels {
                    axis,
                    of: channels.of.clone(),
                })
                .ok_or_else(|| format!("{} moves its channels", self.graph.describe(node)))
            }
            Op::Reshape(_) | Op::Flatten(_) | Op::Squeeze(_) | Op::Unsqueeze(_) if position == 0 => {
                self.reshaped(node, (value, output), channels)
            }
            Op::Attention(op) if position == 2 => self.attended(op, node, (value, output), channels),
            _ => Err(format!(
                "{} lies behind it, which is not linear in its scale",
                self.graph.describe(node)
            )),
        }
    }

    /// A clamp at zero from one side.
    fn clip(&self, node: &Node) -> Result<(), String> {
        let bound = |position: usize| -> Option<Option<f32>> {
            match node.input(position) {
                None => Some(None),
                Some(value) => Some(self.graph.constant(value)?.to_f32().ok()?.first().copied()),
            }
        };
        let free = |bound: Option<f32>| bound.is_none_or(|bound| bound == 0.0 || bound.is_infinite());
        match (bound(1), bound(2)) {
            (Some(low), Some(high)) if free(low) && free(high) => Ok(()),
            _ => Err(format!(
                "{} bounds it, which would have to move with each channel",
                self.graph.describe(node)
            )),
        }
    }

    /// Whether the value is not broadcast along its channels by what it is multiplied with.
    fn is_whole(&self, value: ValueId, output: ValueId, channels: &Channels) -> bool {
        let size = self.dim(output, channels.axis);
        self.rank(value) == self.rank(output) && size == Some(channels.of.len())
    }

    /// Means and the like over other axes.
    fn reduced(&self, node: &Node, channels: &Channels) -> Result<Channels, String> {
        use bantam_graph::ops::ReduceKind::{L1, L2, Max, Mean, Min, Sum};
        let refused = || format!("{} reduces its channels", self.graph.describe(node));
        let Op::Reduce(op) = &node.op else {
            return Err(refused());
        };
        let rank = node
            .input(0)
            .and_then(|value| self.rank(value))
            .ok_or_else(refused)?;
        let axes = self
            .graph
            .constant_input(node, 1)
            .and_then(|axes| axes.to_i64().ok());
        let axes: Option<Vec<usize>> = axes.map(|axes| {
            let from_front = |axis: i64| if axis < 0 { axis + rank as i64 } else { axis };
            axes.into_iter().map(|axis| from_front(axis) as usize).collect()
        });
        let axes = axes.filter(|axes| !axes.contains(&channels.axis) && !axes.is_empty());
        let axes = axes.ok_or_else(refused)?;
        if !matches!(op.kind, L1 | L2 | Max | Mean | Min | Sum) {
            return Err(refused());
        }
        let before = axes.iter().filter(|axis| **axis < channels.axis).count();
        Ok(Channels {
            axis: if op.keepdims {
                channels.axis
            } else {
                channels.axis - before
            },
            of: channels.of.clone(),
        })
    }

    /// Other axes that are split or joined, or joined with the channels where these come first.
    fn reshaped(
        &self,
        node: &Node,
        (value, output): (ValueId, ValueId),
        channels: &Channels,
    ) -> Result<Channels, String> {
        let count = channels.of.len();
        let refused = || format!("{} takes its channels apart", self.graph.describe(node));
        let shapes = self
            .graph
            .value(value)
            .ty
            .shape()
            .zip(self.graph.value(output).ty.shape());
        let (from, to) = shapes.ok_or_else(refused)?;
        let same = |axis: usize| Channels {
            axis,
            of: channels.of.clone(),
        };
        let last = to.len().checked_sub(1).ok_or_else(refused)?;
        if channels.axis + 1 == from.len() && to[last].known() == Some(count) {
            return Ok(same(last));
        }
        // What lies before and what lies behind the channels stays, each by itself.
        let known = |dims: &[bantam_graph::Dim]| {
            dims.iter()
                .map(bantam_graph::Dim::known)
                .product::<Option<usize>>()
        };
        let inner = known(&from[channels.axis + 1..]).ok_or_else(refused)?;
        // One size that is not known follows from all others.
        let open = from[..channels.axis]
            .iter()
            .filter(|dim| dim.known().is_none())
            .count();
        let same_start = to.get(..channels.axis) == from.get(..channels.axis) && open < 2;
        let rest = to.get(channels.axis + 1..).and_then(known);
        match to.get(channels.axis).and_then(bantam_graph::Dim::known) {
            Some(size) if size == count && rest == Some(inner) && same_start => Ok(same(channels.axis)),
            Some(size) if size == count * inner && rest == Some(1) && same_start => Ok(Channels {
                axis: channels.axis,
                of: channels.of.iter().flat_map(|of| vec![*of; inner]).collect(),
            }),
            _ => Err(refused()),
        }
    }

    /// Values of attention: each head of queries mixes the values of its head of keys.
    fn attended(
        &self,
        op: &Attention,
        node: &Node,
        (value, output): (ValueId, ValueId),
        channels: &Channels,
    ) -> Result<Channels, String> {
        let refused = || format!("{} takes its channels apart", self.graph.describe(node));
        let (Some(queries), Some(keys)) = (op.q_num_heads, op.kv_num_heads) else {
            return Err(refused());
        };
        let (queries, keys) = (queries.max(1) as usize, keys.max(1) as usize);
        let whole = self.rank(value) == Some(3) && self.rank(output) == Some(3) && channels.axis == 2;
        // Values that were computed before are of another scale.
        let cached = node.input(5).is_some();
        if !whole || cached || !queries.is_multiple_of(keys) || !channels.of.len().is_multiple_of(keys) {
            return Err(refused());
        }
        let size = channels.of.len() / keys;
        let of = (0..queries * size).map(|at| {
            let head = at / size / (queries / keys);
            channels.of[head * size + at % size]
        });
        Ok(Channels {
            axis: 2,
            of: of.collect(),
        })
    }
}
