//! What operators get besides their inputs.

use bantam_tensor::{DType, Element, Tensor, TensorError};

use crate::OpError;
use crate::pool::Pool;

/// Gives operators memory for their outputs.
#[derive(Debug, Default)]
pub struct Context {
    pub(crate) pool: Pool,
}

impl Context {
    /// A tensor whose elements are unspecified: the operator writes every one.
    pub fn uninitialized(&self, dtype: DType, shape: &[usize]) -> Result<Tensor, OpError> {
        let too_large = || TensorError::TooLarge {
            shape: shape.to_vec(),
        };
        let elements = shape
            .iter()
            .try_fold(1usize, |product, &dim| product.checked_mul(dim));
        let bytes = elements.and_then(|n| dtype.bytes_for(n)).ok_or_else(too_large)?;
        // More than this is a mistake in the model or an attack: refuse instead of letting the allocator abort.
        if bytes > LARGEST {
            return Err(too_large().into());
        }
        Ok(Tensor::from_buffer(dtype, shape, self.pool.take(bytes))?)
    }

    /// Fills a new tensor through a slice of its elements, which hold unspecified values at first.
    pub fn fill<T: Element>(&self, shape: &[usize], write: impl FnOnce(&mut [T])) -> Result<Tensor, OpError> {
        let mut tensor = self.uninitialized(T::DTYPE, shape)?;
        write(tensor.values_mut()?);
        Ok(tensor)
    }

    /// As [`Context::fill`], for writers that can fail.
    pub fn try_fill<T: Element>(
        &self,
        shape: &[usize],
        write: impl FnOnce(&mut [T]) -> Result<(), OpError>,
    ) -> Result<Tensor, OpError> {
        let mut tensor = self.uninitialized(T::DTYPE, shape)?;
        write(tensor.values_mut()?)?;
        Ok(tensor)
    }

    /// Takes back the memory of a value that nobody needs any more.
    pub fn recycle(&self, tensor: Tensor) {
        if let Some(buffer) = tensor.into_buffer() {
            self.pool.give(buffer);
        }
    }
}

/// Largest output of one operator, in bytes (256 GiB).
const LARGEST: usize = 1 << 38;
