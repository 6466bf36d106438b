//! Codes of constants, and the error that they make.

use std::borrow::Cow;

use bantam_kernels::quantize::{Code, Grid, dequantize, quantize, quantize_columns};
use bantam_tensor::{DType, FormatKind, NumberFormat, QParams, Tensor, TensorError, format_by_name};
use rayon::prelude::*;

/// Lowest and highest code of a number format by name; `int32` is for biases.
fn code_range(format: &str) -> (i64, i64) {
    match format_by_name(format) {
        Some(format) => (i64::from(format.min_code()), i64::from(format.max_code())),
        None => (i64::from(i32::MIN), i64::from(i32::MAX)),
    }
}

/// The format of this name, if it is one of floats of 8 bits.
fn float_format(name: &str) -> Option<&'static dyn NumberFormat> {
    format_by_name(name).filter(|format| format.kind() == FormatKind::Float && format.bits() == 8)
}

/// Which scale each element has: element `i` of a row-major tensor that of index `i / inner % scales`; where there are groups,
/// that of the group `i / inner % axis_len / group` along the axis, at the same place of all other axes.
#[derive(Clone, Copy)]
struct Layout {
    scales: usize,
    inner: usize,
    /// Length of the axis, and of groups on it.
    groups: Option<(usize, usize)>,
}

impl Layout {
    fn new(shape: &[usize], params: &QParams) -> Layout {
        match params.axis {
            Some(axis) => Layout {
                scales: params.scale.len().max(1),
                inner: shape[axis + 1..].iter().product::<usize>().max(1),
                groups: params.group.map(|group| (shape[axis].max(1), group)),
            },
            None => Layout {
                scales: 1,
                inner: shape.iter().product::<usize>().max(1),
                groups: None,
            },
        }
    }

    /// Index of an element's scale.
    fn scale_of(self, element: usize) -> usize {
        match self.groups {
            None => element / self.inner % self.scales,
            Some((axis_len, group)) => {
                let (row, index) = (element / self.inner / axis_len, element / self.inner % axis_len);
                (row * axis_len.div_ceil(group) + index / group) * self.inner + element % self.inner
            }
        }
    }

    /// Elements of a run that share a scale, or that have the scales in turn.
    fn run(self) -> usize {
        if self.inner == 1 { self.scales } else { self.inner }
    }
}

/// Evaluates an expression with `$code` standing for the type that codes of a type are stored in, if it is one of
/// whole bytes that the kernels know.
macro_rules! with_code_type {
    ($dtype:expr, $code:ident => $known:expr, else $other:expr) => {
        match $dtype {
            DType::I8 => {
                type $code = i8;
                $known
            }
            DType::U8 => {
                type $code = u8;
                $known
            }
            DType::I16 => {
                type $code = i16;
                $known
            }
            DType::U16 => {
                type $code = u16;
                $known
            }
            _ => $other,
        }
    };
}

/// The codes of a constant: `clamp(round(x / scale) + zero_point)`, ties to even (ONNX `QuantizeLinear`); of floats the nearest to `x / scale`.
///
/// # Errors
/// When the constant is no numeric tensor.
pub(crate) fn quantize_constant(
    constant: &Tensor,
    format: &str,
    params: &QParams,
) -> Result<Tensor, TensorError> {
    let shape = constant.shape();
    if let Some(format) = float_format(format) {
        let layout = Layout::new(shape, params);
        let scaled = |(index, x): (usize, &f32)| x / params.scale[layout.scale_of(index)];
        let values = floats(constant)?;
        let codes = values
            .iter()
            .enumerate()
            .map(|it| format.encode(scaled(it)) as u8);
        return Tensor::from_raw(params.dtype, shape, &codes.collect::<Vec<u8>>());
    }
    if format_by_name(format).is_none() {
        return Tensor::from_i64(DType::I32, shape, &wide_codes(constant, format, params)?);
    }
    if params.group.is_some() {
        return Tensor::from_i64(params.dtype, shape, &wide_codes(constant, format, params)?);
    }
    with_code_type!(
        params.dtype,
        Code => {
            let values = floats(constant)?;
            let mut tensor = Tensor::from_slice(shape, &vec![Code::default(); values.len()])?;
            codes(&values, shape, format, params, tensor.values_mut::<Code>()?);
            Ok(tensor)
        },
        else Tensor::from_i64(params.dtype, shape, &wide_codes(constant, format, params)?)
    )
}

