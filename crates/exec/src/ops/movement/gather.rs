//! Taking elements and slices by index.

use bantam_graph::ops::{Compress, Gather, GatherElements, GatherNd};
use bantam_kernels::copy::RunList;
use bantam_tensor::Tensor;

use super::{position, take};
use crate::inputs::Inputs;
use crate::ops::axes::{axis, split_at_axis};
use crate::ops::units::{Unit, in_unit};
use crate::{Context, OpError};

fn indices(inputs: &Inputs<'_>) -> Result<Vec<i64>, OpError> {
    inputs.integers(1)?.ok_or(OpError::MissingInput { index: 1 })
}

/// Slices of an axis by index; the dimensions of the indices replace it.
pub(in crate::ops) fn gather(op: &Gather, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let (x, indices) = (inputs.required(0)?, indices(inputs)?);
    let at = axis(op.axis, x.rank())?;
    let (outer, dim, inner) = split_at_axis(x.shape(), at);
    let mut taken = RunList::default();
    for &index in &indices {
        taken.push(position(index, dim)?);
    }
    let shape = [
        &x.shape()[..at],
        inputs.required(1)?.shape(),
        &x.shape()[at + 1..],
    ]
    .concat();
    take(x, &[outer, dim, inner], &shape, None, context, || {
        vec![RunList::identity(outer), taken, RunList::identity(inner)]
    })
}

/// Keeps the slices (or, without an axis, the elements) where the condition is true.
pub(in crate::ops) fn compress(
    op: &Compress,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let (x, condition) = (inputs.required(0)?, inputs.required(1)?);
    let truths = condition.bools().map_err(|_| OpError::Type {
        index: 1,
        got: condition.dtype(),
    })?;
    let at = op.axis.map(|at| axis(at, x.rank())).transpose()?;
    let (outer, dim, inner) = at.map_or((1, x.len(), 1), |at| split_at_axis(x.shape(), at));
    let mut kept = RunList::default();
    for index in (0..truths.len()).filter(|&index| truths[index] != 0) {
        kept.push(position(index as i64, dim)?);
    }
    let mut shape = at.map_or(vec![0], |_| x.shape().to_vec());
    shape[at.unwrap_or(0)] = kept.len();
    take(x, &[outer, dim, inner], &shape, None, context, || {
        vec![RunList::identity(outer), kept, RunList::identity(inner)]
    })
}

/// For each element of the indices, the element at its place, but with that index along the axis.
pub(in crate::ops) fn gather_elements(
    op: &GatherElements,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let (x, wanted) = (inputs.required(0)?, inputs.required(1)?);
    let offsets = element_offsets(x.shape(), op.axis, wanted.shape(), &indices(inputs)?)?;
    in_unit!(x.dtype(), U => {
        let x_units = U::read(x)?;
        U::build(context, x.dtype(), wanted.shape(), |y| {
            y.iter_mut().zip(&offsets).for_each(|(y, &offset)| y.clone_from(&x_units[offset]));
            Ok(())
        })
    })
}

/// For each element of `indices`, of shape `index_shape`, its place in a tensor of `shape` with the index along `axis`.
pub(super) fn element_offsets(
    shape: &[usize],
    along: i64,
    index_shape: &[usize],
    indices: &[i64],
) -> Result<Vec<usize>, OpError> {
    let at = axis(along, shape.len())?;
    let fits =
        index_shape.len() == shape.len() && (0..shape.len()).all(|i| i == at || index_shape[i] <= shape[i]);
    if !fits {
        return Err(OpError::shape(format!(
            "indices of shape {index_shape:?} do not fit into {shape:?}"
        )));
    }
    let strides = strides(shape);
    let mut place = vec![0; shape.len()];
    let mut offsets = Vec::with_capacity(indices.len());
    for &index in indices {
        let rest: usize = (0..shape.len())
            .filter(|&i| i != at)
            .map(|i| place[i] * strides[i])
            .sum();
        offsets.push(rest + position(index, shape[at])? * strides[at]);
        crate::ops::broadcast::advance(&mut place, index_shape);
    }
    Ok(offsets)
}

/// Slices by index tuples, the last dimension of the indices.
pub(in crate::ops) fn gather_nd(
    op: &GatherNd,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let (x, tuples) = (inputs.required(0)?, inputs.required(1)?);
    let batch_dims = usize::try_from(op.batch_dims).map_err(|_| OpError::value("batch_dims is negative"))?;
    let places = TuplePlaces::new(x.shape(), batch_dims, tuples.shape(), &indices(inputs)?)?;
    let shape = [&tuples.shape()[..tuples.rank() - 1], &x.shape()[places.depth..]].concat();
    in_unit!(x.dtype(), U => {
        let x_units = U::read(x)?;
        U::build(context, x.dtype(), &shape, |y| {
            for (y, &offset) in y.chunks_exact_mut(places.block.max(1)).zip(&places.offsets) {
                y.clone_from_slice(&x_units[offset..offset + places.block]);
            }
            Ok(())
        })
    })
}

/// The slices that index tuples name.
pub(in crate::ops) struct TuplePlaces {
    /// Where each slice starts.
    pub(in crate::ops) offsets: Vec<usize>,
    /// Elements of a slice.
    pub(in crate::ops) block: usize,
    /// Dimensions that a tuple fixes, batch dimensions included.
    pub(in crate::ops) depth: usize,
}

