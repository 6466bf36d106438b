//! Convolutions of codes: ConvInteger and QLinearConv.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use bantam_graph::ops::{ConvInteger, QLinearConv};
use bantam_kernels::conv::Geometry;
use bantam_kernels::copy::permute;
use bantam_kernels::integer::{self, Filters, QuantizedConvolution, Requantization, ZeroPoints};
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
    filters: Arc<Filters>,
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
            filters: Arc::new(Filters::new(&codes, shape, groups, dilation)),
            moved,
        })
    }
}

/// The codes of an input with its channels last, unsigned, and how far they were moved for that.
fn codes<'a>(x: &'a Tensor, channels_last: bool) -> Result<(Cow<'a, [u8]>, i32), OpError> {
    let (mut codes, moved) = unsigned(x, 0)?;
    if !channels_last {
        let mut last = vec![0; codes.len()];
        permute(&codes, x.shape(), &to_channels_last(x.rank()), &mut last);
        codes = Cow::Owned(last);
    }
    Ok((codes, moved))
}

/// The zero points of codes that were moved, the input's and the filters'.
fn moved_zeros(
    x_zero: i32,
    x_moved: i32,
    weights: &Weights,
    weight_zeros: &[i32],
    out_channels: usize,
) -> Result<(u8, Vec<i32>), OpError> {
    let zero = u8::try_from(x_zero + x_moved)
        .map_err(|_| OpError::value(format!("{x_zero} is no zero point for the type of x")))?;
    if weight_zeros.len() != 1 && weight_zeros.len() != out_channels {
        let count = weight_zeros.len();
        return Err(OpError::shape(format!(
            "{count} zero points for {out_channels} filters"
        )));
    }
    let moved = weight_zeros.iter().map(|zero| zero.wrapping_add(weights.moved));
    Ok((zero, moved.collect()))
}

/// The shape of a result, with the channels last.
fn shape_of(geometry: &Geometry) -> Vec<usize> {
    let shape = output_shape(geometry);
    permuted(&shape, &to_channels_last(shape.len()))
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
    /// Scales, zero points and bias are constants too.
    constant: bool,
    /// What was made of them when they were seen first.
    ready: OnceLock<Arc<Ready>>,
    /// Input and output have their channels last.
    channels_last: bool,
}

/// A convolution that only needs its input.
struct Ready {
    convolution: QuantizedConvolution,
    signed: bool,
    x_moved: i32,
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
    let known = |index| site.node.input(index).is_none() || site.constant(index).is_some();
    Ok(Box::new(Quantized {
        op: op.clone(),
        weights: site.constant(3).map(pack).transpose()?,
        constant: (1..site.node.inputs.len()).all(known),
        ready: OnceLock::new(),
        channels_last: site.channels_last,
    }))
}

impl Ready {
    fn new(weights: &Weights, x_moved: i32, inputs: &Inputs<'_>) -> Result<Ready, OpError> {
        let out_channels = inputs.required(3)?.shape()[0];
        let (to, bias) = requantization(inputs, out_channels)?;
        let (x_zero, weight_zeros) = (zero_point(inputs, 2)?, zero_points(inputs, 5)?);
        let (x, weight_zeros) = moved_zeros(x_zero, x_moved, weights, &weight_zeros, out_channels)?;
        let zeros = ZeroPoints {
            x,
            weights: &weight_zeros,
        };
        let signed = to.signed;
        let filters = weights.filters.clone();
        Ok(Ready {
            convolution: QuantizedConvolution::new(filters, zeros, &bias, to),
            signed,
            x_moved,
        })
    }
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
        let (codes, moved) = codes(x, false)?;
        let (x, zeros) = moved_zeros(x_zero, moved, weights, &weight_zeros, geometry.out_channels)?;
        check_padding(&geometry)?;
        let zeros = ZeroPoints { x, weights: &zeros };
        let y = context.fill(&shape_of(&geometry), |y: &mut [i32]| {
            integer::convolve_exact(&geometry, &codes, &weights.filters, zeros, y);
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
        check_padding(&geometry)?;
        let (codes, moved) = codes(x, self.channels_last)?;
        let new;
        let ready = match self.ready.get().filter(|ready| ready.x_moved == moved) {
            Some(ready) => ready,
            None => {
                new = self.ready(moved, inputs)?;
                &new
            }
        };
        let (shape, convolution) = (shape_of(&geometry), &ready.convolution);
        let y = match ready.signed {
            false => context.fill(&shape, |y| convolution.run(&geometry, &codes, y))?,
            true => context.fill(&shape, |y: &mut [i8]| {
                convolution.run(&geometry, &codes, bytemuck::cast_slice_mut(y));
            })?,
        };
        Ok(vec![Some(arranged(y, self.channels_last, context)?)])
    }

    fn kernel(&self) -> String {
        let layout = if self.channels_last { ", channels last" } else { "" };
        format!("integer convolution, requantized{layout}")
    }
}

impl Quantized {
    /// What is made of the weights and the rest, kept for the next run where it will be the same.
    fn ready(&self, x_moved: i32, inputs: &Inputs<'_>) -> Result<Arc<Ready>, OpError> {
        let ready = Arc::new(match &self.weights {
            Some(weights) => Ready::new(weights, x_moved, inputs)?,
            None => {
                let (codes, op) = (inputs.required(3)?, &self.op);
                Ready::new(
                    &Weights::pack(codes, 3, op.group, &op.dilations)?,
                    x_moved,
                    inputs,
                )?
            }
        });
        if self.constant {
            // Another thread may have been faster with the same.
            let _ = self.ready.set(ready.clone());
        }
        Ok(ready)
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
