//! Changes of shape that keep the elements, and broadcasts.

use super::contents::Scalar;
use super::context::{Context, Outputs, one};
use super::dims::{MAX_RANK, axis_index, axis_indices, broadcast, product, times, unknowns};
use super::elementwise::same_shape;
use super::error::{Problem, shape_text};
use crate::Dim;
use crate::ops::{Flatten, Reshape, Transpose};

pub(super) fn reshape(context: &Context<'_>, op: &Reshape) -> Outputs {
    let dtype = context.dtype(0);
    let Some(target) = context.contents(1) else {
        return one(dtype, context.shape_of_length(1));
    };
    let input = context.shape(0);
    let mut open = None;
    let mut shape = Vec::with_capacity(target.values.len());
    for (axis, value) in target.values.iter().enumerate() {
        shape.push(match value {
            Scalar::Known(0) if !op.allowzero => match input {
                Some(input) => input.get(axis).cloned().ok_or(Problem::Axis {
                    axis: i64::try_from(axis).unwrap_or(i64::MAX),
                    rank: input.len(),
                })?,
                None => Dim::Unknown,
            },
            Scalar::Known(-1) => {
                if open.replace(axis).is_some() {
                    return Err(Problem::argument("shape", &target.values, "at most one -1"));
                }
                Dim::Unknown
            }
            value => value
                .to_dim()
                .ok_or_else(|| Problem::argument("shape", value, "sizes and at most one -1"))?,
        });
    }
    if let Some(input) = input {
        fill_open(input, &mut shape, open)?;
    }
    one(dtype, Some(shape))
}

/// Finds the open dimension of a Reshape from the number of elements, or checks that number.
fn fill_open(input: &[Dim], shape: &mut [Dim], open: Option<usize>) -> Result<(), Problem> {
    let rest: Vec<Dim> = shape
        .iter()
        .enumerate()
        .filter(|(axis, _)| Some(*axis) != open)
        .map(|(_, dim)| dim.clone())
        .collect();
    let (from, to) = cancel(input, &rest);
    let problem = |shape: &[Dim]| Problem::Reshape {
        from: shape_text(input),
        to: shape_text(shape),
    };
    match (open, product(&from)?, product(&to)?) {
        (Some(_), Dim::Known(_), Dim::Known(0)) => Ok(()),
        (Some(open), Dim::Known(from), Dim::Known(to)) => {
            if !from.is_multiple_of(to) {
                return Err(problem(shape));
            }
            shape[open] = Dim::Known(from / to);
            Ok(())
        }
        (Some(open), symbol @ Dim::Symbol(_), Dim::Known(1)) => {
            shape[open] = symbol;
            Ok(())
        }
        (Some(open), _, Dim::Known(to)) if to > 0 => {
            shape[open] = quotient(&from, to).unwrap_or(Dim::Unknown);
            Ok(())
        }
        (None, Dim::Known(from), Dim::Known(to)) if from != to => Err(problem(shape)),
        _ => Ok(()),
    }
}

/// Both lists without the symbols that they have in common.
fn cancel(left: &[Dim], right: &[Dim]) -> (Vec<Dim>, Vec<Dim>) {
    let mut left = left.to_vec();
    let mut rest = Vec::new();
    // A size of zero would make any quotient possible.
    if left.contains(&Dim::Known(0)) {
        return (left, right.to_vec());
    }
    for dim in right {
        match left
            .iter()
            .position(|other| matches!(dim, Dim::Symbol(_)) && other == dim)
        {
            Some(index) => _ = left.remove(index),
            None => rest.push(dim.clone()),
        }
    }
    (left, rest)
}

/// One symbol times known sizes, divided by their product.
fn quotient(dims: &[Dim], divisor: usize) -> Option<Dim> {
    let mut open = dims.iter().filter(|dim| dim.known().is_none());
    let symbol = open.next().filter(|dim| matches!(dim, Dim::Symbol(_)))?;
    let known = dims
        .iter()
        .filter_map(Dim::known)
        .try_fold(1usize, |product, size| product.checked_mul(size))?;
    (open.next().is_none() && known == divisor).then(|| symbol.clone())
}

pub(super) fn flatten(context: &Context<'_>, op: &Flatten) -> Outputs {
    let Some(shape) = context.shape(0) else {
        return one(context.dtype(0), Some(unknowns(2)));
    };
    // The axis may also be the rank: everything goes before the cut.
    let axis = match i64::try_from(shape.len()) {
        Ok(rank) if rank == op.axis => shape.len(),
        _ => axis_index(op.axis, shape.len())?,
    };
    let (rows, columns) = shape.split_at(axis);
    one(context.dtype(0), Some(vec![product(rows)?, product(columns)?]))
}

