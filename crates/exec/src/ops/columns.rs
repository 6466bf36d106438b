//! Col2Im.

use bantam_graph::ops::Col2Im;
use bantam_kernels::Real;
use bantam_tensor::Tensor;
use rayon::prelude::*;

use super::axes::count;
use super::floats::{fill, in_real, read};
use crate::inputs::Inputs;
use crate::{Context, OpError};

/// One spatial dimension.
#[derive(Clone, Copy, Debug)]
struct Dimension {
    image: usize,
    block: usize,
    /// Number of positions of the block.
    positions: usize,
    stride: i64,
    dilation: i64,
    pad: i64,
}

impl Dimension {
    /// Where element `offset` of the block lies at a position, if inside of the image.
    fn at(&self, position: usize, offset: usize) -> Option<usize> {
        let index = position as i64 * self.stride + offset as i64 * self.dilation - self.pad;
        usize::try_from(index).ok().filter(|&index| index < self.image)
    }
}

/// Columns `[N, C * block, positions]`, image shape, block shape: `[N, C, image...]`, where overlapping elements add up.
pub(super) fn col2im(op: &Col2Im, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    let dimensions = dimensions(op, inputs)?;
    let product = |of: fn(&Dimension) -> usize| count(&dimensions.iter().map(of).collect::<Vec<_>>());
    let (block, positions) = (product(|d| d.block), product(|d| d.positions));
    let fits = |shape: &[usize]| match *shape {
        [batch, rows, columns] if columns == positions && rows.is_multiple_of(block) => {
            Some((batch, rows / block))
        }
        _ => None,
    };
    let (batch, channels) = fits(x.shape()).ok_or_else(|| {
        let shape = x.shape();
        OpError::shape(format!(
            "columns of shape {shape:?}, [N, C * {block}, {positions}] is needed"
        ))
    })?;
    let image: Vec<usize> = dimensions.iter().map(|dimension| dimension.image).collect();
    let shape = [&[batch, channels], image.as_slice()].concat();
    in_real!(x.dtype(), 0, T => {
        let values = read::<T>(inputs, 0)?;
        fill(context, x.dtype(), &shape, |y: &mut [T]| {
            y.fill(0.0);
            if y.is_empty() || values.is_empty() {
                return;
            }
            let images = y.par_chunks_exact_mut(count(&image)).zip(values.par_chunks_exact(block * positions));
            images.for_each(|(image, columns)| add_columns(&dimensions, columns, positions, image));
        })
    })
}

fn dimensions(op: &Col2Im, inputs: &Inputs<'_>) -> Result<Vec<Dimension>, OpError> {
    let list = |index: usize| inputs.integers(index)?.ok_or(OpError::MissingInput { index });
    let (image, block) = (list(1)?, list(2)?);
    let rank = image.len();
    let or_default = |given: &[i64], default: i64, length: usize| {
        if given.is_empty() {
            vec![default; length]
        } else {
            given.to_vec()
        }
    };
    let (dilations, strides) = (
        or_default(&op.dilations, 1, rank),
        or_default(&op.strides, 1, rank),
    );
    let pads = or_default(&op.pads, 0, 2 * rank);
    if rank == 0 || [block.len(), dilations.len(), strides.len()] != [rank; 3] || pads.len() != 2 * rank {
        return Err(OpError::shape(format!(
            "image of {rank} dimensions, other parameters of other lengths"
        )));
    }
    (0..rank)
        .map(|i| {
            dimension(
                [image[i], block[i]],
                [strides[i], dilations[i]],
                [pads[i], pads[rank + i]],
            )
        })
        .collect()
}

fn dimension(
    [image, block]: [i64; 2],
    [stride, dilation]: [i64; 2],
    pads: [i64; 2],
) -> Result<Dimension, OpError> {
    // Bounds that keep all products of two of these inside `i64`.
    let small = |value: i64, low: i64| (low..1 << 31).contains(&value);
    let valid = small(image, 0) && small(block, 1) && small(stride, 1) && small(dilation, 1);
    let valid = valid && pads.iter().all(|&pad| small(pad, -(1 << 31) + 1));
    let wrong = || OpError::value("image, block, strides, dilations or pads are out of range");
    if !valid {
        return Err(wrong());
    }
    let extent = image + pads[0] + pads[1] - dilation * (block - 1) - 1;
    if extent < 0 {
        return Err(wrong());
    }
    Ok(Dimension {
        image: image as usize,
        block: block as usize,
        positions: (extent / stride + 1) as usize,
        stride,
        dilation,
        pad: pads[0],
    })
}

