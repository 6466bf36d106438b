//! Elements as plain units of their width, for operators that move data without looking at it.
//!
//! Elements narrower than a byte are unpacked to one byte each; strings are vectors of bytes.

use std::borrow::Cow;

use bantam_tensor::formats::{pack_codes, unpack_code};
use bantam_tensor::{DType, Tensor, TensorError};
use bytemuck::Pod;
use half::{bf16, f16};

use crate::inputs::Inputs;
use crate::{Context, OpError};

/// The unit of some dtypes.
pub(crate) trait Unit: Clone + Default + PartialEq + Send + Sync + 'static {
    /// The elements of a tensor whose unit this is.
    fn read(tensor: &Tensor) -> Result<Cow<'_, [Self]>, OpError>;

    /// A new tensor of a dtype whose unit this is, written through a slice of unspecified values.
    fn build(
        context: &Context,
        dtype: DType,
        shape: &[usize],
        write: impl FnOnce(&mut [Self]) -> Result<(), OpError>,
    ) -> Result<Tensor, OpError>;

    /// Changes elements of a tensor whose unit this is.
    fn modify(
        context: &Context,
        tensor: Tensor,
        write: impl FnOnce(&mut [Self]) -> Result<(), OpError>,
    ) -> Result<Tensor, OpError> {
        let (dtype, shape) = (tensor.dtype(), tensor.shape().to_vec());
        let mut units = Self::read(&tensor)?.into_owned();
        write(&mut units)?;
        Self::build(context, dtype, &shape, |built| {
            built.clone_from_slice(&units);
            Ok(())
        })
    }
}

/// Evaluates an expression with a name for the unit of a dtype.
macro_rules! in_unit {
    ($dtype:expr, $name:ident => $body:expr) => {
        match $dtype.bits() {
            0 => {
                type $name = Vec<u8>;
                $body
            }
            16 => {
                type $name = u16;
                $body
            }
            32 => {
                type $name = u32;
                $body
            }
            64 => {
                type $name = u64;
                $body
            }
            128 => {
                type $name = u128;
                $body
            }
            _ => {
                type $name = u8;
                $body
            }
        }
    };
}

pub(crate) use in_unit;

/// The elements of input `index`, which must be of the dtype given.
pub(crate) fn read<'a, U: Unit>(
    inputs: &'a Inputs<'_>,
    index: usize,
    dtype: DType,
) -> Result<Cow<'a, [U]>, OpError> {
    let tensor = inputs.required(index)?;
    if tensor.dtype() != dtype {
        return Err(OpError::Type {
            index,
            got: tensor.dtype(),
        });
    }
    U::read(tensor)
}

/// The bytes of a tensor as elements of their width; copied only when they are unaligned.
fn cast<U: Pod>(tensor: &Tensor) -> Cow<'_, [U]> {
    match bytemuck::try_cast_slice(tensor.as_bytes()) {
        Ok(units) => Cow::Borrowed(units),
        Err(_) => Cow::Owned(bytemuck::allocation::pod_collect_to_vec(tensor.as_bytes())),
    }
}

macro_rules! wide_units {
    ($($unit:ty)*) => {$(
        impl Unit for $unit {
            fn read(tensor: &Tensor) -> Result<Cow<'_, [Self]>, OpError> {
                Ok(cast(tensor))
            }

            fn build(
                context: &Context,
                dtype: DType,
                shape: &[usize],
                write: impl FnOnce(&mut [Self]) -> Result<(), OpError>,
            ) -> Result<Tensor, OpError> {
                let mut tensor = context.uninitialized(dtype, shape)?;
                write(bytemuck::cast_slice_mut(tensor.bytes_mut()))?;
                Ok(tensor)
            }

            fn modify(
                _: &Context,
                mut tensor: Tensor,
                write: impl FnOnce(&mut [Self]) -> Result<(), OpError>,
            ) -> Result<Tensor, OpError> {
                write(bytemuck::cast_slice_mut(tensor.bytes_mut()))?;
                Ok(tensor)
            }
        }
    )*};
}
wide_units!(u16 u32 u64 u128 i8 i16 i32 i64 f16 bf16 f32 f64);

impl Unit for u8 {
    fn read(tensor: &Tensor) -> Result<Cow<'_, [u8]>, OpError> {
        let (bits, bytes) = (tensor.dtype().bits(), tensor.as_bytes());
        if !tensor.dtype().is_sub_byte() {
            return Ok(Cow::Borrowed(bytes));
        }
        Ok((0..tensor.len())
            .map(|index| unpack_code(bits, bytes, index) as u8)
            .collect())
    }

    fn build(
        context: &Context,
        dtype: DType,
        shape: &[usize],
        write: impl FnOnce(&mut [u8]) -> Result<(), OpError>,
    ) -> Result<Tensor, OpError> {
        let mut tensor = context.uninitialized(dtype, shape)?;
        if dtype.is_sub_byte() {
            let mut codes = vec![0; tensor.len()];
            write(&mut codes)?;
            tensor
                .bytes_mut()
                .copy_from_slice(&pack_codes(dtype.bits(), codes.into_iter()));
        } else {
            write(tensor.bytes_mut())?;
        }
        Ok(tensor)
    }
}

impl Unit for Vec<u8> {
    fn read(tensor: &Tensor) -> Result<Cow<'_, [Vec<u8>]>, OpError> {
        Ok(Cow::Borrowed(tensor.strings()?))
    }

    fn build(
        _: &Context,
        _: DType,
        shape: &[usize],
        write: impl FnOnce(&mut [Vec<u8>]) -> Result<(), OpError>,
    ) -> Result<Tensor, OpError> {
        let too_large = || TensorError::TooLarge {
            shape: shape.to_vec(),
        };
        let elements = shape
            .iter()
            .try_fold(1usize, |product, &dim| product.checked_mul(dim));
        let elements = elements
            .filter(|&elements| elements <= MOST_STRINGS)
            .ok_or_else(too_large)?;
        let mut strings = vec![Vec::new(); elements];
        write(&mut strings)?;
        Ok(Tensor::from_strings(shape, strings)?)
    }
}

/// Largest number of strings in one output.
const MOST_STRINGS: usize = 1 << 28;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nibbles_are_unpacked_and_packed_again() {
        let context = Context::default();
        let x = Tensor::from_i64(DType::I4, &[3], &[-8, 7, -1]).unwrap();
        let codes = u8::read(&x).unwrap().into_owned();
        assert_eq!(codes, [8, 7, 15]);
        let y = u8::build(&context, DType::I4, &[3], |y| {
            y.copy_from_slice(&codes);
            Ok(())
        });
        assert_eq!(y.unwrap(), x);
    }

    #[test]
    fn huge_string_tensors_are_refused() {
        let built = Vec::<u8>::build(&Context::default(), DType::String, &[usize::MAX, 2], |_| Ok(()));
        assert!(matches!(
            built,
            Err(OpError::Tensor(TensorError::TooLarge { .. }))
        ));
    }
}
