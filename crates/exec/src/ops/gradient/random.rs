//! Dropout that drops.

use bantam_graph::ops::DropoutTraining;
use bantam_kernels::Real;
use bantam_kernels::gradient::random::Drops;
use bantam_tensor::DType;

use super::take_first;
use crate::inputs::Inputs;
use crate::operator::Outputs;
use crate::ops::floats::{convert, in_real};
use crate::{Context, OpError};

/// x, ratio, step. Outputs: what is left of x, and where it is.
pub(super) fn dropout(
    op: &DropoutTraining,
    inputs: &mut Inputs<'_>,
    outputs: usize,
    context: &Context,
) -> Result<Outputs, OpError> {
    let step = inputs.integers(2)?.ok_or(OpError::MissingInput { index: 2 })?;
    let (&[step], &[ratio]) = (step.as_slice(), inputs.required(1)?.to_f64()?.as_slice()) else {
        return Err(OpError::shape("one ratio and one step are needed"));
    };
    if !(0.0..1.0).contains(&ratio) {
        return Err(OpError::value(format!("the ratio {ratio} is not in 0..1")));
    }
    let drops = Drops::new(op.seed, step, ratio);
    let x = inputs.required(0)?;
    let (dtype, count, shape) = (x.dtype(), x.len(), x.shape().to_vec());
    let y = in_real!(dtype, 0, T => {
        let mut y = take_first::<T>(inputs, context)?;
        drops.apply(y.values_mut::<T>()?, T::from_f64(1.0 / (1.0 - ratio)));
        convert::<T>(context, y, dtype)
    })?;
    let mut results = vec![Some(y)];
    if outputs > 1 {
        let mut mask = context.uninitialized(DType::Bool, &shape)?;
        for (position, kept) in mask.bytes_mut().iter_mut().enumerate().take(count) {
            *kept = u8::from(drops.keeps(position));
        }
        results.push(Some(mask));
    }
    Ok(results)
}
