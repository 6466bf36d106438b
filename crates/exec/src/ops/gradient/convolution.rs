//! Gradients of Conv.

use bantam_graph::ops::{ConvInputGradient, ConvWeightGradient};
use bantam_kernels::conv::{Geometry, convolve_transposed};
use bantam_kernels::gradient::convolution::weight_gradient;
use bantam_tensor::Tensor;

use super::{check_shape, shape};
use crate::inputs::Inputs;
use crate::ops::convolution::{geometry, output_shape};
use crate::ops::floats::{fill, in_real, read};
use crate::ops::windows::WindowAttributes;
use crate::{Context, OpError};

/// The attributes that the two share.
macro_rules! attributes {
    ($op:expr) => {
        WindowAttributes {
            auto_pad: $op.auto_pad,
            kernel: &[],
            strides: &$op.strides,
            dilations: &$op.dilations,
            pads: &$op.pads,
        }
    };
}

/// dy, weight, shape of x.
pub(super) fn input(
    op: &ConvInputGradient,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let (x, weight) = (shape(inputs, 2)?, inputs.required(1)?.shape());
    let forward = geometry(attributes!(op), op.group, &x, weight)?;
    check_shape(inputs, 0, &output_shape(&forward))?;
    // The transpose goes from the output to the input.
    let backward = Geometry {
        channels: forward.out_channels,
        out_channels: forward.channels,
        input: forward.output,
        output: forward.input,
        ..forward
    };
    let dtype = inputs.required(0)?.dtype();
    in_real!(dtype, 0, T => {
        let (dy, weight) = (read::<T>(inputs, 0)?, read::<T>(inputs, 1)?);
        fill(context, dtype, &x, |dx: &mut [T]| convolve_transposed(&backward, &dy, &weight, None, dx))
    })
}

/// dy, x, shape of the weight.
pub(super) fn weight(
    op: &ConvWeightGradient,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let (weight, x) = (shape(inputs, 2)?, inputs.required(1)?.shape());
    let forward = geometry(attributes!(op), op.group, x, &weight)?;
    check_shape(inputs, 0, &output_shape(&forward))?;
    let dtype = inputs.required(0)?.dtype();
    in_real!(dtype, 0, T => {
        let (dy, x) = (read::<T>(inputs, 0)?, read::<T>(inputs, 1)?);
        fill(context, dtype, &weight, |dw: &mut [T]| weight_gradient(&forward, &dy, &x, dw))
    })
}
