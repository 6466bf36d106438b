//! Quantization to floating-point formats of 4 and 8 bits.

use std::sync::OnceLock;

use bantam_tensor::{DType, FORMATS, FormatKind, NumberFormat, Tensor, formats};

use super::linear::Parameters;
use crate::OpError;

/// Reals as the nearest codes of a floating-point format.
pub(super) fn small_floats(
    x: &[f32],
    parameters: &Parameters,
    shape: &[usize],
    dtype: DType,
    saturate: bool,
) -> Result<Tensor, OpError> {
    let is_format =
        |format: &&dyn NumberFormat| format.kind() == FormatKind::Float && format.storage() == dtype;
    let place = FORMATS
        .iter()
        .position(is_format)
        .ok_or_else(|| OpError::Unsupported(format!("quantization to {dtype}")))?;
    let table = TABLES[place][usize::from(saturate)].get_or_init(|| codes_of_odd(FORMATS[place], saturate));
    let mut codes = vec![0u8; x.len()];
    parameters.for_each(x.len(), |start, end, scale, _| {
        for (code, x) in codes[start..end].iter_mut().zip(&x[start..end]) {
            *code = table[odd(x / scale)];
        }
    });
    Ok(Tensor::from_raw(
        dtype,
        shape,
        &formats::pack_codes(dtype.bits(), codes.into_iter()),
    )?)
}

/// [`codes_of_odd`] of each format, without saturation and with it.
static TABLES: [[OnceLock<Vec<u8>>; 2]; FORMATS_AT_MOST] =
    [const { [const { OnceLock::new() }; 2] }; FORMATS_AT_MOST];

const FORMATS_AT_MOST: usize = 32;

/// The upper half of a float, rounded to odd: its last bit is set where anything lies below. What rounds this to nearest with at least two bits
/// fewer comes to the same as from the whole (Boldo and Melquiond 2008).
fn odd(value: f32) -> usize {
    let bits = value.to_bits();
    ((bits >> 16) | u32::from(bits & 0xffff != 0)) as usize
}

/// The code of each upper half.
fn codes_of_odd(format: &dyn NumberFormat, saturate: bool) -> Vec<u8> {
    let value = |upper: u32| f32::from_bits(upper << 16);
    (0..1 << 16)
        .map(|upper| encode(format, value(upper), saturate) as u8)
        .collect()
}

/// The code of a value. Without saturation, what rounds beyond the largest value becomes infinity, or NaN in formats
/// that have none; formats with neither saturate always.
fn encode(format: &dyn NumberFormat, value: f32, saturate: bool) -> u16 {
    let largest = format.max_value();
    let code = format.encode(largest);
    // Half of the distance to the next value, if there were one; a tie goes to the even code.
    let half = (largest - format.decode(code - 1)) / 2.0;
    let overflows = value.abs() > largest + half || (value.abs() == largest + half && code % 2 == 1);
    if saturate || !overflows || format.bits() < 8 {
        return format.encode(value);
    }
    let infinity =
        (0..=u16::from(u8::MAX)).find(|&code| format.decode(code) == f32::INFINITY.copysign(value));
    infinity.unwrap_or_else(|| format.encode(f32::NAN))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looking codes up gives what the format says, between codes and where two are equally near.
    #[test]
    fn tables_round_as_the_format() {
        assert!(FORMATS.len() <= FORMATS_AT_MOST);
        let mut random = bantam_tensor::SplitMix64::new(5);
        for format in FORMATS.iter().filter(|format| format.kind() == FormatKind::Float) {
            let table = codes_of_odd(*format, true);
            let any = (0..20_000).map(|_| f32::from_bits(random.next_u64() as u32));
            let values: Vec<f32> = (0..1 << (format.bits() - 1))
                .map(|code| format.decode(code))
                .collect();
            let middles = values.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0);
            let near =
                middles.flat_map(|x| [x, x.next_up(), x.next_down(), -x, -x.next_up(), -x.next_down()]);
            for x in any.chain(near.collect::<Vec<f32>>()) {
                let (found, expected) = (u16::from(table[odd(x)]), format.encode(x));
                assert_eq!(found, expected, "{} {x:e}", format.name());
            }
        }
    }

    #[test]
    fn overflow_without_saturation() {
        let cases = [
            (&formats::F8E4M3FN, 464.0, 448.0),
            (&formats::F8E4M3FN, 464.1, f32::NAN),
            (&formats::F8E4M3FNUZ, 247.0, 240.0),
            (&formats::F8E4M3FNUZ, 248.0, f32::NAN),
            (&formats::F8E5M2, 61439.0, 57344.0),
            (&formats::F8E5M2, -61440.0, f32::NEG_INFINITY),
            (&formats::F8E5M2FNUZ, f32::INFINITY, f32::NAN),
        ];
        for (format, value, expected) in cases {
            let got = format.decode(encode(format, value, false));
            assert!(
                got == expected || (got.is_nan() && expected.is_nan()),
                "{value} became {got}"
            );
            let saturated = format.decode(encode(format, value, true));
            assert_eq!(saturated.abs(), format.max_value(), "{value}");
        }
    }
}
