//! Gradients of pools.

use bantam_graph::ops::{AveragePoolGradient, MaxPoolGradient};
use bantam_kernels::conv::gradient::Write;
use bantam_kernels::gradient::pool::{self as kernels, Share};
use bantam_kernels::pool::{self, gradient::MaxBackward};
use bantam_tensor::Tensor;

use super::{check_shape, shape};
use crate::inputs::Inputs;
use crate::layout::{permuted, to_channels_first, to_channels_last};
use crate::operator::{Operator, function};
use crate::ops::floats::{fill, in_real, read};
use crate::ops::pooling::{axes, check_windows, windows};
use crate::ops::windows::window_attributes;
use crate::{Context, OpError};

/// dy, x.
pub(super) fn max(op: &MaxPoolGradient, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let x = inputs.required(1)?;
    let (windows, pooled) = windows(window_attributes!(op), op.ceil_mode, x.shape())?;
    check_windows(&windows)?;
    check_shape(inputs, 0, &pooled)?;
    let axes = axes(&windows);
    in_real!(x.dtype(), 1, T => {
        let (dy, values) = (read::<T>(inputs, 0)?, read::<T>(inputs, 1)?);
        fill(context, x.dtype(), x.shape(), |dx: &mut [T]| kernels::max(&axes, &dy, &values, dx))
    })
}

/// As [`max`], for `f32` with the channels last.
pub(crate) fn max_channels_last(op: &MaxPoolGradient) -> Box<dyn Operator> {
    let op = op.clone();
    function("gradient of a maximum, channels last", move |inputs, context| {
        let x = inputs.required(1)?;
        let first = permuted(x.shape(), &to_channels_first(x.rank()));
        let (windows, pooled) = windows(window_attributes!(op), op.ceil_mode, &first)?;
        check_windows(&windows)?;
        let pooled = permuted(&pooled, &to_channels_last(pooled.len()));
        check_shape(inputs, 0, &pooled)?;
        let (axes, channels) = (axes(&windows), first[1]);
        let (dy, values) = (read::<f32>(inputs, 0)?, read::<f32>(inputs, 1)?);
        let y = context.fill(&pooled, |y: &mut [f32]| {
            pool::max_channels_last(&axes, channels, &values, f32::MIN, y);
        })?;
        let maxima = y.values::<f32>()?;
        let backward = MaxBackward {
            axes: &axes,
            channels,
            x: &values,
            y: &maxima,
            dy: &dy,
        };
        let dx = context.fill(x.shape(), |dx: &mut [f32]| backward.run(Write::Replace, dx))?;
        drop(maxima);
        context.recycle(y);
        Ok(vec![Some(dx)])
    })
}

/// dy, shape of x.
pub(super) fn average(
    op: &AveragePoolGradient,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let (x, dtype) = (shape(inputs, 1)?, inputs.required(0)?.dtype());
    let (windows, pooled) = windows(window_attributes!(op), op.ceil_mode, &x)?;
    check_windows(&windows)?;
    check_shape(inputs, 0, &pooled)?;
    let axes = axes(&windows);
    let share = match (op.sum, op.count_include_pad) {
        (true, _) => Share::Whole,
        (false, true) => Share::WithPadding,
        (false, false) => Share::Input,
    };
    in_real!(dtype, 0, T => {
        let dy = read::<T>(inputs, 0)?;
        fill(context, dtype, &x, |dx: &mut [T]| kernels::average(&axes, &dy, share, dx))
    })
}
