//! Convolutions.

use bantam_tensor::DType;

use super::context::{Context, Outputs, one};
use super::dims::{equal, positive, times, unknowns};
use super::error::Problem;
use super::window::{Window, kernel_sizes, sizes, transposed};
use crate::Dim;
use crate::ops::{AutoPad, Conv, ConvInteger, ConvTranspose, DeformConv, FusedConv, QLinearConv};

/// What convolutions share.
struct Geometry<'a> {
    group: i64,
    kernel_shape: &'a [i64],
    window: Window<'a>,
    /// Positions of x and the weight.
    inputs: (usize, usize),
}

macro_rules! geometry {
    ($op:ident, $auto_pad:expr, $inputs:expr) => {
        Geometry {
            group: $op.group,
            kernel_shape: &$op.kernel_shape,
            window: Window {
                auto_pad: $auto_pad,
                ceil_mode: false,
                dilations: &$op.dilations,
                pads: &$op.pads,
                strides: &$op.strides,
            },
            inputs: $inputs,
        }
    };
}

pub(super) fn conv(context: &Context<'_>, op: &Conv) -> Outputs {
    let dtype = context.same_dtype([0, 1, 2])?;
    check_bias(context, 2)?;
    one(dtype, convolved(context, &geometry!(op, op.auto_pad, (0, 1)))?)
}

pub(super) fn fused_conv(context: &Context<'_>, op: &FusedConv) -> Outputs {
    let dtype = context.same_dtype([0, 1, 2, 3])?;
    check_bias(context, 2)?;
    one(dtype, convolved(context, &geometry!(op, op.auto_pad, (0, 1)))?)
}

pub(super) fn conv_integer(context: &Context<'_>, op: &ConvInteger) -> Outputs {
    one(
        Some(DType::I32),
        convolved(context, &geometry!(op, op.auto_pad, (0, 1)))?,
    )
}

pub(super) fn qlinear_conv(context: &Context<'_>, op: &QLinearConv) -> Outputs {
    one(
        context.dtype(7),
        convolved(context, &geometry!(op, op.auto_pad, (0, 3)))?,
    )
}

pub(super) fn deform_conv(context: &Context<'_>, op: &DeformConv) -> Outputs {
    one(
        context.same_dtype([0, 1])?,
        convolved(context, &geometry!(op, AutoPad::NotSet, (0, 1)))?,
    )
}

fn check_bias(context: &Context<'_>, position: usize) -> Result<(), Problem> {
    let weight = context.shape(1).and_then(<[Dim]>::first);
    match (context.shape_of_rank(position, 1)?, weight) {
        (Some(bias), Some(channels)) => {
            equal("the output channels of weight and bias", channels, &bias[0]).map(|_| ())
        }
        _ => Ok(()),
    }
}

fn convolved(context: &Context<'_>, geometry: &Geometry<'_>) -> Result<Option<Vec<Dim>>, Problem> {
    let group = positive("group", geometry.group)?;
    let (x, weight) = geometry.inputs;
    let (x_shape, weight_shape) = (
        context.shape_of_min_rank(x, 3)?,
        context.shape_of_min_rank(weight, 3)?,
    );
    let Some(rank) = x_shape.or(weight_shape).map(<[Dim]>::len) else {
        return Ok(None);
    };
    if let Some(weight_shape) = context.shape_of_rank(weight, rank)? {
        check_group(&weight_shape[0], group)?;
        if let Some(x_shape) = x_shape {
            let channels = times(&weight_shape[1], group)?;
            equal(
                "the channels of x and those of the weight times `group`",
                &x_shape[1],
                &channels,
            )?;
        }
    }
    let batch = x_shape.map_or(Dim::Unknown, |shape| shape[0].clone());
    let channels = weight_shape.map_or(Dim::Unknown, |shape| shape[0].clone());
    let spatial = match (x_shape, kernel(geometry.kernel_shape, weight_shape, rank - 2)?) {
        (Some(shape), Some(kernel)) => geometry.window.output(&shape[2..], &kernel)?,
        _ => unknowns(rank - 2),
    };
    Ok(Some([vec![batch, channels], spatial].concat()))
}

fn check_group(channels: &Dim, group: usize) -> Result<(), Problem> {
    match channels.known() {
        Some(channels) if !channels.is_multiple_of(group) => Err(Problem::argument(
            "group",
            group,
            format!("a divisor of the {channels} channels"),
        )),
        _ => Ok(()),
    }
}

/// Kernel sizes from the attribute, or else from the weight; both must agree.
fn kernel(attribute: &[i64], weight: Option<&[Dim]>, rank: usize) -> Result<Option<Vec<usize>>, Problem> {
    let from_weight = weight.and_then(|shape| shape[2..].iter().map(Dim::known).collect::<Option<Vec<_>>>());
    if attribute.is_empty() {
        return Ok(from_weight);
    }
    let kernel = kernel_sizes(attribute, rank)?;
    match from_weight {
        Some(weight) if weight != kernel => Err(Problem::argument(
            "kernel_shape",
            attribute,
            format!("the weight's {weight:?}"),
        )),
        _ => Ok(Some(kernel)),
    }
}

pub(super) fn conv_transpose(context: &Context<'_>, op: &ConvTranspose) -> Outputs {
    let dtype = context.same_dtype([0, 1, 2])?;
    let group = positive("group", op.group)?;
    let (x, weight) = (context.shape_of_min_rank(0, 3)?, context.shape_of_min_rank(1, 3)?);
    let Some(rank) = x.or(weight).map(<[Dim]>::len) else {
        return one(dtype, None);
    };
    let mut channels = Dim::Unknown;
    if let Some(weight) = context.shape_of_rank(1, rank)? {
        channels = times(&weight[1], group)?;
        if let Some(x) = x {
            let shared = equal("the channels of x and of the weight", &x[1], &weight[0])?;
            check_group(&shared, group)?;
        }
    }
    let batch = x.map_or(Dim::Unknown, |shape| shape[0].clone());
    let spatial = match (x, kernel(&op.kernel_shape, weight, rank - 2)?) {
        _ if op.output_shape.len() == rank - 2 => sizes("output_shape", &op.output_shape)?,
        (Some(x), Some(kernel)) => transposed_sizes(op, &x[2..], &kernel)?,
        _ => unknowns(rank - 2),
    };
    one(dtype, Some([vec![batch, channels], spatial].concat()))
}

fn transposed_sizes(op: &ConvTranspose, spatial: &[Dim], kernel: &[usize]) -> Result<Vec<Dim>, Problem> {
    let window = Window {
        auto_pad: op.auto_pad,
        ceil_mode: false,
        dilations: &op.dilations,
        pads: &op.pads,
        strides: &op.strides,
    };
    let axes = window.axes(kernel)?;
    let size = |index: usize| {
        let output_padding = op.output_padding.get(index).copied().unwrap_or(0);
        transposed(&spatial[index], &axes[index], output_padding, op.auto_pad)
    };
    (0..kernel.len()).map(size).collect()
}
