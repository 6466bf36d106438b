//! Normalization, softmax and losses.

use bantam_tensor::DType;

use super::context::{Context, Outputs};
use super::dims::{axis_index, equal};
use super::elementwise::{into_first, same};
use super::error::Problem;
use crate::{Dim, ValueType, dtype_from_code};

/// Checks that each of these inputs is a list with one element per channel of the first input.
fn check_channels(context: &Context<'_>, positions: impl IntoIterator<Item = usize>) -> Result<(), Problem> {
    let channels = context
        .shape_of_min_rank(0, 1)?
        .and_then(|shape| shape.get(1).cloned());
    let mut channels = channels.unwrap_or(Dim::Unknown);
    for position in positions {
        if let Some(shape) = context.shape_of_rank(position, 1)? {
            channels = equal("the channels of x and of each parameter", &channels, &shape[0])?;
        }
    }
    Ok(())
}

pub(super) fn batch_normalization(context: &Context<'_>) -> Outputs {
    check_channels(context, 1..5)?;
    let ty = |position: usize| context.ty(position).cloned().unwrap_or_default();
    Ok(vec![ty(0), ty(3), ty(4)])
}

/// x, scale and bias by channel.
pub(super) fn by_channel(context: &Context<'_>) -> Outputs {
    check_channels(context, [1, 2])?;
    same(context)
}

/// x, scale and optional bias over the axes from `axis` on; outputs y and statistics.
pub(super) fn by_axis(context: &Context<'_>, axis: i64, stash_type: i64) -> Outputs {
    into_first(context, 1)?;
    into_first(context, 2)?;
    let statistics = statistics(context, axis, stash_type)?;
    Ok(vec![
        context.ty(0).cloned().unwrap_or_default(),
        statistics.clone(),
        statistics,
    ])
}

/// SimplifiedLayerNormalization: the type is that of the scale; the only statistic is the last.
pub(super) fn simplified(context: &Context<'_>, axis: i64, stash_type: i64) -> Outputs {
    let statistics = statistics(context, axis, stash_type)?;
    let dtype = context.dtype(1).or(context.dtype(0));
    let shape = context.shape_owned(0);
    Ok(vec![ValueType::Tensor { dtype, shape }, statistics])
}

/// The shape of x with the normalized axes of size 1.
fn statistics(context: &Context<'_>, axis: i64, stash_type: i64) -> Result<ValueType, Problem> {
    let dtype = i32::try_from(stash_type).ok().and_then(dtype_from_code);
    let Some(shape) = context.shape(0) else {
        return Ok(ValueType::Tensor { dtype, shape: None });
    };
    let axis = axis_index(axis, shape.len())?;
    let ones = vec![Dim::Known(1); shape.len() - axis];
    let shape = Some([&shape[..axis], &ones].concat());
    Ok(ValueType::Tensor { dtype, shape })
}

/// An op along an axis that keeps the type.
pub(super) fn along_axis(context: &Context<'_>, axis: i64) -> Outputs {
    if let Some(shape) = context.shape(0).filter(|shape| !shape.is_empty()) {
        axis_index(axis, shape.len())?;
    }
    same(context)
}

/// Scores `[N, C, d...]` and targets `[N, d...]`; the loss is a scalar or, without reduction, of the targets' shape.
pub(super) fn loss(context: &Context<'_>, reduction: &str) -> Outputs {
    let scores = context.ty(0).cloned().unwrap_or_default();
    if let (Some(scores), Some(target)) = (context.shape_of_min_rank(0, 2)?, context.shape(1)) {
        context.shape_of_rank(1, scores.len() - 1)?;
        let kept = scores[..1].iter().chain(&scores[2..]);
        for (score, target) in kept.zip(target) {
            equal("the dimensions of scores and targets", score, target)?;
        }
    }
    let shape = match reduction {
        "none" => context.shape_owned(1),
        "mean" | "sum" => Some(Vec::new()),
        other => return Err(Problem::argument("reduction", other, "none, mean or sum")),
    };
    let dtype: Option<DType> = context.dtype(0);
    Ok(vec![ValueType::Tensor { dtype, shape }, scores])
}

/// The normalized sum of x and skip: outputs y, mean, inverse deviation, sum.
pub(super) fn skip(context: &Context<'_>) -> Outputs {
    into_first(context, 1)?;
    let statistics = statistics(context, -1, 1)?;
    let ty = context.ty(0).cloned().unwrap_or_default();
    Ok(vec![ty.clone(), statistics.clone(), statistics, ty])
}
