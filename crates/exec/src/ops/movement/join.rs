//! Concat and Split.

use bantam_graph::ops::{Concat, Split};
use bantam_kernels::chunks::for_rows;
use bantam_kernels::copy::RunList;
use bantam_tensor::Tensor;

use super::{sizes, take};
use crate::inputs::Inputs;
use crate::operator::Outputs;
use crate::ops::axes::{axis, split_at_axis};
use crate::ops::units::{self, Unit, in_unit};
use crate::{Context, OpError};

/// Joins along an axis.
pub(in crate::ops) fn concat(
    op: &Concat,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    if inputs.len() == 1 {
        axis(op.axis, inputs.required(0)?.rank())?;
        return inputs.keep(0);
    }
    let first = inputs.required(0)?;
    let at = axis(op.axis, first.rank())?;
    let mut shape = first.shape().to_vec();
    for index in 1..inputs.len() {
        let part = inputs.required(index)?.shape();
        let fits = part.len() == shape.len() && (0..part.len()).all(|i| i == at || part[i] == shape[i]);
        let total = fits.then(|| shape[at].checked_add(part[at])).flatten();
        shape[at] = total.ok_or_else(|| {
            OpError::shape(format!(
                "{part:?} cannot be joined to {:?} along axis {at}",
                first.shape()
            ))
        })?;
    }
    in_unit!(first.dtype(), U => concat_units::<U>(inputs, &shape, at, context))
}

fn concat_units<U: Unit>(
    inputs: &Inputs<'_>,
    shape: &[usize],
    at: usize,
    context: &Context,
) -> Result<Tensor, OpError> {
    let dtype = inputs.required(0)?.dtype();
    let parts = (0..inputs.len())
        .map(|index| {
            let (_, dim, inner) = split_at_axis(inputs.required(index)?.shape(), at);
            Ok((units::read::<U>(inputs, index, dtype)?, dim * inner))
        })
        .collect::<Result<Vec<_>, OpError>>()?;
    U::build(context, dtype, shape, |y| {
        let row: usize = parts.iter().map(|(_, width)| width).sum();
        for_rows(y, row, |start, y| {
            for (index, y) in y.chunks_exact_mut(row).enumerate() {
                let mut rest = y;
                for (part, width) in &parts {
                    let (y, after) = rest.split_at_mut(*width);
                    y.clone_from_slice(&part[(start / row + index) * width..][..*width]);
                    rest = after;
                }
            }
        });
        Ok(())
    })
}

/// Cuts along an axis: into the sizes of input 1, or into equal parts of which the last may be smaller.
pub(in crate::ops) fn split(
    op: &Split,
    inputs: &Inputs<'_>,
    outputs: usize,
    context: &Context,
) -> Result<Outputs, OpError> {
    let x = inputs.required(0)?;
    let at = axis(op.axis, x.rank())?;
    let (outer, dim, inner) = split_at_axis(x.shape(), at);
    let parts = match inputs.optional(1) {
        Some(_) => sizes(inputs, 1)?,
        None => equal_parts(dim, op.num_outputs, outputs)?,
    };
    let total = parts.iter().try_fold(0usize, |sum, &size| sum.checked_add(size));
    if total != Some(dim) {
        return Err(OpError::shape(format!(
            "a dimension of size {dim} cannot be cut into {parts:?}"
        )));
    }
    let mut start = 0;
    let cut = |&size: &usize| {
        let mut shape = x.shape().to_vec();
        shape[at] = size;
        let runs = || {
            let cut = RunList::default().with(size, Some(start), 1);
            vec![RunList::identity(outer), cut, RunList::identity(inner)]
        };
        let part = take(x, &[outer, dim, inner], &shape, None, context, runs);
        start += size;
        part.map(Some)
    };
    parts.iter().map(cut).collect()
}

fn equal_parts(dim: usize, wanted: Option<i64>, outputs: usize) -> Result<Vec<usize>, OpError> {
    let count = match wanted {
        Some(count) => usize::try_from(count).ok().filter(|&count| count == outputs),
        None => Some(outputs),
    };
    let count = count.filter(|&count| count > 0).ok_or_else(|| {
        OpError::value(format!(
            "num_outputs is {}, but the node has {outputs} outputs",
            wanted.unwrap_or(0)
        ))
    })?;
    let size = dim.div_ceil(count);
    Ok((0..count)
        .map(|index| size.min(dim.saturating_sub(index * size)))
        .collect())
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::{Concat, Split};
    use bantam_tensor::{DType, Tensor};

    use crate::ops::testing::{run, run_one, run_outputs};

    #[test]
    fn joining_along_any_axis() {
        let a = Tensor::from_slice(&[2, 2], &[1i16, 2, 3, 4]).unwrap();
        let b = Tensor::from_slice(&[2, 1], &[5i16, 6]).unwrap();
        let y = run_one(Concat { axis: -1 }, &[a.clone(), b.clone()]);
        assert_eq!(y, Tensor::from_slice(&[2, 3], &[1i16, 2, 5, 3, 4, 6]).unwrap());
        let y = run_one(Concat { axis: 0 }, &[a.clone(), a.clone()]);
        assert_eq!(
            y,
            Tensor::from_slice(&[4, 2], &[1i16, 2, 3, 4, 1, 2, 3, 4]).unwrap()
        );
        assert!(run(Concat { axis: 0 }, &[a.clone(), b]).is_err());
        assert!(run(Concat { axis: 2 }, &[a.clone(), a.clone()]).is_err());
        assert!(
            run(
                Concat { axis: 0 },
                &[a, Tensor::zeros(DType::F32, &[2, 2]).unwrap()]
            )
            .is_err()
        );
    }

    #[test]
    fn joining_nibbles_and_strings() {
        let nibbles = |values: &[i64]| Tensor::from_i64(DType::I4, &[values.len()], values).unwrap();
        let y = run_one(Concat { axis: 0 }, &[nibbles(&[1, 2, 3]), nibbles(&[-1])]);
        assert_eq!(y, nibbles(&[1, 2, 3, -1]));
        let text = |text: &str| Tensor::from_strings(&[1], vec![text.as_bytes().to_vec()]).unwrap();
        let y = run_one(Concat { axis: 0 }, &[text("a"), text("b")]);
        assert_eq!(y.strings().unwrap(), [b"a".to_vec(), b"b".to_vec()]);
    }

    #[test]
    fn cutting_into_parts() {
        let x = Tensor::from_slice(&[2, 5], &[0i32, 1, 2, 3, 4, 5, 6, 7, 8, 9]).unwrap();
        let cut = |num_outputs, sizes: Option<&[i64]>, outputs| {
            let inputs = [Some(x.clone()), sizes.map(Tensor::from_vec1)];
            let parts = run_outputs(Split { axis: 1, num_outputs }, &inputs, outputs).ok()?;
            Some(
                parts
                    .into_iter()
                    .flatten()
                    .map(|part| part.to_i64().unwrap())
                    .collect::<Vec<_>>(),
            )
        };
        let expected = Some(vec![vec![0, 1, 2, 5, 6, 7], vec![3, 4, 8, 9]]);
        assert_eq!(cut(Some(2), None, 2), expected);
        assert_eq!(cut(None, None, 2), expected);
        assert_eq!(cut(None, Some(&[3, 2]), 2), expected);
        assert_eq!(cut(None, Some(&[0, 5]), 2).unwrap()[0], [0i64; 0]);
        assert_eq!(cut(None, Some(&[3, 3]), 2), None);
        assert_eq!(cut(None, Some(&[6, -1]), 2), None);
        assert_eq!(cut(Some(3), None, 2), None);
    }
}
