//! A weight on its way to codes: rows of numbers, and rows of levels.

use bantam_tensor::formats::blocks::{GroupGrid, IntegerGroups};

use crate::quantize::layerwise::{Levels, Moments};

/// The rows of a weight, one for each output.
pub struct GroupRows<'a> {
    pub(super) rows: &'a [f32],
    pub(super) depth: usize,
    pub(super) format: &'a IntegerGroups,
    /// Of the inputs, if they were looked at.
    pub(super) moments: Option<&'a Moments>,
}

/// A row in levels.
#[derive(Clone, Debug)]
pub struct RoundedRow {
    /// Scale and code of zero of each group.
    pub(super) grids: Vec<GroupGrid>,
    /// Codes less the code of zero.
    pub(super) levels: Vec<f32>,
}

impl RoundedRow {
    /// Each to its nearest level.
    pub(super) fn nearest(row: &[f32], format: &IntegerGroups, grids: Vec<GroupGrid>) -> RoundedRow {
        let group = format.group_len();
        let level = |(index, x): (usize, &f32)| level(format, grids[index / group], *x);
        RoundedRow {
            levels: row.iter().enumerate().map(level).collect(),
            grids,
        }
    }

    /// The numbers that the levels stand for.
    pub(super) fn values(&self, group: usize) -> impl Iterator<Item = f32> {
        let value = move |(index, level): (usize, &f32)| level * self.grids[index / group].scale;
        self.levels.iter().enumerate().map(value)
    }
}

/// The level nearest to `x`.
pub(super) fn level(format: &IntegerGroups, grid: GroupGrid, x: f32) -> f32 {
    match grid.scale > 0.0 {
        true => format.code(x, grid) - grid.zero_point,
        false => 0.0,
    }
}

/// The levels of a row whose weights are in the order of rounding.
pub(super) struct Grouped<'a> {
    pub(super) format: &'a IntegerGroups,
    pub(super) grids: Vec<GroupGrid>,
    /// The weight at each place.
    pub(super) order: &'a [usize],
}

impl Grouped<'_> {
    /// The group of the weight at a place.
    pub(super) fn group(&self, place: usize) -> usize {
        self.order[place] / self.format.group_len()
    }
}

impl Levels for Grouped<'_> {
    fn scale(&self, place: usize) -> f32 {
        self.grids[self.group(place)].scale
    }

    fn level(&self, place: usize, x: f32) -> f32 {
        level(self.format, self.grids[self.group(place)], x)
    }
}