/// Adds the columns of one channel, `[block, positions]`, to its image.
fn add_columns<T: Real>(dimensions: &[Dimension], columns: &[T], positions: usize, image: &mut [T]) {
    for (index, &value) in columns.iter().enumerate() {
        let (mut offset, mut position) = (index / positions, index % positions);
        let (mut target, mut step) = (Some(0), 1);
        for dimension in dimensions.iter().rev() {
            let inside = dimension.at(position % dimension.positions, offset % dimension.block);
            target = target.zip(inside).map(|(target, inside)| target + inside * step);
            step *= dimension.image;
            position /= dimension.positions;
            offset /= dimension.block;
        }
        if let Some(target) = target {
            image[target] += value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{run, run_one};

    fn op(strides: &[i64], dilations: &[i64], pads: &[i64]) -> Col2Im {
        Col2Im {
            dilations: dilations.to_vec(),
            pads: pads.to_vec(),
            strides: strides.to_vec(),
        }
    }

    fn inputs(shape: &[usize], image: &[i64], block: &[i64]) -> [Tensor; 3] {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (1..=count).map(|value| value as f32).collect();
        [
            Tensor::from_slice(shape, &values).unwrap(),
            Tensor::from_vec1(image),
            Tensor::from_vec1(block),
        ]
    }

    #[test]
    fn overlapping_blocks_add_up() {
        // One channel, blocks of 2 at 3 positions: rows are the elements of the block.
        let y = run_one(op(&[], &[], &[]), &inputs(&[1, 2, 3], &[4], &[2]));
        assert_eq!(
            y,
            Tensor::from_slice(&[1, 1, 4], &[1.0f32, 2.0 + 4.0, 3.0 + 5.0, 6.0]).unwrap()
        );
        // Dilated by 2 at 2 positions.
        let y = run_one(op(&[], &[2], &[]), &inputs(&[1, 2, 2], &[4], &[2]));
        assert_eq!(y.to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0]);
        // Padded by 1 in front, stride 2: positions start at -1 and 1.
        let y = run_one(op(&[2], &[], &[1, 0]), &inputs(&[1, 2, 2], &[3], &[2]));
        assert_eq!(y.to_f32().unwrap(), [3.0, 2.0, 4.0]);
    }

    #[test]
    fn blocks_of_two_dimensions_tile_an_image() {
        let y = run_one(op(&[1, 2], &[], &[]), &inputs(&[1, 4, 2], &[1, 4], &[1, 2]));
        assert_eq!(
            y,
            Tensor::from_slice(&[1, 2, 1, 4], &[1.0f32, 3.0, 2.0, 4.0, 5.0, 7.0, 6.0, 8.0]).unwrap()
        );
    }

    #[test]
    fn impossible_sizes_are_errors() {
        let cases: [(&[i64], &[i64]); 5] = [
            (&[5], &[2]),
            (&[4], &[0]),
            (&[-4], &[2]),
            (&[i64::MAX], &[2]),
            (&[4, 4], &[2]),
        ];
        for (image, block) in cases {
            assert!(
                run(op(&[], &[], &[]), &inputs(&[1, 2, 3], image, block)).is_err(),
                "{image:?} {block:?}"
            );
        }
        assert!(run(op(&[0], &[], &[]), &inputs(&[1, 2, 3], &[4], &[2])).is_err());
        for far in [i64::MAX, (1 << 31) - 1] {
            assert!(run(op(&[], &[far], &[]), &inputs(&[1, 2, 3], &[4], &[2])).is_err());
            assert!(run(op(&[], &[], &[far, far]), &inputs(&[1, 2, 3], &[4], &[2])).is_err());
        }
    }
}
