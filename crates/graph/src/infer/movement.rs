//! Joining, cutting, gathering and scattering.

use super::context::{Context, Outputs, one};
use super::dims::{axis_index, axis_indices, either, equal, plus, size, sum, unify, unknowns};
use super::elementwise::same;
use super::error::Problem;
use crate::ops::{Compress, Concat, Gather, GatherElements, GatherNd, Split};
use crate::{Dim, ValueType};

/// Inputs at these positions, joined along an axis.
pub(super) fn concat(
    context: &Context<'_>,
    axis: i64,
    positions: impl Iterator<Item = usize>,
) -> Result<Option<Vec<Dim>>, Problem> {
    let mut total: Option<Vec<Dim>> = None;
    for position in positions {
        let Some(shape) = context.shape(position) else {
            return Ok(None);
        };
        total = Some(match total {
            None => shape.to_vec(),
            Some(total) => joined(&total, shape, axis, position)?,
        });
        axis_index(axis, shape.len())?;
    }
    Ok(total)
}

fn joined(left: &[Dim], right: &[Dim], axis: i64, position: usize) -> Result<Vec<Dim>, Problem> {
    let axis = axis_index(axis, left.len())?;
    if left.len() != right.len() {
        return Err(Problem::Rank {
            position,
            got: right.len(),
            expected: left.len().to_string(),
        });
    }
    let pairs = left.iter().zip(right).enumerate();
    let dim = |(index, (a, b)): (usize, (&Dim, &Dim))| match index == axis {
        true => sum(a, b),
        false => equal("the dimensions beside the axis", a, b),
    };
    pairs.map(dim).collect()
}

pub(super) fn concat_op(context: &Context<'_>, op: &Concat) -> Outputs {
    let count = context.node.inputs.len();
    one(context.same_dtype(0..count)?, concat(context, op.axis, 0..count)?)
}

pub(super) fn split(context: &Context<'_>, op: &Split) -> Outputs {
    let (dtype, parts) = (context.dtype(0), context.node.outputs.len());
    let Some(shape) = context.shape(0) else {
        return Ok(vec![ValueType::Tensor { dtype, shape: None }; parts]);
    };
    let axis = axis_index(op.axis, shape.len())?;
    let part = |dim: Dim| {
        let mut shape = shape.to_vec();
        shape[axis] = dim;
        ValueType::Tensor {
            dtype,
            shape: Some(shape),
        }
    };
    Ok(split_sizes(context, op, &shape[axis], parts)?
        .into_iter()
        .map(part)
        .collect())
}

fn split_sizes(context: &Context<'_>, op: &Split, dim: &Dim, parts: usize) -> Result<Vec<Dim>, Problem> {
    if context.has(1) {
        let Some(sizes) = context.integers(1) else {
            return Ok(unknowns(parts));
        };
        let sizes: Vec<usize> = sizes
            .iter()
            .map(|&value| size("split", value))
            .collect::<Result<_, _>>()?;
        let total = sizes
            .iter()
            .try_fold(0usize, |total, &size| total.checked_add(size));
        let wrong = dim.known().is_some_and(|dim| Some(dim) != total);
        if sizes.len() != parts || total.is_none() || wrong {
            return Err(Problem::argument(
                "split",
                &sizes,
                format!("{parts} sizes that add up to {dim}"),
            ));
        }
        return Ok(sizes.into_iter().map(Dim::Known).collect());
    }
    let wanted = op
        .num_outputs
        .map_or(Ok(parts), |value| size("num_outputs", value))?;
    if wanted != parts || parts == 0 {
        return Err(Problem::argument(
            "num_outputs",
            wanted,
            format!("the number of outputs, {parts}"),
        ));
    }
    let Some(total) = dim.known() else {
        return Ok(if parts == 1 {
            vec![dim.clone()]
        } else {
            unknowns(parts)
        });
    };
    if op.num_outputs.is_none() && !total.is_multiple_of(parts) {
        return Err(Problem::argument("split", parts, format!("a divisor of {total}")));
    }
    // All parts are of one size but the last, which may be smaller.
    let each = total.div_ceil(parts);
    Ok((0..parts)
        .map(|part| Dim::Known(each.min(total.saturating_sub(each * part))))
        .collect())
}

