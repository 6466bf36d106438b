//! [`Tensor`]: dtype, shape and shared bytes.

use std::borrow::Cow;
use std::sync::Arc;

use bytemuck::Pod;
use bytes::Bytes;
use half::{bf16, f16};

use crate::{Buffer, DType, formats};

/// A Rust type that is the in-memory form of a [`DType`].
pub trait Element: Pod + Send + Sync + Default + PartialOrd + 'static {
    /// The dtype.
    const DTYPE: DType;
}

macro_rules! elements { ($($rust:ty => $dtype:ident),*) => { $(impl Element for $rust { const DTYPE: DType = DType::$dtype; })* } }
elements!(f32 => F32, f64 => F64, f16 => F16, bf16 => BF16, i8 => I8, i16 => I16, i32 => I32, i64 => I64,
          u8 => U8, u16 => U16, u32 => U32, u64 => U64);

/// What can be wrong with a tensor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum TensorError {
    #[error("a tensor of shape {shape:?} is too large to address")]
    TooLarge { shape: Vec<usize> },
    #[error("shape {shape:?} of {dtype} needs {expected} bytes, got {got}")]
    Length {
        dtype: DType,
        shape: Vec<usize>,
        expected: usize,
        got: usize,
    },
    #[error("expected elements of type {expected}, got {got}")]
    Type { expected: DType, got: DType },
    #[error("cannot view {from:?} as {to:?}: the number of elements differs")]
    Reshape { from: Vec<usize>, to: Vec<usize> },
    #[error("a {dtype} tensor has no numeric value")]
    NotNumeric { dtype: DType },
}

#[derive(Clone)]
enum Storage {
    Buffer(Arc<Buffer>),
    Bytes(Bytes),
    Strings(Arc<[Vec<u8>]>),
}

/// A dense array: dtype, shape (row-major) and bytes that clones share.
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    storage: Storage,
}

/// Number of elements of `shape`, or `None` on overflow; also when only a zero hides it, so that the product of any
/// part of a tensor's shape can be computed.
pub(crate) fn element_count(shape: &[usize]) -> Option<usize> {
    let sizes = shape.iter().filter(|&&dim| dim != 0);
    let product = sizes.copied().try_fold(1usize, usize::checked_mul)?;
    Some(if shape.contains(&0) { 0 } else { product })
}

