//! Codes of constants, and the error that they make.

use bantam_tensor::{DType, QParams, Tensor, TensorError, format_by_name};

/// Lowest and highest code of a number format by name; `int32` is for biases.
fn code_range(format: &str) -> (i64, i64) {
    match format_by_name(format) {
        Some(format) => (i64::from(format.min_code()), i64::from(format.max_code())),
        None => (i64::from(i32::MIN), i64::from(i32::MAX)),
    }
}

/// Index of the scale for each element, given as (number of scales, length of a run, runs per scale cycle): element
/// `i` of a row-major tensor has scale `i / inner % scales`.
fn inner_length(shape: &[usize], axis: Option<usize>) -> usize {
    match axis {
        Some(axis) => shape[axis + 1..].iter().product(),
        None => usize::MAX,
    }
}

/// The codes of a constant: `clamp(round(x / scale) + zero_point)`, ties to even (ONNX `QuantizeLinear`).
///
/// # Errors
/// When the constant is no numeric tensor.
pub(crate) fn quantize_constant(
    constant: &Tensor,
    format: &str,
    params: &QParams,
) -> Result<Tensor, TensorError> {
    let (low, high) = code_range(format);
    let inner = inner_length(constant.shape(), params.axis).max(1);
    let code = |(index, x): (usize, &f32)| {
        let channel = if params.axis.is_some() {
            index / inner % params.scale.len()
        } else {
            0
        };
        let code = (f64::from(*x) / f64::from(params.scale[channel])).round_ties_even() as i64;
        code.saturating_add(i64::from(params.zero_point[channel]))
            .clamp(low, high)
    };
    let codes: Vec<i64> = constant.to_f32()?.iter().enumerate().map(code).collect();
    Tensor::from_i64(
        if format == "int32" {
            DType::I32
        } else {
            params.dtype
        },
        constant.shape(),
        &codes,
    )
}

/// Signal to quantization noise ratio of a constant in decibels; infinite when nothing is lost.
///
/// # Errors
/// When the constant is no numeric tensor.
pub(crate) fn constant_sqnr(constant: &Tensor, format: &str, params: &QParams) -> Result<f64, TensorError> {
    let power = |values: &[f64]| values.iter().map(|x| x * x).sum::<f64>();
    let noise = power(&quantization_error(constant, format, params)?);
    Ok(sqnr_db(power(&constant.to_f64()?), noise))
}

/// What quantization adds to each element of a constant.
///
/// # Errors
/// When the constant is no numeric tensor.
pub(crate) fn quantization_error(
    constant: &Tensor,
    format: &str,
    params: &QParams,
) -> Result<Vec<f64>, TensorError> {
    let codes = quantize_constant(constant, format, params)?.to_i64()?;
    let inner = inner_length(constant.shape(), params.axis).max(1);
    let error = |(index, (x, code)): (usize, (f64, i64))| {
        let channel = if params.axis.is_some() {
            index / inner % params.scale.len()
        } else {
            0
        };
        (code - i64::from(params.zero_point[channel])) as f64 * f64::from(params.scale[channel]) - x
    };
    Ok(constant
        .to_f64()?
        .into_iter()
        .zip(codes)
        .enumerate()
        .map(error)
        .collect())
}

/// Decibels of a ratio of powers.
pub(crate) fn sqnr_db(signal: f64, noise: f64) -> f64 {
    if noise == 0.0 {
        f64::INFINITY
    } else {
        10.0 * (signal / noise).log10()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_per_channel() {
        let weight =
            Tensor::from_slice(&[2, 2, 2], &[1.0f32, -1.0, 0.5, 0.25, 10.0, -20.0, 5.0, 2.5]).unwrap();
        let params = QParams {
            dtype: DType::I8,
            axis: Some(0),
            scale: vec![0.5, 2.5],
            zero_point: vec![0, 0],
        };
        let codes = quantize_constant(&weight, "int8", &params).unwrap();
        assert_eq!(codes.to_i64().unwrap(), [2, -2, 1, 0, 4, -8, 2, 1]);
        let params = QParams {
            dtype: DType::I8,
            axis: Some(2),
            scale: vec![0.01, 100.0],
            zero_point: vec![0, 0],
        };
        let codes = quantize_constant(&weight, "int7", &params).unwrap();
        assert_eq!(codes.to_i64().unwrap(), [63, 0, 50, 0, 63, 0, 63, 0]);
    }
}
