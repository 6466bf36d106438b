//! Functions of one input without attributes.

use bantam_graph::ops::{IsInf, Unary};
use bantam_kernels::Real;
use bantam_kernels::elementwise::{activation, function};
use bantam_tensor::{DType, Element, Tensor};
use half::{bf16, f16};

use super::map::{Kernel, map_floats, map_to_bools, map_values};
use crate::inputs::Inputs;
use crate::ops::dispatch::{in_integer, in_type};
use crate::{Context, OpError};

/// The kernel of a function of floating-point numbers.
macro_rules! float_kernel {
    ($float:ident, $op:expr) => {{
        let kernel: Kernel<'_, $float> = match $op {
            Unary::Abs => &function::abs::<$float>,
            Unary::Ceil => &function::ceil::<$float>,
            Unary::Erf => &function::erf::<$float>,
            Unary::Exp => &function::exp::<$float>,
            Unary::Floor => &function::floor::<$float>,
            Unary::Neg => &function::negate::<$float>,
            Unary::Reciprocal => &function::reciprocal::<$float>,
            Unary::Round => &function::round::<$float>,
            Unary::Sign => &function::sign::<$float>,
            Unary::Sqrt => &function::sqrt::<$float>,
            Unary::Tanh => &function::tanh::<$float>,
            Unary::HardSwish => &activation::hard_swish::<$float>,
            Unary::Mish => &activation::mish::<$float>,
            Unary::Relu => &activation::relu::<$float>,
            Unary::Sigmoid => &activation::sigmoid::<$float>,
            Unary::Softplus => &activation::softplus::<$float>,
            Unary::Softsign => &activation::softsign::<$float>,
            Unary::Acos => &|y: &mut [$float]| each(y, $float::acos),
            Unary::Acosh => &|y: &mut [$float]| each(y, $float::acosh),
            Unary::Asin => &|y: &mut [$float]| each(y, $float::asin),
            Unary::Asinh => &|y: &mut [$float]| each(y, $float::asinh),
            Unary::Atan => &|y: &mut [$float]| each(y, $float::atan),
            Unary::Atanh => &|y: &mut [$float]| each(y, $float::atanh),
            Unary::Cos => &|y: &mut [$float]| each(y, $float::cos),
            Unary::Cosh => &|y: &mut [$float]| each(y, $float::cosh),
            Unary::Log => &|y: &mut [$float]| each(y, $float::ln),
            Unary::Sin => &|y: &mut [$float]| each(y, $float::sin),
            Unary::Sinh => &|y: &mut [$float]| each(y, $float::sinh),
            Unary::Tan => &|y: &mut [$float]| each(y, $float::tan),
            Unary::BitwiseNot | Unary::Identity | Unary::IsNaN | Unary::Not => {
                return Err(OpError::Type {
                    index: 0,
                    got: $float::DTYPE,
                });
            }
        };
        kernel
    }};
}
/// One input, same shape out.
pub(in crate::ops) fn unary(
    op: Unary,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let dtype = inputs.required(0)?.dtype();
    match op {
        Unary::Identity => inputs.keep(0),
        Unary::Not => not(inputs, context),
        Unary::BitwiseNot => {
            in_integer!(dtype, 0, T => map_values(inputs, context, &|y: &mut [T]| each(y, |x| !x)))
        }
        Unary::IsNaN => in_type!(
            dtype, 0, [F32 f32, F64 f64, F16 f16, BF16 bf16],
            T => map_to_bools(inputs, context, |x: T| x.is_nan())
        ),
        _ if dtype.is_float() => map_floats(inputs, context, float_kernel!(f32, op), float_kernel!(f64, op)),
        Unary::Neg => in_type!(
            dtype, 0, [I8 i8, I16 i16, I32 i32, I64 i64],
            T => map_values(inputs, context, &|y: &mut [T]| each(y, T::wrapping_neg))
        ),
        Unary::Abs | Unary::Sign | Unary::Relu => integer(op, inputs, context),
        _ => Err(OpError::Type { index: 0, got: dtype }),
    }
}

fn each<T: Copy>(y: &mut [T], function: impl Fn(T) -> T) {
    y.iter_mut().for_each(|y| *y = function(*y));
}

/// Abs, Sign and Relu of integers.
#[allow(
    clippy::absurd_extreme_comparisons,
    clippy::unnecessary_min_or_max,
    reason = "for integers with and without sign"
)]
fn integer(op: Unary, inputs: &mut Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let dtype = inputs.required(0)?.dtype();
    if dtype.is_unsigned_integer() && op != Unary::Sign {
        return inputs.keep(0);
    }
    in_type!(dtype, 0, [U8 u8, U16 u16, U32 u32, U64 u64, I8 i8, I16 i16, I32 i32, I64 i64], T => {
        const ZERO: T = 0;
        let kernel: Kernel<'_, T> = match op {
            Unary::Abs => &|y: &mut [T]| each(y, |x| if x < ZERO { ZERO.wrapping_sub(x) } else { x }),
            Unary::Relu => &|y: &mut [T]| each(y, |x| x.max(ZERO)),
            _ => &|y: &mut [T]| each(y, |x| if x < ZERO { ZERO.wrapping_sub(1) } else { x.min(1) }),
        };
        map_values(inputs, context, kernel)
    })
}

