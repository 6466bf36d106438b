//! Gradients: they have the types of what they are the gradients of.

use super::contents::Scalar;
use super::context::{Context, Outputs, one};
use crate::Dim;

/// The dtype of input 0 and the shape that input `position` holds.
pub(super) fn shaped_by(context: &Context<'_>, position: usize) -> Outputs {
    context.shape_of_rank(position, 1)?;
    let known = context.contents(position);
    let shape: Option<Vec<Dim>> = known.and_then(|shape| shape.values.iter().map(Scalar::to_dim).collect());
    one(
        context.dtype(0),
        shape.or_else(|| context.shape_of_length(position)),
    )
}

/// Outputs with the types of these inputs.
pub(super) fn like(context: &Context<'_>, positions: &[usize]) -> Outputs {
    let ty = |&position: &usize| context.ty(position).cloned().unwrap_or_default();
    Ok(positions.iter().map(ty).collect())
}
