//! Shapes that are broadcast against each other (ONNX "multidirectional broadcasting", NumPy's rules).

use crate::OpError;

/// The common shape.
pub(crate) fn broadcast_shape(shapes: &[&[usize]]) -> Result<Vec<usize>, OpError> {
    let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or(0);
    let mut common = vec![1; rank];
    for shape in shapes {
        for (size, &dim) in common[rank - shape.len()..].iter_mut().zip(*shape) {
            if *size == 1 {
                *size = dim;
            } else if dim != 1 && dim != *size {
                return Err(OpError::shape(format!(
                    "shapes {shapes:?} cannot be broadcast together"
                )));
            }
        }
    }
    Ok(common)
}

/// Steps through a tensor of `shape` as if it had the broadcast shape `common`: 0 where it is repeated.
pub(crate) fn broadcast_strides(shape: &[usize], common: &[usize]) -> Vec<usize> {
    let mut strides = vec![0; common.len()];
    let mut step = 1;
    for axis in (0..shape.len()).rev() {
        let target = common.len() - shape.len() + axis;
        strides[target] = if shape[axis] == 1 { 0 } else { step };
        step *= shape[axis];
    }
    strides
}

/// How `N` tensors are read to fill a tensor of their broadcast shape, with as few dimensions as possible.
#[derive(Debug)]
pub(crate) struct Broadcast<const N: usize> {
    /// The broadcast shape.
    pub(crate) shape: Vec<usize>,
    /// The sizes of the merged dimensions; at least one.
    dims: Vec<usize>,
    /// For each merged dimension, the steps through each tensor; 0 or 1 in the last dimension.
    strides: Vec<[usize; N]>,
}

/// Consecutive elements of the broadcast tensor, and where their sources start.
pub(crate) struct Run<const N: usize> {
    /// Position relative to where the iteration started.
    pub(crate) start: usize,
    pub(crate) length: usize,
    pub(crate) sources: [usize; N],
}

impl<const N: usize> Broadcast<N> {
    pub(crate) fn new(shapes: [&[usize]; N]) -> Result<Broadcast<N>, OpError> {
        let shape = broadcast_shape(&shapes)?;
        let all = shapes.map(|operand| broadcast_strides(operand, &shape));
        let mut dims = vec![1usize];
        let mut strides = vec![[0; N]];
        for (axis, &size) in shape.iter().enumerate().filter(|&(_, &size)| size != 1) {
            let step: [usize; N] = std::array::from_fn(|operand| all[operand][axis]);
            let last = dims.len() - 1;
            let merges = dims[last] == 1 || (0..N).all(|k| strides[last][k] == step[k].saturating_mul(size));
            if merges {
                dims[last] = dims[last].saturating_mul(size);
                strides[last] = step;
            } else {
                dims.push(size);
                strides.push(step);
            }
        }
        Ok(Broadcast { shape, dims, strides })
    }

    /// The steps through each tensor within a run: 0 or 1.
    pub(crate) fn steps(&self) -> [usize; N] {
        self.strides[self.strides.len() - 1]
    }

    /// Visits the elements `start..start + length` of the broadcast tensor, which must exist, in runs.
    pub(crate) fn for_runs(&self, start: usize, length: usize, mut visit: impl FnMut(Run<N>)) {
        let outer = self.dims.len() - 1;
        let width = self.dims[outer];
        let mut index = vec![0; outer];
        let mut row = start / width;
        for axis in (0..outer).rev() {
            index[axis] = row % self.dims[axis];
            row /= self.dims[axis];
        }
        let mut done = 0;
        let mut column = start % width;
        while done < length {
            let run = (width - column).min(length - done);
            let sources = std::array::from_fn(|k| {
                let rows: usize = (0..outer).map(|axis| index[axis] * self.strides[axis][k]).sum();
                rows + column * self.strides[outer][k]
            });
            visit(Run {
                start: done,
                length: run,
                sources,
            });
            done += run;
            column = 0;
            advance(&mut index, &self.dims[..outer]);
        }
    }
}

/// The next index in row-major order.
pub(crate) fn advance(index: &mut [usize], dims: &[usize]) {
    for axis in (0..index.len()).rev() {
        index[axis] += 1;
        if index[axis] < dims[axis] {
            return;
        }
        index[axis] = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The source positions of every element, by runs of at most `chunk` elements.
    fn positions(a: &[usize], b: &[usize], chunk: usize) -> Vec<(usize, usize)> {
        let broadcast = Broadcast::new([a, b]).unwrap();
        let total: usize = broadcast.shape.iter().product();
        let mut found = Vec::new();
        for start in (0..total).step_by(chunk) {
            broadcast.for_runs(start, chunk.min(total - start), |run| {
                for i in 0..run.length {
                    let [step_a, step_b] = broadcast.steps();
                    found.push((run.sources[0] + i * step_a, run.sources[1] + i * step_b));
                }
            });
        }
        found
    }

    #[test]
    fn runs_visit_what_strides_say() {
        let cases: [(&[usize], &[usize]); 6] = [
            (&[2, 3], &[2, 3]),
            (&[2, 3, 4, 5], &[3, 1, 1]),
            (&[2, 3], &[]),
            (&[2, 1, 4], &[3, 1]),
            (&[1, 5], &[4, 1]),
            (&[3, 1, 2, 1], &[1, 2, 1, 3]),
        ];
        for (a, b) in cases {
            let shape = broadcast_shape(&[a, b]).unwrap();
            let (strides_a, strides_b) = (broadcast_strides(a, &shape), broadcast_strides(b, &shape));
            let mut index = vec![0; shape.len()];
            let dot =
                |index: &[usize], strides: &[usize]| index.iter().zip(strides).map(|(i, s)| i * s).sum();
            let mut expected = Vec::new();
            for _ in 0..shape.iter().product::<usize>() {
                expected.push((dot(&index, &strides_a), dot(&index, &strides_b)));
                advance(&mut index, &shape);
            }
            for chunk in [1, 4, 7, 1000] {
                assert_eq!(
                    positions(a, b, chunk),
                    expected,
                    "{a:?} {b:?} in chunks of {chunk}"
                );
            }
        }
    }

    #[test]
    fn equal_shapes_and_channels_merge() {
        assert_eq!(Broadcast::new([&[2, 3, 4], &[2, 3, 4]]).unwrap().dims, [24]);
        assert_eq!(
            Broadcast::new([&[2, 3, 4, 5], &[3, 1, 1]]).unwrap().dims,
            [2, 3, 20]
        );
        assert!(Broadcast::new([&[2, 3], &[2]]).is_err());
    }
}
