//! Joining, cutting, gathering and scattering.

use super::context::{Context, Outputs, one};
use super::dims::{axis_index, equal, size, sum, unknowns};
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
