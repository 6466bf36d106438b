//! The gradient of Resize: the transpose of the map from input to output, axis by axis.

use bantam_graph::ops::{Resize, ResizeGradient, ResizeMode};
use bantam_kernels::Real;
use bantam_kernels::resize::{Filter, Taps, resize_axis_gradient};
use bantam_tensor::Tensor;

use super::axis::Axis;
use super::{changing, plan, sources, taps};
use crate::inputs::Inputs;
use crate::ops::axes::split_at_axis;
use crate::ops::floats::{fill, in_real, read};
use crate::{Context, OpError};

/// dy, shape of x, optional region of interest, optional scales, optional sizes.
pub(in crate::ops) fn gradient(
    op: &ResizeGradient,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let sizes = inputs.integers(1)?.ok_or(OpError::MissingInput { index: 1 })?;
    let size = |&size: &i64| {
        usize::try_from(size).map_err(|_| OpError::value(format!("the size {size} is negative")))
    };
    let x: Vec<usize> = sizes.iter().map(size).collect::<Result<_, _>>()?;
    let op = forward(op);
    let axes = plan(&op, &x, inputs, 2)?;
    let shape: Vec<usize> = axes.iter().map(|axis| axis.output).collect();
    let dy = inputs.required(0)?;
    if dy.shape() != shape {
        return Err(OpError::shape(format!(
            "a gradient of shape {:?} for an output of shape {shape:?}",
            dy.shape()
        )));
    }
    if op.mode == ResizeMode::Nearest && op.antialias {
        return Err(OpError::value("antialias needs mode linear or cubic"));
    }
    in_real!(dy.dtype(), 0, T => {
        let values = read::<T>(inputs, 0)?;
        fill(context, dy.dtype(), &x, |dx: &mut [T]| transposed(&op, &values, &axes, dx))
    })
}

/// The op whose gradient this is.
fn forward(op: &ResizeGradient) -> Resize {
    Resize {
        antialias: op.antialias,
        axes: op.axes.clone(),
        coordinate_transformation_mode: op.coordinate_transformation_mode,
        cubic_coeff_a: op.cubic_coeff_a,
        exclude_outside: op.exclude_outside,
        extrapolation_value: op.extrapolation_value,
        keep_aspect_ratio_policy: op.keep_aspect_ratio_policy,
        mode: op.mode,
        nearest_mode: op.nearest_mode,
    }
}

fn transposed<T: Real>(op: &Resize, dy: &[T], axes: &[Axis], dx: &mut [T]) {
    if dx.is_empty() || dy.is_empty() {
        return dx.fill(T::ZERO);
    }
    let mut shape: Vec<usize> = axes.iter().map(|axis| axis.output).collect();
    let mut current = dy.to_vec();
    for index in changing(axes, op.coordinate_transformation_mode)
        .into_iter()
        .rev()
    {
        let (axis, (outer, _, inner)) = (&axes[index], split_at_axis(&shape, index));
        let mut before = vec![T::ZERO; outer * axis.input * inner];
        resize_axis_gradient(&current, &mut before, axis.input, inner, &inside(op, axis));
        shape[index] = axis.input;
        current = before;
    }
    dx.copy_from_slice(&current);
}

/// What each output element of an axis is made of; nothing where it is extrapolated.
fn inside<T: Real>(op: &Resize, axis: &Axis) -> Taps<T> {
    let filter = match op.mode {
        ResizeMode::Nearest => return Taps::single(&sources(op, axis)),
        ResizeMode::Linear => Filter::Linear,
        ResizeMode::Cubic => Filter::Cubic(f64::from(op.cubic_coeff_a)),
    };
    let (coordinates, mut taps) = taps(op, filter, axis);
    for (position, &coordinate) in coordinates.iter().enumerate() {
        if axis.is_outside(op.coordinate_transformation_mode, coordinate) {
            taps.silence(position);
        }
    }
    taps
}
