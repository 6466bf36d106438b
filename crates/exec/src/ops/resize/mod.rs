//! Resize.

mod axis;
mod gradient;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bantam_graph::ops::{KeepAspectRatio, Resize, ResizeMode, ResizeTransform};
use bantam_kernels::Real;
use bantam_kernels::resize::{Filter, Taps, resize_axis};
use bantam_tensor::{DType, Tensor};

use self::axis::Axis;
pub(super) use self::gradient::gradient;
use super::axes::{axis as resolve, split_at_axis};
use super::floats::{fill, in_real, read};
use super::units::{Unit, in_unit};
use crate::inputs::Inputs;
use crate::{Context, OpError};

/// x, optional region of interest, optional scales, optional sizes.
pub(super) fn resize(op: &Resize, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    let axes = plan(op, x.shape(), inputs, 1)?;
    let shape: Vec<usize> = axes.iter().map(|axis| axis.output).collect();
    if x.is_empty() && !shape.contains(&0) {
        return Err(OpError::shape(format!(
            "an input of shape {:?} cannot be resized to {shape:?}",
            x.shape()
        )));
    }
    let filter = match op.mode {
        ResizeMode::Nearest if op.antialias => {
            return Err(OpError::value("antialias needs mode linear or cubic"));
        }
        ResizeMode::Nearest => {
            return in_unit!(x.dtype(), U => nearest::<U>(op, x, &axes, &shape, context));
        }
        ResizeMode::Linear => Filter::Linear,
        ResizeMode::Cubic => Filter::Cubic(f64::from(op.cubic_coeff_a)),
    };
    if x.dtype().is_integer() {
        let values = x.to_f64()?;
        let resized = context.fill(&shape, |y: &mut [f64]| {
            interpolate(op, filter, &values, x.shape(), &axes, y)
        })?;
        return Ok(Tensor::from_i64(
            x.dtype(),
            &shape,
            &saturate(x.dtype(), &resized.values::<f64>()?),
        )?);
    }
    in_real!(x.dtype(), 0, T => {
        let values = read::<T>(inputs, 0)?;
        fill(context, x.dtype(), &shape, |y: &mut [T]| interpolate(op, filter, &values, x.shape(), &axes, y))
    })
}

/// The sizes of every axis of a tensor of this shape, by the inputs region of interest (at position `first`), scales, sizes.
fn plan(op: &Resize, shape: &[usize], inputs: &Inputs<'_>, first: usize) -> Result<Vec<Axis>, OpError> {
    let resized: Vec<usize> = match &op.axes {
        Some(axes) => axes
            .iter()
            .map(|&axis| resolve(axis, shape.len()))
            .collect::<Result<_, _>>()?,
        None => (0..shape.len()).collect(),
    };
    if (1..resized.len()).any(|i| resized[..i].contains(&resized[i])) {
        return Err(OpError::value(format!(
            "axes {:?} contain an axis twice",
            op.axes
        )));
    }
    let mut axes: Vec<Axis> = shape
        .iter()
        .map(|&input| Axis {
            input,
            output: input,
            scale: 1.0,
            region: [0.0, 1.0],
        })
        .collect();
    let given = |index: usize| inputs.optional(index).filter(|tensor| !tensor.is_empty());
    match (given(first + 1), given(first + 2)) {
        (Some(scales), None) => set_scales(&mut axes, &resized, &scales.to_f32()?)?,
        (None, Some(_)) => set_sizes(
            op,
            &mut axes,
            &resized,
            &inputs.integers(first + 2)?.unwrap_or_default(),
        )?,
        (None, None) if resized.is_empty() => {}
        _ => return Err(OpError::value("exactly one of scales and sizes is needed")),
    }
    if op.coordinate_transformation_mode == ResizeTransform::TfCropAndResize {
        let region = given(first)
            .ok_or(OpError::MissingInput { index: first })?
            .to_f64()?;
        check_count("region of interest", region.len(), 2 * resized.len())?;
        for (i, &axis) in resized.iter().enumerate() {
            axes[axis].region = [region[i], region[resized.len() + i]];
        }
    }
    Ok(axes)
}

