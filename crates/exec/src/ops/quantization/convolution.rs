//! Convolutions of codes: ConvInteger and QLinearConv.

use std::borrow::Cow;

use bantam_graph::ops::{ConvInteger, QLinearConv};
use bantam_kernels::conv::Geometry;
use bantam_kernels::copy::permute;
use bantam_kernels::integer::{self, Filters, Requantization, ZeroPoints};
use bantam_tensor::{DType, Tensor};

use super::codes::{scale, scales, signed, unsigned, zero_point, zero_points};
use crate::inputs::Inputs;
use crate::layout::{permuted, to_channels_first, to_channels_last};
use crate::operator::{Operator, Outputs, Site};
use crate::ops::convolution::{check_padding, geometry, last_dilation, output_shape};
use crate::ops::windows::window_attributes;
use crate::{Context, OpError};

/// Filters, and how far the weights were moved to make them signed.
struct Weights {
    filters: Filters,
    moved: i32,
}

impl Weights {
    fn pack(tensor: &Tensor, index: usize, group: i64, dilations: &[i64]) -> Result<Weights, OpError> {
        let shape = tensor.shape();
        let groups = usize::try_from(group).ok().filter(|&groups| groups > 0);
        let groups = groups.filter(|&groups| shape.len() > 2 && shape[0].is_multiple_of(groups));
        let groups = groups.ok_or_else(|| {
            OpError::shape(format!(
                "weights of shape {shape:?} are no filters in {group} groups"
            ))
        })?;
        let (codes, moved) = signed(tensor, index)?;
        let dilation = last_dilation(dilations).unwrap_or(1);
        Ok(Weights {
            filters: Filters::new(&codes, shape, groups, dilation),
            moved,
        })
    }
}

/// The sizes, the input with its channels last, and the zero points.
struct Problem<'a> {
    geometry: Geometry,
    x: Cow<'a, [u8]>,
    x_zero: u8,
    weight_zeros: Vec<i32>,
}

impl<'a> Problem<'a> {
    fn new(
        geometry: Geometry,
        x: &'a Tensor,
        channels_last: bool,
        x_zero: i32,
        weights: &Weights,
        weight_zeros: &[i32],
    ) -> Result<Problem<'a>, OpError> {
        let (mut codes, moved) = unsigned(x, 0)?;
        if !channels_last {
            let mut last = vec![0; codes.len()];
            permute(&codes, x.shape(), &to_channels_last(x.rank()), &mut last);
            codes = Cow::Owned(last);
        }
        let x_zero = u8::try_from(x_zero + moved)
            .map_err(|_| OpError::value(format!("{x_zero} is no zero point for the type of x")))?;
        if weight_zeros.len() != 1 && weight_zeros.len() != geometry.out_channels {
            let counts = (weight_zeros.len(), geometry.out_channels);
            return Err(OpError::shape(format!(
                "{} zero points for {} filters",
                counts.0, counts.1
            )));
        }
        check_padding(&geometry)?;
        let weight_zeros = weight_zeros
            .iter()
            .map(|zero| zero.wrapping_add(weights.moved))
            .collect();
        Ok(Problem {
            geometry,
            x: codes,
            x_zero,
            weight_zeros,
        })
    }

    fn zeros(&self) -> ZeroPoints<'_> {
        ZeroPoints {
            x: self.x_zero,
            weights: &self.weight_zeros,
        }
    }

    /// The shape of the result, with the channels last.
    fn shape(&self) -> Vec<usize> {
        let shape = output_shape(&self.geometry);
        permuted(&shape, &to_channels_last(shape.len()))
    }
}

/// A result with its channels where the node wants them.
fn arranged(y: Tensor, channels_last: bool, context: &Context) -> Result<Tensor, OpError> {
    if channels_last {
        return Ok(y);
    }
    let order = to_channels_first(y.rank());
    let first = crate::ops::transposed(&y, &order, context)?;
    context.recycle(y);
    Ok(first)
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
    /// Input and output have their channels last.
    channels_last: bool,
}