/// The elements as `f32`, copied only when they are of another type.
fn floats(constant: &Tensor) -> Result<Cow<'_, [f32]>, TensorError> {
    match constant.values::<f32>() {
        Ok(values) => Ok(values),
        Err(_) => Ok(Cow::Owned(constant.to_f32()?)),
    }
}

fn codes<T: Code>(values: &[f32], shape: &[usize], format: &str, params: &QParams, codes: &mut [T]) {
    let (layout, (min, max)) = (Layout::new(shape, params), code_range(format));
    let grid = |index: usize| Grid {
        scale: params.scale[index],
        zero_point: params.zero_point[index],
        min: min as i32,
        max: max as i32,
    };
    let runs = codes
        .par_chunks_mut(layout.run())
        .zip(values.par_chunks(layout.run()))
        .with_min_len((MIN_TASK / layout.run()).max(1))
        .enumerate();
    runs.for_each(|(index, (codes, values))| {
        if layout.inner > 1 || layout.scales == 1 {
            quantize(values, &grid(index % layout.scales), codes);
        } else {
            quantize_columns(values, &params.scale, &params.zero_point, &grid(0), codes);
        }
    });
}

/// Elements that a task has at least.
const MIN_TASK: usize = 1 << 14;

/// The places of the values of a table, rising, that are nearest to `x / scale`; of two as near the lower.
pub(crate) fn table_codes(
    constant: &Tensor,
    values: &[f32],
    params: &QParams,
) -> Result<Tensor, TensorError> {
    let layout = Layout::new(constant.shape(), params);
    let middles: Vec<f32> = (values.windows(2))
        .map(|pair| pair[0] + (pair[1] - pair[0]) * 0.5)
        .collect();
    let code = |(index, x): (usize, &f32)| {
        let x = x / params.scale[layout.scale_of(index)];
        middles.partition_point(|middle| x > *middle) as i64
    };
    let codes: Vec<i64> = floats(constant)?.iter().enumerate().map(code).collect();
    Tensor::from_i64(params.dtype, constant.shape(), &codes)
}

/// The codes of any format, by its definition in `f64`: for biases and for formats of less than a byte.
fn wide_codes(constant: &Tensor, format: &str, params: &QParams) -> Result<Vec<i64>, TensorError> {
    let (low, high) = code_range(format);
    let layout = Layout::new(constant.shape(), params);
    let code = |(index, x): (usize, &f32)| {
        let channel = layout.scale_of(index);
        let code = (f64::from(*x) / f64::from(params.scale[channel])).round_ties_even() as i64;
        code.saturating_add(i64::from(params.zero_point[channel]))
            .clamp(low, high)
    };
    Ok(floats(constant)?.iter().enumerate().map(code).collect())
}

/// Signal to quantization noise ratio of a constant in decibels; infinite when nothing is lost.
///
/// # Errors
/// When the constant is no numeric tensor.
pub(crate) fn constant_sqnr(constant: &Tensor, format: &str, params: &QParams) -> Result<f64, TensorError> {
    let power = |values: &[f32]| values.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>();
    let noise = power(&quantization_error(constant, format, params)?);
    Ok(sqnr_db(power(&floats(constant)?), noise))
}

/// What quantization adds to each element of a constant.
///
/// # Errors
/// When the constant is no numeric tensor.
pub(crate) fn quantization_error(
    constant: &Tensor,
    format: &str,
    params: &QParams,
) -> Result<Vec<f32>, TensorError> {
    let values = floats(constant)?;
    let quantized = quantize_constant(constant, format, params)?;
    if float_format(format).is_some() {
        let layout = Layout::new(constant.shape(), params);
        let codes = quantized.to_f32()?;
        let error =
            |(index, (code, x)): (usize, (f32, &f32))| code * params.scale[layout.scale_of(index)] - x;
        return Ok(codes
            .into_iter()
            .zip(values.iter())
            .enumerate()
            .map(error)
            .collect());
    }
    if params.group.is_some() {
        return wide_errors(&values, &quantized, params);
    }
    with_code_type!(
        quantized.dtype(),
        Code => {
            let codes = quantized.values::<Code>()?;
            Ok(errors(&values, constant.shape(), params, &codes))
        },
        else wide_errors(&values, &quantized, params)
    )
}

