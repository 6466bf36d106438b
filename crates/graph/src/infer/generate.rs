//! Values made from shapes and numbers.

use bantam_tensor::DType;

use super::contents::Scalar;
use super::context::{Context, Outputs, one};
use super::error::Problem;
use crate::ops::{ConstantOfShape, EyeLike, OneHot, Shape};
use crate::{Dim, ValueType};

/// The dimensions that a Shape op takes of `rank`.
pub(super) fn shape_range(op: &Shape, rank: usize) -> std::ops::Range<usize> {
    let signed = i64::try_from(rank).unwrap_or(i64::MAX);
    let clamp = |value: i64| {
        let from_start = if value < 0 {
            value.saturating_add(signed)
        } else {
            value
        };
        usize::try_from(from_start.clamp(0, signed)).unwrap_or(rank)
    };
    let (start, end) = (clamp(op.start), clamp(op.end.unwrap_or(signed)));
    start..end.max(start)
}

pub(super) fn shape(context: &Context<'_>, op: &Shape) -> Outputs {
    let length = context.shape(0).map_or(Dim::Unknown, |shape| {
        Dim::Known(shape_range(op, shape.len()).len())
    });
    one(Some(DType::I64), Some(vec![length]))
}

pub(super) fn size() -> Outputs {
    one(Some(DType::I64), Some(Vec::new()))
}

pub(super) fn constant_of_shape(context: &Context<'_>, op: &ConstantOfShape) -> Outputs {
    let dtype = op.value.as_ref().map_or(DType::F32, bantam_tensor::Tensor::dtype);
    context.shape_of_rank(0, 1)?;
    let shape =
        match context.contents(0) {
            Some(target) => {
                let dims: Option<Vec<Dim>> = target.values.iter().map(Scalar::to_dim).collect();
                Some(dims.ok_or_else(|| {
                    Problem::argument("shape", &target.values, "sizes that are not negative")
                })?)
            }
            None => context.shape_of_length(0),
        };
    one(Some(dtype), shape)
}

/// `max(ceil((limit - start) / step), 0)`; `None` when the step is zero or a number does not fit.
pub(super) fn range_length(start: i64, limit: i64, step: i64) -> Option<i64> {
    let distance = i128::from(limit) - i128::from(start);
    let step = i128::from(step);
    if step == 0 {
        return None;
    }
    let (distance, step) = if step < 0 {
        (-distance, -step)
    } else {
        (distance, step)
    };
    i64::try_from(if distance <= 0 {
        0
    } else {
        (distance + step - 1) / step
    })
    .ok()
}

pub(super) fn range(context: &Context<'_>) -> Outputs {
    let dtype = context.same_dtype([0, 1, 2])?;
    let length = match (context.integer(0), context.integer(1), context.integer(2)) {
        (_, _, Some(0)) => return Err(Problem::argument("delta", 0, "a number other than zero")),
        (Some(start), Some(limit), Some(step)) => {
            range_length(start, limit, step).and_then(|length| usize::try_from(length).ok())
        }
        _ => real_range(context),
    };
    let symbolic = match (context.integer(0), context.contents(1), context.integer(2)) {
        (Some(0), Some(limit), Some(1)) => limit.values.first().and_then(Scalar::to_dim),
        _ => None,
    };
    let length = length.map(Dim::Known).or(symbolic).unwrap_or(Dim::Unknown);
    one(dtype, Some(vec![length]))
}

/// The length of a range of constants that are not integers.
fn real_range(context: &Context<'_>) -> Option<usize> {
    let number = |position: usize| Some(*context.constant(position)?.to_f64().ok()?.first()?);
    let length = ((number(1)? - number(0)?) / number(2)?).ceil();
    // Beyond this, floats do not count exactly.
    (length.is_finite() && length < 9e15).then_some(length.max(0.0) as usize)
}

pub(super) fn one_hot(context: &Context<'_>, op: &OneHot) -> Outputs {
    let dtype = context.dtype(2);
    let Some(indices) = context.shape(0) else {
        return one(dtype, None);
    };
    let axis = super::dims::axis_index(op.axis, indices.len() + 1)?;
    let depth = match context.contents(1).and_then(|depth| depth.values.first()) {
        Some(depth) => depth
            .to_dim()
            .ok_or_else(|| Problem::argument("depth", depth, "a number that is not negative"))?,
        None => real_depth(context).map_or(Dim::Unknown, Dim::Known),
    };
    one(
        dtype,
        Some([&indices[..axis], &[depth], &indices[axis..]].concat()),
    )
}

/// A constant depth that is not of an integer type.
fn real_depth(context: &Context<'_>) -> Option<usize> {
    let depth = *context.constant(1)?.to_f64().ok()?.first()?;
    (0.0..9e15).contains(&depth).then_some(depth as usize)
}

/// Indices `[rank, count]`.
pub(super) fn non_zero(context: &Context<'_>) -> Outputs {
    let rank = context
        .shape(0)
        .map_or(Dim::Unknown, |shape| Dim::Known(shape.len()));
    Ok(vec![ValueType::tensor(DType::I64, vec![rank, Dim::Unknown])])
}

pub(super) fn eye_like(context: &Context<'_>, op: &EyeLike) -> Outputs {
    context.shape_of_rank(0, 2)?;
    one(op.dtype.or(context.dtype(0)), context.shape_owned(0))
}