pub(super) fn slice(context: &Context<'_>) -> Outputs {
    let dtype = context.dtype(0);
    let Some(shape) = context.shape(0) else {
        return one(dtype, None);
    };
    let count = [1, 2, 3, 4]
        .into_iter()
        .find_map(|position| context.length(position));
    let axes = match (context.has(3), context.integers(3), count) {
        (true, Some(axes), _) => axis_indices(&axes, shape.len())?,
        (false, _, Some(count)) => (0..count.min(shape.len())).collect(),
        _ => return one(dtype, Some(unknowns(shape.len()))),
    };
    let element = |position: usize, index: usize| context.contents(position)?.values.get(index);
    let known = |position: usize, index: usize| match element(position, index) {
        Some(super::contents::Scalar::Known(value)) => Some(*value),
        _ => None,
    };
    let mut result = shape.to_vec();
    for (index, &axis) in axes.iter().enumerate() {
        let step = if context.has(4) { known(4, index) } else { Some(1) };
        let (start, end, dim) = (known(1, index), known(2, index), &shape[axis]);
        let to_own_end = element(2, index)
            .and_then(super::contents::Scalar::to_dim)
            .is_some_and(|end| end == *dim);
        result[axis] = match (start, end, step) {
            (Some(0), _, Some(1)) if to_own_end && *dim != Dim::Unknown => dim.clone(),
            (Some(start), Some(end), Some(step)) => sliced(dim, start, end, step)?,
            (_, _, Some(0)) => return Err(Problem::argument("steps", 0, "numbers other than zero")),
            _ => Dim::Unknown,
        };
    }
    one(dtype, Some(result))
}

fn sliced(dim: &Dim, start: i64, end: i64, step: i64) -> Result<Dim, Problem> {
    if step == 0 {
        return Err(Problem::argument("steps", step, "numbers other than zero"));
    }
    let Some(size) = dim.known() else {
        let whole = start == 0 && end >= i64::from(i32::MAX) && step == 1;
        return Ok(if whole { dim.clone() } else { Dim::Unknown });
    };
    let positions = slice_positions(size, start, end, step);
    positions
        .map(|positions| Dim::Known(positions.len()))
        .ok_or_else(|| Problem::Size(dim.to_string()))
}

/// The positions that a Slice of `size` elements takes; `None` when the step is 0 or the size does not fit.
pub(super) fn slice_positions(
    size: usize,
    start: i64,
    end: i64,
    step: i64,
) -> Option<impl ExactSizeIterator<Item = usize>> {
    let length = i64::try_from(size).ok()?;
    let from_start = |value: i64| {
        if value < 0 {
            value.saturating_add(length)
        } else {
            value
        }
    };
    let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let start = from_start(start).clamp(low.max(0), high.max(0));
    let end = if step < 0 && end < -length {
        -1
    } else {
        from_start(end).clamp(low, high)
    };
    let span = if step > 0 { end - start } else { start - end };
    let stride = step.unsigned_abs();
    let empty = span <= 0 || length == 0 || stride == 0;
    let count = if empty {
        0
    } else {
        u64::try_from(span).ok()?.div_ceil(stride)
    };
    let stride = usize::try_from(stride).ok().filter(|&stride| stride > 0)?;
    let (start, count) = (usize::try_from(start).ok()?, usize::try_from(count).ok()?);
    Some((0..count).map(move |index| {
        if step > 0 {
            start + index * stride
        } else {
            start - index * stride
        }
    }))
}

pub(super) fn gather(context: &Context<'_>, op: &Gather) -> Outputs {
    let dtype = context.dtype(0);
    let (Some(data), Some(indices)) = (context.shape_of_min_rank(0, 1)?, context.shape(1)) else {
        return one(dtype, None);
    };
    let axis = axis_index(op.axis, data.len())?;
    one(dtype, Some([&data[..axis], indices, &data[axis + 1..]].concat()))
}

pub(super) fn gather_elements(context: &Context<'_>, op: &GatherElements) -> Outputs {
    if let (Some(data), Some(indices)) = (context.shape(0), context.shape(1)) {
        axis_index(op.axis, data.len())?;
        context.shape_of_rank(1, data.len())?;
        return one(context.dtype(0), Some(indices.to_vec()));
    }
    one(context.dtype(0), context.shape_owned(1))
}

pub(super) fn gather_nd(context: &Context<'_>, op: &GatherNd) -> Outputs {
    let dtype = context.dtype(0);
    let (Some(data), Some(indices)) = (context.shape_of_min_rank(0, 1)?, context.shape_of_min_rank(1, 1)?)
    else {
        return one(dtype, None);
    };
    let batch = size("batch_dims", op.batch_dims)?;
    let (Some(tuple), kept) = (indices[indices.len() - 1].known(), &indices[..indices.len() - 1]) else {
        return one(dtype, None);
    };
    let taken = batch
        .checked_add(tuple)
        .filter(|&taken| taken <= data.len() && batch < indices.len());
    let Some(taken) = taken else {
        return Err(Problem::argument(
            "batch_dims",
            batch,
            format!("at most {} with tuples of {tuple}", data.len()),
        ));
    };
    for (left, right) in data[..batch].iter().zip(kept) {
        equal("the batch dimensions of data and indices", left, right)?;
    }
    one(dtype, Some([kept, &data[taken..]].concat()))
}

