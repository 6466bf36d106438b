//! Evenly spaced levels, and the codes that files hold for them.

use bantam_tensor::{DType, NumberFormat};

/// Levels `(code - zero_point) * scale` for the codes `low..=high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::quantize) struct Grid {
    pub(in crate::quantize) low: i64,
    pub(in crate::quantize) high: i64,
    /// A whole number, or one and a half of it where levels lie on both sides of zero alone.
    pub(in crate::quantize) zero_point: f32,
}

impl Grid {
    /// Every code of a format.
    pub(super) fn full(format: &dyn NumberFormat, zero_point: i32) -> Grid {
        Grid {
            low: i64::from(format.min_code()),
            high: i64::from(format.max_code()),
            zero_point: zero_point as f32,
        }
    }

    /// As many levels above zero as below it, so that a factor below zero maps them to each other. With four or fewer
    /// codes zero is left out, which puts all of them to use (ParetoQ, Liu et al. 2025, section 4.2).
    pub(in crate::quantize) fn symmetric(format: &dyn NumberFormat) -> Grid {
        let full = Grid::full(format, 0);
        let middle = (full.low + full.high + 1) as f32 / 2.0;
        if format.bits() <= 2 {
            let zero_point = middle - 0.5;
            return Grid { zero_point, ..full };
        }
        Grid {
            low: full.low + 1,
            high: full.high,
            zero_point: middle,
        }
    }

    /// The levels of DoReFa between -1 and 1 (equation 9). Above 7 bits one level less, so that zero is among them.
    pub(super) fn dorefa(bits: u32) -> Grid {
        let steps = (1i64 << bits) - if bits > 7 { 2 } else { 1 };
        Grid {
            low: 0,
            high: steps,
            zero_point: steps as f32 / 2.0,
        }
    }

    /// Highest level in units of the scale.
    pub(in crate::quantize) fn largest(&self) -> f32 {
        self.high as f32 - self.zero_point
    }

    /// Lowest level in units of the scale.
    pub(in crate::quantize) fn smallest(&self) -> f32 {
        self.low as f32 - self.zero_point
    }

    /// The level nearest to `x`, ties to even codes.
    pub(in crate::quantize) fn round(&self, x: f32, scale: f32) -> f32 {
        let code = (x / scale + self.zero_point).round_ties_even();
        (code.clamp(self.low as f32, self.high as f32) - self.zero_point) * scale
    }

    /// How files hold it.
    pub(super) fn stored(&self) -> Stored {
        let halves = self.zero_point.fract() != 0.0;
        if !halves {
            return Stored::new(self.low, self.high, self.zero_point as i64, 1.0);
        }
        let code = |code: i64| (2.0 * (code as f32 - self.zero_point)) as i64;
        Stored::new(code(self.low), code(self.high), 0, 0.5)
    }
}

/// Codes in a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stored {
    /// The smallest type that holds the codes.
    pub(super) dtype: DType,
    pub(super) low: i64,
    pub(super) high: i64,
    pub(super) zero_point: i64,
    /// What one code is worth in units of the grid's scale.
    pub(super) unit: f32,
}

/// Types of codes with their ranges and the names of their formats, from narrow to wide.
const TYPES: &[(DType, i64, i64, &str)] = &[
    (DType::U4, 0, 15, "uint4"),
    (DType::I4, -8, 7, "int4"),
    (DType::U8, 0, 255, "uint8"),
    (DType::I8, -128, 127, "int8"),
    (DType::U16, 0, 65535, "uint16"),
    (DType::I16, -32768, 32767, "int16"),
];

impl Stored {
    fn new(low: i64, high: i64, zero_point: i64, unit: f32) -> Stored {
        let fits = |(_, min, max, _): &&(DType, i64, i64, &str)| *min <= low && high <= *max;
        let (dtype, ..) = TYPES.iter().find(fits).unwrap_or(&TYPES[TYPES.len() - 1]);
        Stored {
            dtype: *dtype,
            low,
            high,
            zero_point,
            unit,
        }
    }

    /// The format that is all codes of the type.
    pub(super) fn format(&self) -> &'static str {
        TYPES
            .iter()
            .find(|row| row.0 == self.dtype)
            .map_or("int16", |row| row.3)
    }

    /// Whether the type has codes below these, and above them.
    pub(super) fn narrower_than_type(&self) -> [bool; 2] {
        let row = TYPES.iter().find(|row| row.0 == self.dtype);
        row.map_or([true; 2], |&(_, min, max, _)| [min < self.low, self.high < max])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bantam_tensor::trained_format_by_name;

    fn format(name: &str) -> &'static dyn NumberFormat {
        trained_format_by_name(name).unwrap()
    }

    #[test]
    fn levels_of_symmetric_grids() {
        let cases: [(&str, [f32; 2], usize); 6] = [
            ("int8", [-127.0, 127.0], 255),
            ("uint8", [-127.0, 127.0], 255),
            ("int4", [-7.0, 7.0], 15),
            ("int3", [-3.0, 3.0], 7),
            ("int2", [-1.5, 1.5], 4),
            ("uint2", [-1.5, 1.5], 4),
        ];
        for (name, [low, high], levels) in cases {
            let grid = Grid::symmetric(format(name));
            assert_eq!([grid.smallest(), grid.largest()], [low, high], "{name}");
            assert_eq!((grid.high - grid.low + 1) as usize, levels, "{name}");
        }
    }

    #[test]
    fn codes_in_files_are_the_same_levels() {
        let grids =
            ["int8", "int5", "int4", "int3", "int2", "uint2"].map(|name| Grid::symmetric(format(name)));
        let activations =
            ["uint8", "uint4", "uint3", "uint2", "uint1"].map(|name| Grid::full(format(name), 1));
        let dorefa = [2, 4, 8].map(Grid::dorefa);
        for grid in grids.into_iter().chain(activations).chain(dorefa) {
            let stored = grid.stored();
            let level = |code: i64| (code - stored.zero_point) as f32 * stored.unit;
            assert_eq!(
                [level(stored.low), level(stored.high)],
                [grid.smallest(), grid.largest()],
                "{grid:?}"
            );
        }
        let dtypes =
            ["int4", "int3", "int2", "int5", "int8"].map(|name| Grid::symmetric(format(name)).stored().dtype);
        assert_eq!(dtypes, [DType::I4, DType::I4, DType::I4, DType::I8, DType::I8]);
        let narrower = |name| Grid::full(format(name), 0).stored().narrower_than_type();
        let expected = [[false, true], [true, true], [false, false]];
        assert_eq!(["uint2", "int3", "uint4"].map(narrower), expected);
    }

    #[test]
    fn rounding_clamps() {
        let grid = Grid::symmetric(format("int2"));
        let rounded = [-9.0, -0.9, -0.1, 0.1, 0.9, 9.0].map(|x| grid.round(x, 1.0));
        assert_eq!(rounded, [-1.5, -0.5, -0.5, 0.5, 0.5, 1.5]);
    }
}
