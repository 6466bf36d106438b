//! What groups are made of: integers with a scale, or values of a table with one.

use bantam_tensor::formats::F16;
use bantam_tensor::formats::blocks::{GroupGrid, IntegerGroups, inverse};
use bantam_tensor::{DType, NumberFormat};

use super::table_format::TableGroups;

/// The numbers that a weight in groups can have, in units of its group's scale.
#[derive(Clone, Debug)]
pub enum GroupFormat {
    /// Evenly spaced; unsigned ones have a code of zero.
    Integers(IntegerGroups),
    /// Values of a table.
    Table(TableGroups),
}

impl From<IntegerGroups> for GroupFormat {
    fn from(groups: IntegerGroups) -> GroupFormat {
        GroupFormat::Integers(groups)
    }
}

impl From<TableGroups> for GroupFormat {
    fn from(groups: TableGroups) -> GroupFormat {
        GroupFormat::Table(groups)
    }
}

impl GroupFormat {
    /// Elements of a group.
    pub fn group_len(&self) -> usize {
        match self {
            GroupFormat::Integers(groups) => groups.group_len(),
            GroupFormat::Table(table) => table.len(),
        }
    }

    /// Bits of a code.
    pub fn bits(&self) -> u32 {
        match self {
            GroupFormat::Integers(groups) => groups.bits,
            GroupFormat::Table(table) => table.bits(),
        }
    }

    /// Whether groups have a code of zero.
    pub fn zero_point(&self) -> bool {
        matches!(self, GroupFormat::Integers(groups) if groups.zero_point)
    }

    /// Integers, evenly spaced.
    pub fn integers(&self) -> Option<&IntegerGroups> {
        match self {
            GroupFormat::Integers(groups) => Some(groups),
            GroupFormat::Table(_) => None,
        }
    }

    /// Whether each weight has values of its own, which it has to be known for.
    pub(super) fn is_learned(&self) -> bool {
        matches!(self, GroupFormat::Table(table) if table.values().is_empty())
    }

    /// The least and the largest number that a code stands for, before the code of zero is subtracted.
    pub fn codes(&self) -> (f32, f32) {
        match self {
            GroupFormat::Integers(groups) => groups.codes(),
            GroupFormat::Table(table) => table.ends(),
        }
    }

    /// The largest magnitude that can be encoded.
    pub fn limit(&self) -> f32 {
        match self {
            GroupFormat::Integers(groups) => groups.limit(),
            GroupFormat::Table(table) => F16.max_value() * table.unit(),
        }
    }

    /// The nearest scale that can be stored; 0 for one that is too small to divide by.
    pub fn stored_scale(&self, scale: f32) -> f32 {
        match self {
            GroupFormat::Integers(groups) => groups.stored_scale(scale),
            GroupFormat::Table(_) => F16.decode(F16.encode(scale)),
        }
    }

    /// The grid whose codes span `low..=high`, which holds zero; without a code of zero, whose largest value is the larger magnitude.
    pub fn grid(&self, low: f32, high: f32) -> GroupGrid {
        match self {
            GroupFormat::Integers(groups) => groups.grid(low, high),
            GroupFormat::Table(table) => GroupGrid {
                scale: self.stored_scale(high.max(-low) / table.unit()),
                zero_point: 0.0,
            },
        }
    }

    /// The level nearest to `x`: times the scale, the number that its code stands for.
    pub fn level(&self, grid: GroupGrid, x: f32) -> f32 {
        match self {
            _ if grid.scale <= 0.0 => 0.0,
            GroupFormat::Integers(groups) => groups.code(x, grid) - grid.zero_point,
            GroupFormat::Table(table) => {
                // As the encoder of blocks does it, to the same codes.
                let x = x * inverse(grid.scale);
                let [below, above] = table.around(x);
                let middle = below + (above - below) * 0.5;
                if x > middle { above } else { below }
            }
        }
    }

    /// The levels on either side of `x`, which may be one; beyond the ends that end.
    pub fn around(&self, grid: GroupGrid, x: f32) -> [f32; 2] {
        match self {
            _ if grid.scale <= 0.0 => [0.0; 2],
            GroupFormat::Integers(groups) => {
                let (min, max) = groups.codes();
                let x = x / grid.scale;
                [x.floor(), x.ceil()].map(|level| level.clamp(min - grid.zero_point, max - grid.zero_point))
            }
            GroupFormat::Table(table) => table.around(x / grid.scale),
        }
    }

    /// The type that holds codes, and the name of the format that they are of there.
    pub fn stored_as(&self) -> (DType, &'static str) {
        match self {
            GroupFormat::Integers(groups) => match (groups.bits > 4, groups.zero_point) {
                (false, false) => (DType::I4, "int4"),
                (false, true) => (DType::U4, "uint4"),
                (true, false) => (DType::I8, "int8"),
                (true, true) => (DType::U8, "uint8"),
            },
            GroupFormat::Table(table) if table.bits() > 4 => (DType::U8, table.name()),
            GroupFormat::Table(table) => (DType::U4, table.name()),
        }
    }
}
