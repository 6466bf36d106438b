//! SumTo.

use bantam_tensor::Tensor;

use super::shape;
use crate::inputs::Inputs;
use crate::ops::broadcast::broadcast_shape;
use crate::ops::floats::in_real;
use crate::ops::reduction::sum_dimensions;
use crate::{Context, OpError};

/// Sums x over the dimensions along which a tensor of the shape in input 1 was repeated to get that of x.
pub(super) fn sum_to(inputs: &mut Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let (target, x) = (shape(inputs, 1)?, inputs.required(0)?);
    let from = x.shape();
    if from == target {
        return inputs.keep(0);
    }
    if target.len() > from.len() || broadcast_shape(&[from, &target])? != from {
        return Err(OpError::shape(format!(
            "a tensor of shape {target:?} is not repeated to {from:?}"
        )));
    }
    let leading = from.len() - target.len();
    let repeated: Vec<bool> = (0..from.len())
        .map(|axis| axis < leading || (target[axis - leading] == 1 && from[axis] != 1))
        .collect();
    in_real!(x.dtype(), 0, T => sum_dimensions::<T>(inputs, &repeated, &target, context))
}
