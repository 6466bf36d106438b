//! QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear.

use bantam_graph::ops::{DequantizeLinear, MsDequantizeLinear, MsQuantizeLinear, QuantizeLinear};
use bantam_kernels::quantize::{self, Code, Grid};
use bantam_tensor::{DType, Element, Tensor, formats};
use half::{bf16, f16};

use super::codes::{scales, zero_points};
use super::runs::Runs;
use super::small_floats::small_floats;
use crate::inputs::Inputs;
use crate::operator::Outputs;
use crate::ops::floats;
use crate::{Context, OpError};

/// How reals become codes.
pub(crate) struct Quantize {
    axis: i64,
    block: i64,
    output: Option<DType>,
    precision: Option<DType>,
    saturate: bool,
}

impl From<&QuantizeLinear> for Quantize {
    fn from(op: &QuantizeLinear) -> Quantize {
        Quantize {
            axis: op.axis,
            block: op.block_size,
            output: op.output_dtype,
            precision: op.precision,
            saturate: op.saturate,
        }
    }
}

impl From<&MsQuantizeLinear> for Quantize {
    fn from(op: &MsQuantizeLinear) -> Quantize {
        Quantize {
            axis: op.axis,
            block: op.block_size,
            output: None,
            precision: None,
            saturate: op.saturate,
        }
    }
}

/// How codes become reals.
pub(crate) struct Dequantize {
    axis: i64,
    block: i64,
    output: Option<DType>,
}

impl From<&DequantizeLinear> for Dequantize {
    fn from(op: &DequantizeLinear) -> Dequantize {
        Dequantize {
            axis: op.axis,
            block: op.block_size,
            output: op.output_dtype,
        }
    }
}

impl From<&MsDequantizeLinear> for Dequantize {
    fn from(op: &MsDequantizeLinear) -> Dequantize {
        Dequantize {
            axis: op.axis,
            block: op.block_size,
            output: None,
        }
    }
}

/// Scales and zero points with the elements that they are for.
pub(super) struct Parameters {
    runs: Runs,
    scales: Vec<f32>,
    zeros: Vec<i32>,
}

impl Parameters {
    /// Of input 0, from inputs 1 and 2. Floating-point zero points are 0 by definition.
    fn read(inputs: &Inputs<'_>, axis: i64, block: i64) -> Result<Parameters, OpError> {
        let runs = Runs::new(
            inputs.required(0)?.shape(),
            inputs.required(1)?.shape(),
            axis,
            block,
        )?;
        let scales = scales(inputs, 1)?;
        let float = inputs.optional(2).is_some_and(|zero| zero.dtype().is_float());
        let zeros = if float { vec![0] } else { zero_points(inputs, 2)? };
        if zeros.len() != scales.len() && zeros.len() != 1 {
            return Err(OpError::shape(format!(
                "{} zero points for {} scales",
                zeros.len(),
                scales.len()
            )));
        }
        Ok(Parameters { runs, scales, zeros })
    }

    fn zero(&self, index: usize) -> i32 {
        if self.zeros.len() == 1 {
            self.zeros[0]
        } else {
            self.zeros[index]
        }
    }

    /// Calls `body(first element, end, scale, zero point)` for every stretch of elements with the same scale.
    pub(super) fn for_each(&self, count: usize, mut body: impl FnMut(usize, usize, f32, i32)) {
        self.runs.for_each(count, |elements, scales| {
            if scales.len() == 1 {
                return body(
                    elements.start,
                    elements.end,
                    self.scales[scales.start],
                    self.zero(scales.start),
                );
            }
            for (element, scale) in elements.zip(scales) {
                body(element, element + 1, self.scales[scale], self.zero(scale));
            }
        });
    }
}

/// QuantizeLinear: x, scale, optional zero point.
pub(crate) fn quantize(op: &Quantize, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let mut parameters = Parameters::read(inputs, op.axis, op.block)?;
    let dtype = inputs
        .optional(2)
        .map(Tensor::dtype)
        .or(op.output)
        .unwrap_or(DType::U8);
    if op.output.is_some_and(|output| output != dtype) {
        return Err(OpError::value(format!(
            "output_dtype differs from the type of the zero point, {dtype}"
        )));
    }
    let x = inputs.required(0)?;
    if !matches!(
        x.dtype(),
        DType::F32 | DType::F16 | DType::BF16 | DType::F64 | DType::I32
    ) {
        return Err(OpError::Type {
            index: 0,
            got: x.dtype(),
        });
    }
    let mut values = floats::read::<f32>(inputs, 0)?;
    if let Some(precision @ (DType::F16 | DType::BF16)) = op.precision {
        parameters.divide_in(precision, values.to_mut());
    }
    let shape = x.shape();
    match dtype {
        DType::U8 => whole_bytes::<u8>(&values, &parameters, shape, context),
        DType::I8 => whole_bytes::<i8>(&values, &parameters, shape, context),
        DType::U16 => whole_bytes::<u16>(&values, &parameters, shape, context),
        DType::I16 => whole_bytes::<i16>(&values, &parameters, shape, context),
        DType::I4 => packed(&values, &parameters, shape, dtype, (-8, 7)),
        DType::U4 => packed(&values, &parameters, shape, dtype, (0, 15)),
        DType::I2 => packed(&values, &parameters, shape, dtype, (-2, 1)),
        DType::U2 => packed(&values, &parameters, shape, dtype, (0, 3)),
        _ => small_floats(&values, &parameters, shape, dtype, op.saturate),
    }
}

