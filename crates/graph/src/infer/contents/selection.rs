//! Selecting, joining and repeating partly known elements.

use bantam_tensor::{DType, Tensor};

use super::{Contents, MAX_ELEMENTS, Scalar};
use crate::infer::context::Context;
use crate::infer::{generate, slicing};

/// Rows along the first axis.
pub(super) fn gather(context: &Context<'_>) -> Option<Contents> {
    let (data, indices) = (context.contents(0)?, context.contents(1)?);
    let rows = i64::try_from(*data.shape.first()?).ok()?;
    let row: usize = data.shape[1..].iter().product();
    let mut values = Vec::new();
    for index in &indices.values {
        if values.len() > MAX_ELEMENTS {
            return None;
        }
        match index {
            Scalar::Known(index) => {
                let index = if *index < 0 {
                    index.checked_add(rows)?
                } else {
                    *index
                };
                let start = usize::try_from(index).ok()?.checked_mul(row)?;
                values.extend_from_slice(data.values.get(start..start.checked_add(row)?)?);
            }
            _ => values.extend(vec![Scalar::Unknown; row]),
        }
    }
    Some(Contents {
        shape: [&indices.shape, &data.shape[1..]].concat(),
        values,
    })
}

/// Slice of a list.
pub(super) fn slice(context: &Context<'_>) -> Option<Contents> {
    let data = context.contents(0).filter(|data| data.shape.len() == 1)?;
    let (start, end) = (context.integer(1)?, context.integer(2)?);
    let step = if context.has(4) { context.integer(4)? } else { 1 };
    let positions = slicing::slice_positions(data.values.len(), start, end, step)?;
    Some(Contents::list(
        positions.map(|position| data.values[position].clone()).collect(),
    ))
}

/// Lists, one behind the other.
pub(super) fn concat(context: &Context<'_>) -> Option<Contents> {
    let mut values = Vec::new();
    for position in 0..context.node.inputs.len() {
        let length = context.length(position);
        match context.contents(position) {
            Some(part) if part.shape.len() == 1 => values.extend_from_slice(&part.values),
            None if context.dtype(position) == Some(DType::I64) && length? <= MAX_ELEMENTS => {
                values.extend(vec![Scalar::Unknown; length?]);
            }
            _ => return None,
        }
        if values.len() > MAX_ELEMENTS {
            return None;
        }
    }
    Some(Contents::list(values))
}

/// One element, repeated.
pub(super) fn expand(context: &Context<'_>) -> Option<Contents> {
    let value = match context.contents(0)?.values.as_slice() {
        [value] => value.clone(),
        _ => return None,
    };
    repeat(&context.integers(1)?, value)
}

pub(super) fn filled(context: &Context<'_>, value: &Tensor) -> Option<Contents> {
    let value = Contents::from_tensor(value)?.values.into_iter().next()?;
    repeat(&context.integers(0)?, value)
}

fn repeat(shape: &[i64], value: Scalar) -> Option<Contents> {
    let shape: Vec<usize> = shape
        .iter()
        .map(|&size| usize::try_from(size).ok())
        .collect::<Option<_>>()?;
    let count = shape
        .iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size))?;
    (count <= MAX_ELEMENTS).then(|| Contents {
        shape,
        values: vec![value; count],
    })
}

pub(super) fn range(context: &Context<'_>) -> Option<Contents> {
    let (start, limit, step) = (context.integer(0)?, context.integer(1)?, context.integer(2)?);
    let count = generate::range_length(start, limit, step)?;
    let count = usize::try_from(count)
        .ok()
        .filter(|&count| count <= MAX_ELEMENTS)?;
    let values = (0..)
        .take(count)
        .map(|index: i64| Scalar::Known(start + index * step));
    Some(Contents::list(values.collect()))
}
