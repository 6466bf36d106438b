//! Convolutions of codes: ConvInteger and QLinearConv.

use bantam_graph::ops::{ConvInteger, QLinearConv};
use bantam_kernels::conv::Geometry;
use bantam_kernels::integer::{self, Filters, ZeroPoints};
use bantam_kernels::quantize::{self, Code, Grid};
use bantam_tensor::{DType, Element, Tensor};

use super::codes::{scale, scales, signed, unsigned, zero_point, zero_points};
use crate::inputs::Inputs;
use crate::operator::{Operator, Outputs, Site};
use crate::ops::convolution::{geometry, output_shape};
use crate::ops::windows::window_attributes;
use crate::{Context, OpError};

/// Filters, and how far the weights were moved to make them signed.
struct Weights {
    filters: Filters,
    moved: i32,
}

impl Weights {
    fn pack(tensor: &Tensor, index: usize) -> Result<Weights, OpError> {
        let &[out_channels, channels, ..] = tensor.shape() else {
            return Err(OpError::shape(format!(
                "weights of shape {:?} are no filters",
                tensor.shape()
            )));
        };
        let (codes, moved) = signed(tensor, index)?;
        Ok(Weights {
            filters: Filters::new(&codes, out_channels, channels),
            moved,
        })
    }
}

/// The sizes, the input and its zero point.
struct Problem<'a> {
    geometry: Geometry,
    x: std::borrow::Cow<'a, [u8]>,
    x_zero: u8,
    weight_zeros: Vec<i32>,
}

impl<'a> Problem<'a> {
    fn new(
        geometry: Geometry,
        x: &'a Tensor,
        x_zero: i32,
        weights: &Weights,
        weight_zeros: &[i32],
    ) -> Result<Problem<'a>, OpError> {
        let (x, moved) = unsigned(x, 0)?;
        let x_zero = u8::try_from(x_zero + moved)
            .map_err(|_| OpError::value(format!("{x_zero} is no zero point for the type of x")))?;
        if weight_zeros.len() != 1 && weight_zeros.len() != geometry.out_channels {
            let counts = (weight_zeros.len(), geometry.out_channels);
            return Err(OpError::shape(format!(
                "{} zero points for {} filters",
                counts.0, counts.1
            )));
        }
        let weight_zeros = weight_zeros
            .iter()
            .map(|zero| zero.wrapping_add(weights.moved))
            .collect();
        Ok(Problem {
            geometry,
            x,
            x_zero,
            weight_zeros,
        })
    }

    fn run<T: Element>(
        &self,
        weights: &Weights,
        finish: impl Fn(usize, &[i32], &mut [T]) + Sync,
        context: &Context,
    ) -> Result<Tensor, OpError> {
        let zeros = ZeroPoints {
            x: self.x_zero,
            weights: &self.weight_zeros,
        };
        context.fill(&output_shape(&self.geometry), |y: &mut [T]| {
            integer::convolve(&self.geometry, &self.x, &weights.filters, zeros, finish, y);
        })
    }
}

/// A ConvInteger node.
struct Exact {
    op: ConvInteger,
    weights: Option<Weights>,
}

/// A QLinearConv node.
struct Quantized {
    op: QLinearConv,
    weights: Option<Weights>,
}

/// ConvInteger: x, weights, zero points of both.
pub(crate) fn exact(op: &ConvInteger, site: &Site<'_>) -> Result<Box<dyn Operator>, OpError> {
    let weights = site
        .constant(1)
        .map(|tensor| Weights::pack(tensor, 1))
        .transpose()?;
    Ok(Box::new(Exact {
        op: op.clone(),
        weights,
    }))
}

/// QLinearConv: x, scale, zero point, weights, scale, zero point, output scale, zero point, optional 32-bit bias.
pub(crate) fn quantized(op: &QLinearConv, site: &Site<'_>) -> Result<Box<dyn Operator>, OpError> {
    let weights = site
        .constant(3)
        .map(|tensor| Weights::pack(tensor, 3))
        .transpose()?;
    Ok(Box::new(Quantized {
        op: op.clone(),
        weights,
    }))
}

