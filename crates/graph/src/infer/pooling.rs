//! Pooling.

use bantam_tensor::DType;

use super::context::{Context, Outputs, one};
use super::dims::size;
use super::error::Problem;
use super::window::{Window, kernel_sizes, sizes, transposed};
use crate::ops::{
    AutoPad, AveragePool, LpPool, MaxPool, MaxRoiPool, MaxUnpool, QLinearAveragePool, RoiAlign,
};
use crate::{Dim, ValueType};

macro_rules! window {
    ($op:ident) => {
        Window {
            auto_pad: $op.auto_pad,
            ceil_mode: $op.ceil_mode,
            dilations: &$op.dilations,
            pads: &$op.pads,
            strides: &$op.strides,
        }
    };
}

pub(super) fn average_pool(context: &Context<'_>, op: &AveragePool) -> Outputs {
    one(context.dtype(0), pooled(context, &window!(op), &op.kernel_shape)?)
}

pub(super) fn lp_pool(context: &Context<'_>, op: &LpPool) -> Outputs {
    one(context.dtype(0), pooled(context, &window!(op), &op.kernel_shape)?)
}

pub(super) fn max_pool(context: &Context<'_>, op: &MaxPool) -> Outputs {
    let shape = pooled(context, &window!(op), &op.kernel_shape)?;
    let indices = ValueType::Tensor {
        dtype: Some(DType::I64),
        shape: shape.clone(),
    };
    let dtype = context.dtype(0);
    Ok(vec![ValueType::Tensor { dtype, shape }, indices])
}

pub(super) fn qlinear_average_pool(context: &Context<'_>, op: &QLinearAveragePool) -> Outputs {
    let Some(shape) = context.shape_of_min_rank(0, 3)? else {
        return one(context.dtype(0), None);
    };
    let first = if op.channels_last {
        channels_first(shape)
    } else {
        shape.to_vec()
    };
    let kernel = kernel_sizes(&op.kernel_shape, shape.len() - 2)?;
    let spatial = window!(op).output(&first[2..], &kernel)?;
    let pooled = [&first[..2], &spatial].concat();
    one(
        context.dtype(0),
        Some(if op.channels_last {
            channels_last(&pooled)
        } else {
            pooled
        }),
    )
}

fn channels_first(shape: &[Dim]) -> Vec<Dim> {
    let mut shape = shape.to_vec();
    shape[1..].rotate_right(1);
    shape
}

fn channels_last(shape: &[Dim]) -> Vec<Dim> {
    let mut shape = shape.to_vec();
    shape[1..].rotate_left(1);
    shape
}

fn pooled(
    context: &Context<'_>,
    window: &Window<'_>,
    kernel_shape: &[i64],
) -> Result<Option<Vec<Dim>>, Problem> {
    let Some(shape) = context.shape_of_min_rank(0, 3)? else {
        return Ok(None);
    };
    let kernel = kernel_sizes(kernel_shape, shape.len() - 2)?;
    let spatial = window.output(&shape[2..], &kernel)?;
    Ok(Some([&shape[..2], &spatial].concat()))
}

/// Spatial dimensions become 1; channels are at axis 1 or last.
pub(super) fn global(context: &Context<'_>, channels_last: bool) -> Outputs {
    let shape = context.shape_of_min_rank(0, 2)?.map(|shape| {
        let channels = if channels_last { shape.len() - 1 } else { 1 };
        let keep = |(axis, dim): (usize, &Dim)| {
            if axis == 0 || axis == channels {
                dim.clone()
            } else {
                Dim::Known(1)
            }
        };
        shape.iter().enumerate().map(keep).collect()
    });
    one(context.dtype(0), shape)
}

pub(super) fn max_unpool(context: &Context<'_>, op: &MaxUnpool) -> Outputs {
    let dtype = context.dtype(0);
    if context.has(2) {
        let shape = context
            .contents(2)
            .and_then(|list| list.values.iter().map(|size| size.to_dim()).collect());
        return one(dtype, shape.or(context.shape_of_length(2)));
    }
    let Some(shape) = context.shape_of_min_rank(0, 3)? else {
        return one(dtype, None);
    };
    let window = Window {
        auto_pad: AutoPad::NotSet,
        ceil_mode: false,
        dilations: &[],
        pads: &op.pads,
        strides: &op.strides,
    };
    let axes = window.axes(&kernel_sizes(&op.kernel_shape, shape.len() - 2)?)?;
    let spatial = shape[2..]
        .iter()
        .zip(&axes)
        .map(|(dim, axis)| transposed(dim, axis, 0, AutoPad::NotSet));
    let spatial: Vec<Dim> = spatial.collect::<Result<_, _>>()?;
    one(dtype, Some([&shape[..2], &spatial].concat()))
}

pub(super) fn max_roi_pool(context: &Context<'_>, op: &MaxRoiPool) -> Outputs {
    let pooled = sizes("pooled_shape", &op.pooled_shape)?;
    regions(context, pooled)
}

pub(super) fn roi_align(context: &Context<'_>, op: &RoiAlign) -> Outputs {
    let height = Dim::Known(size("output_height", op.output_height)?);
    let width = Dim::Known(size("output_width", op.output_width)?);
    regions(context, vec![height, width])
}

/// `[regions, channels, spatial...]`.
fn regions(context: &Context<'_>, spatial: Vec<Dim>) -> Outputs {
    let channels = context
        .shape_of_rank(0, spatial.len() + 2)?
        .map_or(Dim::Unknown, |shape| shape[1].clone());
    let count = context
        .shape_of_rank(1, 2)?
        .map_or(Dim::Unknown, |shape| shape[0].clone());
    one(context.dtype(0), Some([vec![count, channels], spatial].concat()))
}
