//! Numbers as text.

use bantam_tensor::{DType, Tensor};

use super::CastRules;
use crate::{Context, OpError};

/// Strings as numbers: plain or scientific notation, `INF` and `NaN` in any case.
pub(super) fn parse(
    x: &Tensor,
    to: DType,
    rules: &CastRules<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let texts: Vec<&str> = x
        .strings()?
        .iter()
        .map(|bytes| text(bytes))
        .collect::<Result<_, _>>()?;
    if to == DType::F32 {
        let values: Vec<f32> = texts.into_iter().map(number).collect::<Result<_, _>>()?;
        return Ok(Tensor::from_slice(x.shape(), &values)?);
    }
    if to == DType::U64 {
        let values: Vec<u64> = texts
            .into_iter()
            .map(|text| {
                text.parse()
                    .or_else(|_| number::<f64>(text).map(|value| value as u64))
            })
            .collect::<Result<_, _>>()?;
        return Ok(Tensor::from_slice(x.shape(), &values)?);
    }
    let wide = if to.is_integer() {
        let integer = |text: &str| {
            text.parse()
                .or_else(|_| number::<f64>(text).map(|value| value as i64))
        };
        Tensor::from_slice(
            x.shape(),
            &texts.into_iter().map(integer).collect::<Result<Vec<i64>, _>>()?,
        )?
    } else {
        Tensor::from_slice(
            x.shape(),
            &texts.into_iter().map(number).collect::<Result<Vec<f64>, _>>()?,
        )?
    };
    super::convert(&wide, to, rules, context)
}

fn text(bytes: &[u8]) -> Result<&str, OpError> {
    let not_text = || OpError::value("a string that is no UTF-8 cannot be cast to a number");
    std::str::from_utf8(bytes).map(str::trim).map_err(|_| not_text())
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, OpError> {
    text.parse()
        .map_err(|_| OpError::Value(format!("the string `{text}` is not a number")))
}

/// Numbers as strings: the shortest that gives the same number when it is read again.
pub(super) fn format(x: &Tensor) -> Result<Tensor, OpError> {
    let strings: Vec<String> = match x.dtype() {
        DType::F32 => x
            .values::<f32>()?
            .iter()
            .map(|value| float(value, f64::from(*value)))
            .collect(),
        DType::F64 => x
            .values::<f64>()?
            .iter()
            .map(|value| float(value, *value))
            .collect(),
        DType::U64 => x.values::<u64>()?.iter().map(u64::to_string).collect(),
        DType::Bool => super::truths(x)?
            .iter()
            .map(|&truth| u8::from(truth).to_string())
            .collect(),
        dtype if dtype.is_integer() => x.to_i64()?.iter().map(i64::to_string).collect(),
        // Narrower floats have few digits: those that tell them apart as `f32`.
        _ => x
            .to_f32()?
            .iter()
            .map(|value| float(value, f64::from(*value)))
            .collect(),
    };
    Ok(Tensor::from_strings(
        x.shape(),
        strings.into_iter().map(String::into_bytes).collect(),
    )?)
}

fn float(value: &(impl std::fmt::Display + std::fmt::LowerExp), wide: f64) -> String {
    let magnitude = wide.abs();
    match wide {
        _ if wide.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "INF".to_owned(),
        f64::NEG_INFINITY => "-INF".to_owned(),
        _ if magnitude != 0.0 && !(1e-5..1e16).contains(&magnitude) => format!("{value:e}"),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use bantam_tensor::{DType, Tensor};

    use super::super::tests::to;
    use crate::ops::testing::{run, run_one};

    fn strings(texts: &[&str]) -> Tensor {
        Tensor::from_strings(
            &[texts.len()],
            texts.iter().map(|text| text.as_bytes().to_vec()).collect(),
        )
        .unwrap()
    }

    #[test]
    fn texts_are_read() {
        let x = strings(&["2.75", "1e-5", "1E8", "+INF", "-inf", "NaN"]);
        let y = run_one(to(DType::F32), &[x]).to_f32().unwrap();
        assert_eq!(y[..5], [2.75, 1e-5, 1e8, f32::INFINITY, f32::NEG_INFINITY]);
        assert!(y[5].is_nan());
        let y = run_one(to(DType::I64), &[strings(&["9007199254740993", "100.5", "-7"])]);
        assert_eq!(y, Tensor::from_vec1(&[9_007_199_254_740_993i64, 100, -7]));
        assert!(run(to(DType::F32), &[strings(&["Hello World!"])]).is_err());
    }

    #[test]
    fn numbers_are_written() {
        let y = run_one(
            to(DType::String),
            &[Tensor::from_vec1(&[0.1f32, 100.0, 1e20, -0.0, f32::NAN, 1e-7])],
        );
        assert_eq!(y, strings(&["0.1", "100", "1e20", "-0", "NaN", "1e-7"]));
        let y = run_one(to(DType::String), &[Tensor::from_vec1(&[u64::MAX])]);
        assert_eq!(y, strings(&["18446744073709551615"]));
        let y = run_one(
            to(DType::String),
            &[Tensor::from_bools(&[2], &[true, false]).unwrap()],
        );
        assert_eq!(y, strings(&["1", "0"]));
    }
}
