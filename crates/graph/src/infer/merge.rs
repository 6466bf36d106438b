//! Types of values that come from more than one place.

use super::dims::{either, unify};
use crate::ValueType;

/// What holds of a value that is of the one type or of the other.
pub(super) fn either_type(left: &ValueType, right: &ValueType) -> ValueType {
    let (
        ValueType::Tensor {
            dtype: a,
            shape: left_shape,
        },
        ValueType::Tensor {
            dtype: b,
            shape: right_shape,
        },
    ) = (left, right)
    else {
        return if left == right {
            left.clone()
        } else {
            ValueType::Unknown
        };
    };
    let shape = match (left_shape, right_shape) {
        (Some(left), Some(right)) if left.len() == right.len() => Some(
            left.iter()
                .zip(right)
                .map(|(left, right)| either(left, right))
                .collect(),
        ),
        _ => None,
    };
    ValueType::Tensor {
        dtype: if a == b { *a } else { None },
        shape,
    }
}

/// True when two types can be of one value.
pub(super) fn compatible(left: &ValueType, right: &ValueType) -> bool {
    let dtypes = left
        .dtype()
        .zip(right.dtype())
        .is_none_or(|(left, right)| left == right);
    let shapes = left.shape().zip(right.shape()).is_none_or(|(left, right)| {
        left.len() == right.len()
            && left
                .iter()
                .zip(right)
                .all(|(left, right)| unify(left, right).is_some())
    });
    dtypes && shapes
}
