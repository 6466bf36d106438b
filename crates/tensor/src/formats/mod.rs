//! Number formats: how a real number is stored in few bits.
//!
//! To add one: a file with an `impl NumberFormat`, and a line in [`FORMATS`]. The conformance tests at the end of
//! this file then hold for it.

pub mod blocks;
mod codebook;
mod float16;
mod float6;
mod float8;
mod integer;
mod kmeans;
mod minifloat;
mod packing;
mod power8;
mod powers;

pub use codebook::{BINARY, Codebook, NF4, TERNARY};
pub use float6::{F6E2M3, F6E3M2};
pub use float8::{F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ};
pub use float16::{BF16, F16};
pub use integer::{
    INT2, INT3, INT4, INT5, INT6, INT7, INT8, INT16, UINT1, UINT2, UINT3, UINT4, UINT5, UINT6, UINT7, UINT8,
    UINT16,
};
pub use minifloat::{F4E2M1, Minifloat};

pub use packing::{pack_codes, pack_into, packed_bytes, unpack_code, unpack_into};

pub use power8::{F8E8M0, PowerOfTwo8, floor_log2};
pub use powers::{APOT3, APOT4, APOT5, LOG3, LOG4};

use crate::DType;

/// The families of formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatKind {
    /// Evenly spaced codes with a zero point.
    Integer,
    /// Sign, exponent and mantissa; no zero point.
    Float,
    /// Indices into a table of values; no zero point.
    Codebook,
}

/// How the bits of a small float are divided, below the sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloatLayout {
    /// Bits of the mantissa.
    pub mantissa_bits: u32,
    /// What is subtracted from the exponent.
    pub bias: i32,
}

/// A number format: a row of facts and the scalar conversion that every fast path is tested against.
pub trait NumberFormat: std::fmt::Debug + Sync {
    /// The name that users write.
    fn name(&self) -> &'static str;
    /// One line for lists.
    fn summary(&self) -> &'static str;
    /// Integer, float or table.
    fn kind(&self) -> FormatKind;
    /// Bits of one code.
    fn bits(&self) -> u32;
    /// The type in which tensors hold the codes.
    fn storage(&self) -> DType;
    /// Smallest code of an integer format; 0 for others.
    fn min_code(&self) -> i32;
    /// Largest code of an integer format; 0 for others.
    fn max_code(&self) -> i32;
    /// The layout of a float with sign whose codes rise with their magnitudes; `None` for others.
    fn float_layout(&self) -> Option<FloatLayout> {
        None
    }
    /// Largest finite value of a code.
    fn max_value(&self) -> f32;
    /// The bits of the code nearest to `value`, ties to even (of a table, to the lower value), beyond the range the last
    /// code (saturating). NaN becomes 0 for integers and tables, NaN for floats that have one, else the largest code.
    fn encode(&self, value: f32) -> u16;
    /// The value of a code, given its bits.
    fn decode(&self, code: u16) -> f32;
}

/// Every number format.
pub static FORMATS: &[&dyn NumberFormat] = &[
    &INT8,
    &UINT8,
    &INT7,
    &UINT7,
    &INT16,
    &UINT16,
    &INT4,
    &UINT4,
    &F8E4M3FN,
    &F8E4M3FNUZ,
    &F8E5M2,
    &F8E5M2FNUZ,
    &F4E2M1,
];

/// Widths that no file can say: codes lie in the next larger type. A network must be trained for them, and its activations
/// clipped to them, so that post-training methods do not offer them.
pub static NARROW_FORMATS: &[&dyn NumberFormat] =
    &[&INT6, &UINT6, &INT5, &UINT5, &INT3, &UINT3, &INT2, &UINT2, &UINT1];

/// Formats of the elements of block formats and of their scales, beside those in [`FORMATS`]: alone they are of no use.
pub static ELEMENT_FORMATS: &[&dyn NumberFormat] = &[
    &F16, &BF16, &F6E2M3, &F6E3M2, &F8E8M0, &NF4, &LOG3, &LOG4, &APOT3, &APOT4, &APOT5, &TERNARY, &BINARY,
];