impl Parameters {
    /// Divides by the scales in another precision and leaves scales of 1.
    fn divide_in(&mut self, precision: DType, x: &mut [f32]) {
        let round = |value: f32| match precision {
            DType::F16 => f16::from_f32(value).to_f32(),
            _ => bf16::from_f32(value).to_f32(),
        };
        self.for_each(x.len(), |start, end, scale, _| {
            x[start..end]
                .iter_mut()
                .for_each(|x| *x = round(round(*x) / round(scale)));
        });
        self.scales.fill(1.0);
    }
}

fn whole_bytes<T: Code + Element>(
    x: &[f32],
    parameters: &Parameters,
    shape: &[usize],
    context: &Context,
) -> Result<Tensor, OpError> {
    context.fill(shape, |codes: &mut [T]| {
        parameters.for_each(x.len(), |start, end, scale, zero| {
            quantize::quantize(
                &x[start..end],
                &Grid::of::<T>(scale, zero),
                &mut codes[start..end],
            );
        });
    })
}

fn packed(
    x: &[f32],
    parameters: &Parameters,
    shape: &[usize],
    dtype: DType,
    (min, max): (i32, i32),
) -> Result<Tensor, OpError> {
    let mut codes = vec![0i8; x.len()];
    parameters.for_each(x.len(), |start, end, scale, zero_point| {
        let grid = Grid {
            scale,
            zero_point,
            min,
            max,
        };
        quantize::quantize(&x[start..end], &grid, &mut codes[start..end]);
    });
    let bytes = formats::pack_codes(dtype.bits(), codes.iter().map(|&code| code as u8));
    Ok(Tensor::from_raw(dtype, shape, &bytes)?)
}

/// DequantizeLinear: codes, scale, optional zero point.
pub(crate) fn dequantize(op: &Dequantize, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let parameters = Parameters::read(inputs, op.axis, op.block)?;
    let (x, scale) = (inputs.required(0)?, inputs.required(1)?.dtype());
    let dtype = op.output.unwrap_or(scale);
    let zeros_fit = inputs.optional(2).is_none_or(|zero| zero.dtype() == x.dtype());
    if !zeros_fit {
        return Err(OpError::value(format!(
            "the zero point is not of the codes' type, {}",
            x.dtype()
        )));
    }
    match x.dtype() {
        DType::U8 => reals::<u8>(x, &parameters, dtype, context),
        DType::I8 => reals::<i8>(x, &parameters, dtype, context),
        DType::U16 => reals::<u16>(x, &parameters, dtype, context),
        DType::I16 => reals::<i16>(x, &parameters, dtype, context),
        DType::I32 | DType::I4 | DType::U4 | DType::I2 | DType::U2 => {
            let codes = x.to_i64()?;
            from_numbers(x, &parameters, dtype, context, |i, zero| {
                (codes[i] - i64::from(zero)) as f32
            })
        }
        _ if x.dtype().is_float() && x.dtype().bits() <= 8 => {
            let values = x.to_f32()?;
            from_numbers(x, &parameters, dtype, context, |i, _| values[i])
        }
        got => Err(OpError::Type { index: 0, got }),
    }
}

fn reals<T: Code + Element>(
    x: &Tensor,
    parameters: &Parameters,
    dtype: DType,
    context: &Context,
) -> Result<Tensor, OpError> {
    let codes = x.values::<T>()?;
    floats::fill::<f32>(context, dtype, x.shape(), |y| {
        parameters.for_each(codes.len(), |start, end, scale, zero| {
            quantize::dequantize(&codes[start..end], scale, zero, &mut y[start..end]);
        });
    })
}

/// `number(element, zero point) * scale`.
fn from_numbers(
    x: &Tensor,
    parameters: &Parameters,
    dtype: DType,
    context: &Context,
    number: impl Fn(usize, i32) -> f32,
) -> Result<Tensor, OpError> {
    floats::fill::<f32>(context, dtype, x.shape(), |y| {
        parameters.for_each(y.len(), |start, end, scale, zero| {
            (start..end).for_each(|i| y[i] = number(i, zero) * scale);
        });
    })
}

/// DynamicQuantizeLinear: unsigned bytes over the whole range of x, scale, zero point.
pub(crate) fn dynamic(inputs: &Inputs<'_>, context: &Context) -> Result<Outputs, OpError> {
    let x = inputs.values::<f32>(0)?;
    let grid = quantize::dynamic_grid(&x);
    let codes = context.fill(inputs.required(0)?.shape(), |codes: &mut [u8]| {
        quantize::quantize(&x, &grid, codes);
    })?;
    let zero_point = Tensor::scalar(grid.zero_point as u8);
    Ok(vec![
        Some(codes),
        Some(Tensor::scalar(grid.scale)),
        Some(zero_point),
    ])
}