fn wide_errors(values: &[f32], codes: &Tensor, params: &QParams) -> Result<Vec<f32>, TensorError> {
    let layout = Layout::new(codes.shape(), params);
    let error = |(index, (code, x)): (usize, (i64, &f32))| {
        let channel = layout.scale_of(index);
        let real = (code - i64::from(params.zero_point[channel])) as f64 * f64::from(params.scale[channel]);
        (real - f64::from(*x)) as f32
    };
    Ok(codes
        .to_i64()?
        .into_iter()
        .zip(values)
        .enumerate()
        .map(error)
        .collect())
}

fn errors<T: Code>(values: &[f32], shape: &[usize], params: &QParams, codes: &[T]) -> Vec<f32> {
    let layout = Layout::new(shape, params);
    let mut errors = vec![0f32; values.len()];
    let runs = errors
        .par_chunks_mut(layout.run())
        .zip(
            values
                .par_chunks(layout.run())
                .zip(codes.par_chunks(layout.run())),
        )
        .with_min_len((MIN_TASK / layout.run()).max(1))
        .enumerate();
    runs.for_each(|(index, (errors, (values, codes)))| {
        if layout.inner > 1 || layout.scales == 1 {
            let channel = index % layout.scales;
            dequantize(codes, params.scale[channel], params.zero_point[channel], errors);
        } else {
            let columns = params.scale.iter().zip(&params.zero_point);
            for ((error, code), (scale, zero_point)) in errors.iter_mut().zip(codes).zip(columns) {
                *error = code.to_i32().wrapping_sub(*zero_point) as f32 * scale;
            }
        }
        errors
            .iter_mut()
            .zip(values)
            .for_each(|(error, value)| *error -= value);
    });
    errors
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
            group: None,
            scale: vec![0.5, 2.5],
            zero_point: vec![0, 0],
        };
        let codes = quantize_constant(&weight, "int8", &params).unwrap();
        assert_eq!(codes.to_i64().unwrap(), [2, -2, 1, 0, 4, -8, 2, 1]);
        let params = QParams {
            dtype: DType::I8,
            axis: Some(2),
            group: None,
            scale: vec![0.01, 100.0],
            zero_point: vec![0, 0],
        };
        let codes = quantize_constant(&weight, "int7", &params).unwrap();
        assert_eq!(codes.to_i64().unwrap(), [63, 0, 50, 0, 63, 0, 63, 0]);
    }

    /// Every axis of a weight, and none, in formats of all widths: codes and errors are those of the definition.
    #[test]
    fn fast_forms_agree_with_the_definition() {
        let shape = [5usize, 7, 3];
        let values: Vec<f32> = (0..105).map(|i| ((i * 37 % 105) as f32 - 50.0) * 0.173).collect();
        let weight = Tensor::from_slice(&shape, &values).unwrap();
        for format in bantam_tensor::FORMATS
            .iter()
            .filter(|format| format.min_code() < format.max_code())
        {
            for axis in [None, Some(0), Some(1), Some(2)] {
                let count = axis.map_or(1, |axis| shape[axis]);
                let largest = format.max_code() as f32;
                let params = QParams {
                    dtype: format.storage(),
                    axis,
                    group: None,
                    scale: (0..count).map(|i| (3.0 + i as f32) / largest).collect(),
                    zero_point: (0..count)
                        .map(|i| (format.max_code() / 2).min(i as i32))
                        .collect(),
                };
                let name = format.name();
                let expected = wide_codes(&weight, name, &params).unwrap();
                let codes = quantize_constant(&weight, name, &params).unwrap();
                assert_eq!(codes.to_i64().unwrap(), expected, "{name} along {axis:?}");
                let layout = Layout::new(&shape, &params);
                let errors = quantization_error(&weight, name, &params).unwrap();
                for (index, (error, code)) in errors.iter().zip(expected).enumerate() {
                    let channel = layout.scale_of(index);
                    let real = (code - i64::from(params.zero_point[channel])) as f32 * params.scale[channel];
                    assert!(
                        (real - values[index] - error).abs() < 1e-5,
                        "{name} along {axis:?} at {index}"
                    );
                }
            }
        }
    }
}
