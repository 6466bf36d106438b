//! Cutting and padding along axes.

use super::contents::Scalar;
use super::context::{Context, Outputs, one};
use super::dims::{axis_indices, plus, unknowns};
use super::error::Problem;
use crate::Dim;

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
        Some(Scalar::Known(value)) => Some(*value),
        _ => None,
    };
    let mut result = shape.to_vec();
    for (index, &axis) in axes.iter().enumerate() {
        let step = if context.has(4) { known(4, index) } else { Some(1) };
        let (start, end, dim) = (known(1, index), known(2, index), &shape[axis]);
        let to_own_end = element(2, index)
            .and_then(Scalar::to_dim)
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
pub(crate) fn slice_positions(
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
