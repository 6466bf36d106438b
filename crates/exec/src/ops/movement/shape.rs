//! Ops that change or tell the shape; none of them copies elements.

use bantam_graph::ops::{Flatten, Reshape, Shape};
use bantam_tensor::Tensor;

use super::{distinct_axes, integer};
use crate::OpError;
use crate::inputs::Inputs;

/// 0 copies the dimension, unless `allowzero`; -1 is inferred.
pub(in crate::ops) fn reshape(op: &Reshape, inputs: &mut Inputs<'_>) -> Result<Tensor, OpError> {
    let target = inputs.integers(1)?.ok_or(OpError::MissingInput { index: 1 })?;
    let x = inputs.keep(0)?;
    let fail = || OpError::shape(format!("{:?} cannot be reshaped to {target:?}", x.shape()));
    let mut shape = Vec::with_capacity(target.len());
    let mut inferred = None;
    for (axis, &size) in target.iter().enumerate() {
        shape.push(match size {
            0 if !op.allowzero => *x.shape().get(axis).ok_or_else(fail)?,
            -1 if inferred.is_none() => {
                inferred = Some(axis);
                1
            }
            size => usize::try_from(size).map_err(|_| fail())?,
        });
    }
    if let Some(axis) = inferred {
        let known = shape
            .iter()
            .try_fold(1usize, |product, &size| product.checked_mul(size));
        let known = known
            .filter(|&known| known > 0 && x.len().is_multiple_of(known))
            .ok_or_else(fail)?;
        shape[axis] = x.len() / known;
    }
    x.reshape(&shape).map_err(|_| fail())
}

/// To two dimensions, cut before an axis (which may be the rank).
pub(in crate::ops) fn flatten(op: &Flatten, inputs: &mut Inputs<'_>) -> Result<Tensor, OpError> {
    let x = inputs.keep(0)?;
    let rank = x.rank();
    let axis = if op.axis == rank as i64 {
        rank
    } else {
        crate::ops::axes::axis(op.axis, rank)?
    };
    let product = |dims: &[usize]| dims.iter().product();
    Ok(x.reshape(&[product(&x.shape()[..axis]), product(&x.shape()[axis..])])?)
}

/// Removes axes of size 1.
pub(in crate::ops) fn squeeze(inputs: &mut Inputs<'_>) -> Result<Tensor, OpError> {
    let axes = inputs.integers(1)?;
    let x = inputs.keep(0)?;
    let removed = match axes {
        Some(axes) => distinct_axes(&axes, x.rank())?,
        None => (0..x.rank()).filter(|&axis| x.shape()[axis] == 1).collect(),
    };
    if let Some(axis) = removed.iter().find(|&&axis| x.shape()[axis] != 1) {
        return Err(OpError::shape(format!(
            "axis {axis} of {:?} is not of size 1",
            x.shape()
        )));
    }
    let kept = (0..x.rank())
        .filter(|axis| !removed.contains(axis))
        .map(|axis| x.shape()[axis]);
    Ok(x.reshape(&kept.collect::<Vec<_>>())?)
}

/// Adds axes of size 1, at positions of the result.
pub(in crate::ops) fn unsqueeze(inputs: &mut Inputs<'_>) -> Result<Tensor, OpError> {
    let axes = inputs.integers(1)?.ok_or(OpError::MissingInput { index: 1 })?;
    let x = inputs.keep(0)?;
    let rank = x.rank() + axes.len();
    let added = distinct_axes(&axes, rank)?;
    let mut old = x.shape().iter();
    let dims = (0..rank).map(|axis| {
        if added.contains(&axis) {
            1
        } else {
            old.next().copied().unwrap_or(1)
        }
    });
    Ok(x.reshape(&dims.collect::<Vec<_>>())?)
}

/// The dimensions from `start` to `end`, which are clamped.
pub(in crate::ops) fn shape(op: &Shape, inputs: &Inputs<'_>) -> Result<Tensor, OpError> {
    let dims = inputs.required(0)?.shape();
    let rank = dims.len() as i64;
    let bound = |axis: i64| if axis < 0 { axis.saturating_add(rank) } else { axis }.clamp(0, rank) as usize;
    let (start, end) = (bound(op.start), op.end.map_or(dims.len(), bound));
    let range = dims.get(start..end).unwrap_or(&[]);
    Ok(Tensor::from_vec1(
        &range.iter().map(|&dim| dim as i64).collect::<Vec<_>>(),
    ))
}