fn check_count(what: &str, got: usize, expected: usize) -> Result<(), OpError> {
    if got == expected {
        return Ok(());
    }
    Err(OpError::shape(format!(
        "{got} elements in the {what}, expected {expected}"
    )))
}

fn set_scales(axes: &mut [Axis], resized: &[usize], scales: &[f32]) -> Result<(), OpError> {
    check_count("scales", scales.len(), resized.len())?;
    for (&axis, &scale) in resized.iter().zip(scales) {
        if !(scale > 0.0 && scale.is_finite()) {
            return Err(OpError::value(format!("scale {scale} is not positive")));
        }
        // The specification's shape inference multiplies in `f32`.
        axes[axis].output = (axes[axis].input as f32 * scale).floor() as usize;
        axes[axis].scale = f64::from(scale);
    }
    Ok(())
}

fn set_sizes(op: &Resize, axes: &mut [Axis], resized: &[usize], sizes: &[i64]) -> Result<(), OpError> {
    check_count("sizes", sizes.len(), resized.len())?;
    for (&axis, &size) in resized.iter().zip(sizes) {
        axes[axis].output =
            usize::try_from(size).map_err(|_| OpError::value(format!("size {size} is negative")))?;
        axes[axis].scale = axes[axis].output as f64 / axes[axis].input as f64;
    }
    let scales = resized.iter().map(|&axis| axes[axis].scale);
    let scale = match op.keep_aspect_ratio_policy {
        KeepAspectRatio::Stretch => return Ok(()),
        KeepAspectRatio::NotLarger => scales.fold(f64::INFINITY, f64::min),
        KeepAspectRatio::NotSmaller => scales.fold(0.0, f64::max),
    };
    for &axis in resized {
        axes[axis].output = (scale * axes[axis].input as f64 + 0.5).floor() as usize;
        axes[axis].scale = scale;
    }
    Ok(())
}

/// The axes that change, those that shrink first, so that what lies between is never larger than the input and the output.
fn changing(axes: &[Axis], transform: ResizeTransform) -> Vec<usize> {
    let mut changing: Vec<usize> = (0..axes.len())
        .filter(|&axis| !axes[axis].is_identity(transform))
        .collect();
    let growth = |&axis: &usize| axes[axis].output as f64 / axes[axis].input as f64;
    // Later axes first among equals: their elements lie closer together.
    changing.reverse();
    changing.sort_by(|a, b| growth(a).total_cmp(&growth(b)));
    changing
}

/// Linear or cubic interpolation into `y`, one axis after the other.
fn interpolate<T: Real>(op: &Resize, filter: Filter, x: &[T], shape: &[usize], axes: &[Axis], y: &mut [T]) {
    if y.is_empty() {
        return;
    }
    let (mut between, mut shape) = (None::<Vec<T>>, shape.to_vec());
    let changing = changing(axes, op.coordinate_transformation_mode);
    for (step, &index) in changing.iter().enumerate() {
        let (axis, (outer, _, inner)) = (&axes[index], split_at_axis(&shape, index));
        let from = between.as_deref().unwrap_or(x);
        if step + 1 == changing.len() {
            return interpolate_axis(op, filter, axis, from, inner, y);
        }
        let mut next = vec![T::ZERO; outer * axis.output * inner];
        interpolate_axis(op, filter, axis, from, inner, &mut next);
        shape[index] = axis.output;
        between = Some(next);
    }
    y.copy_from_slice(x);
}

fn interpolate_axis<T: Real>(op: &Resize, filter: Filter, axis: &Axis, x: &[T], inner: usize, y: &mut [T]) {
    let transform = op.coordinate_transformation_mode;
    let (coordinates, taps) = taps(op, filter, axis);
    resize_axis(x, y, axis.input, inner, &taps);
    let outside = coordinates
        .iter()
        .map(|&coordinate| axis.is_outside(transform, coordinate));
    for (position, _) in outside.enumerate().filter(|(_, outside)| *outside) {
        for block in y.chunks_exact_mut(axis.output * inner) {
            block[position * inner..][..inner].fill(T::from_f64(f64::from(op.extrapolation_value)));
        }
    }
}

