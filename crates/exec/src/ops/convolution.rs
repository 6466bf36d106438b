//! Conv, FusedConv and ConvTranspose.

mod sizes;

use std::borrow::Cow;

use bantam_graph::ops::{Binary, Clip, Conv, ConvTranspose, FusedConv};
use bantam_graph::{Dim, Op};
use bantam_kernels::conv::{Epilogue, Geometry, PackedConvolution, Residual, convolve, convolve_transposed};
use bantam_kernels::{Isa, Real};
use bantam_tensor::{DType, Tensor};
use half::{bf16, f16};

use super::floats::{fill, in_real, read, read_optional};
use super::fused_activation::FusedActivation;
use super::windows::window_attributes;
use crate::inputs::{Argument, Inputs};
use crate::layout::{permuted, to_channels_first, to_channels_last};
use crate::operator::{Operator, Outputs, Reads, Site};
use crate::{Context, OpError};
pub use sizes::conv_geometry;
use sizes::with_windows;
pub(super) use sizes::{check_padding, geometry, groups, last_dilation, output_shape};

/// What follows a convolution in the same step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Following {
    /// Smallest and largest result. Before, input 3 is added if it is present.
    pub(crate) low: f32,
    pub(crate) high: f32,
    /// Applied last, to `f32` only.
    pub(crate) activation: Option<Activation>,
}

/// An element-wise function, in place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Activation {
    pub(crate) name: &'static str,
    pub(crate) apply: fn(&mut [f32]),
}

impl Following {
    /// Nothing but the addition of input 3.
    pub(crate) const NOTHING: Following = Following {
        low: f32::NEG_INFINITY,
        high: f32::INFINITY,
        activation: None,
    };

    /// Whether results stay what they are.
    pub(crate) fn is_nothing(&self) -> bool {
        self.low == f32::NEG_INFINITY && self.high == f32::INFINITY && self.activation.is_none()
    }
}

/// A Conv with the inputs x, weights, optional bias, optional addend, whose constant weights are packed.
struct Convolution {
    op: Conv,
    packed: Option<PackedConvolution>,
    /// They are arranged for whatever the input can be.
    arranged: bool,
    following: Following,
    /// Input, addend and output have their channels last.
    channels_last: bool,
}

/// Prepares a Conv node. The addend is its input 3, which the standard's Conv does not have.
pub(crate) fn prepare(site: &Site<'_>, op: &Conv, following: Following) -> Box<dyn Operator> {
    let bias_is_constant = site.node.input(2).is_none() || site.constant(2).is_some();
    // With data in BF16 these weights are arranged in each run, as training does with others.
    let dtype = site.node.input(0).and_then(|x| site.graph.value(x).ty.dtype());
    let stored = |weights: &&Tensor| dtype == Some(DType::BF16) && weights.dtype() == DType::F32;
    let packed = site
        .constant(1)
        .filter(|weights| bias_is_constant && !stored(weights))
        .and_then(|weights| pack(op, weights, site.constant(2)));
    let arranged = packed
        .as_ref()
        .is_some_and(|packed| arrange(site, op, packed).unwrap_or(false));
    Box::new(Convolution {
        op: op.clone(),
        packed,
        arranged,
        following,
        channels_last: site.channels_last,
    })
}

/// Packs weights whose shape and dtype are right; what is wrong with others is said when they meet an input.
fn pack(op: &Conv, weights: &Tensor, bias: Option<&Tensor>) -> Option<PackedConvolution> {
    let wide_enough = |tensor: &&Tensor| matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::BF16);
    let (&[out_channels, group_channels, ..], groups) = (weights.shape(), usize::try_from(op.group).ok()?)
    else {
        return None;
    };
    let taps = weights.len().checked_div(out_channels)?;
    let dilation = last_dilation(&op.dilations)?;
    let bias = match bias {
        Some(bias) => Some(bias.to_f32().ok().filter(|values| values.len() == out_channels)?),
        None => None,
    };
    let sound = groups > 0
        && weights.rank() > 2
        && out_channels.is_multiple_of(groups)
        && group_channels > 0
        && taps > 0;
    if !sound || !wide_enough(&weights) {
        return None;
    }
    Some(PackedConvolution::new(
        Isa::best(),
        weights.shape(),
        groups,
        dilation,
        bias.as_deref(),
    ))
}