/// The number of elements.
pub(in crate::ops) fn size(inputs: &Inputs<'_>) -> Result<Tensor, OpError> {
    Ok(Tensor::scalar(inputs.required(0)?.len() as i64))
}

/// The offset of a diagonal in optional input 1.
pub(super) fn diagonal(inputs: &Inputs<'_>) -> Result<i64, OpError> {
    if inputs.optional(1).is_none() {
        Ok(0)
    } else {
        integer(inputs, 1)
    }
}

#[cfg(test)]
mod tests {
    use bantam_graph::Op;
    use bantam_graph::ops::{Flatten, Reshape, Shape, Squeeze, Unsqueeze};
    use bantam_tensor::{DType, Tensor};

    use crate::ops::testing::run;

    /// The shape that an op gives to zeros, or `None` for an error.
    fn result(op: impl Into<Op>, shape: &[usize], argument: Option<&[i64]>) -> Option<Vec<usize>> {
        let mut inputs = vec![Tensor::zeros(DType::F32, shape).unwrap()];
        inputs.extend(argument.map(Tensor::from_vec1));
        run(op, &inputs).ok().map(|outputs| outputs[0].shape().to_vec())
    }

    #[test]
    fn reshaping() {
        type Case<'a> = (&'a [usize], bool, &'a [i64], Option<&'a [usize]>);
        let cases: [Case; 10] = [
            (&[2, 3, 4], false, &[4, 6], Some(&[4, 6])),
            (&[2, 3, 4], false, &[0, -1], Some(&[2, 12])),
            (&[2, 3, 4], false, &[24], Some(&[24])),
            (&[1], false, &[], Some(&[])),
            (&[0, 3], false, &[0, 5], Some(&[0, 5])),
            (&[0, 3], true, &[3, 0], Some(&[3, 0])),
            (&[0, 3], true, &[-1, 0], None),
            (&[2, 3], false, &[-1, -1], None),
            (&[2, 3], false, &[4, -1], None),
            (&[2], false, &[i64::MAX, i64::MAX], None),
        ];
        for (shape, allowzero, target, expected) in cases {
            let got = result(Reshape { allowzero }, shape, Some(target));
            assert_eq!(got.as_deref(), expected, "{shape:?} to {target:?}");
        }
    }

    #[test]
    fn flattening() {
        for (axis, expected) in [
            (0, Some([1, 24])),
            (1, Some([2, 12])),
            (3, Some([24, 1])),
            (-1, Some([6, 4])),
            (4, None),
        ] {
            let got = result(Flatten { axis }, &[2, 3, 4], None);
            assert_eq!(got, expected.map(|dims| dims.to_vec()), "axis {axis}");
        }
    }

    #[test]
    fn axes_of_size_one() {
        assert_eq!(result(Squeeze {}, &[1, 3, 1], None), Some(vec![3]));
        assert_eq!(result(Squeeze {}, &[1, 3, 1], Some(&[-1])), Some(vec![1, 3]));
        assert_eq!(result(Squeeze {}, &[1, 3], Some(&[1])), None);
        assert_eq!(
            result(Unsqueeze {}, &[3, 4], Some(&[-1, 0])),
            Some(vec![1, 3, 4, 1])
        );
        assert_eq!(result(Unsqueeze {}, &[3], Some(&[0, 0])), None);
        assert_eq!(result(Unsqueeze {}, &[3], Some(&[5])), None);
    }

    #[test]
    fn parts_of_a_shape() {
        let shape = |start, end| {
            let x = Tensor::zeros(DType::I8, &[2, 3, 4]).unwrap();
            run(Shape { start, end }, &[x]).unwrap()[0].to_i64().unwrap()
        };
        assert_eq!(shape(0, None), [2, 3, 4]);
        assert_eq!(shape(-1, None), [4]);
        assert_eq!(shape(-10, Some(-1)), [2, 3]);
        assert_eq!(shape(2, Some(1)), [0i64; 0]);
    }
}
