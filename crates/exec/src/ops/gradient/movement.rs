//! Gradients of ops that take elements: each goes back to where it was taken from.

use bantam_graph::ops::{GatherGradient, GatherNdGradient, PadGradient};
use bantam_kernels::copy::RunList;
use bantam_kernels::gradient::movement::{give_runs, give_slices};
use bantam_tensor::Tensor;

use super::{check_shape, shape};
use crate::inputs::Inputs;
use crate::ops::axes::{axis, split_at_axis};
use crate::ops::floats::{fill, in_real, read};
use crate::ops::movement::{TuplePlaces, padded_axes, padded_runs, position, sliced_axes};
use crate::{Context, OpError};

/// The gradient of a value of shape `x`, viewed as `view`, of which runs were taken.
fn give(
    view: &[usize],
    x: &[usize],
    runs: &[RunList],
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let dtype = inputs.required(0)?.dtype();
    in_real!(dtype, 0, T => {
        let dy = read::<T>(inputs, 0)?;
        fill(context, dtype, x, |dx: &mut [T]| give_runs(&dy, view, runs, dx))
    })
}

/// dy, indices, shape of the data.
pub(super) fn gather(op: &GatherGradient, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let x = shape(inputs, 2)?;
    let indices = inputs.integers(1)?.ok_or(OpError::MissingInput { index: 1 })?;
    let at = axis(op.axis, x.len())?;
    check_shape(
        inputs,
        0,
        &[&x[..at], inputs.required(1)?.shape(), &x[at + 1..]].concat(),
    )?;
    let (outer, dim, inner) = split_at_axis(&x, at);
    let mut taken = RunList::default();
    for &index in &indices {
        taken.push(position(index, dim)?);
    }
    let runs = [RunList::identity(outer), taken, RunList::identity(inner)];
    give(&[outer, dim, inner], &x, &runs, inputs, context)
}

/// dy, indices, shape of the data.
pub(super) fn gather_nd(
    op: &GatherNdGradient,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let (x, tuples) = (shape(inputs, 2)?, inputs.required(1)?.shape());
    let batch_dims = usize::try_from(op.batch_dims).map_err(|_| OpError::value("batch_dims is negative"))?;
    let indices = inputs.integers(1)?.ok_or(OpError::MissingInput { index: 1 })?;
    let places = TuplePlaces::new(&x, batch_dims, tuples, &indices)?;
    check_shape(
        inputs,
        0,
        &[&tuples[..tuples.len() - 1], &x[places.depth..]].concat(),
    )?;
    let dtype = inputs.required(0)?.dtype();
    in_real!(dtype, 0, T => {
        let dy = read::<T>(inputs, 0)?;
        fill(context, dtype, &x, |dx: &mut [T]| give_slices(&dy, &places.offsets, places.block, dx))
    })
}

/// dy, shape of the data, starts, ends, optional axes, optional steps.
pub(super) fn slice(inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let x = shape(inputs, 1)?;
    let runs = sliced_axes(inputs, 2, &x)?;
    check_shape(inputs, 0, &runs.iter().map(RunList::len).collect::<Vec<_>>())?;
    give(&x, &x, &runs, inputs, context)
}

/// dy, shape of the data, pads, optional axes.
pub(super) fn pad(op: &PadGradient, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let x = shape(inputs, 1)?;
    let (padded, shape) = padded_axes(op.mode, inputs, [2, 3], &x)?;
    check_shape(inputs, 0, &shape)?;
    give(&x, &x, &padded_runs(&padded, op.mode), inputs, context)
}