/// Arranges constant weights beforehand, if the sizes of the input that are known tell how.
fn arrange(site: &Site<'_>, op: &Conv, packed: &PackedConvolution) -> Option<bool> {
    let dims = site.graph.value(site.node.input(0)?).ty.shape()?;
    let (_, sizes) = dims.split_first()?;
    let sizes: Option<Vec<usize>> = sizes.iter().map(Dim::known).collect();
    let shape = [vec![1], sizes?].concat();
    let first = match site.channels_last {
        true => permuted(&shape, &to_channels_first(shape.len())),
        false => shape,
    };
    let geometry = geometry(window_attributes!(op), op.group, &first, packed.shape()).ok()?;
    check_padding(&geometry).ok()?;
    Some(packed.arrange(&geometry, &site.constant(1)?.to_f32().ok()?))
}

/// How a Conv runs.
struct How<'a> {
    packed: Option<&'a PackedConvolution>,
    following: Following,
    channels_last: bool,
}

impl Operator for Convolution {
    fn run(&self, inputs: &mut Inputs<'_>, context: &Context) -> Result<Outputs, OpError> {
        let how = How {
            packed: self.packed.as_ref(),
            following: self.following,
            channels_last: self.channels_last,
        };
        Ok(vec![Some(convolution(&self.op, &how, inputs, context)?)])
    }

    fn kernel(&self) -> String {
        let mut kernel = match &self.packed {
            Some(packed) => format!("convolution, packed for {}", packed.isa().name()),
            None => "convolution".to_owned(),
        };
        if self.channels_last {
            kernel += ", channels last";
        }
        if self.following.low > f32::NEG_INFINITY || self.following.high < f32::INFINITY {
            kernel += &format!(", clamped to {}..={}", self.following.low, self.following.high);
        }
        if let Some(activation) = self.following.activation {
            kernel += &format!(", {}", activation.name);
        }
        kernel
    }

    fn reads(&self, index: usize) -> Reads {
        match index {
            1 if self.arranged => Reads::Never,
            1 if self.packed.is_some() => Reads::AtFirst,
            2 if self.packed.is_some() => Reads::Never,
            _ => Reads::Always,
        }
    }
}

/// Conv without preparation.
pub(super) fn conv(op: &Conv, inputs: &mut Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    convolution(op, &How::unprepared(Following::NOTHING), inputs, context)
}

impl How<'_> {
    /// Of a node whose weights are seen for the first time.
    fn unprepared(following: Following) -> How<'static> {
        How {
            packed: None,
            following,
            channels_last: false,
        }
    }
}

/// ONNX Runtime's Conv, then addition of input 3, then an activation.
pub(super) fn fused_conv(
    op: &FusedConv,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let conv = Conv {
        auto_pad: op.auto_pad,
        dilations: op.dilations.clone(),
        group: op.group,
        kernel_shape: op.kernel_shape.clone(),
        pads: op.pads.clone(),
        strides: op.strides.clone(),
    };
    let activation = FusedActivation::parse(&op.activation, &op.activation_params)?;
    let following = activation
        .clamp()
        .map_or(Following::NOTHING, |(low, high)| Following {
            low,
            high,
            activation: None,
        });
    let y = convolution(&conv, &How::unprepared(following), inputs, context)?;
    if activation.clamp().is_some() {
        Ok(y)
    } else {
        activation.apply(y, context)
    }
}

fn convolution(
    op: &Conv,
    how: &How<'_>,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    let filters = match how.packed {
        Some(packed) => packed.shape(),
        None => inputs.required(1)?.shape(),
    };
    let first = match how.channels_last {
        true => permuted(x.shape(), &to_channels_first(x.rank())),
        false => x.shape().to_vec(),
    };
    let geometry = geometry(window_attributes!(op), op.group, &first, filters)?;
    check_bias(inputs, 2, geometry.out_channels)?;
    let shape = output_shape(&geometry);
    if how.packed.is_none() && !how.channels_last && (x.dtype() == DType::F64 || geometry.taps() == 0) {
        let y = in_real!(x.dtype(), 0, T => generic::<T>(&geometry, &shape, inputs, context))?;
        return follow(y, how.following, inputs, context);
    }
    if !matches!(x.dtype(), DType::F32 | DType::F16 | DType::BF16) {
        return Err(OpError::Type {
            index: 0,
            got: x.dtype(),
        });
    }
    check_padding(&geometry)?;
    let new;
    let packed = match how.packed {
        Some(packed) => packed,
        None => {
            let bias = read_optional::<f32>(inputs, 2)?;
            let dilation = last_dilation(&op.dilations).unwrap_or(1);
            new = PackedConvolution::new(Isa::best(), filters, geometry.groups, dilation, bias.as_deref());
            &new
        }
    };
    if how.channels_last {
        let shape = permuted(&shape, &to_channels_last(shape.len()));
        return fast(&geometry, &shape, packed, how.following, inputs, context);
    }
    let mut last = to_last(inputs, context)?;
    let shape = permuted(&shape, &to_channels_last(shape.len()));
    let y = fast(&geometry, &shape, packed, how.following, &mut last, context)?;
    last.into_last().for_each(|tensor| context.recycle(tensor));
    let order = to_channels_first(y.rank());
    let first = super::transposed(&y, &order, context)?;
    context.recycle(y);
    Ok(first)
}

