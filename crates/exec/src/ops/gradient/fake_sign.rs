//! FakeSign and its gradient.

use bantam_graph::ops::{FakeSign, FakeSignGradient, SignEstimator};
use bantam_kernels::gradient::fake_sign::{self as kernels, Estimator, Signs};
use bantam_tensor::Tensor;

use super::fake_quant::channels;
use super::{check_same_shape, take_first};
use crate::inputs::Inputs;
use crate::operator::Outputs;
use crate::ops::floats::{convert, fill, in_real, read};
use crate::{Context, OpError};

fn signs(axis: Option<i64>, inputs: &Inputs<'_>, index: usize) -> Result<Signs, OpError> {
    let (channels, inner) = channels(axis, inputs, index)?;
    Ok(Signs { channels, inner })
}

/// x, scale, threshold.
pub(super) fn forward(op: &FakeSign, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let signs = signs(op.axis, inputs, 0)?;
    let x = inputs.required(0)?;
    in_real!(x.dtype(), 0, T => {
        let (values, scale, threshold) = (read::<T>(inputs, 0)?, read::<T>(inputs, 1)?, read::<T>(inputs, 2)?);
        fill(context, x.dtype(), x.shape(), |y: &mut [T]| kernels::forward(signs, &values, &scale, &threshold, y))
    })
}

/// dy, x, scale, threshold. Outputs: the gradients of x, scale and threshold.
pub(super) fn backward(
    op: &FakeSignGradient,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Outputs, OpError> {
    check_same_shape(inputs, 0, 1)?;
    let signs = signs(op.axis, inputs, 1)?;
    let bound = f64::from(op.bound);
    let estimator = match op.estimator {
        SignEstimator::Identity => Estimator::Identity,
        SignEstimator::Clip => Estimator::Clip { bound },
        SignEstimator::Polynomial => Estimator::Polynomial { bound },
    };
    let dtype = inputs.required(1)?.dtype();
    in_real!(dtype, 1, T => {
        let mut dx = take_first::<T>(inputs, context)?;
        let (x, scale, threshold) = (read::<T>(inputs, 1)?, read::<T>(inputs, 2)?, read::<T>(inputs, 3)?);
        let sums = kernels::backward(signs, estimator, dx.values_mut::<T>()?, &x, &scale, &threshold);
        let parameter = |input: usize, factor: f64| {
            let like = inputs.required(input)?;
            fill(context, like.dtype(), like.shape(), |gradient: &mut [T]| {
                gradient.iter_mut().zip(&sums).for_each(|(gradient, sum)| *gradient = <T as bantam_kernels::Real>::from_f64(sum * factor));
            })
        };
        let (of_scale, of_threshold) = (parameter(2, f64::from(op.gradient_scale))?, parameter(3, 0.0)?);
        Ok(vec![Some(convert::<T>(context, dx, dtype)?), Some(of_scale), Some(of_threshold)])
    })
}
