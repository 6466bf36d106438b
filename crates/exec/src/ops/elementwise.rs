//! Element-wise ops.

use bantam_graph::ops::Unary;
use bantam_tensor::Tensor;

use crate::inputs::Inputs;
use crate::{Context, OpError};

/// One input, same shape out.
pub(super) fn unary(op: Unary, inputs: &mut Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let x = inputs.values::<f32>(0)?;
    let shape = inputs.required(0)?.shape();
    match op {
        Unary::Relu => context.fill(shape, |y: &mut [f32]| {
            y.iter_mut().zip(x.iter()).for_each(|(y, x)| *y = x.max(0.0));
        }),
        _ => Err(OpError::Unsupported(format!("the op {}", op.name()))),
    }
}