pub(super) fn squeeze(context: &Context<'_>) -> Outputs {
    let dtype = context.dtype(0);
    let Some(shape) = context.shape(0) else {
        return one(dtype, None);
    };
    if !context.has(1) {
        let known = shape.iter().all(|dim| dim.known().is_some());
        let kept = shape
            .iter()
            .filter(|dim| dim.known() != Some(1))
            .cloned()
            .collect();
        return one(dtype, known.then_some(kept));
    }
    let Some(axes) = context.integers(1) else {
        return one(
            dtype,
            context
                .length(1)
                .and_then(|count| Some(unknowns(shape.len().checked_sub(count)?))),
        );
    };
    let axes = axis_indices(&axes, shape.len())?;
    if let Some(axis) = axes
        .iter()
        .find(|&&axis| shape[axis].known().is_some_and(|size| size != 1))
    {
        return Err(Problem::argument(
            "axes",
            axis,
            format!("axes of size 1 of {}", shape_text(shape)),
        ));
    }
    let kept = shape.iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
    one(dtype, Some(kept.map(|(_, dim)| dim.clone()).collect()))
}

pub(super) fn unsqueeze(context: &Context<'_>) -> Outputs {
    let dtype = context.dtype(0);
    let (Some(shape), Some(axes)) = (context.shape(0), context.integers(1)) else {
        let rank = context
            .shape(0)
            .map(<[Dim]>::len)
            .zip(context.length(1))
            .map(|(rank, added)| rank.saturating_add(added));
        return one(dtype, rank.filter(|&rank| rank <= MAX_RANK).map(unknowns));
    };
    let rank = shape.len() + axes.len();
    let mut added = axis_indices(&axes, rank)?;
    added.sort_unstable();
    if added.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Problem::argument("axes", &axes, "different axes"));
    }
    let mut rest = shape.iter().cloned();
    let dims = (0..rank).map(|axis| {
        if added.contains(&axis) {
            Some(Dim::Known(1))
        } else {
            rest.next()
        }
    });
    one(dtype, dims.collect())
}

pub(super) fn transpose(context: &Context<'_>, op: &Transpose) -> Outputs {
    let dtype = context.dtype(0);
    let Some(shape) = context.shape(0) else {
        return one(dtype, op.perm.as_ref().map(|perm| unknowns(perm.len())));
    };
    let Some(perm) = &op.perm else {
        return one(dtype, Some(shape.iter().rev().cloned().collect()));
    };
    let axes = axis_indices(perm, shape.len())?;
    let mut sorted = axes.clone();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..shape.len()) {
        return Err(Problem::argument(
            "perm",
            perm,
            format!("each of the {} axes once", shape.len()),
        ));
    }
    one(
        dtype,
        Some(axes.into_iter().map(|axis| shape[axis].clone()).collect()),
    )
}

pub(super) fn expand(context: &Context<'_>) -> Outputs {
    let dtype = context.dtype(0);
    let target: Option<Vec<Dim>> = match context.contents(1) {
        Some(target) => Some(sizes(&target.values)?),
        None => context.shape_of_length(1),
    };
    match (context.shape(0), target) {
        (Some(shape), Some(target)) => one(dtype, Some(broadcast(shape, &target)?)),
        _ => one(dtype, None),
    }
}

fn sizes(values: &[Scalar]) -> Result<Vec<Dim>, Problem> {
    let size = |value: &Scalar| {
        value
            .to_dim()
            .ok_or_else(|| Problem::argument("shape", value, "sizes that are not negative"))
    };
    values.iter().map(size).collect()
}

pub(super) fn tile(context: &Context<'_>) -> Outputs {
    let Some(shape) = context.shape(0) else {
        return one(context.dtype(0), context.shape_of_length(1));
    };
    let Some(repeats) = context.integers(1) else {
        return one(context.dtype(0), Some(unknowns(shape.len())));
    };
    if repeats.len() != shape.len() {
        return Err(Problem::argument(
            "repeats",
            &repeats,
            format!("{} numbers", shape.len()),
        ));
    }
    let repeated = |(dim, &count): (&Dim, &i64)| times(dim, super::dims::size("repeats", count)?);
    one(
        context.dtype(0),
        Some(
            shape
                .iter()
                .zip(&repeats)
                .map(repeated)
                .collect::<Result<_, _>>()?,
        ),
    )
}

/// Trilu and the like: two dimensions at least, the type stays.
pub(super) fn of_matrices(context: &Context<'_>) -> Outputs {
    context.shape_of_min_rank(0, 2)?;
    same_shape(context, context.dtype(0))
}
