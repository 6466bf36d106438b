//! What a rule sees of a node, and how it says what goes together.

use bantam_tensor::Tensor;

use super::Axis;
use super::slots::Slots;
use crate::{Dim, Graph, Node, ValueId};

/// A node whose rule is asked.
pub(super) struct Site<'a> {
    pub(super) graph: &'a Graph,
    pub(super) node: &'a Node,
    pub(super) slots: &'a mut Slots,
    /// By value: whether it depends on constants only.
    pub(super) fixed: &'a [bool],
}

/// What a rule gives; `None` when shapes that it needs are not known, whereupon nothing of the node can go.
pub(super) type Done = Option<()>;

impl Site<'_> {
    /// The input at this position.
    pub(super) fn input(&self, position: usize) -> Option<ValueId> {
        self.node.input(position)
    }

    /// The first output.
    pub(super) fn output(&self) -> Option<ValueId> {
        self.node.output(0)
    }

    /// The dimensions of a value, if its rank is known.
    pub(super) fn dims(&self, value: ValueId) -> Option<&[Dim]> {
        self.graph.value(value).ty.shape()
    }

    /// The rank of a value.
    pub(super) fn rank(&self, value: ValueId) -> Option<usize> {
        self.dims(value).map(<[Dim]>::len)
    }

    /// Size of an axis.
    pub(super) fn size(&self, axis: Axis) -> Option<usize> {
        self.slots.size(axis)
    }

    /// The axis that an attribute means.
    pub(super) fn axis(&self, value: ValueId, axis: i64) -> Option<usize> {
        let rank = i64::try_from(self.rank(value)?).ok()?;
        let axis = if axis < 0 { axis.checked_add(rank)? } else { axis };
        (0..rank).contains(&axis).then_some(axis as usize)
    }

    /// The integers of a constant input.
    pub(super) fn integers(&self, position: usize) -> Option<Vec<i64>> {
        let tensor: &Tensor = self.graph.constant_input(self.node, position)?;
        tensor.to_i64().ok()
    }

    /// Axes of `value` that the constant input at `position` lists; all of them in order where there is no such input.
    pub(super) fn listed_axes(&self, value: ValueId, position: usize, count: usize) -> Option<Vec<usize>> {
        match self.input(position) {
            None => Some((0..count.min(self.rank(value)?)).collect()),
            Some(_) => (self.integers(position)?.into_iter())
                .map(|axis| self.axis(value, axis))
                .collect(),
        }
    }

    /// Two positions go together.
    pub(super) fn link(&mut self, a: (Axis, usize), b: (Axis, usize)) {
        self.slots.link(a, b);
    }

    /// Two axes go together, position by position.
    pub(super) fn same(&mut self, a: Axis, b: Axis) {
        match (self.size(a), self.size(b)) {
            (None, None) => {}
            (Some(first), Some(second)) if first == second => {
                (0..first).for_each(|index| self.link((a, index), (b, index)));
            }
            _ => {
                self.lock(a, "sizes are not known");
                self.lock(b, "sizes are not known");
            }
        }
    }

    /// All axes of two values of the same rank go together.
    pub(super) fn join(&mut self, a: ValueId, b: ValueId) -> Done {
        let rank = self.rank(a)?;
        if self.rank(b)? != rank {
            return None;
        }
        (0..rank).for_each(|axis| self.same((a, axis), (b, axis)));
        Some(())
    }

    /// What is broadcast to an output goes with it.
    pub(super) fn broadcast(&mut self, input: ValueId, output: ValueId) -> Done {
        let (own, all) = (self.rank(input)?, self.rank(output)?);
        let skipped = all.checked_sub(own)?;
        for axis in 0..own {
            let (from, to) = ((input, axis), (output, axis + skipped));
            let repeated = self.size(from) == Some(1) && self.size(to) != Some(1);
            if !repeated {
                self.same(from, to);
            }
        }
        Some(())
    }

    /// Nothing of this axis can go, because of this node.
    pub(super) fn lock(&mut self, axis: Axis, why: &str) {
        let reason = format!("{}: {why}", self.graph.describe(self.node));
        self.slots.lock(axis, &reason);
    }

    /// Nothing of these axes of a value can go.
    pub(super) fn lock_axes(
        &mut self,
        value: ValueId,
        axes: impl IntoIterator<Item = usize>,
        why: &str,
    ) -> Done {
        axes.into_iter().for_each(|axis| self.lock((value, axis), why));
        Some(())
    }

    /// Nothing of what the node reads and writes can go.
    pub(super) fn lock_all(&mut self, why: &str) {
        let inputs = self.node.inputs.iter().flatten();
        for value in inputs.chain(self.node.outputs.iter().flatten()) {
            (0..self.slots.axes_of(*value)).for_each(|axis| self.lock((*value, axis), why));
        }
    }

    /// Nothing of a value can go.
    pub(super) fn lock_value(&mut self, value: ValueId, why: &str) {
        (0..self.slots.axes_of(value)).for_each(|axis| self.lock((value, axis), why));
    }

    /// Two axes whose elements are multiplied and summed up. One of them must be of weights: a product of data that lacks a summand
    /// is another one.
    pub(super) fn contract(&mut self, a: Axis, b: Axis) {
        self.same(a, b);
        if !self.fixed[a.0.index()] && !self.fixed[b.0.index()] {
            self.lock(a, "it sums products of data");
        }
    }
}