/// ScatterElements, ScatterND and TensorScatter: the type of the data, which updates must have too.
pub(super) fn scatter(context: &Context<'_>, updates: usize) -> Outputs {
    context.same_dtype([0, updates])?;
    same(context)
}

pub(super) fn compress(context: &Context<'_>, op: &Compress) -> Outputs {
    let dtype = context.dtype(0);
    let Some(axis) = op.axis else {
        return one(dtype, Some(unknowns(1)));
    };
    let Some(shape) = context.shape(0) else {
        return one(dtype, None);
    };
    let mut shape = shape.to_vec();
    let axis = axis_index(axis, shape.len())?;
    let kept = context
        .integers(1)
        .map(|chosen| chosen.iter().filter(|&&value| value != 0).count());
    shape[axis] = kept.map_or(Dim::Unknown, Dim::Known);
    one(dtype, Some(shape))
}

pub(super) fn reverse_sequence(context: &Context<'_>) -> Outputs {
    context.shape_of_min_rank(0, 2)?;
    context.shape_of_rank(1, 1)?;
    same(context)
}

pub(super) fn pad(context: &Context<'_>) -> Outputs {
    let dtype = context.dtype(0);
    let Some(shape) = context.shape(0) else {
        return one(dtype, None);
    };
    let axes = match (context.has(3), context.integers(3)) {
        (false, _) => (0..shape.len()).collect(),
        (true, Some(axes)) => axis_indices(&axes, shape.len())?,
        (true, None) => return one(dtype, Some(unknowns(shape.len()))),
    };
    let Some(pads) = context.integers(1) else {
        return one(dtype, Some(unknowns(shape.len())));
    };
    if pads.len() != 2 * axes.len() {
        return Err(Problem::argument(
            "pads",
            &pads,
            format!("{} numbers", 2 * axes.len()),
        ));
    }
    let mut result = shape.to_vec();
    for (index, &axis) in axes.iter().enumerate() {
        let total = pads[index].checked_add(pads[index + axes.len()]);
        let total = total.ok_or_else(|| Problem::argument("pads", &pads, "smaller numbers"))?;
        result[axis] = plus(&shape[axis], total)?;
    }
    one(dtype, Some(result))
}

/// What holds of a value that is of the one type or of the other.
pub(super) fn either_type(left: &ValueType, right: &ValueType) -> ValueType {
    let (
        ValueType::Tensor {
            dtype: a,
            shape: left_shape,
        },
        ValueType::Tensor {
            dtype: b,
            shape: right_shape,
        },
    ) = (left, right)
    else {
        return if left == right {
            left.clone()
        } else {
            ValueType::Unknown
        };
    };
    let shape = match (left_shape, right_shape) {
        (Some(left), Some(right)) if left.len() == right.len() => Some(
            left.iter()
                .zip(right)
                .map(|(left, right)| either(left, right))
                .collect(),
        ),
        _ => None,
    };
    ValueType::Tensor {
        dtype: if a == b { *a } else { None },
        shape,
    }
}

/// True when two types can be of one value.
pub(super) fn compatible(left: &ValueType, right: &ValueType) -> bool {
    let dtypes = left
        .dtype()
        .zip(right.dtype())
        .is_none_or(|(left, right)| left == right);
    let shapes = left.shape().zip(right.shape()).is_none_or(|(left, right)| {
        left.len() == right.len()
            && left
                .iter()
                .zip(right)
                .all(|(left, right)| unify(left, right).is_some())
    });
    dtypes && shapes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_take_what_numpy_takes() {
        // size, start, end, step -> positions
        let cases: &[(usize, i64, i64, i64, &[usize])] = &[
            (5, 0, 5, 1, &[0, 1, 2, 3, 4]),
            (5, 1, -1, 1, &[1, 2, 3]),
            (5, -2, i64::MAX, 1, &[3, 4]),
            (5, 0, i64::MAX, 2, &[0, 2, 4]),
            (5, -1, i64::MIN, -1, &[4, 3, 2, 1, 0]),
            (5, -1, -6, -1, &[4, 3, 2, 1, 0]),
            (5, 4, 0, -2, &[4, 2]),
            (5, 9, 0, -1, &[4, 3, 2, 1]),
            (5, 3, 3, 1, &[]),
            (5, 9, 12, 1, &[]),
            (5, 0, 3, i64::MAX, &[0]),
            (5, 4, i64::MIN, i64::MIN, &[4]),
            (0, 0, 5, 1, &[]),
            (0, -1, i64::MIN, -1, &[]),
        ];
        for &(size, start, end, step, expected) in cases {
            let got: Vec<usize> = slice_positions(size, start, end, step).unwrap().collect();
            assert_eq!(got, expected, "{size} {start} {end} {step}");
        }
        assert!(slice_positions(5, 0, 5, 0).is_none());
    }
}