/// Formats whose codes are looked up in a table of few values, which even steps do not reach: for weights with a scale for each group.
pub static TABLE_FORMATS: &[&dyn NumberFormat] = &[
    &NF4, &F4E2M1, &F6E2M3, &F6E3M2, &LOG3, &LOG4, &APOT3, &APOT4, &APOT5,
];

/// The format of [`TABLE_FORMATS`] with this name.
pub fn table_format_by_name(name: &str) -> Option<&'static dyn NumberFormat> {
    (TABLE_FORMATS.iter().copied()).find(|format| format.name() == name)
}

/// The numbers that codes of a format stand for, rising, each once.
pub fn table_values(format: &dyn NumberFormat) -> Vec<f32> {
    let codes = 0..1u32 << format.bits();
    let mut values: Vec<f32> = codes.map(|code| format.decode(code as u16)).collect();
    values.sort_by(f32::total_cmp);
    values.dedup();
    values
}

/// The format with this name, also of those in [`NARROW_FORMATS`].
pub fn trained_format_by_name(name: &str) -> Option<&'static dyn NumberFormat> {
    let narrow = || {
        NARROW_FORMATS
            .iter()
            .copied()
            .find(|format| format.name() == name)
    };
    format_by_name(name).or_else(narrow)
}

/// The format with this name.
pub fn format_by_name(name: &str) -> Option<&'static dyn NumberFormat> {
    FORMATS.iter().copied().find(|format| format.name() == name)
}

/// The values of a packed tensor of a type narrower than 16 bits; `None` when the type is no number.
pub(crate) fn decode_packed(dtype: DType, bytes: &[u8], elements: usize) -> Option<Vec<f64>> {
    let code = |index: usize| unpack_code(dtype.bits(), bytes, index);
    if dtype == DType::F8E8M0 {
        return Some((0..elements).map(|i| f64::from(F8E8M0.decode(code(i)))).collect());
    }
    if matches!(dtype, DType::I2 | DType::U2) {
        let signed = dtype == DType::I2;
        return Some((0..elements).map(|i| two_bit(code(i), signed)).collect());
    }
    let format = FORMATS
        .iter()
        .find(|format| format.storage() == dtype && format.bits() < 16)?;
    let values: Vec<f64> = (0..1u16 << format.bits())
        .map(|code| f64::from(format.decode(code)))
        .collect();
    Some((0..elements).map(|i| values[usize::from(code(i))]).collect())
}

fn two_bit(code: u16, signed: bool) -> f64 {
    if signed && code >= 2 {
        f64::from(code) - 4.0
    } else {
        f64::from(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = &'static &'static dyn NumberFormat> {
        FORMATS.iter().chain(NARROW_FORMATS).chain(ELEMENT_FORMATS)
    }

    #[test]
    fn decoding_then_encoding_gives_the_same_code() {
        for format in all() {
            for code in 0..=((1u32 << format.bits()) - 1) as u16 {
                let value = format.decode(code);
                let in_range = format.kind() != FormatKind::Integer
                    || (value >= format.min_code() as f32 && value <= format.max_code() as f32);
                if value.is_finite() && in_range {
                    let again = format.decode(format.encode(value));
                    assert_eq!(again.to_bits(), value.to_bits(), "{} code {code}", format.name());
                }
            }
        }
    }

    #[test]
    fn encoding_picks_the_nearest_value() {
        for format in all().filter(|format| format.bits() <= 8) {
            let values: Vec<f32> = (0..(1u16 << format.bits()))
                .map(|code| format.decode(code))
                .filter(|v| v.is_finite() && v.abs() <= format.max_value())
                .collect();
            for step in -600..=600 {
                let x = step as f32 * format.max_value() / 499.0;
                let got = (format.decode(format.encode(x)) - x).abs();
                let best = values.iter().map(|v| (v - x).abs()).fold(f32::INFINITY, f32::min);
                assert!(
                    got <= best,
                    "{}: {x} is {got} off, {best} possible",
                    format.name()
                );
            }
        }
    }

    #[test]
    fn names_are_unique() {
        for (index, format) in all().enumerate() {
            assert!(all().skip(index + 1).all(|other| other.name() != format.name()));
        }
    }
}
