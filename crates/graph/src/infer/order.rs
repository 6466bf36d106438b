//! Reductions, sorting, accumulation, selection of boxes.

use bantam_tensor::DType;

use super::context::{Context, Outputs, one};
use super::dims::{axis_index, axis_indices, equal};
use super::elementwise::same;
use super::error::Problem;
use crate::ops::{ArgReduce, Reduce, TopK, Unique};
use crate::{Dim, ValueType};

pub(super) fn reduce(context: &Context<'_>, op: &Reduce) -> Outputs {
    let dtype = context.dtype(0);
    let empty = !context.has(1) || context.length(1) == Some(0);
    let Some(shape) = context.shape(0) else {
        let scalar = empty && !op.keepdims && !op.noop_with_empty_axes;
        return one(dtype, scalar.then(Vec::new));
    };
    if empty && op.noop_with_empty_axes {
        return same(context);
    }
    let axes = match context.integers(1) {
        _ if empty => (0..shape.len()).collect(),
        Some(axes) if axes.is_empty() => (0..shape.len()).collect(),
        Some(axes) => axis_indices(&axes, shape.len())?,
        None if op.keepdims => return one(dtype, Some(vec![Dim::Unknown; shape.len()])),
        None => {
            return one(
                dtype,
                context
                    .length(1)
                    .and_then(|count| Some(vec![Dim::Unknown; shape.len().checked_sub(count)?])),
            );
        }
    };
    one(dtype, Some(without(shape, &axes, op.keepdims)))
}

/// The shape with these axes removed, or of size 1.
fn without(shape: &[Dim], axes: &[usize], keepdims: bool) -> Vec<Dim> {
    let dims = shape
        .iter()
        .enumerate()
        .filter_map(|(axis, dim)| match axes.contains(&axis) {
            true => keepdims.then_some(Dim::Known(1)),
            false => Some(dim.clone()),
        });
    dims.collect()
}

pub(super) fn arg_reduce(context: &Context<'_>, op: &ArgReduce) -> Outputs {
    let Some(shape) = context.shape(0) else {
        return one(Some(DType::I64), None);
    };
    let axis = axis_index(op.axis, shape.len())?;
    one(Some(DType::I64), Some(without(shape, &[axis], op.keepdims)))
}

pub(super) fn top_k(context: &Context<'_>, op: &TopK) -> Outputs {
    let shape = match context.shape(0) {
        None => None,
        Some(shape) => {
            let axis = axis_index(op.axis, shape.len())?;
            let mut shape = shape.to_vec();
            shape[axis] = kept(context, &shape[axis])?;
            Some(shape)
        }
    };
    let output = |dtype| ValueType::Tensor {
        dtype,
        shape: shape.clone(),
    };
    Ok(vec![output(context.dtype(0)), output(Some(DType::I64))])
}

fn kept(context: &Context<'_>, available: &Dim) -> Result<Dim, Problem> {
    let Some(k) = context.contents(1).and_then(|k| k.values.first()) else {
        return Ok(Dim::Unknown);
    };
    let k = k
        .to_dim()
        .ok_or_else(|| Problem::argument("k", k, "a number that is not negative"))?;
    match (k.known(), available.known()) {
        (Some(k), Some(available)) if k > available => Err(Problem::argument(
            "k",
            k,
            format!("at most the {available} elements of the axis"),
        )),
        _ => Ok(k),
    }
}

/// Running sums and products along the axis in input 1.
pub(super) fn cumulative(context: &Context<'_>) -> Outputs {
    if let (Some(axis), Some(shape)) = (context.integer(1), context.shape(0)) {
        axis_index(axis, shape.len())?;
    }
    same(context)
}

pub(super) fn unique(context: &Context<'_>, op: &Unique) -> Outputs {
    let mut shape = Some(vec![Dim::Unknown]);
    if let Some(axis) = op.axis {
        shape = context.shape_owned(0);
        if let Some(shape) = &mut shape {
            let axis = axis_index(axis, shape.len())?;
            shape[axis] = Dim::Unknown;
        }
    }
    let dtype = context.dtype(0);
    let list = ValueType::tensor(DType::I64, vec![Dim::Unknown]);
    Ok(vec![
        ValueType::Tensor { dtype, shape },
        list.clone(),
        list.clone(),
        list,
    ])
}

/// Boxes `[batch, boxes, 4]` and scores `[batch, classes, boxes]` to `[selected, 3]`.
pub(super) fn non_max_suppression(context: &Context<'_>) -> Outputs {
    if let (Some(boxes), Some(scores)) = (context.shape_of_rank(0, 3)?, context.shape_of_rank(1, 3)?) {
        equal("the batches of boxes and scores", &boxes[0], &scores[0])?;
        equal("the numbers of boxes and of scores", &boxes[1], &scores[2])?;
        equal("the coordinates of a box", &boxes[2], &Dim::Known(4))?;
    }
    one(Some(DType::I64), Some(vec![Dim::Unknown, Dim::Known(3)]))
}