/// Uses packed weights, or packs those in input `index`.
fn with_weights<R>(
    packed: Option<&Weights>,
    index: usize,
    inputs: &Inputs<'_>,
    body: impl FnOnce(&Weights) -> Result<R, OpError>,
) -> Result<R, OpError> {
    match packed {
        Some(weights) => body(weights),
        None => body(&Weights::pack(inputs.required(index)?, index)?),
    }
}

impl Operator for Exact {
    fn run(&self, inputs: &mut Inputs<'_>, context: &Context) -> Result<Outputs, OpError> {
        let (x, w) = (inputs.required(0)?, inputs.required(1)?);
        let geometry = geometry(window_attributes!(self.op), self.op.group, x.shape(), w.shape())?;
        let (x_zero, weight_zeros) = (zero_point(inputs, 2)?, zero_points(inputs, 3)?);
        let y = with_weights(self.weights.as_ref(), 1, inputs, |weights| {
            let problem = Problem::new(geometry, x, x_zero, weights, &weight_zeros)?;
            problem.run::<i32>(weights, |_, sums, y| y.copy_from_slice(sums), context)
        })?;
        Ok(vec![Some(y)])
    }

    fn kernel(&self) -> String {
        "integer convolution".to_owned()
    }
}

impl Operator for Quantized {
    fn run(&self, inputs: &mut Inputs<'_>, context: &Context) -> Result<Outputs, OpError> {
        let (x, w) = (inputs.required(0)?, inputs.required(3)?);
        let geometry = geometry(window_attributes!(self.op), self.op.group, x.shape(), w.shape())?;
        let to = Requantization::read(inputs, geometry.out_channels)?;
        let (x_zero, weight_zeros) = (zero_point(inputs, 2)?, zero_points(inputs, 5)?);
        let y = with_weights(self.weights.as_ref(), 3, inputs, |weights| {
            let problem = Problem::new(geometry, x, x_zero, weights, &weight_zeros)?;
            match inputs.required(7)?.dtype() {
                DType::U8 => problem.run::<u8>(weights, |out, sums, y| to.apply(out, sums, y), context),
                DType::I8 => problem.run::<i8>(weights, |out, sums, y| to.apply(out, sums, y), context),
                got => Err(OpError::Type { index: 7, got }),
            }
        })?;
        Ok(vec![Some(y)])
    }

    fn kernel(&self) -> String {
        "integer convolution, requantized".to_owned()
    }
}

/// From sums to the codes of the output.
struct Requantization {
    /// For each output channel, `x_scale * weight_scale / y_scale`.
    scales: Vec<f32>,
    bias: Vec<i32>,
    zero_point: i32,
}

impl Requantization {
    /// Of the inputs of a QLinearConv.
    fn read(inputs: &Inputs<'_>, out_channels: usize) -> Result<Requantization, OpError> {
        let (x, y, mut weights) = (scale(inputs, 1)?, scale(inputs, 6)?, scales(inputs, 4)?);
        if weights.len() == 1 {
            weights = vec![weights[0]; out_channels];
        }
        let bias = match inputs.optional(8) {
            Some(_) => inputs.values::<i32>(8)?.into_owned(),
            None => vec![0; out_channels],
        };
        if weights.len() != out_channels || bias.len() != out_channels {
            return Err(OpError::shape(format!(
                "scales or bias do not have {out_channels} elements"
            )));
        }
        let scales = weights.iter().map(|weight| x * weight / y).collect();
        Ok(Requantization {
            scales,
            bias,
            zero_point: zero_point(inputs, 7)?,
        })
    }

    fn apply<T: Code>(&self, out_channel: usize, sums: &[i32], y: &mut [T]) {
        let grid = Grid::of::<T>(self.scales[out_channel], self.zero_point);
        quantize::requantize(sums, self.bias[out_channel], &grid, y);
    }
}
