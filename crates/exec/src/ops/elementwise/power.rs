//! Powers: the result has the type of the base; the exponent may have another one.

use bantam_kernels::Real;
use bantam_kernels::elementwise::{Operand, arithmetic::combine, function};
use bantam_tensor::{DType, Tensor};

use super::binary::apply;
use super::cast::{CastRules, convert};
use crate::inputs::{Argument, Inputs};
use crate::{Context, OpError};

pub(super) fn power(inputs: &mut Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let (base, exponent) = (inputs.required(0)?.dtype(), inputs.required(1)?.dtype());
    for (index, got) in [(0, base), (1, exponent)] {
        if !(got.is_float() || got.is_integer()) || got.bits() < 8 {
            return Err(OpError::Type { index, got });
        }
    }
    match (base, exponent) {
        (DType::F32, DType::F32) => apply::<f32>(inputs, context, &kernel::<f32>, false),
        (DType::F64, DType::F64) => apply::<f64>(inputs, context, &kernel::<f64>, false),
        _ if base.is_integer() && exponent.is_integer() => through(DType::I64, base, inputs, context),
        (DType::F32 | DType::F16 | DType::BF16, exponent) if exponent != DType::F64 => {
            through(DType::F32, base, inputs, context)
        }
        _ => through(DType::F64, base, inputs, context),
    }
}

/// Computes in another type and converts the result to that of the base.
fn through(dtype: DType, base: DType, inputs: &mut Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let rules = CastRules::default();
    let wide = |index| {
        convert(inputs.required(index)?, dtype, &rules, context)
            .map(Argument::Last)
            .map(Some)
    };
    let mut wide = Inputs::new(vec![wide(0)?, wide(1)?]);
    let result = match dtype {
        DType::I64 => apply::<i64>(&mut wide, context, &|y, b| combine(y, b, integer_power), false),
        DType::F32 => apply::<f32>(&mut wide, context, &kernel::<f32>, false),
        _ => apply::<f64>(&mut wide, context, &kernel::<f64>, false),
    }?;
    if base == dtype {
        Ok(result)
    } else {
        convert(&result, base, &rules, context)
    }
}

fn kernel<T: Real>(y: &mut [T], exponent: Operand<'_, T>) {
    match exponent {
        Operand::Scalar(exponent) if exponent == T::from_f64(2.0) => y.iter_mut().for_each(|y| *y = *y * *y),
        Operand::Scalar(exponent) if exponent == T::from_f64(3.0) => {
            y.iter_mut().for_each(|y| *y = *y * *y * *y);
        }
        // The square root of minus zero and minus infinity differ from the power of a half.
        Operand::Scalar(exponent) if exponent == T::from_f64(0.5) && y.iter().all(|&y| y > T::ZERO) => {
            function::sqrt(y);
        }
        exponent => combine(y, exponent, T::powf),
    }
}

/// Wraps around; negative exponents give the integer part of the fraction.
fn integer_power(base: i64, exponent: i64) -> i64 {
    match (u32::try_from(exponent), base) {
        (Ok(exponent), _) => base.wrapping_pow(exponent),
        (_, 1) => 1,
        (_, -1) => {
            if exponent % 2 == 0 {
                1
            } else {
                -1
            }
        }
        // An exponent of 2^32 and more: all bits but those of 0 (and 1, -1) are shifted out or stay powers of odd numbers.
        (_, base) if exponent > 0 => wrapping_power(base, exponent),
        (_, 0) => i64::MIN,
        _ => 0,
    }
}

/// Power by squaring, for exponents that do not fit 32 bits.
fn wrapping_power(mut base: i64, mut exponent: i64) -> i64 {
    let mut product = 1i64;
    while exponent > 0 {
        if exponent & 1 == 1 {
            product = product.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        exponent >>= 1;
    }
    product
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::Binary;
    use bantam_tensor::{DType, Tensor};

    use crate::ops::testing::{run, run_one};

    #[test]
    fn the_result_has_the_type_of_the_base() {
        let pow = |base: Tensor, exponent: Tensor| run_one(Binary::Pow, &[base, exponent]);
        let (one_two_three, four) = ([1.0f32, 2.0, 3.0], Tensor::from_vec1(&[4i64, 5, 6]));
        assert_eq!(
            pow(Tensor::from_vec1(&one_two_three), four),
            Tensor::from_vec1(&[1.0f32, 32.0, 729.0])
        );
        let y = pow(Tensor::from_vec1(&[2i32, 9]), Tensor::from_vec1(&[0.5f32, 0.5]));
        assert_eq!(y, Tensor::from_vec1(&[1i32, 3]));
        let y = pow(
            Tensor::from_vec1(&[3i64, -2, -1, 5]),
            Tensor::from_vec1(&[39i64, 3, -3, -1]),
        );
        assert_eq!(y, Tensor::from_vec1(&[4_052_555_153_018_976_267i64, -8, -1, 0]));
        assert!(
            run(
                Binary::Pow,
                &[Tensor::scalar(1f32), Tensor::zeros(DType::Bool, &[]).unwrap()]
            )
            .is_err()
        );
    }

    #[test]
    fn common_exponents() {
        let x = Tensor::from_vec1(&[4.0f32, 9.0, 0.25]);
        for (exponent, expected) in [
            (2.0, [16.0, 81.0, 0.0625]),
            (3.0, [64.0, 729.0, 0.015_625]),
            (0.5, [2.0, 3.0, 0.5]),
        ] {
            let y = run_one(Binary::Pow, &[x.clone(), Tensor::scalar(exponent as f32)]);
            assert_eq!(y, Tensor::from_vec1(&expected.map(|e| e as f32)));
        }
        let y = run_one(
            Binary::Pow,
            &[
                Tensor::from_vec1(&[f32::NEG_INFINITY, -1.0]),
                Tensor::scalar(0.5f32),
            ],
        );
        let y = y.to_f32().unwrap();
        assert!(y[0] == f32::INFINITY && y[1].is_nan());
    }
}
