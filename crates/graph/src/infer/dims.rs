//! Arithmetic of partly known dimensions.

use super::error::{Problem, shape_text};
use crate::Dim;

/// Two dimensions that must be equal; `None` when they are not.
pub(super) fn unify(left: &Dim, right: &Dim) -> Option<Dim> {
    match (left, right) {
        (Dim::Known(a), Dim::Known(b)) if a != b => None,
        (Dim::Known(_), _) | (_, Dim::Unknown) => Some(left.clone()),
        (_, Dim::Known(_)) | (Dim::Unknown, _) => Some(right.clone()),
        (Dim::Symbol(_), Dim::Symbol(_)) => Some(left.clone()),
    }
}

/// [`unify`], or the problem that names the dimensions.
pub(super) fn equal(what: &'static str, left: &Dim, right: &Dim) -> Result<Dim, Problem> {
    unify(left, right).ok_or_else(|| Problem::differ(what, left, right))
}

/// What holds of a dimension that is either the one or the other.
pub(super) fn either(left: &Dim, right: &Dim) -> Dim {
    if left == right { left.clone() } else { Dim::Unknown }
}

/// The shape of two tensors broadcast (NumPy's rules).
pub(super) fn broadcast(left: &[Dim], right: &[Dim]) -> Result<Vec<Dim>, Problem> {
    let rank = left.len().max(right.len());
    let at = |shape: &[Dim], axis: usize| match (axis + shape.len()).checked_sub(rank) {
        Some(own) => shape[own].clone(),
        None => Dim::Known(1),
    };
    let dims = (0..rank).map(|axis| broadcast_dim(&at(left, axis), &at(right, axis)));
    dims.collect::<Option<_>>().ok_or_else(|| Problem::Broadcast {
        left: shape_text(left),
        right: shape_text(right),
    })
}

fn broadcast_dim(left: &Dim, right: &Dim) -> Option<Dim> {
    match (left, right) {
        (Dim::Known(1), other) | (other, Dim::Known(1)) => Some(other.clone()),
        (Dim::Symbol(a), Dim::Symbol(b)) if a != b => Some(Dim::Unknown),
        (Dim::Symbol(_), Dim::Unknown) | (Dim::Unknown, Dim::Symbol(_)) => Some(Dim::Unknown),
        _ => unify(left, right),
    }
}

/// The position of an axis that may count from the end.
pub(super) fn axis_index(axis: i64, rank: usize) -> Result<usize, Problem> {
    let problem = || Problem::Axis { axis, rank };
    let signed = i64::try_from(rank).map_err(|_| problem())?;
    let index = if axis < 0 {
        axis.checked_add(signed)
    } else {
        Some(axis)
    };
    let index = index.and_then(|index| usize::try_from(index).ok());
    index.filter(|&index| index < rank).ok_or_else(problem)
}

/// Positions of axes, in the order given.
pub(super) fn axis_indices(axes: &[i64], rank: usize) -> Result<Vec<usize>, Problem> {
    axes.iter().map(|&axis| axis_index(axis, rank)).collect()
}

/// A dimension times a number.
pub(super) fn times(dim: &Dim, factor: usize) -> Result<Dim, Problem> {
    match dim {
        Dim::Known(size) => {
            let size = size.checked_mul(factor);
            size.map(Dim::Known)
                .ok_or_else(|| Problem::Size(format!("{dim} x {factor}")))
        }
        _ if factor == 1 => Ok(dim.clone()),
        _ if factor == 0 => Ok(Dim::Known(0)),
        _ => Ok(Dim::Unknown),
    }
}

/// A dimension plus a number, which must not end below zero.
pub(super) fn plus(dim: &Dim, offset: i64) -> Result<Dim, Problem> {
    let problem = || Problem::Size(format!("{dim} + {offset}"));
    match dim {
        Dim::Known(size) => {
            let sum = i64::try_from(*size)
                .ok()
                .and_then(|size| size.checked_add(offset));
            let sum = sum.and_then(|sum| usize::try_from(sum).ok());
            sum.map(Dim::Known).ok_or_else(problem)
        }
        _ if offset == 0 => Ok(dim.clone()),
        _ => Ok(Dim::Unknown),
    }
}

