//! Gradients of Conv.

use bantam_graph::ops::{ConvInputGradient, ConvWeightGradient};
use bantam_kernels::Isa;
use bantam_kernels::conv::gradient::{self, Write};
use bantam_kernels::conv::{Geometry, convolve_transposed};
use bantam_kernels::copy::permute;
use bantam_kernels::gradient::convolution::weight_gradient;
use bantam_tensor::{DType, Element, Tensor};
use half::bf16;

use super::{check_shape, shape};
use crate::inputs::Inputs;
use crate::layout::{permuted, to_channels_first, to_channels_last};
use crate::operator::{Operator, function};
use crate::ops::convolution::{check_padding, geometry, output_shape};
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
    let dtype = inputs.required(0)?.dtype();
    if is_fast(&forward, dtype) {
        check_padding(&forward)?;
        let (dy, weight) = (last(inputs, 0)?, read::<f32>(inputs, 1)?);
        let mut dx = vec![0.0; x.iter().product()];
        gradient::input(Isa::best(), &forward, &dy, &weight, Write::Replace, &mut dx);
        let shape = permuted(&x, &to_channels_last(x.len()));
        return fill(context, dtype, &x, |y| {
            permute(&dx, &shape, &to_channels_first(shape.len()), y);
        });
    }
    // The transpose goes from the output to the input.
    let backward = Geometry {
        channels: forward.out_channels,
        out_channels: forward.channels,
        input: forward.output,
        output: forward.input,
        ..forward
    };
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
    if is_fast(&forward, dtype) {
        check_padding(&forward)?;
        let (dy, x) = (last(inputs, 0)?, last(inputs, 1)?);
        return fill(context, dtype, &weight, |dw| {
            gradient::weight(Isa::best(), &forward, &x, &dy, Write::Replace, dw);
        });
    }
    in_real!(dtype, 0, T => {
        let (dy, x) = (read::<T>(inputs, 0)?, read::<T>(inputs, 1)?);
        fill(context, dtype, &weight, |dw: &mut [T]| weight_gradient(&forward, &dy, &x, dw))
    })
}

/// As [`input`], dy and the result having their channels last; input 3 is added if it is present.
pub(crate) fn input_channels_last(op: &ConvInputGradient) -> Box<dyn Operator> {
    let op = op.clone();
    function(
        "gradient of a convolution's input, channels last",
        move |inputs, context| {
            let (x, weight) = (shape(inputs, 2)?, inputs.required(1)?.shape());
            let forward = geometry(attributes!(op), op.group, &x, weight)?;
            check_padding(&forward)?;
            check_last(inputs, 0, &output_shape(&forward))?;
            let sizes = permuted(&x, &to_channels_last(x.len()));
            if inputs.optional(3).is_some() {
                check_shape(inputs, 3, &sizes)?;
            }
            let write = match inputs.optional(3) {
                Some(_) => Write::Add,
                None => Write::Replace,
            };
            let dx = match inputs.required(0)?.dtype() {
                DType::BF16 => {
                    let mut dx = addend::<bf16>(inputs, &sizes, context)?;
                    let (dy, weight) = (inputs.values(0)?, read::<f32>(inputs, 1)?);
                    gradient::input_bf16(Isa::best(), &forward, &dy, &weight, write, dx.values_mut()?);
                    dx
                }
                _ => {
                    let mut dx = addend::<f32>(inputs, &sizes, context)?;
                    let (dy, weight) = (read::<f32>(inputs, 0)?, read::<f32>(inputs, 1)?);
                    gradient::input(Isa::best(), &forward, &dy, &weight, write, dx.values_mut()?);
                    dx
                }
            };
            Ok(vec![Some(dx)])
        },
    )
}

/// Input 3, to be written over; unspecified elements if it is not present.
fn addend<T: Element + Copy>(
    inputs: &mut Inputs<'_>,
    sizes: &[usize],
    context: &Context,
) -> Result<Tensor, OpError> {
    match inputs.optional(3).map(Tensor::dtype) {
        None => context.uninitialized(T::DTYPE, sizes),
        Some(dtype) if dtype != T::DTYPE => Err(OpError::Type { index: 3, got: dtype }),
        Some(_) => match inputs.take_unique(3) {
            Some(addend) => Ok(addend),
            None => {
                let addend = inputs.values::<T>(3)?;
                context.fill(sizes, |dx: &mut [T]| dx.copy_from_slice(&addend))
            }
        },
    }
}

/// As [`weight`], dy and x having their channels last.
pub(crate) fn weight_channels_last(op: &ConvWeightGradient) -> Box<dyn Operator> {
    let op = op.clone();
    function(
        "gradient of a convolution's weights, channels last",
        move |inputs, context| {
            let (weight, x) = (shape(inputs, 2)?, inputs.required(1)?.shape());
            let x = permuted(x, &to_channels_first(x.len()));
            let forward = geometry(attributes!(op), op.group, &x, &weight)?;
            check_padding(&forward)?;
            check_last(inputs, 0, &output_shape(&forward))?;
            if inputs.required(0)?.dtype() == DType::BF16 {
                let (dy, x) = (inputs.values::<bf16>(0)?, inputs.values::<bf16>(1)?);
                let dw = context.fill(&weight, |dw: &mut [f32]| {
                    gradient::weight_bf16(Isa::best(), &forward, &x, &dy, Write::Replace, dw);
                })?;
                return Ok(vec![Some(dw)]);
            }
            let (dy, x) = (read::<f32>(inputs, 0)?, read::<f32>(inputs, 1)?);
            let dw = context.fill(&weight, |dw: &mut [f32]| {
                gradient::weight(Isa::best(), &forward, &x, &dy, Write::Replace, dw);
            })?;
            Ok(vec![Some(dw)])
        },
    )
}

/// Fails unless input `index`, with its channels last, has this shape in the graph's order.
fn check_last(inputs: &Inputs<'_>, index: usize, first: &[usize]) -> Result<(), OpError> {
    check_shape(inputs, index, &permuted(first, &to_channels_last(first.len())))
}

/// Whether the kernels for `f32` with the channels last can do it.
fn is_fast(forward: &Geometry, dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F16 | DType::BF16) && forward.taps() > 0
}

/// The elements of input `index` with their channels last.
fn last(inputs: &Inputs<'_>, index: usize) -> Result<Vec<f32>, OpError> {
    let values = read::<f32>(inputs, index)?;
    let shape = inputs.required(index)?.shape();
    let mut moved = vec![0.0; values.len()];
    permute(&values, shape, &to_channels_last(shape.len()), &mut moved);
    Ok(moved)
}
