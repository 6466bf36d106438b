//! Axes: negative ones count from the end.

use crate::OpError;

/// The position of `axis` in a shape of `rank` dimensions.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize, OpError> {
    let from_start = if axis < 0 {
        axis.checked_add(rank as i64)
    } else {
        Some(axis)
    };
    from_start
        .and_then(|axis| usize::try_from(axis).ok())
        .filter(|&axis| axis < rank)
        .ok_or_else(|| OpError::shape(format!("axis {axis} is outside of a tensor of rank {rank}")))
}

/// The number of elements in some dimensions of a tensor. Only those of an empty tensor can be too many to count.
pub(crate) fn count(dims: &[usize]) -> usize {
    dims.iter().fold(1, |product, &dim| product.saturating_mul(dim))
}

/// The numbers of elements before, along and after an axis: the view `[outer, axis, inner]` of a shape.
pub(crate) fn split_at_axis(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    (count(&shape[..axis]), shape[axis], count(&shape[axis + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_count_from_both_ends() {
        assert_eq!((axis(0, 2), axis(-1, 2), axis(-2, 2)), (Ok(0), Ok(1), Ok(0)));
        for (wrong, rank) in [(2, 2), (-3, 2), (0, 0), (i64::MIN, 3), (i64::MAX, 3)] {
            assert!(axis(wrong, rank).is_err());
        }
    }
}
