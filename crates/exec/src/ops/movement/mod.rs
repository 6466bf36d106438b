//! Ops that move data, of any element type, and ops about shapes.

mod gather;
mod generate;
mod join;
mod mask;
mod pad;
mod permute;
mod repeat;
mod scatter;
mod shape;
mod slice;

pub(super) use gather::{TuplePlaces, compress, gather, gather_elements, gather_nd};
pub(super) use generate::{constant_of_shape, eye_like, one_hot, range};
pub(super) use join::{concat, split};
pub(super) use mask::{non_zero, triangle};
pub(super) use pad::{center_crop_pad, pad, padded_axes, padded_runs};
pub(super) use permute::{depth_to_space, permuted, reverse_sequence, space_to_depth, transpose};
pub(super) use repeat::{expand, tile};
pub(super) use scatter::{scatter_elements, scatter_nd, tensor_scatter};
pub(super) use shape::{flatten, reshape, shape, size, squeeze, unsqueeze};
pub(super) use slice::{slice, sliced_axes};

use bantam_kernels::copy::{RunList, take_runs};
use bantam_tensor::Tensor;

use super::units::{Unit, in_unit};
use crate::inputs::Inputs;
use crate::{Context, OpError};

/// The output of shape `shape` whose axes take runs of those of `x`, viewed in shape `view`. What no input position
/// gives is the one element of `fill`, or zero. The runs are asked for only when the output is known to be neither
/// empty nor too large: their number may grow with its size.
fn take(
    x: &Tensor,
    view: &[usize],
    shape: &[usize],
    fill: Option<&Tensor>,
    context: &Context,
    runs: impl FnOnce() -> Vec<RunList>,
) -> Result<Tensor, OpError> {
    in_unit!(x.dtype(), U => {
        let units = U::read(x)?;
        let fill = match fill {
            Some(fill) => U::read(fill)?.first().cloned().unwrap_or_default(),
            None => U::default(),
        };
        U::build(context, x.dtype(), shape, |y| {
            if !y.is_empty() {
                take_runs(&units, view, &runs(), &fill, y);
            }
            Ok(())
        })
    })
}

/// The only element of input `index`, an integer.
fn integer(inputs: &Inputs<'_>, index: usize) -> Result<i64, OpError> {
    match inputs
        .integers(index)?
        .ok_or(OpError::MissingInput { index })?
        .as_slice()
    {
        &[value] => Ok(value),
        values => Err(OpError::shape(format!(
            "input {index} must hold one value, not {}",
            values.len()
        ))),
    }
}

/// Input `index` as a list of sizes, which are not negative.
fn sizes(inputs: &Inputs<'_>, index: usize) -> Result<Vec<usize>, OpError> {
    let values = inputs.integers(index)?.ok_or(OpError::MissingInput { index })?;
    let size = |&value: &i64| {
        usize::try_from(value).map_err(|_| OpError::value(format!("the size {value} is negative")))
    };
    values.iter().map(size).collect()
}

/// The axes in input `index`, or all of them when it is absent.
fn axes_or_all(inputs: &Inputs<'_>, index: usize, rank: usize) -> Result<Vec<usize>, OpError> {
    match inputs.integers(index)? {
        Some(axes) => distinct_axes(&axes, rank),
        None => Ok((0..rank).collect()),
    }
}

/// The positions of axes, none of them twice.
fn distinct_axes(axes: &[i64], rank: usize) -> Result<Vec<usize>, OpError> {
    let mut positions = Vec::with_capacity(axes.len().min(rank));
    for &axis in axes {
        let position = super::axes::axis(axis, rank)?;
        if positions.contains(&position) {
            return Err(OpError::value(format!("axis {axis} is given twice")));
        }
        positions.push(position);
    }
    Ok(positions)
}

/// An index along a dimension, negative from the end.
pub(super) fn position(index: i64, dim: usize) -> Result<usize, OpError> {
    let from_start = if index < 0 {
        index.checked_add_unsigned(dim as u64)
    } else {
        Some(index)
    };
    from_start
        .and_then(|index| usize::try_from(index).ok())
        .filter(|&index| index < dim)
        .ok_or_else(|| OpError::value(format!("index {index} is outside of a dimension of size {dim}")))
}