/// Input and addend with their channels last.
fn to_last<'a>(inputs: &Inputs<'_>, context: &Context) -> Result<Inputs<'a>, OpError> {
    let mut arguments = Vec::with_capacity(inputs.len());
    for index in 0..inputs.len() {
        let argument = match (index, inputs.optional(index)) {
            (0 | 3, Some(tensor)) if tensor.rank() > 2 => {
                let order = to_channels_last(tensor.rank());
                Some(super::transposed(tensor, &order, context)?)
            }
            (_, tensor) => tensor.cloned(),
        };
        arguments.push(argument.map(Argument::Last));
    }
    Ok(Inputs::new(arguments))
}

/// By the packed kernel, in `f32`; data have their channels last.
fn fast(
    geometry: &Geometry,
    shape: &[usize],
    packed: &PackedConvolution,
    following: Following,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let dtype = inputs.required(0)?.dtype();
    let float_weights = inputs
        .optional(1)
        .is_some_and(|weights| weights.dtype() == DType::F32);
    if dtype == DType::BF16 && following.is_nothing() && inputs.optional(3).is_none() && float_weights {
        let (x, weights) = (inputs.values::<bf16>(0)?, read::<f32>(inputs, 1)?);
        return context.fill(shape, |y| packed.run_bf16(geometry, &x, &weights, false, y));
    }
    let epilogue = Epilogue {
        residual: Residual::None,
        low: following.low,
        high: following.high,
        activation: following.activation.map(|activation| activation.apply),
    };
    let fits = |tensor: &Tensor| tensor.shape() == shape && tensor.dtype() == DType::F32;
    let addend_fits = dtype == DType::F32 && inputs.optional(3).is_some_and(fits);
    if inputs.optional(3).is_some() && !addend_fits {
        let (x, weights) = (read::<f32>(inputs, 0)?, weights(geometry, packed, inputs)?);
        let y = fill(context, dtype, shape, |y| {
            packed.run(geometry, &x, &weights, Epilogue::default(), y)
        })?;
        return follow(y, following, inputs, context);
    }
    if let Some(mut y) = if addend_fits { inputs.take_last(3) } else { None } {
        let (x, weights) = (read::<f32>(inputs, 0)?, weights(geometry, packed, inputs)?);
        let residual = Residual::Output;
        packed.run(
            geometry,
            &x,
            &weights,
            Epilogue { residual, ..epilogue },
            y.values_mut()?,
        );
        return Ok(y);
    }
    let (x, weights) = (read::<f32>(inputs, 0)?, weights(geometry, packed, inputs)?);
    let addend = if addend_fits {
        read_optional::<f32>(inputs, 3)?
    } else {
        None
    };
    let residual = addend.as_deref().map_or(Residual::None, Residual::Values);
    fill(context, dtype, shape, |y| {
        packed.run(geometry, &x, &weights, Epilogue { residual, ..epilogue }, y)
    })
}

/// The weights in the graph's own order, as long as they are needed.
fn weights<'a>(
    geometry: &Geometry,
    packed: &PackedConvolution,
    inputs: &'a Inputs<'_>,
) -> Result<Cow<'a, [f32]>, OpError> {
    if packed.is_arranged_for(geometry) {
        return Ok(Cow::Borrowed(&[]));
    }
    read::<f32>(inputs, 1)
}

