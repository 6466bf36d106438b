//! Bits and truths.

use bantam_graph::ops::{Binary, BitShift, ShiftDirection};
use bantam_kernels::elementwise::arithmetic::combine;
use bantam_tensor::{DType, Tensor};

use super::binary::{BinaryKernel, apply, same_dtypes};
use crate::inputs::Inputs;
use crate::ops::dispatch::in_integer;
use crate::{Context, OpError};

/// And, Or and Xor of booleans.
pub(super) fn logical(op: Binary, inputs: &mut Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    match same_dtypes(inputs)? {
        DType::Bool => apply::<u8>(inputs, context, bit_kernel(op), true),
        got => Err(OpError::Type { index: 0, got }),
    }
}

/// The same of the bits of integers.
pub(super) fn bitwise(op: Binary, inputs: &mut Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let dtype = same_dtypes(inputs)?;
    match dtype.bits() {
        _ if !dtype.is_integer() || dtype.is_sub_byte() => Err(OpError::Type { index: 0, got: dtype }),
        8 => apply::<u8>(inputs, context, bit_kernel(op), true),
        16 => apply::<u16>(inputs, context, bit_kernel(op), true),
        32 => apply::<u32>(inputs, context, bit_kernel(op), true),
        _ => apply::<u64>(inputs, context, bit_kernel(op), true),
    }
}

fn bit_kernel<T>(op: Binary) -> BinaryKernel<'static, T>
where
    T: Copy + std::ops::BitAnd<Output = T> + std::ops::BitOr<Output = T> + std::ops::BitXor<Output = T>,
{
    match op {
        Binary::And | Binary::BitwiseAnd => &|y, b| combine(y, b, T::bitand),
        Binary::Or | Binary::BitwiseOr => &|y, b| combine(y, b, T::bitor),
        _ => &|y, b| combine(y, b, T::bitxor),
    }
}

/// Shifts; beyond the width (or by negative amounts) only copies of the sign are left.
#[allow(
    clippy::unnecessary_fallible_conversions,
    clippy::useless_conversion,
    reason = "for every integer type"
)]
pub(in crate::ops) fn shift(
    op: &BitShift,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    in_integer!(same_dtypes(inputs)?, 0, T => {
        // The amount, if it is less than the width.
        let within = |amount: T| u32::try_from(amount).ok().filter(|&amount| amount < T::BITS);
        let left = |x: T, amount: T| within(amount).map_or(0, |amount| x << amount);
        let right = |x: T, amount: T| x >> within(amount).unwrap_or(T::BITS - 1);
        let unsigned = T::MIN == 0;
        match op.direction {
            ShiftDirection::Left => apply::<T>(inputs, context, &|y, b| combine(y, b, left), false),
            ShiftDirection::Right if unsigned => {
                let right = |x: T, amount: T| within(amount).map_or(0, |amount| x >> amount);
                apply::<T>(inputs, context, &|y, b| combine(y, b, right), false)
            }
            ShiftDirection::Right => apply::<T>(inputs, context, &|y, b| combine(y, b, right), false),
        }
    })
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::{Binary, BitShift, ShiftDirection};
    use bantam_tensor::Tensor;

    use crate::ops::testing::{run, run_one};

    #[test]
    fn shifts_beyond_the_width() {
        let (left, right) = (ShiftDirection::Left, ShiftDirection::Right);
        let x = Tensor::from_vec1(&[-4i8, 5, -4, 5]);
        let by = Tensor::from_vec1(&[1i8, 1, 8, -1]);
        let run =
            |direction, x: &Tensor, by: &Tensor| run_one(BitShift { direction }, &[x.clone(), by.clone()]);
        assert_eq!(run(left, &x, &by), Tensor::from_vec1(&[-8i8, 10, 0, 0]));
        assert_eq!(run(right, &x, &by), Tensor::from_vec1(&[-2i8, 2, -1, 0]));
        let x = Tensor::from_vec1(&[0x8000_0000u32, 3]);
        let by = Tensor::from_vec1(&[31u32, 40]);
        assert_eq!(run(right, &x, &by), Tensor::from_vec1(&[1u32, 0]));
    }

    #[test]
    fn truths_and_bits() {
        let a = Tensor::from_bools(&[2, 1], &[true, false]).unwrap();
        let b = Tensor::from_bools(&[2], &[true, false]).unwrap();
        for (op, expected) in [
            (Binary::And, [true, false, false, false]),
            (Binary::Or, [true, true, true, false]),
            (Binary::Xor, [false, true, true, false]),
        ] {
            let y = run_one(op, &[a.clone(), b.clone()]);
            assert_eq!(y, Tensor::from_bools(&[2, 2], &expected).unwrap(), "{op:?}");
        }
        let y = run_one(
            Binary::BitwiseXor,
            &[Tensor::from_vec1(&[-1i64, 6]), Tensor::scalar(3i64)],
        );
        assert_eq!(y, Tensor::from_vec1(&[-4i64, 5]));
        assert!(run(Binary::And, &[Tensor::scalar(1u8), Tensor::scalar(1u8)]).is_err());
        assert!(run(Binary::BitwiseAnd, &[a, b]).is_err());
    }
}