impl Tensor {
    /// A tensor over existing bytes (row-major, little endian, sub-byte types packed). Nothing is copied.
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: Bytes) -> Result<Tensor, TensorError> {
        check_length(dtype, shape, bytes.len())?;
        Ok(Tensor {
            dtype,
            shape: shape.to_vec(),
            storage: Storage::Bytes(bytes),
        })
    }

    /// A tensor over a buffer whose length fits `shape`.
    pub fn from_buffer(dtype: DType, shape: &[usize], buffer: Buffer) -> Result<Tensor, TensorError> {
        check_length(dtype, shape, buffer.len())?;
        Ok(Tensor {
            dtype,
            shape: shape.to_vec(),
            storage: Storage::Buffer(Arc::new(buffer)),
        })
    }

    /// A tensor of the given values (copied into aligned memory).
    pub fn from_slice<T: Element>(shape: &[usize], values: &[T]) -> Result<Tensor, TensorError> {
        Tensor::from_raw(T::DTYPE, shape, bytemuck::cast_slice(values))
    }

    /// A tensor of any dtype from its packed bytes (copied into aligned memory).
    pub fn from_raw(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Tensor, TensorError> {
        check_length(dtype, shape, bytes.len())?;
        let mut buffer = Buffer::zeroed(bytes.len());
        buffer.as_bytes_mut().copy_from_slice(bytes);
        Tensor::from_buffer(dtype, shape, buffer)
    }

    /// A tensor of booleans.
    pub fn from_bools(shape: &[usize], values: &[bool]) -> Result<Tensor, TensorError> {
        let bytes: Vec<u8> = values.iter().map(|&value| u8::from(value)).collect();
        Tensor::from_raw(DType::Bool, shape, &bytes)
    }

    /// A tensor of byte strings.
    pub fn from_strings(shape: &[usize], values: Vec<Vec<u8>>) -> Result<Tensor, TensorError> {
        if element_count(shape) != Some(values.len()) {
            let (dtype, expected) = (DType::String, element_count(shape).unwrap_or(usize::MAX));
            return Err(TensorError::Length {
                dtype,
                shape: shape.to_vec(),
                expected,
                got: values.len(),
            });
        }
        let storage = Storage::Strings(values.into());
        Ok(Tensor {
            dtype: DType::String,
            shape: shape.to_vec(),
            storage,
        })
    }

    /// A tensor of rank 0.
    pub fn scalar<T: Element>(value: T) -> Tensor {
        Tensor::from_vec1(&[value]).with_shape(Vec::new())
    }

    /// A tensor of rank 1.
    pub fn from_vec1<T: Element>(values: &[T]) -> Tensor {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let mut buffer = Buffer::zeroed(bytes.len());
        buffer.as_bytes_mut().copy_from_slice(bytes);
        Tensor {
            dtype: T::DTYPE,
            shape: vec![values.len()],
            storage: Storage::Buffer(Arc::new(buffer)),
        }
    }

    /// A tensor of zeros (of empty strings).
    pub fn zeros(dtype: DType, shape: &[usize]) -> Result<Tensor, TensorError> {
        let too_large = || TensorError::TooLarge {
            shape: shape.to_vec(),
        };
        let elements = element_count(shape).ok_or_else(too_large)?;
        if dtype == DType::String {
            return Tensor::from_strings(shape, vec![Vec::new(); elements]);
        }
        let bytes = dtype
            .bytes_for(elements)
            .filter(|&b| b <= isize::MAX as usize)
            .ok_or_else(too_large)?;
        Tensor::from_buffer(dtype, shape, Buffer::zeroed(bytes))
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        element_count(&self.shape).expect("checked when the tensor was made")
    }

    /// True when there is no element.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// The packed bytes; empty for strings.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.storage {
            Storage::Buffer(buffer) => buffer.as_bytes(),
            Storage::Bytes(bytes) => bytes,
            Storage::Strings(_) => &[],
        }
    }

    /// The bytes without copying, where they come from a file or another owner.
    pub fn shared_bytes(&self) -> Option<&Bytes> {
        match &self.storage {
            Storage::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The elements, if they are of type `T`; copied only when a mapped file has them unaligned.
    pub fn values<T: Element>(&self) -> Result<Cow<'_, [T]>, TensorError> {
        if self.dtype != T::DTYPE {
            return Err(TensorError::Type {
                expected: T::DTYPE,
                got: self.dtype,
            });
        }
        let bytes = self.as_bytes();
        Ok(match bytemuck::try_cast_slice(bytes) {
            Ok(values) => Cow::Borrowed(values),
            Err(_) => Cow::Owned(bytemuck::allocation::pod_collect_to_vec(bytes)),
        })
    }

    /// The elements to write, if they are of type `T`; copied first when they are shared.
    pub fn values_mut<T: Element>(&mut self) -> Result<&mut [T], TensorError> {
        if self.dtype != T::DTYPE {
            return Err(TensorError::Type {
                expected: T::DTYPE,
                got: self.dtype,
            });
        }
        Ok(bytemuck::cast_slice_mut(self.bytes_mut()))
    }

    /// The packed bytes to write; copied first when they are shared. Empty for strings.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        if let Storage::Bytes(bytes) = &self.storage {
            let mut buffer = Buffer::zeroed(bytes.len());
            buffer.as_bytes_mut().copy_from_slice(bytes);
            self.storage = Storage::Buffer(Arc::new(buffer));
        }
        match &mut self.storage {
            Storage::Buffer(buffer) => Arc::make_mut(buffer).as_bytes_mut(),
            _ => &mut [],
        }
    }

    /// The elements of a boolean tensor as bytes 0 and 1.
    pub fn bools(&self) -> Result<&[u8], TensorError> {
        if self.dtype != DType::Bool {
            return Err(TensorError::Type {
                expected: DType::Bool,
                got: self.dtype,
            });
        }
        Ok(self.as_bytes())
    }

    /// The elements of a string tensor.
    pub fn strings(&self) -> Result<&[Vec<u8>], TensorError> {
        match &self.storage {
            Storage::Strings(strings) => Ok(strings),
            _ => Err(TensorError::Type {
                expected: DType::String,
                got: self.dtype,
            }),
        }
    }

    /// Every element as `f32`, whatever the numeric dtype (rounded to nearest where it does not fit).
    pub fn to_f32(&self) -> Result<Vec<f32>, TensorError> {
        if let Ok(values) = self.values::<f32>() {
            return Ok(values.into_owned());
        }
        Ok(self.to_f64()?.into_iter().map(|value| value as f32).collect())
    }

    /// Every element as `f64`, whatever the real numeric dtype.
    pub fn to_f64(&self) -> Result<Vec<f64>, TensorError> {
        macro_rules! widen {
            ($t:ty) => {
                self.values::<$t>()?.iter().map(|&v| v as f64).collect()
            };
        }
        Ok(match self.dtype {
            DType::F32 => widen!(f32),
            DType::F64 => widen!(f64),
            DType::F16 => self.values::<f16>()?.iter().map(|v| v.to_f64()).collect(),
            DType::BF16 => self.values::<bf16>()?.iter().map(|v| v.to_f64()).collect(),
            DType::I8 => widen!(i8),
            DType::I16 => widen!(i16),
            DType::I32 => widen!(i32),
            DType::I64 => widen!(i64),
            DType::U8 => widen!(u8),
            DType::U16 => widen!(u16),
            DType::U32 => widen!(u32),
            DType::U64 => widen!(u64),
            DType::Bool => self
                .as_bytes()
                .iter()
                .map(|&v| f64::from(u8::from(v != 0)))
                .collect(),
            _ => formats::decode_packed(self.dtype, self.as_bytes(), self.len())
                .ok_or(TensorError::NotNumeric { dtype: self.dtype })?,
        })
    }

    /// Every element as `i64`; for integers and booleans of any width.
    pub fn to_i64(&self) -> Result<Vec<i64>, TensorError> {
        macro_rules! widen {
            ($t:ty) => {
                self.values::<$t>()?.iter().map(|&v| v as i64).collect()
            };
        }
        Ok(match self.dtype {
            DType::I8 => widen!(i8),
            DType::I16 => widen!(i16),
            DType::I32 => widen!(i32),
            DType::I64 => widen!(i64),
            DType::U8 => widen!(u8),
            DType::U16 => widen!(u16),
            DType::U32 => widen!(u32),
            DType::U64 => widen!(u64),
            DType::Bool => self.as_bytes().iter().map(|&v| i64::from(v != 0)).collect(),
            DType::I4 | DType::U4 | DType::I2 | DType::U2 => {
                self.to_f64()?.into_iter().map(|value| value as i64).collect()
            }
            _ => {
                return Err(TensorError::Type {
                    expected: DType::I64,
                    got: self.dtype,
                });
            }
        })
    }

    /// A tensor of `dtype` from integers that the caller knows to be in its range (others wrap around).
    pub fn from_i64(dtype: DType, shape: &[usize], values: &[i64]) -> Result<Tensor, TensorError> {
        macro_rules! narrow {
            ($t:ty) => {
                Tensor::from_slice(shape, &values.iter().map(|&v| v as $t).collect::<Vec<_>>())
            };
        }
        match dtype {
            DType::I8 => narrow!(i8),
            DType::I16 => narrow!(i16),
            DType::I32 => narrow!(i32),
            DType::I64 => narrow!(i64),
            DType::U8 => narrow!(u8),
            DType::U16 => narrow!(u16),
            DType::U32 => narrow!(u32),
            DType::U64 => narrow!(u64),
            DType::I4 | DType::U4 | DType::I2 | DType::U2 => Tensor::from_raw(
                dtype,
                shape,
                &formats::pack_codes(dtype.bits(), values.iter().map(|&v| v as u8)),
            ),
            _ => Err(TensorError::Type {
                expected: DType::I64,
                got: dtype,
            }),
        }
    }

    /// Codes of 4 bits as codes of 8 with the same sign; `None` for other types.
    pub fn in_bytes(&self) -> Option<Tensor> {
        let dtype = match self.dtype {
            DType::I4 => DType::I8,
            DType::U4 => DType::U8,
            _ => return None,
        };
        Tensor::from_i64(dtype, self.shape(), &self.to_i64().ok()?).ok()
    }

    /// A tensor of a floating-point `dtype` from values rounded to nearest.
    ///
    /// # Errors
    /// When `dtype` is not f64, f32, f16 or bf16, or the number of values does not fit `shape`.
    pub fn from_f64(dtype: DType, shape: &[usize], values: &[f64]) -> Result<Tensor, TensorError> {
        match dtype {
            DType::F64 => Tensor::from_slice(shape, values),
            DType::F32 => Tensor::from_slice(shape, &values.iter().map(|&v| v as f32).collect::<Vec<_>>()),
            DType::F16 => Tensor::from_slice(
                shape,
                &values.iter().map(|&v| f16::from_f64(v)).collect::<Vec<_>>(),
            ),
            DType::BF16 => Tensor::from_slice(
                shape,
                &values.iter().map(|&v| bf16::from_f64(v)).collect::<Vec<_>>(),
            ),
            _ => Err(TensorError::Type {
                expected: DType::F64,
                got: dtype,
            }),
        }
    }

    /// The same elements under another shape.
    pub fn reshape(&self, shape: &[usize]) -> Result<Tensor, TensorError> {
        if element_count(shape) != Some(self.len()) {
            return Err(TensorError::Reshape {
                from: self.shape.clone(),
                to: shape.to_vec(),
            });
        }
        Ok(self.clone().with_shape(shape.to_vec()))
    }

    fn with_shape(mut self, shape: Vec<usize>) -> Tensor {
        self.shape = shape;
        self
    }

    /// True when nobody else shares the memory, so that writing does not copy. Strings are never unique.
    pub fn is_unique(&self) -> bool {
        matches!(&self.storage, Storage::Buffer(buffer) if Arc::strong_count(buffer) == 1)
    }

    /// The memory, for reuse, if nobody else shares it.
    pub fn into_buffer(self) -> Option<Buffer> {
        match self.storage {
            Storage::Buffer(buffer) => Arc::try_unwrap(buffer).ok(),
            _ => None,
        }
    }

    /// A copy of rows `start..start + count` along the first dimension; bytes shared where they are a file's.
    ///
    /// # Errors
    /// When the rows are out of range, the rank is 0, or rows do not start on a byte.
    pub fn rows(&self, start: usize, count: usize) -> Result<Tensor, TensorError> {
        let mut shape = self.shape.clone();
        let in_range = shape
            .first()
            .is_some_and(|&rows| start.checked_add(count).is_some_and(|end| end <= rows));
        let row_bits = if in_range {
            self.len() / shape[0].max(1) * self.dtype.bits()
        } else {
            1
        };
        if !row_bits.is_multiple_of(8) || self.dtype == DType::String {
            return Err(TensorError::Reshape {
                from: self.shape.clone(),
                to: vec![start, count],
            });
        }
        shape[0] = count;
        let range = start * row_bits / 8..(start + count) * row_bits / 8;
        match &self.storage {
            Storage::Bytes(bytes) => Tensor::from_bytes(self.dtype, &shape, bytes.slice(range)),
            _ => Tensor::from_raw(self.dtype, &shape, &self.as_bytes()[range]),
        }
    }
}

