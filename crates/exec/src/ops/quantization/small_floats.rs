//! Quantization to floating-point formats of 4 and 8 bits.

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
        |format: &&&dyn NumberFormat| format.kind() == FormatKind::Float && format.storage() == dtype;
    let format = FORMATS
        .iter()
        .find(is_format)
        .ok_or_else(|| OpError::Unsupported(format!("quantization to {dtype}")))?;
    let mut codes = vec![0u8; x.len()];
    parameters.for_each(x.len(), |start, end, scale, _| {
        for (code, x) in codes[start..end].iter_mut().zip(&x[start..end]) {
            *code = encode(*format, x / scale, saturate) as u8;
        }
    });
    Ok(Tensor::from_raw(
        dtype,
        shape,
        &formats::pack_codes(dtype.bits(), codes.into_iter()),
    )?)
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
