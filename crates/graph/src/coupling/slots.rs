//! Positions along the axes of all values, in sets of those that go together.

use std::collections::HashMap;

use super::Axis;
use crate::{Dim, Graph};

/// One position along one axis of one value.
type Slot = u32;

/// Disjoint sets of positions (Tarjan 1975), some of which are locked.
pub(super) struct Slots {
    /// First position and size of each axis of known size, by value.
    axes: Vec<Vec<Option<(Slot, u32)>>>,
    parents: Vec<Slot>,
    /// Number of a reason, by representative.
    locks: HashMap<Slot, u32>,
    reasons: Vec<String>,
}

impl Slots {
    /// All positions apart; `None` when there are more than can be numbered.
    pub(super) fn new(graph: &Graph) -> Option<Slots> {
        let mut next: Slot = 0;
        let mut axes = Vec::with_capacity(graph.values.len());
        for value in &graph.values {
            let dims = value.ty.shape().unwrap_or_default();
            let mut own = Vec::with_capacity(dims.len());
            for dim in dims {
                let size = dim.known().map(u32::try_from).transpose().ok()?;
                own.push(size.map(|size| (next, size)));
                next = next.checked_add(size.unwrap_or(0))?;
            }
            axes.push(own);
        }
        Some(Slots {
            axes,
            parents: (0..next).collect(),
            locks: HashMap::new(),
            reasons: Vec::new(),
        })
    }

    /// Size of an axis, if it is known.
    pub(super) fn size(&self, (value, axis): Axis) -> Option<usize> {
        let (_, size) = (*self.axes[value.index()].get(axis)?)?;
        Some(size as usize)
    }

    /// Number of axes of a value that have a known rank.
    pub(super) fn axes_of(&self, value: crate::ValueId) -> usize {
        self.axes[value.index()].len()
    }

    fn slot(&self, (value, axis): Axis, index: usize) -> Option<Slot> {
        let (first, size) = (*self.axes[value.index()].get(axis)?)?;
        let index = u32::try_from(index).ok().filter(|index| *index < size)?;
        Some(first + index)
    }

    /// The representative of a position's set.
    pub(super) fn set(&mut self, axis: Axis, index: usize) -> Option<u32> {
        self.slot(axis, index).map(|slot| self.root(slot))
    }

    fn root(&mut self, mut slot: Slot) -> Slot {
        while self.parents[slot as usize] != slot {
            let above = self.parents[self.parents[slot as usize] as usize];
            self.parents[slot as usize] = above;
            slot = above;
        }
        slot
    }

    /// Lets two positions go together; does nothing where one of them does not exist.
    pub(super) fn link(&mut self, (a, i): (Axis, usize), (b, j): (Axis, usize)) {
        let (Some(a), Some(b)) = (self.slot(a, i), self.slot(b, j)) else {
            return;
        };
        let (a, b) = (self.root(a), self.root(b));
        if a == b {
            return;
        }
        let (first, second) = (a.min(b), a.max(b));
        self.parents[second as usize] = first;
        if let Some(reason) = self.locks.remove(&second) {
            self.locks.entry(first).or_insert(reason);
        }
    }

    /// Nothing of this axis can go.
    pub(super) fn lock(&mut self, axis: Axis, reason: &str) {
        let Some(size) = self.size(axis) else {
            return;
        };
        let number = match self.reasons.iter().rposition(|known| known == reason) {
            Some(number) => number,
            None => {
                self.reasons.push(reason.to_owned());
                self.reasons.len() - 1
            }
        } as u32;
        for index in 0..size {
            if let Some(set) = self.set(axis, index) {
                self.locks.entry(set).or_insert(number);
            }
        }
    }

    /// Why a set cannot go.
    pub(super) fn reason(&self, set: u32) -> Option<&str> {
        self.locks
            .get(&set)
            .map(|number| self.reasons[*number as usize].as_str())
    }
}

/// Whether two sizes are known to be the same.
pub(super) fn are_equal(a: &Dim, b: &Dim) -> bool {
    a == b && *a != Dim::Unknown
}
