//! What nodes say of sizes, after positions were removed: attributes and constant shapes.

use bantam_tensor::Tensor;

use super::Axis;
use super::remove::Kept;
use crate::ops::{Attention, Binary, Reshape, RotaryEmbedding, Split};
use crate::{Dim, Graph, Node, NodeId, Op, Patch, Value, ValueId};

/// Edits one node's attributes and constant shapes; `None` where they cannot say the new sizes.
pub(super) fn adapt(graph: &Graph, id: NodeId, kept: &Kept, patch: &mut Patch) -> Option<()> {
    let edit = Edit {
        graph,
        id,
        node: graph.node(id),
        kept,
    };
    let touched = |value: &ValueId| kept.touches(*value);
    let values = edit
        .node
        .inputs
        .iter()
        .flatten()
        .chain(edit.node.outputs.iter().flatten());
    if !values.into_iter().any(touched) {
        return Some(());
    }
    edit.attributes(patch)?;
    edit.constants(patch)
}

/// The shape input of a Reshape that gives the output's dimensions, whatever the sizes that are not known: 0 copies a
/// dimension, -1 stands for one that is left.
fn dynamic_shape(graph: &Graph, x: ValueId, y: ValueId) -> Option<Vec<i64>> {
    let (from, to) = (graph.value(x).ty.shape()?, graph.value(y).ty.shape()?);
    let mut open = false;
    let entry = |(axis, dim): (usize, &Dim)| match dim {
        Dim::Known(size) => i64::try_from(*size).ok(),
        dim if from
            .get(axis)
            .is_some_and(|from| super::slots::are_equal(from, dim)) =>
        {
            Some(0)
        }
        _ if open => None,
        _ => {
            open = true;
            Some(-1)
        }
    };
    to.iter().enumerate().map(entry).collect()
}

struct Edit<'a> {
    graph: &'a Graph,
    id: NodeId,
    node: &'a Node,
    kept: &'a Kept,
}

