//! Numbers of less than 16 bits that no Rust type has: integers of 2 and 4 bits, floats of 4 and 8 bits.

use bantam_tensor::formats::pack_codes;
use bantam_tensor::{DType, FORMATS, FormatKind, NumberFormat, Tensor, TensorError};

use super::CastRules;
use crate::{Context, OpError};

/// True for the types of this module.
pub(super) fn is_narrow(dtype: DType) -> bool {
    dtype.is_sub_byte() || (dtype.bits() == 8 && dtype.is_float())
}

/// The values as `f64`, which is exact, or `i64` for integers.
pub(super) fn decode(x: &Tensor) -> Result<Tensor, TensorError> {
    if x.dtype().is_integer() {
        Tensor::from_slice(x.shape(), &x.to_i64()?)
    } else {
        Tensor::from_slice(x.shape(), &x.to_f64()?)
    }
}

/// The nearest values of a narrow type; integers keep their low bits.
pub(super) fn encode(
    x: &Tensor,
    to: DType,
    rules: &CastRules<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    if to.is_integer() {
        // Fractions are cut off, as for wider integers.
        let wide = super::convert(x, DType::I64, rules, context)?;
        return Ok(Tensor::from_i64(to, x.shape(), &wide.to_i64()?)?);
    }
    let values = x.to_f64()?;
    let codes: Vec<u8> = if to == DType::F8E8M0 {
        let rounding = rounding(rules.round_mode)?;
        values
            .into_iter()
            .map(|value| power_of_two(value, rounding, rules.saturate))
            .collect()
    } else {
        let mut formats = FORMATS.iter().filter(|format| format.kind() == FormatKind::Float);
        let format = formats
            .find(|format| format.storage() == to)
            .ok_or_else(|| OpError::Unsupported(format!("a cast to {to}")))?;
        values
            .into_iter()
            .map(|value| small_float(*format, value, rules.saturate))
            .collect()
    };
    Ok(Tensor::from_raw(
        to,
        x.shape(),
        &pack_codes(to.bits(), codes.into_iter()),
    )?)
}

/// The code of a value in a float format; out of range it becomes the largest value, or, where that is not wanted,
/// infinity, or NaN in formats without infinity.
fn small_float(format: &dyn NumberFormat, value: f64, saturate: bool) -> u8 {
    // Rounding to odd keeps what the second rounding needs to know.
    let single = round_to_odd(value);
    let code = format.encode(single) as u8;
    // A format in which every code is a number: the standard's own cases have minus zero here.
    if single.is_nan() && !format.decode(u16::from(code)).is_nan() {
        return 1 << (format.bits() - 1);
    }
    let largest = format.max_value();
    if saturate || single.is_nan() || rounded_fits(format, single.abs(), largest) {
        return code;
    }
    // Infinity if there is one, else a code that is not a number; with this sign if possible.
    let sign = code & 0x80;
    let mut candidates = (0..=u8::MAX)
        .filter(|&other| other & 0x80 == sign)
        .chain(0..=u8::MAX);
    let decoded = |code: u8| format.decode(u16::from(code));
    let infinity = candidates.clone().find(|&other| decoded(other).is_infinite());
    infinity
        .or_else(|| candidates.find(|&other| decoded(other).is_nan()))
        .unwrap_or(code)
}

/// True when a magnitude rounds to at most the largest value: it is nearer to it than to the next step.
fn rounded_fits(format: &dyn NumberFormat, magnitude: f32, largest: f32) -> bool {
    let below = format.decode(format.encode(largest) - 1);
    let half_step = (largest - below) / 2.0;
    // On the tie the even code wins; the largest code of a format is odd exactly when its last mantissa bit is set.
    let odd = format.encode(largest) % 2 == 1;
    magnitude < largest + half_step || (!odd && magnitude == largest + half_step)
}

/// `f64` to `f32`, with the last bit set where something was cut off, so that rounding again is right.
fn round_to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    let back = f64::from(nearest);
    if back == value || !nearest.is_finite() || value.is_nan() {
        return nearest;
    }
    let towards_zero = if back.abs() > value.abs() {
        f32::from_bits(nearest.to_bits() - 1)
    } else {
        nearest
    };
    f32::from_bits(towards_zero.to_bits() | 1)
}

#[derive(Clone, Copy, PartialEq)]
enum PowerRounding {
    Up,
    Down,
    Nearest,
}

