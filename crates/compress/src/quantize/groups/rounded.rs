//! A weight on its way to codes: rows of numbers, and rows of levels.

use bantam_tensor::formats::blocks::GroupGrid;

use super::GroupFormat;
use crate::quantize::layerwise::{Levels, Moments};

/// The rows of a weight, one for each output.
pub struct GroupRows<'a> {
    pub(super) rows: &'a [f32],
    pub(super) depth: usize,
    pub(super) format: &'a GroupFormat,
    /// Of the inputs, if they were looked at.
    pub(super) moments: Option<&'a Moments>,
    /// For what is chosen at random.
    pub(super) seed: u64,
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
    pub(super) fn nearest(row: &[f32], format: &GroupFormat, grids: Vec<GroupGrid>) -> RoundedRow {
        let group = format.group_len();
        let level = |(index, x): (usize, &f32)| format.level(grids[index / group], *x);
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

/// The levels of a row whose weights are in the order of rounding.
pub(super) struct Grouped<'a> {
    pub(super) format: &'a GroupFormat,
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
        self.format.level(self.grids[self.group(place)], x)
    }
}
