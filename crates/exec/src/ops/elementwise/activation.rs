//! Functions of one input with parameters.

use bantam_graph::ops::{
    Celu, Elu, Gelu, GeluApproximation, HardSigmoid, LeakyRelu, Selu, Shrink, Swish, ThresholdedRelu,
};
use bantam_kernels::elementwise::activation as kernel;
use bantam_kernels::elementwise::{Number, Operand, arithmetic};
use bantam_tensor::Tensor;

use super::map::{map_floats, map_values};
use crate::inputs::Inputs;
use crate::ops::dispatch::{in_integer, in_number};
use crate::{Context, OpError};

/// Applies a kernel that takes parameters after the slice, in both precisions.
macro_rules! with_parameters {
    ($inputs:ident, $context:ident, $kernel:path, $($parameter:expr),*) => {
        map_floats(
            $inputs,
            $context,
            &|y: &mut [f32]| $kernel(y, $($parameter),*),
            &|y: &mut [f64]| $kernel(y, $(f64::from($parameter)),*),
        )
    };
}

pub(in crate::ops) fn elu(op: &Elu, inputs: &mut Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    with_parameters!(
        inputs,
        context,
        kernel::exponential_linear,
        op.alpha,
        1.0f32,
        1.0f32
    )
}

pub(in crate::ops) fn selu(op: &Selu, inputs: &mut Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    with_parameters!(
        inputs,
        context,
        kernel::exponential_linear,
        op.alpha * op.gamma,
        op.gamma,
        1.0f32
    )
}

pub(in crate::ops) fn celu(op: &Celu, inputs: &mut Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    with_parameters!(
        inputs,
        context,
        kernel::exponential_linear,
        op.alpha,
        1.0f32,
        op.alpha
    )
}

pub(in crate::ops) fn leaky_relu(
    op: &LeakyRelu,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    with_parameters!(inputs, context, kernel::leaky_relu, op.alpha)
}

pub(in crate::ops) fn hard_sigmoid(
    op: &HardSigmoid,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    with_parameters!(inputs, context, kernel::hard_sigmoid, op.alpha, op.beta)
}

pub(in crate::ops) fn thresholded_relu(
    op: &ThresholdedRelu,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    with_parameters!(inputs, context, kernel::thresholded_relu, op.alpha)
}

pub(in crate::ops) fn shrink(
    op: &Shrink,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    if inputs.required(0)?.dtype().is_float() {
        return with_parameters!(inputs, context, kernel::shrink, op.bias, op.lambd);
    }
    // Integers are compared and shifted as real numbers, and cut off.
    let (bias, lambda) = (f64::from(op.bias), f64::from(op.lambd));
    let shrunk = |x: f64| match x {
        x if x < -lambda => x + bias,
        x if x > lambda => x - bias,
        _ => 0.0,
    };
    in_integer!(inputs.required(0)?.dtype(), 0, T => map_values(inputs, context, &|y: &mut [T]| {
        y.iter_mut().for_each(|y| *y = shrunk(*y as f64) as T);
    }))
}

pub(in crate::ops) fn swish(
    op: &Swish,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    with_parameters!(inputs, context, kernel::swish, op.alpha)
}

pub(in crate::ops) fn gelu(op: &Gelu, inputs: &mut Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    match op.approximate {
        GeluApproximation::None => map_floats(inputs, context, &kernel::gelu::<f32>, &kernel::gelu::<f64>),
        GeluApproximation::Tanh => map_floats(
            inputs,
            context,
            &kernel::gelu_tanh::<f32>,
            &kernel::gelu_tanh::<f64>,
        ),
    }
}

/// Bounds by the optional inputs 1 (low) and 2 (high); the high bound wins where they contradict.
pub(in crate::ops) fn clip(inputs: &mut Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    in_number!(inputs.required(0)?.dtype(), 0, T => clip_values::<T>(inputs, context))
}

fn clip_values<T: Number>(inputs: &mut Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let (low, high) = (bound::<T>(inputs, 1)?, bound::<T>(inputs, 2)?);
    // A value that is not a number stays; a bound that is none is no bound.
    map_values(inputs, context, &|y: &mut [T]| {
        if let Some(low) = low {
            arithmetic::maximum(y, Operand::Scalar(low));
        }
        if let Some(high) = high {
            arithmetic::minimum(y, Operand::Scalar(high));
        }
    })
}

#[allow(clippy::eq_op, reason = "NaN differs from itself")]
fn bound<T: Number>(inputs: &Inputs<'_>, index: usize) -> Result<Option<T>, OpError> {
    if inputs.optional(index).is_none() {
        return Ok(None);
    }
    match inputs.values::<T>(index)?.as_ref() {
        &[value] => Ok((value == value).then_some(value)),
        values => Err(OpError::shape(format!(
            "input {index} must hold one value, not {}",
            values.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use bantam_graph::Op;
    use bantam_graph::ops::{Clip, Elu, Selu, Shrink};
    use bantam_tensor::Tensor;

    use crate::ops::testing::{run, run_one, run_optional};

    #[test]
    fn clip_takes_bounds_of_its_own_type() {
        let x = Tensor::from_vec1(&[-3i8, 0, 4]);
        let y = run_one(Clip {}, &[x.clone(), Tensor::scalar(-1i8), Tensor::scalar(2i8)]);
        assert_eq!(y, Tensor::from_vec1(&[-1i8, 0, 2]));
        // The larger bound first: the high bound wins.
        let y = run_one(Clip {}, &[x.clone(), Tensor::scalar(2i8), Tensor::scalar(1i8)]);
        assert_eq!(y, Tensor::from_vec1(&[1i8, 1, 1]));
        let y = run_optional(Clip {}, &[Some(x.clone()), None, Some(Tensor::scalar(0i8))]).unwrap();
        assert_eq!(y[0], Some(Tensor::from_vec1(&[-3i8, 0, 0])));
        assert!(run(Clip {}, &[x.clone(), Tensor::scalar(1i32)]).is_err());
        assert!(run(Clip {}, &[x, Tensor::from_vec1(&[1i8, 2])]).is_err());
    }

    #[test]
    fn clip_keeps_not_a_number() {
        let y = run_one(
            Clip {},
            &[
                Tensor::from_vec1(&[f32::NAN, 9.0]),
                Tensor::scalar(0f32),
                Tensor::scalar(6f32),
            ],
        );
        let y = y.to_f32().unwrap();
        assert!(y[0].is_nan() && y[1] == 6.0);
    }

    #[test]
    fn exponential_units() {
        let x = [Tensor::from_vec1(&[-1.0f64, 2.0])];
        let close = |op: Op, expected: [f64; 2]| {
            let y = run_one(op, &x).to_f64().unwrap();
            assert!(y.iter().zip(expected).all(|(y, e)| (y - e).abs() < 1e-6), "{y:?}");
        };
        let negative = (-1f64).exp() - 1.0;
        close(Op::Elu(Elu { alpha: 2.0 }), [2.0 * negative, 2.0]);
        close(
            Op::Selu(Selu {
                alpha: 2.0,
                gamma: 3.0,
            }),
            [6.0 * negative, 6.0],
        );
    }

    #[test]
    fn shrink_of_integers_cuts_off() {
        let y = run_one(
            Shrink {
                bias: 0.5,
                lambd: 1.0,
            },
            &[Tensor::from_vec1(&[-2i32, 1, 3])],
        );
        assert_eq!(y, Tensor::from_vec1(&[-1i32, 0, 2]));
    }
}