fn not(inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    let bytes = x.bools().map_err(|_| OpError::Type {
        index: 0,
        got: x.dtype(),
    })?;
    let mut y = context.uninitialized(DType::Bool, x.shape())?;
    y.bytes_mut()
        .iter_mut()
        .zip(bytes)
        .for_each(|(y, &x)| *y = u8::from(x == 0));
    Ok(y)
}

/// True for the infinities asked for.
pub(in crate::ops) fn is_infinite(
    op: &IsInf,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    fn wanted<T: Real>(op: &IsInf) -> impl Fn(T) -> bool + Sync + use<'_, T> {
        move |x| (op.detect_negative && x == T::NEG_INFINITY) || (op.detect_positive && -x == T::NEG_INFINITY)
    }
    match inputs.required(0)?.dtype() {
        DType::F32 => map_to_bools(inputs, context, wanted::<f32>(op)),
        DType::F64 => map_to_bools(inputs, context, wanted::<f64>(op)),
        DType::F16 => map_to_bools(inputs, context, |x: f16| wanted::<f32>(op)(x.to_f32())),
        DType::BF16 => map_to_bools(inputs, context, |x: bf16| wanted::<f32>(op)(x.to_f32())),
        // 8-bit floats: only one of the four has infinities.
        dtype if dtype.is_float() => {
            let x = inputs.required(0)?;
            let truths: Vec<bool> = x.to_f64()?.into_iter().map(wanted::<f64>(op)).collect();
            Ok(Tensor::from_bools(x.shape(), &truths)?)
        }
        got => Err(OpError::Type { index: 0, got }),
    }
}

#[cfg(test)]
mod tests {
    use bantam_graph::Op;
    use bantam_graph::ops::{IsInf, Unary};
    use bantam_tensor::{DType, Tensor};

    use crate::ops::testing::{run, run_one};

    #[test]
    fn every_function_takes_every_float() {
        for &op in Unary::ALL
            .iter()
            .filter(|op| !matches!(op, Unary::BitwiseNot | Unary::Not | Unary::IsNaN))
        {
            let exact = run_one(op, &[Tensor::from_vec1(&[0.25f64, 0.5, 1.0])])
                .to_f64()
                .unwrap();
            for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F16, 2e-3), (DType::BF16, 2e-2)] {
                let x = Tensor::from_f64(dtype, &[3], &[0.25, 0.5, 1.0]).unwrap();
                let y = run_one(op, &[x]);
                assert_eq!(y.dtype(), dtype);
                for (y, exact) in y.to_f64().unwrap().into_iter().zip(&exact) {
                    let close = (y - exact).abs() <= tolerance * exact.abs().max(1.0);
                    let same = y == *exact || (y.is_nan() && exact.is_nan());
                    assert!(close || same, "{op:?} of {dtype}: {y}, not {exact}");
                }
            }
        }
    }

    #[test]
    fn integers() {
        let x = Tensor::from_vec1(&[-128i8, -3, 0, 5]);
        let expect =
            |op, values: &[i8]| assert_eq!(run_one(op, std::slice::from_ref(&x)), Tensor::from_vec1(values));
        expect(Unary::Abs, &[-128, 3, 0, 5]);
        expect(Unary::Neg, &[-128, 3, 0, -5]);
        expect(Unary::Sign, &[-1, -1, 0, 1]);
        expect(Unary::Relu, &[0, 0, 0, 5]);
        expect(Unary::BitwiseNot, &[127, 2, -1, -6]);
        let unsigned = Tensor::from_vec1(&[0u32, 7]);
        assert_eq!(run_one(Unary::Sign, &[unsigned]), Tensor::from_vec1(&[0u32, 1]));
    }

    #[test]
    fn truths_of_floats() {
        let x = Tensor::from_vec1(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0]);
        let is_nan = run_one(Unary::IsNaN, std::slice::from_ref(&x));
        assert_eq!(
            is_nan,
            Tensor::from_bools(&[4], &[true, false, false, false]).unwrap()
        );
        let op = Op::IsInf(IsInf {
            detect_negative: false,
            detect_positive: true,
        });
        let is_inf = run_one(op, &[x]);
        assert_eq!(
            is_inf,
            Tensor::from_bools(&[4], &[false, true, false, false]).unwrap()
        );
        let not = run_one(Unary::Not, &[is_inf]);
        assert_eq!(not, Tensor::from_bools(&[4], &[true, false, true, true]).unwrap());
    }

    #[test]
    fn wrong_types_are_errors() {
        for (op, dtype) in [
            (Unary::Sin, DType::I32),
            (Unary::Not, DType::F32),
            (Unary::Neg, DType::U8),
        ] {
            assert!(
                run(op, &[Tensor::zeros(dtype, &[2]).unwrap()]).is_err(),
                "{op:?} of {dtype}"
            );
        }
    }

    #[test]
    fn long_tensors_are_computed_in_chunks() {
        let x: Vec<f32> = (0..200_000).map(|i| i as f32 - 100_000.0).collect();
        let y = run_one(Unary::Relu, &[Tensor::from_vec1(&x)]);
        let expected: Vec<f32> = x.iter().map(|x| x.max(0.0)).collect();
        assert_eq!(y, Tensor::from_vec1(&expected));
    }
}