impl Edit<'_> {
    fn axis(&self, position: usize, axis: usize) -> Option<Axis> {
        Some((self.node.input(position)?, axis))
    }

    /// Positions of an axis before and after.
    fn sizes(&self, axis: Axis) -> Option<(i64, i64)> {
        let (before, after) = self.kept.sizes(self.graph, axis)?;
        Some((i64::try_from(before).ok()?, i64::try_from(after).ok()?))
    }

    /// A count of blocks along an axis, which shrinks with it.
    fn share(&self, count: i64, axis: Axis) -> Option<i64> {
        let (before, after) = self.sizes(axis)?;
        let product = count.checked_mul(after)?;
        (before > 0 && product % before == 0).then(|| product / before)
    }

    fn attributes(&self, patch: &mut Patch) -> Option<()> {
        let mut op = self.node.op.clone();
        match &mut op {
            Op::Conv(op) => op.group = self.groups(op.group)?,
            Op::FusedConv(op) => op.group = self.groups(op.group)?,
            Op::ConvTranspose(op) => op.group = self.groups(op.group)?,
            Op::Lstm(op) => op.hidden_size = Some(self.sizes(self.axis(2, 2)?)?.1),
            Op::Gru(op) => op.hidden_size = Some(self.sizes(self.axis(2, 2)?)?.1),
            Op::Rnn(op) => op.hidden_size = Some(self.sizes(self.axis(2, 2)?)?.1),
            Op::Attention(op) => self.heads(op)?,
            Op::RotaryEmbedding(op) => self.rotary(op)?,
            Op::Split(op) => self.split(op, patch)?,
            Op::Reshape(op) => {
                *op = Reshape {
                    allowzero: op.allowzero && self.integers(1).is_some(),
                }
            }
            _ => return Some(()),
        }
        patch.set_op(self.id, op);
        Some(())
    }

    /// A depthwise convolution has a group for each channel; other groups shrink, but stay as many.
    fn groups(&self, group: i64) -> Option<i64> {
        let (before, after) = self.sizes(self.axis(0, 1)?)?;
        Some(if group == before { after } else { group })
    }

    fn heads(&self, op: &mut Attention) -> Option<()> {
        let is_flat = |position: usize| -> Option<bool> {
            let value = self.node.input(position)?;
            Some(self.graph.value(value).ty.shape()?.len() == 3)
        };
        if let (Some(heads), true) = (op.q_num_heads, is_flat(0)?) {
            op.q_num_heads = Some(self.share(heads, self.axis(0, 2)?)?);
        }
        if let (Some(heads), true) = (op.kv_num_heads, is_flat(1)?) {
            op.kv_num_heads = Some(self.share(heads, self.axis(1, 2)?)?);
        }
        Some(())
    }

    fn rotary(&self, op: &mut RotaryEmbedding) -> Option<()> {
        let x = self.node.input(0)?;
        match self.graph.value(x).ty.shape()?.len() {
            3 => op.num_heads = self.share(op.num_heads, (x, 2))?,
            _ if op.num_heads > 0 => op.num_heads = self.share(op.num_heads, (x, 1))?,
            _ => {}
        }
        Some(())
    }

    /// Parts that no longer have the same size are listed.
    fn split(&self, op: &mut Split, patch: &mut Patch) -> Option<()> {
        let x = self.node.input(0)?;
        let rank = self.graph.value(x).ty.shape()?.len();
        let axis = usize::try_from(if op.axis < 0 {
            op.axis + rank as i64
        } else {
            op.axis
        })
        .ok()?;
        let Some(sizes) = self
            .node
            .outputs
            .iter()
            .map(|output| {
                let output = (*output)?;
                let (before, after) = self.sizes((output, axis))?;
                Some((before, after))
            })
            .collect::<Option<Vec<_>>>()
        else {
            // Sizes along the axis are not known, so that nothing of it was removed.
            return Some(());
        };
        if sizes.iter().all(|(before, after)| before == after) {
            return Some(());
        }
        op.num_outputs = None;
        let sizes: Vec<i64> = sizes.into_iter().map(|(_, after)| after).collect();
        self.set(patch, 1, &sizes);
        Some(())
    }

    fn constants(&self, patch: &mut Patch) -> Option<()> {
        match &self.node.op {
            Op::Reshape(_) => self.reshape(patch),
            Op::Expand(_) => self.expand(patch),
            Op::Slice(_) => self.slice(patch),
            Op::Pad(_) => self.pad(patch),
            Op::Resize(_) => self.resize(patch),
            _ => Some(()),
        }
    }

    fn integers(&self, position: usize) -> Option<Vec<i64>> {
        self.graph.constant_input(self.node, position)?.to_i64().ok()
    }

    /// A list of integers of the node's own.
    fn set(&self, patch: &mut Patch, position: usize, values: &[i64]) {
        let output = self
            .node
            .output(0)
            .map_or("", |output| &self.graph.value(output).name);
        let constant = patch.add_constant(&format!("{output}_sizes"), Tensor::from_vec1(values));
        patch.set_input(self.id, position, Some(constant));
    }

    fn reshape(&self, patch: &mut Patch) -> Option<()> {
        let (x, y) = (self.node.input(0)?, self.node.output(0)?);
        let Some(mut shape) = self.integers(1).or_else(|| dynamic_shape(self.graph, x, y)) else {
            return self.computed_shape(y, patch);
        };
        for (axis, entry) in shape.iter_mut().enumerate().filter(|(_, entry)| **entry > 0) {
            *entry = self.sizes((y, axis))?.1;
        }
        self.set(patch, 1, &shape);
        Some(())
    }

    /// A shape that is computed, with those sizes of it that are known replaced: `shape * [1 or 0] + [0 or size]`.
    fn computed_shape(&self, y: ValueId, patch: &mut Patch) -> Option<()> {
        let (computed, rank) = (self.node.input(1)?, self.graph.value(y).ty.shape()?.len());
        let sizes = (0..rank).map(|axis| self.sizes((y, axis)).map(|(_, after)| after));
        let (mut open, mut known) = (Vec::with_capacity(rank), Vec::with_capacity(rank));
        for size in sizes {
            open.push(i64::from(size.is_none()));
            known.push(size.unwrap_or(0));
        }
        let name = self.graph.value(y).name.clone();
        let mut value = computed;
        for (binary, numbers) in [(Binary::Mul, open), (Binary::Add, known)] {
            let constant = patch.add_constant(&format!("{name}_sizes"), Tensor::from_vec1(&numbers));
            let next = patch.add_value(Value {
                name: format!("{name}_shape"),
                ..Value::default()
            });
            patch.add_node(Node::new(
                format!("{name}_shape"),
                binary.into(),
                &[value, constant],
                &[next],
            ));
            value = next;
        }
        patch.set_input(self.id, 1, Some(value));
        Some(())
    }

    /// A size of 1 leaves a dimension as it is.
    fn expand(&self, patch: &mut Patch) -> Option<()> {
        let y = self.node.output(0)?;
        let removed = |axis: usize| self.kept.of((y, axis)).is_some();
        let mut shape = self.integers(1)?;
        let rank = self.graph.value(y).ty.shape()?.len();
        let skipped = rank.checked_sub(shape.len())?;
        for (index, entry) in shape.iter_mut().enumerate() {
            if removed(index + skipped) {
                *entry = self.sizes((y, index + skipped))?.1;
            }
        }
        self.set(patch, 1, &shape);
        Some(())
    }

    /// The number of an axis that an input lists, or its place where there is none.
    fn listed(&self, position: usize, index: usize) -> Option<usize> {
        let x = self.node.input(0)?;
        let rank = self.graph.value(x).ty.shape()?.len() as i64;
        let axis = match self.node.input(position) {
            Some(_) => *self.integers(position)?.get(index)?,
            None => index as i64,
        };
        usize::try_from(if axis < 0 { axis + rank } else { axis }).ok()
    }

    fn slice(&self, patch: &mut Patch) -> Option<()> {
        let x = self.node.input(0)?;
        let (mut starts, mut ends) = (self.integers(1)?, self.integers(2)?);
        for index in 0..starts.len() {
            let axis = (x, self.listed(3, index)?);
            let Some(kept) = self.kept.of(axis) else {
                continue;
            };
            let size = kept.len() as i64;
            let place = |value: i64| (if value < 0 { value + size } else { value }).clamp(0, size) as usize;
            let before = |place: usize| kept[..place].iter().filter(|kept| **kept).count() as i64;
            (starts[index], ends[index]) = (before(place(starts[index])), before(place(ends[index])));
        }
        self.set(patch, 1, &starts);
        self.set(patch, 2, &ends);
        Some(())
    }

    fn pad(&self, patch: &mut Patch) -> Option<()> {
        let y = self.node.output(0)?;
        let mut pads = self.integers(1)?;
        let count = pads.len() / 2;
        for index in 0..count {
            let axis = (y, self.listed(3, index)?);
            let Some(kept) = self.kept.of(axis) else {
                continue;
            };
            let counted = |part: &[bool]| part.iter().filter(|kept| **kept).count() as i64;
            let (begin, end) = (
                usize::try_from(pads[index]).ok()?,
                usize::try_from(pads[index + count]).ok()?,
            );
            (pads[index], pads[index + count]) = (
                counted(kept.get(..begin)?),
                counted(kept.get(kept.len().checked_sub(end)?..)?),
            );
        }
        self.set(patch, 1, &pads);
        Some(())
    }

    fn resize(&self, patch: &mut Patch) -> Option<()> {
        let (Some(mut sizes), Op::Resize(op)) = (self.integers(3), &self.node.op) else {
            return Some(());
        };
        let y = self.node.output(0)?;
        for (index, size) in sizes.iter_mut().enumerate() {
            let axis = match &op.axes {
                Some(axes) => usize::try_from(*axes.get(index)?).ok()?,
                None => index,
            };
            if self.kept.of((y, axis)).is_some() {
                *size = self.sizes((y, axis))?.1;
            }
        }
        self.set(patch, 3, &sizes);
        Some(())
    }
}
