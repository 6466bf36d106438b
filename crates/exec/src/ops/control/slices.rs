//! Taking tensors apart along an axis and stacking them.

use bantam_tensor::{DType, Tensor};

use crate::OpError;
use crate::ops::axes::{axis as resolve, count, split_at_axis};

/// Bytes of `elements` consecutive elements, where they fill whole bytes.
fn bytes_of(dtype: DType, elements: usize) -> Result<usize, OpError> {
    let bits = elements.saturating_mul(dtype.bits());
    if bits.is_multiple_of(8) {
        Ok(bits / 8)
    } else {
        Err(OpError::Unsupported(format!("slicing {dtype} inside of a byte")))
    }
}

/// Slice `index` along an axis; the axis goes.
pub(super) fn take(tensor: &Tensor, axis: i64, index: usize) -> Result<Tensor, OpError> {
    let axis = resolve(axis, tensor.rank())?;
    let (outer, length, inner) = split_at_axis(tensor.shape(), axis);
    if index >= length {
        return Err(OpError::shape(format!("slice {index} of {length}")));
    }
    let mut shape = tensor.shape().to_vec();
    shape.remove(axis);
    if let Ok(strings) = tensor.strings() {
        let taken = (0..outer)
            .flat_map(|row| &strings[(row * length + index) * inner..][..inner])
            .cloned();
        return Ok(Tensor::from_strings(&shape, taken.collect())?);
    }
    let (bytes, width) = (tensor.as_bytes(), bytes_of(tensor.dtype(), inner)?);
    let taken: Vec<u8> = (0..outer)
        .flat_map(|row| &bytes[(row * length + index) * width..][..width])
        .copied()
        .collect();
    Ok(Tensor::from_raw(tensor.dtype(), &shape, &taken)?)
}

/// Tensors of one type and shape (at least one) along a new axis.
pub(super) fn stack(tensors: &[Tensor], axis: i64) -> Result<Tensor, OpError> {
    let first = tensors
        .first()
        .ok_or_else(|| OpError::shape("nothing to stack"))?;
    let differs = |tensor: &&Tensor| tensor.shape() != first.shape() || tensor.dtype() != first.dtype();
    if let Some(other) = tensors.iter().find(differs) {
        let kinds = [first, other].map(|tensor| format!("{}{:?}", tensor.dtype(), tensor.shape()));
        return Err(OpError::shape(format!(
            "outputs of several runs differ in type: {} and {}",
            kinds[0], kinds[1]
        )));
    }
    let axis = resolve(axis, first.rank() + 1)?;
    let (outer, inner) = (count(&first.shape()[..axis]), count(&first.shape()[axis..]));
    let mut shape = first.shape().to_vec();
    shape.insert(axis, tensors.len());
    let rows = (0..outer).flat_map(|row| tensors.iter().map(move |tensor| (row, tensor)));
    if first.dtype() == DType::String {
        let mut strings = Vec::new();
        for (row, tensor) in rows {
            strings.extend_from_slice(&tensor.strings()?[row * inner..][..inner]);
        }
        return Ok(Tensor::from_strings(&shape, strings)?);
    }
    let width = bytes_of(first.dtype(), inner)?;
    let bytes: Vec<u8> = rows
        .flat_map(|(row, tensor)| &tensor.as_bytes()[row * width..][..width])
        .copied()
        .collect();
    Ok(Tensor::from_raw(first.dtype(), &shape, &bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacking_what_was_taken_gives_it_back() {
        let values: Vec<i32> = (0..24).collect();
        let tensor = Tensor::from_slice(&[2, 3, 4], &values).unwrap();
        for axis in [0, 1, 2, -1] {
            let length = tensor.shape()[resolve(axis, 3).unwrap()];
            let slices: Vec<Tensor> = (0..length)
                .map(|index| take(&tensor, axis, index).unwrap())
                .collect();
            assert_eq!(stack(&slices, axis).unwrap(), tensor, "axis {axis}");
        }
        assert_eq!(
            take(&tensor, 1, 2).unwrap().to_i64().unwrap(),
            [8, 9, 10, 11, 20, 21, 22, 23]
        );
        assert!(take(&tensor, 1, 3).is_err() && take(&tensor, 3, 0).is_err());
    }

    #[test]
    fn what_differs_is_not_stacked() {
        let (a, b) = (Tensor::scalar(1i32), Tensor::from_vec1(&[1i32]));
        assert!(
            stack(&[a.clone(), b], 0).is_err()
                && stack(&[a, Tensor::scalar(1i64)], 0).is_err()
                && stack(&[], 0).is_err()
        );
    }
}