fn rounding(name: &str) -> Result<PowerRounding, OpError> {
    match name {
        "up" => Ok(PowerRounding::Up),
        "down" => Ok(PowerRounding::Down),
        "nearest" => Ok(PowerRounding::Nearest),
        other => Err(OpError::Value(format!(
            "round_mode is `{other}`, not up, down or nearest"
        ))),
    }
}

/// The `f8e8m0` code of a magnitude: 255 is not a number.
fn power_of_two(value: f64, rounding: PowerRounding, saturate: bool) -> u8 {
    const BIAS: i64 = 127;
    if value.is_nan() {
        return 255;
    }
    // The exponent and the fraction of the `f64`; values below its normal range are far below that of the codes.
    let bits = value.abs().to_bits();
    let (exponent, fraction) = ((bits >> 52) as i64 - 1023, bits & ((1 << 52) - 1));
    let rounds_up = match rounding {
        PowerRounding::Up => fraction > 0,
        PowerRounding::Down => false,
        PowerRounding::Nearest => fraction >= 1 << 51,
    };
    match exponent + i64::from(rounds_up) + BIAS {
        code @ 0..=254 => code as u8,
        _ if !saturate => 255,
        code if code < 0 => 0,
        _ => 254,
    }
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::Cast;
    use bantam_tensor::{DType, Tensor};

    use crate::ops::testing::{run, run_one};

    fn bytes(to: DType, saturate: bool, round_mode: &str, values: &[f32]) -> Vec<u8> {
        let op = Cast {
            saturate,
            to,
            round_mode: round_mode.to_owned(),
        };
        run_one(op, &[Tensor::from_vec1(values)]).as_bytes().to_vec()
    }

    #[test]
    fn values_out_of_range() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        let values = [448.0, 464.0, 465.0, -1e6, inf, -inf, nan, -0.0];
        assert_eq!(
            bytes(DType::F8E4M3FN, true, "up", &values),
            [0x7e, 0x7e, 0x7e, 0xfe, 0x7e, 0xfe, 0x7f, 0x80]
        );
        assert_eq!(
            bytes(DType::F8E4M3FN, false, "up", &values),
            [0x7e, 0x7e, 0x7f, 0xff, 0x7f, 0xff, 0x7f, 0x80]
        );
        let values = [57344.0, 61439.0, 61440.0, -1e6, inf, -inf];
        assert_eq!(
            bytes(DType::F8E5M2, true, "up", &values),
            [0x7b, 0x7b, 0x7b, 0xfb, 0x7b, 0xfb]
        );
        assert_eq!(
            bytes(DType::F8E5M2, false, "up", &values),
            [0x7b, 0x7b, 0x7c, 0xfc, 0x7c, 0xfc]
        );
        assert_eq!(
            bytes(DType::F8E5M2FNUZ, false, "up", &[1e6, -1e6, -0.0]),
            [0x80, 0x80, 0x00]
        );
        assert_eq!(bytes(DType::F8E4M3FNUZ, true, "up", &[1e6, -1e6]), [0x7f, 0xff]);
        assert_eq!(bytes(DType::F4E2M1, true, "up", &[6.0, -9.0, nan]), [0xf7, 0x08]);
    }

    #[test]
    fn powers_of_two_round_as_asked() {
        let values = [1.0, 1.4, 1.5, 3.9, 0.0];
        assert_eq!(bytes(DType::F8E8M0, true, "up", &values), [127, 128, 128, 129, 0]);
        assert_eq!(
            bytes(DType::F8E8M0, true, "down", &values),
            [127, 127, 127, 128, 0]
        );
        assert_eq!(
            bytes(DType::F8E8M0, true, "nearest", &values),
            [127, 127, 128, 129, 0]
        );
        assert_eq!(
            bytes(DType::F8E8M0, true, "up", &[f32::NAN, f32::INFINITY]),
            [255, 254]
        );
        assert_eq!(
            bytes(DType::F8E8M0, false, "nearest", &[f32::INFINITY, 0.0]),
            [255, 255]
        );
        let op = Cast {
            saturate: true,
            to: DType::F8E8M0,
            round_mode: "sideways".to_owned(),
        };
        assert!(run(op, &[Tensor::scalar(1f32)]).is_err());
    }

    #[test]
    fn doubles_round_once() {
        // 17 / 16 lies between 1 and 9/8: the tiny addend decides, and `f32` cannot hold it.
        let op = Cast {
            saturate: true,
            to: DType::F8E4M3FN,
            round_mode: "up".to_owned(),
        };
        let y = run_one(op, &[Tensor::from_vec1(&[1.0625f64, 1.0625 + 1e-12])]);
        assert_eq!(y.as_bytes(), [0x38, 0x39]);
    }
}
