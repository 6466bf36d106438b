//! Expand and Tile.

use bantam_kernels::copy::RunList;
use bantam_tensor::Tensor;

use super::{sizes, take};
use crate::inputs::Inputs;
use crate::ops::broadcast::broadcast_shape;
use crate::{Context, OpError};

/// Broadcasts to the shape in input 1, in which 1 leaves a dimension as it is.
pub(in crate::ops) fn expand(inputs: &mut Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let target = sizes(inputs, 1)?;
    let x = inputs.required(0)?;
    let shape = broadcast_shape(&[x.shape(), &target])?;
    if shape == x.shape() {
        return inputs.keep(0);
    }
    let mut view = vec![1; shape.len() - x.rank()];
    view.extend(x.shape());
    take(x, &view, &shape, None, context, || {
        let runs = |(&dim, &size): (&usize, &usize)| {
            if dim == size {
                RunList::identity(dim)
            } else {
                RunList::default().with(size, Some(0), 0)
            }
        };
        view.iter().zip(&shape).map(runs).collect()
    })
}

/// Repeats along each axis as often as input 1 says.
pub(in crate::ops) fn tile(inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    let repeats = sizes(inputs, 1)?;
    if repeats.len() != x.rank() {
        return Err(OpError::shape(format!(
            "{} repeats do not fit rank {}",
            repeats.len(),
            x.rank()
        )));
    }
    let product = |(&dim, &count): (&usize, &usize)| dim.checked_mul(count);
    let shape: Option<Vec<usize>> = x.shape().iter().zip(&repeats).map(product).collect();
    let shape = shape.ok_or_else(|| OpError::shape("a tiled dimension is too large"))?;
    take(x, x.shape(), &shape, None, context, || {
        let runs = |(&dim, &count): (&usize, &usize)| match dim {
            1 => RunList::default().with(count, Some(0), 0),
            _ => (0..count).fold(RunList::default(), |list, _| list.with(dim, Some(0), 1)),
        };
        x.shape().iter().zip(&repeats).map(runs).collect()
    })
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::{Expand, Tile};
    use bantam_tensor::{DType, Tensor};

    use crate::ops::testing::{run, run_one};

    #[test]
    fn expanding_both_ways() {
        let x = Tensor::from_slice(&[2, 1], &[1i32, 2]).unwrap();
        let y = run_one(Expand {}, &[x.clone(), Tensor::from_vec1(&[2i64, 1, 3])]);
        assert_eq!(
            (y.shape(), y.to_i64().unwrap()),
            (&[2, 2, 3][..], vec![1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2])
        );
        assert_eq!(run_one(Expand {}, &[x.clone(), Tensor::from_vec1(&[1i64])]), x);
        assert!(run(Expand {}, &[x.clone(), Tensor::from_vec1(&[3i64, 1])]).is_err());
        assert!(run(Expand {}, &[x.clone(), Tensor::from_vec1(&[-1i64])]).is_err());
        assert!(run(Expand {}, &[x, Tensor::from_vec1(&[1i64 << 40, 1 << 40, 1, 1])]).is_err());
    }

    #[test]
    fn tiling() {
        let x = Tensor::from_slice(&[1, 2], &[1i32, 2]).unwrap();
        let y = run_one(Tile {}, &[x.clone(), Tensor::from_vec1(&[2i64, 2])]);
        assert_eq!(
            (y.shape(), y.to_i64().unwrap()),
            (&[2, 4][..], vec![1, 2, 1, 2, 1, 2, 1, 2])
        );
        assert_eq!(
            run_one(Tile {}, &[x.clone(), Tensor::from_vec1(&[0i64, 2])]).shape(),
            [0, 4]
        );
        assert!(run(Tile {}, &[x, Tensor::from_vec1(&[2i64])]).is_err());
        // Nothing repeated very often is still nothing.
        let empty = Tensor::zeros(DType::F32, &[0]).unwrap();
        assert_eq!(
            run_one(Tile {}, &[empty, Tensor::from_vec1(&[i64::MAX])]).shape(),
            [0]
        );
    }
}