impl TuplePlaces {
    pub(in crate::ops) fn new(
        shape: &[usize],
        batch_dims: usize,
        tuple_shape: &[usize],
        indices: &[i64],
    ) -> Result<TuplePlaces, OpError> {
        let fail = || {
            OpError::shape(format!(
                "index tuples of shape {tuple_shape:?} do not fit {shape:?}"
            ))
        };
        let (&width, outer) = tuple_shape.split_last().ok_or_else(fail)?;
        let depth = batch_dims
            .checked_add(width)
            .filter(|&depth| depth <= shape.len())
            .ok_or_else(fail)?;
        if outer.get(..batch_dims) != Some(&shape[..batch_dims]) {
            return Err(fail());
        }
        let strides = strides(shape);
        let tuples: usize = outer.iter().product();
        let per_batch: usize = outer[batch_dims..].iter().product();
        let batch_size: usize = shape[batch_dims..].iter().product();
        let mut offsets = Vec::with_capacity(tuples);
        for tuple in 0..tuples {
            let mut offset = tuple / per_batch * batch_size;
            for (i, &index) in indices[tuple * width..(tuple + 1) * width].iter().enumerate() {
                offset += position(index, shape[batch_dims + i])? * strides[batch_dims + i];
            }
            offsets.push(offset);
        }
        Ok(TuplePlaces {
            offsets,
            block: shape[depth..].iter().product(),
            depth,
        })
    }
}

fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

#[cfg(test)]
mod tests {
    use bantam_graph::Op;
    use bantam_graph::ops::{Compress, Gather, GatherElements, GatherNd};
    use bantam_tensor::{DType, Tensor};

    use crate::ops::testing::{run, run_one};

    fn matrix() -> Tensor {
        Tensor::from_slice(&[3, 2], &[1i32, 2, 3, 4, 5, 6]).unwrap()
    }

    fn check(op: impl Into<Op>, indices: (&[usize], &[i64]), shape: &[usize], values: &[i32]) {
        let indices = Tensor::from_slice(indices.0, indices.1).unwrap();
        assert_eq!(
            run_one(op, &[matrix(), indices]),
            Tensor::from_slice(shape, values).unwrap()
        );
    }

    fn fails(op: impl Into<Op>, shape: &[usize], indices: &[i64]) {
        assert!(run(op, &[matrix(), Tensor::from_slice(shape, indices).unwrap()]).is_err());
    }

    #[test]
    fn slices_by_index() {
        check(Gather { axis: 0 }, (&[2], &[2, -3]), &[2, 2], &[5, 6, 1, 2]);
        check(Gather { axis: 1 }, (&[], &[1]), &[3], &[2, 4, 6]);
        check(
            Gather { axis: 1 },
            (&[1, 2], &[1, 0]),
            &[3, 1, 2],
            &[2, 1, 4, 3, 6, 5],
        );
        check(Gather { axis: 0 }, (&[0], &[]), &[0, 2], &[]);
        fails(Gather { axis: 0 }, &[1], &[3]);
        fails(Gather { axis: 0 }, &[1], &[i64::MIN]);
        fails(Gather { axis: 2 }, &[1], &[0]);
    }

    #[test]
    fn elements_by_index() {
        check(
            GatherElements { axis: 1 },
            (&[2, 2], &[1, 0, 1, 1]),
            &[2, 2],
            &[2, 1, 4, 4],
        );
        check(GatherElements { axis: 0 }, (&[1, 2], &[-1, 1]), &[1, 2], &[5, 4]);
        fails(GatherElements { axis: 0 }, &[1, 3], &[0, 0, 0]);
        fails(GatherElements { axis: 0 }, &[2], &[0, 0]);
        fails(GatherElements { axis: 0 }, &[1, 1], &[3]);
    }

    #[test]
    fn slices_by_tuple() {
        let op = |batch_dims| GatherNd { batch_dims };
        check(op(0), (&[2, 2], &[0, 1, 2, -2]), &[2], &[2, 5]);
        check(op(0), (&[2, 1], &[2, 0]), &[2, 2], &[5, 6, 1, 2]);
        check(op(1), (&[3, 1], &[1, 0, 1]), &[3], &[2, 3, 6]);
        fails(op(0), &[1, 3], &[0, 0, 0]);
        fails(op(1), &[2, 1], &[0, 0]);
        fails(op(0), &[1, 2], &[3, 0]);
        fails(op(-1), &[1, 2], &[0, 0]);
        fails(op(9), &[1, 2], &[0, 0]);
    }

    #[test]
    fn slices_by_truth() {
        let keep = |truths: &[bool]| Tensor::from_bools(&[truths.len()], truths).unwrap();
        let y = run_one(Compress { axis: Some(0) }, &[matrix(), keep(&[false, true])]);
        assert_eq!(y, Tensor::from_slice(&[1, 2], &[3i32, 4]).unwrap());
        let y = run_one(
            Compress { axis: None },
            &[matrix(), keep(&[true, false, false, false, true])],
        );
        assert_eq!(y, Tensor::from_vec1(&[1i32, 5]));
        assert!(
            run(
                Compress { axis: Some(1) },
                &[matrix(), keep(&[false, false, true])]
            )
            .is_err()
        );
        assert!(
            run(
                Compress { axis: None },
                &[matrix(), Tensor::zeros(DType::I64, &[2]).unwrap()]
            )
            .is_err()
        );
    }
}