fn check_length(dtype: DType, shape: &[usize], got: usize) -> Result<(), TensorError> {
    let expected = element_count(shape)
        .and_then(|elements| dtype.bytes_for(elements))
        .ok_or_else(|| TensorError::TooLarge {
            shape: shape.to_vec(),
        })?;
    if expected != got || dtype == DType::String {
        return Err(TensorError::Length {
            dtype,
            shape: shape.to_vec(),
            expected,
            got,
        });
    }
    Ok(())
}

impl PartialEq for Tensor {
    /// Same dtype, shape and bytes (so NaN equals itself, and 0.0 differs from -0.0).
    fn eq(&self, other: &Tensor) -> bool {
        self.dtype == other.dtype
            && self.shape == other.shape
            && self.as_bytes() == other.as_bytes()
            && self.strings().ok() == other.strings().ok()
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{:?}", self.dtype, self.shape)?;
        match self.to_f64() {
            Ok(values) if values.len() <= 8 => write!(f, "{values:?}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_checked() {
        let got = Tensor::from_bytes(DType::F32, &[2, 3], Bytes::from_static(&[0; 20]));
        assert_eq!(
            got,
            Err(TensorError::Length {
                dtype: DType::F32,
                shape: vec![2, 3],
                expected: 24,
                got: 20
            })
        );
        assert!(matches!(
            Tensor::zeros(DType::F32, &[usize::MAX, 2]),
            Err(TensorError::TooLarge { .. })
        ));
        assert!(matches!(
            Tensor::zeros(DType::F64, &[usize::MAX / 4]),
            Err(TensorError::TooLarge { .. })
        ));
        let hidden = Tensor::zeros(DType::F32, &[0, usize::MAX, 2]);
        assert!(matches!(hidden, Err(TensorError::TooLarge { .. })));
    }

    #[test]
    fn unaligned_bytes_are_readable() {
        let mut raw = vec![0u8];
        raw.extend_from_slice(bytemuck::cast_slice(&[1.5f32, -2.0]));
        let tensor = Tensor::from_bytes(DType::F32, &[2], Bytes::from(raw).slice(1..)).unwrap();
        assert_eq!(tensor.values::<f32>().unwrap().as_ref(), &[1.5, -2.0]);
    }

    #[test]
    fn writing_copies_shared_bytes() {
        let first = Tensor::from_slice(&[2], &[1i32, 2]).unwrap();
        let mut second = first.clone();
        second.values_mut::<i32>().unwrap()[0] = 9;
        assert_eq!(first.to_i64().unwrap(), [1, 2]);
        assert_eq!(second.to_i64().unwrap(), [9, 2]);
        assert!(second.into_buffer().is_some());
    }

    #[test]
    fn four_bit_integers_pack_low_nibble_first() {
        let tensor = Tensor::from_i64(DType::I4, &[3], &[-8, 7, -1]).unwrap();
        assert_eq!(tensor.as_bytes(), &[0x78, 0x0f]);
        assert_eq!(tensor.to_i64().unwrap(), [-8, 7, -1]);
    }

    #[test]
    fn rows_of_a_matrix() {
        let tensor = Tensor::from_slice(&[3, 2], &[1u8, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(tensor.rows(1, 2).unwrap().to_i64().unwrap(), [3, 4, 5, 6]);
        assert!(tensor.rows(2, 2).is_err());
    }
}