/// Sum of two dimensions.
pub(super) fn sum(left: &Dim, right: &Dim) -> Result<Dim, Problem> {
    match (left, right) {
        (Dim::Known(0), other) | (other, Dim::Known(0)) => Ok(other.clone()),
        (Dim::Known(a), Dim::Known(b)) => {
            let sum = a.checked_add(*b).map(Dim::Known);
            sum.ok_or_else(|| Problem::Size(format!("{a} + {b}")))
        }
        _ => Ok(Dim::Unknown),
    }
}

/// Product of dimensions.
pub(super) fn product(dims: &[Dim]) -> Result<Dim, Problem> {
    if dims.contains(&Dim::Known(0)) {
        return Ok(Dim::Known(0));
    }
    let mut total = Dim::Known(1);
    for dim in dims {
        total = match (&total, dim) {
            (_, Dim::Known(size)) => times(&total, *size)?,
            (Dim::Known(size), _) => times(dim, *size)?,
            _ => Dim::Unknown,
        };
    }
    Ok(total)
}

/// A number of elements as a dimension.
pub(super) fn size(name: &'static str, value: i64) -> Result<usize, Problem> {
    usize::try_from(value).map_err(|_| Problem::argument(name, value, "a number that is not negative"))
}

/// A number above zero.
pub(super) fn positive(name: &'static str, value: i64) -> Result<usize, Problem> {
    let value_above_zero = usize::try_from(value).ok().filter(|&value| value > 0);
    value_above_zero.ok_or_else(|| Problem::argument(name, value, "a number above zero"))
}

/// Tensors of more dimensions are refused (NumPy's limit); files could ask for any number.
pub(super) const MAX_RANK: usize = 64;

/// As many unknown dimensions.
pub(super) fn unknowns(rank: usize) -> Vec<Dim> {
    vec![Dim::Unknown; rank]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dims(text: &str) -> Vec<Dim> {
        let one = |word: &str| match (word, word.parse()) {
            ("?", _) => Dim::Unknown,
            (_, Ok(size)) => Dim::Known(size),
            _ => Dim::Symbol(word.to_owned()),
        };
        text.split_whitespace().map(one).collect()
    }

    #[test]
    fn broadcasting() {
        let cases = [
            ("2 3", "3", Some("2 3")),
            ("2 1", "1 3", Some("2 3")),
            ("N 3", "N 1", Some("N 3")),
            ("N 3", "M 3", Some("? 3")),
            ("N", "4", Some("4")),
            ("N", "1", Some("N")),
            ("?", "N", Some("?")),
            ("? 1", "", Some("? 1")),
            ("0", "1", Some("0")),
            ("2 3", "2", None),
            ("0", "2", None),
        ];
        for (left, right, expected) in cases {
            for (left, right) in [(left, right), (right, left)] {
                let got = broadcast(&dims(left), &dims(right)).ok();
                assert_eq!(got, expected.map(dims), "{left} with {right}");
            }
        }
    }

    #[test]
    fn axes_count_from_either_end() {
        assert_eq!(axis_index(-1, 3), Ok(2));
        assert_eq!(axis_index(0, 3), Ok(0));
        for axis in [3, -4, i64::MAX, i64::MIN] {
            assert_eq!(axis_index(axis, 3), Err(Problem::Axis { axis, rank: 3 }));
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_problems() {
        assert!(times(&Dim::Known(usize::MAX), 2).is_err());
        assert!(plus(&Dim::Known(3), -4).is_err());
        assert_eq!(product(&dims("N 1 1")), Ok(Dim::Symbol("N".into())));
        assert_eq!(product(&dims("N 2")), Ok(Dim::Unknown));
        assert_eq!(product(&dims("N 0 ?")), Ok(Dim::Known(0)));
    }
}