/// Where the elements of an axis lie, and what they are made of.
fn taps<T: Real>(op: &Resize, filter: Filter, axis: &Axis) -> (Vec<f64>, Taps<T>) {
    let coordinates = axis.coordinates::<f64>(op.coordinate_transformation_mode);
    let stretch = if op.antialias {
        axis.scale.recip().max(1.0)
    } else {
        1.0
    };
    let taps = Taps::new(filter, &coordinates, axis.input, stretch, op.exclude_outside);
    (coordinates, taps)
}

/// Copies the nearest elements, one axis after the other.
fn nearest<U: Unit>(
    op: &Resize,
    x: &Tensor,
    axes: &[Axis],
    shape: &[usize],
    context: &Context,
) -> Result<Tensor, OpError> {
    let extrapolation = extrapolation::<U>(op, x.dtype())?;
    let (mut current, mut sizes) = (U::read(x)?, x.shape().to_vec());
    U::build(context, x.dtype(), shape, |y| {
        if y.is_empty() {
            return Ok(());
        }
        for index in changing(axes, op.coordinate_transformation_mode) {
            let (axis, (_, input, inner)) = (&axes[index], split_at_axis(&sizes, index));
            current = Cow::Owned(nearest_axis(op, axis, &current, [input, inner], &extrapolation));
            sizes[index] = axis.output;
        }
        y.clone_from_slice(&current);
        Ok(())
    })
}

fn nearest_axis<U: Unit>(
    op: &Resize,
    axis: &Axis,
    x: &[U],
    [input, inner]: [usize; 2],
    extrapolation: &U,
) -> Vec<U> {
    let sources = sources(op, axis);
    let mut y = Vec::with_capacity(x.len() / input * axis.output);
    for block in x.chunks_exact(input * inner) {
        for source in &sources {
            match source {
                Some(source) => y.extend_from_slice(&block[source * inner..][..inner]),
                None => y.resize(y.len() + inner, extrapolation.clone()),
            }
        }
    }
    y
}

/// For each output element of an axis the input element that it copies; none outside of the region of interest.
fn sources(op: &Resize, axis: &Axis) -> Vec<Option<usize>> {
    let transform = op.coordinate_transformation_mode;
    let source = |&coordinate: &f32| {
        let coordinate = f64::from(coordinate);
        (!axis.is_outside(transform, coordinate)).then(|| axis.nearest(op.nearest_mode, coordinate))
    };
    axis.coordinates::<f32>(transform).iter().map(source).collect()
}

/// The extrapolation value as an element; zero for types that have no numbers.
fn extrapolation<U: Unit>(op: &Resize, dtype: DType) -> Result<U, OpError> {
    let value = f64::from(op.extrapolation_value);
    let tensor = match dtype {
        DType::F32 => Tensor::scalar(op.extrapolation_value),
        DType::F64 => Tensor::scalar(value),
        DType::F16 => Tensor::scalar(half::f16::from_f64(value)),
        DType::BF16 => Tensor::scalar(half::bf16::from_f64(value)),
        dtype if dtype.is_integer() => Tensor::from_i64(dtype, &[], &saturate(dtype, &[value]))?,
        _ => return Ok(U::default()),
    };
    Ok(U::read(&tensor)?.first().cloned().unwrap_or_default())
}

/// Values rounded to integers (ties to even) within the range of a dtype.
fn saturate(dtype: DType, values: &[f64]) -> Vec<i64> {
    let bits = dtype.bits() as i32;
    let (low, high) = if dtype.is_signed_integer() {
        (-(2f64.powi(bits - 1)), 2f64.powi(bits - 1) - 1.0)
    } else {
        (0.0, 2f64.powi(bits) - 1.0)
    };
    values
        .iter()
        .map(|value| saturated(value.round_ties_even().clamp(low, high)))
        .collect()
}

/// The integer, wrapped around to `i64` beyond its range (for `u64`).
fn saturated(value: f64) -> i64 {
    if value > i64::MAX as f64 {
        value as u64 as i64
    } else {
        value as i64
    }
}