/// By the definition.
fn generic<T: Real>(
    geometry: &Geometry,
    shape: &[usize],
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let (x, weights, bias) = (
        read::<T>(inputs, 0)?,
        read::<T>(inputs, 1)?,
        read_optional::<T>(inputs, 2)?,
    );
    fill(context, inputs.required(0)?.dtype(), shape, |y| {
        convolve(geometry, &x, &weights, bias.as_deref(), y)
    })
}

/// The addition of input 3 and the clamp, by the operators for them.
fn follow(
    y: Tensor,
    following: Following,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let y = match inputs.optional(3) {
        Some(addend) => one(
            Binary::Add.into(),
            vec![Some(Argument::Last(y)), Some(Argument::Shared(addend))],
            context,
        )?,
        None => y,
    };
    let mut y = clamped(y, following.low, following.high, context)?;
    if let Some(activation) = following.activation {
        (activation.apply)(y.values_mut()?);
    }
    Ok(y)
}

/// The only output of an op.
fn one(op: Op, arguments: Vec<Option<Argument<'_>>>, context: &Context) -> Result<Tensor, OpError> {
    let outputs = super::evaluate(&op, &mut Inputs::new(arguments), 1, context)?;
    outputs
        .into_iter()
        .next()
        .flatten()
        .ok_or_else(|| OpError::value("an op without a result"))
}

/// `x`, its elements not below `low` and not above `high`.
pub(super) fn clamped(x: Tensor, low: f32, high: f32, context: &Context) -> Result<Tensor, OpError> {
    if low == f32::NEG_INFINITY && high == f32::INFINITY {
        return Ok(x);
    }
    let bounds = (scalar(low, x.dtype()), scalar(high, x.dtype()));
    one(
        Clip {}.into(),
        vec![
            Some(Argument::Last(x)),
            Some(Argument::Last(bounds.0)),
            Some(Argument::Last(bounds.1)),
        ],
        context,
    )
}

fn scalar(value: f32, dtype: DType) -> Tensor {
    match dtype {
        DType::F64 => Tensor::scalar(f64::from(value)),
        DType::F16 => Tensor::scalar(f16::from_f32(value)),
        DType::BF16 => Tensor::scalar(bf16::from_f32(value)),
        _ => Tensor::scalar(value),
    }
}

/// Fails unless the bias, input `index`, is left out or has one value for each output channel.
pub(super) fn check_bias(inputs: &Inputs<'_>, index: usize, out_channels: usize) -> Result<(), OpError> {
    match inputs.optional(index).map(Tensor::shape) {
        Some(shape) if shape != [out_channels] => Err(OpError::shape(format!(
            "a bias of shape {shape:?} for {out_channels} output channels"
        ))),
        _ => Ok(()),
    }
}

/// x `[N, C, ...]`, weights `[C, M / group, ...]`, optional bias `[M]`.
pub(super) fn conv_transpose(
    op: &ConvTranspose,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let (x, weights) = (inputs.required(0)?, inputs.required(1)?);
    let (&[batch, channels, ref input @ ..], &[rows, group_out_channels, ref kernel @ ..]) =
        (x.shape(), weights.shape())
    else {
        return Err(OpError::shape(
            "a transposed convolution needs at least 3 dimensions",
        ));
    };
    let groups = groups(op.group)?;
    if rows != channels || !channels.is_multiple_of(groups) || kernel.len() != input.len() {
        let (x, weights) = (x.shape(), weights.shape());
        return Err(OpError::shape(format!(
            "weights {weights:?} in {groups} groups do not fit an input {x:?}"
        )));
    }
    let out_channels = group_out_channels.checked_mul(groups).ok_or_else(|| {
        OpError::shape(format!(
            "{groups} groups of {group_out_channels} channels are too many"
        ))
    })?;
    check_bias(inputs, 2, out_channels)?;
    let windows = window_attributes!(op).transposed(input, kernel, &op.output_padding, &op.output_shape)?;
    let geometry = with_windows(batch, channels, out_channels, groups, &windows);
    let shape = output_shape(&geometry);
    in_real!(x.dtype(), 0, T => {
        let (x, weights, bias) = (read::<T>(inputs, 0)?, read::<T>(inputs, 1)?, read_optional::<T>(inputs, 2)?);
        fill(context, inputs.required(0)?.dtype(), &shape, |y| {
            convolve_transposed(&geometry, &x, &weights, bias.as_deref(), y);
        })
    })
}

#[cfg(test)]
mod tests;
