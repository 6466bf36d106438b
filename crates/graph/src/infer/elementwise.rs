//! Element-wise ops.

use bantam_tensor::DType;

use super::context::{Context, Outputs, one};
use super::dims::broadcast;
use super::error::{Problem, shape_text};
use crate::ops::{Binary, Unary};
use crate::{Dim, ValueType};

/// The type of the first input.
pub(super) fn same(context: &Context<'_>) -> Outputs {
    Ok(vec![context.ty(0).cloned().unwrap_or_default()])
}

/// The shape of the first input, and this type.
pub(super) fn same_shape(context: &Context<'_>, dtype: Option<DType>) -> Outputs {
    one(dtype, context.shape_owned(0))
}

pub(super) fn unary(context: &Context<'_>, op: Unary) -> Outputs {
    match op {
        Unary::IsNaN => same_shape(context, Some(DType::Bool)),
        _ => same(context),
    }
}

pub(super) fn binary(context: &Context<'_>, op: Binary) -> Outputs {
    use Binary::{And, Equal, Greater, GreaterOrEqual, Less, LessOrEqual, Or, PRelu, Pow, Xor};
    if op == PRelu {
        context.same_dtype([0, 1])?;
        into_first(context, 1)?;
        return same(context);
    }
    let dtype = match op {
        Pow => context.dtype(0),
        And | Or | Xor => Some(DType::Bool),
        Equal | Greater | GreaterOrEqual | Less | LessOrEqual => {
            context.same_dtype([0, 1]).map(|_| Some(DType::Bool))?
        }
        _ => context.same_dtype([0, 1])?,
    };
    one(dtype, broadcast_inputs(context, [0, 1])?)
}

/// Checks that input `position` broadcasts into the first without changing its shape.
pub(super) fn into_first(context: &Context<'_>, position: usize) -> Result<(), Problem> {
    if let (Some(target), Some(shape)) = (context.shape(0), context.shape(position)) {
        let grows =
            |(to, from): (&Dim, &Dim)| to.known() == Some(1) && from.known().is_some_and(|from| from != 1);
        let broadcast = broadcast(target, shape)?;
        if broadcast.len() > target.len() || target.iter().zip(&broadcast).any(grows) {
            return Err(Problem::Broadcast {
                left: shape_text(target),
                right: shape_text(shape),
            });
        }
    }
    Ok(())
}

/// The shape of these inputs broadcast; `None` when one is not known.
pub(super) fn broadcast_inputs(
    context: &Context<'_>,
    positions: impl IntoIterator<Item = usize>,
) -> Result<Option<Vec<Dim>>, Problem> {
    let mut total = Vec::new();
    for position in positions {
        let Some(shape) = context.shape(position) else {
            return Ok(None);
        };
        total = broadcast(&total, shape)?;
    }
    Ok(Some(total))
}

/// Any number of broadcast inputs of one type.
pub(super) fn variadic(context: &Context<'_>) -> Outputs {
    let inputs = 0..context.node.inputs.len();
    one(
        context.same_dtype(inputs.clone())?,
        broadcast_inputs(context, inputs)?,
    )
}

pub(super) fn choose(context: &Context<'_>) -> Outputs {
    one(context.same_dtype([1, 2])?, broadcast_inputs(context, [0, 1, 2])?)
}

pub(super) fn dropout(context: &Context<'_>) -> Outputs {
    let mask = ValueType::Tensor {
        dtype: Some(DType::Bool),
        shape: context.shape_owned(0),
    };
    Ok(vec![context.ty(0).cloned().unwrap_or_default(), mask])
}