/// ConvInteger: x, weights, zero points of both.
pub(crate) fn exact(op: &ConvInteger, site: &Site<'_>) -> Result<Box<dyn Operator>, OpError> {
    let pack = |tensor| Weights::pack(tensor, 1, op.group, &op.dilations);
    Ok(Box::new(Exact {
        op: op.clone(),
        weights: site.constant(1).map(pack).transpose()?,
    }))
}

/// QLinearConv: x, scale, zero point, weights, scale, zero point, output scale, zero point, optional 32-bit bias.
pub(crate) fn quantized(op: &QLinearConv, site: &Site<'_>) -> Result<Box<dyn Operator>, OpError> {
    let pack = |tensor| Weights::pack(tensor, 3, op.group, &op.dilations);
    Ok(Box::new(Quantized {
        op: op.clone(),
        weights: site.constant(3).map(pack).transpose()?,
        channels_last: site.channels_last,
    }))
}

impl Operator for Exact {
    fn run(&self, inputs: &mut Inputs<'_>, context: &Context) -> Result<Outputs, OpError> {
        let (x, w) = (inputs.required(0)?, inputs.required(1)?);
        let geometry = geometry(window_attributes!(self.op), self.op.group, x.shape(), w.shape())?;
        let (x_zero, weight_zeros) = (zero_point(inputs, 2)?, zero_points(inputs, 3)?);
        let packed;
        let weights = match &self.weights {
            Some(weights) => weights,
            None => {
                packed = Weights::pack(w, 1, self.op.group, &self.op.dilations)?;
                &packed
            }
        };
        let problem = Problem::new(geometry, x, false, x_zero, weights, &weight_zeros)?;
        let y = context.fill(&problem.shape(), |y: &mut [i32]| {
            integer::convolve_exact(
                &problem.geometry,
                &problem.x,
                &weights.filters,
                problem.zeros(),
                y,
            );
        })?;
        Ok(vec![Some(arranged(y, false, context)?)])
    }

    fn kernel(&self) -> String {
        "integer convolution".to_owned()
    }
}

impl Operator for Quantized {
    fn run(&self, inputs: &mut Inputs<'_>, context: &Context) -> Result<Outputs, OpError> {
        let (x, w) = (inputs.required(0)?, inputs.required(3)?);
        let shape = match self.channels_last {
            true => permuted(x.shape(), &to_channels_first(x.rank())),
            false => x.shape().to_vec(),
        };
        let geometry = geometry(window_attributes!(self.op), self.op.group, &shape, w.shape())?;
        let (to, bias) = requantization(inputs, geometry.out_channels)?;
        let (x_zero, weight_zeros) = (zero_point(inputs, 2)?, zero_points(inputs, 5)?);
        let packed;
        let weights = match &self.weights {
            Some(weights) => weights,
            None => {
                packed = Weights::pack(w, 3, self.op.group, &self.op.dilations)?;
                &packed
            }
        };
        let problem = Problem::new(geometry, x, self.channels_last, x_zero, weights, &weight_zeros)?;
        let run = |y: &mut [u8]| {
            let (geometry, zeros) = (&problem.geometry, problem.zeros());
            integer::convolve(geometry, &problem.x, &weights.filters, zeros, &bias, &to, y);
        };
        let y = match to.signed {
            false => context.fill(&problem.shape(), run)?,
            true => context.fill(&problem.shape(), |y: &mut [i8]| run(bytemuck::cast_slice_mut(y)))?,
        };
        Ok(vec![Some(arranged(y, self.channels_last, context)?)])
    }

    fn kernel(&self) -> String {
        let layout = if self.channels_last { ", channels last" } else { "" };
        format!("integer convolution, requantized{layout}")
    }
}

/// What a QLinearConv does with its sums, and its bias.
fn requantization(inputs: &Inputs<'_>, out_channels: usize) -> Result<(Requantization, Vec<i32>), OpError> {
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
    let signed = match inputs.required(7)?.dtype() {
        DType::U8 => false,
        DType::I8 => true,
        got => return Err(OpError::Type { index: 7, got }),
    };
    let to = Requantization {
        scales: weights.iter().map(|weight| x * weight / y).collect(),
        zero_point: zero_point(inputs, 7)?,
        signed,
    };
    Ok((to, bias))
}
