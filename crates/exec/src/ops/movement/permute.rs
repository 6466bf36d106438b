//! Ops that change the order of elements.

use bantam_graph::ops::{DepthToSpace, DepthToSpaceMode, ReverseSequence, SpaceToDepth, Transpose};
use bantam_kernels::chunks::for_rows;
use bantam_kernels::copy::{permute, simplify_permutation};
use bantam_tensor::Tensor;

use crate::inputs::Inputs;
use crate::ops::axes::axis;
use crate::ops::units::{Unit, in_unit};
use crate::{Context, OpError};

/// Permutes dimensions; reverses them when there is no permutation. Does not copy when only dimensions of size 1 move.
pub(in crate::ops) fn transpose(
    op: &Transpose,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let shape = inputs.required(0)?.shape();
    let order: Vec<usize> = match &op.perm {
        Some(order) => super::distinct_axes(order, shape.len())?,
        None => (0..shape.len()).rev().collect(),
    };
    if order.len() != shape.len() {
        return Err(OpError::shape(format!(
            "the permutation {order:?} does not fit rank {}",
            shape.len()
        )));
    }
    let permuted: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
    if simplify_permutation(shape, &order).0.len() <= 1 {
        return Ok(inputs.keep(0)?.reshape(&permuted)?);
    }
    reorder(inputs.required(0)?, shape, &order, &permuted, context)
}

/// A tensor with its dimensions in another order.
pub(in crate::ops) fn permuted(x: &Tensor, order: &[usize], context: &Context) -> Result<Tensor, OpError> {
    let shape = crate::layout::permuted(x.shape(), order);
    reorder(x, x.shape(), order, &shape, context)
}

/// The elements of `x`, viewed in shape `view`, with its dimensions in another order, in shape `shape`.
fn reorder(
    x: &Tensor,
    view: &[usize],
    order: &[usize],
    shape: &[usize],
    context: &Context,
) -> Result<Tensor, OpError> {
    in_unit!(x.dtype(), U => {
        let units = U::read(x)?;
        U::build(context, x.dtype(), shape, |y| {
            permute(&units, view, order, y);
            Ok(())
        })
    })
}

/// Moves blocks of channels into space.
pub(in crate::ops) fn depth_to_space(
    op: &DepthToSpace,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    let (block, [n, c, h, w]) = (block_size(op.blocksize)?, four_dimensions(x)?);
    let area = block.checked_mul(block).filter(|&area| c.is_multiple_of(area));
    let area =
        area.ok_or_else(|| OpError::shape(format!("{c} channels hold no blocks of {block} x {block}")))?;
    let (view, order) = match op.mode {
        DepthToSpaceMode::DepthColumnRow => ([n, block, block, c / area, h, w], [0, 3, 4, 1, 5, 2]),
        DepthToSpaceMode::ColumnRowDepth => ([n, c / area, block, block, h, w], [0, 1, 4, 2, 5, 3]),
    };
    let tall = h.checked_mul(block).zip(w.checked_mul(block));
    let (tall, wide) = tall.ok_or_else(|| OpError::shape("the output is too large"))?;
    reorder(x, &view, &order, &[n, c / area, tall, wide], context)
}

/// Moves blocks of space into channels.
pub(in crate::ops) fn space_to_depth(
    op: &SpaceToDepth,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    let (block, [n, c, h, w]) = (block_size(op.blocksize)?, four_dimensions(x)?);
    let channels = block.checked_mul(block).and_then(|area| area.checked_mul(c));
    let channels = channels.filter(|_| h.is_multiple_of(block) && w.is_multiple_of(block));
    let channels =
        channels.ok_or_else(|| OpError::shape(format!("{h} x {w} holds no blocks of {block} x {block}")))?;
    let view = [n, c, h / block, block, w / block, block];
    let order = match op.mode {
        DepthToSpaceMode::DepthColumnRow => [0, 3, 5, 1, 2, 4],
        DepthToSpaceMode::ColumnRowDepth => [0, 1, 3, 5, 2, 4],
    };
    reorder(x, &view, &order, &[n, channels, h / block, w / block], context)
}

fn block_size(size: i64) -> Result<usize, OpError> {
    let size = usize::try_from(size).ok().filter(|&size| size > 0);
    size.ok_or_else(|| OpError::value("blocksize is not positive"))
}

fn four_dimensions(x: &Tensor) -> Result<[usize; 4], OpError> {
    let dims = <[usize; 4]>::try_from(x.shape());
    dims.map_err(|_| {
        OpError::shape(format!(
            "the input must have four dimensions, not {:?}",
            x.shape()
        ))
    })
}

/// Reverses the first part of each sequence; its length is input 1.
pub(in crate::ops) fn reverse_sequence(
    op: &ReverseSequence,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    let (batch_axis, time_axis) = (axis(op.batch_axis, x.rank())?, axis(op.time_axis, x.rank())?);
    if batch_axis + time_axis != 1 {
        return Err(OpError::value(
            "one of batch_axis and time_axis must be 0, the other 1",
        ));
    }
    let (batch, time) = (x.shape()[batch_axis], x.shape()[time_axis]);
    let lengths = super::sizes(inputs, 1)?;
    if lengths.len() != batch || lengths.iter().any(|&length| length > time) {
        return Err(OpError::shape(format!(
            "the lengths do not fit {batch} sequences of up to {time} steps"
        )));
    }
    let (columns, block) = (x.shape()[1], x.shape()[2..].iter().product::<usize>());
    in_unit!(x.dtype(), U => {
        let units = U::read(x)?;
        U::build(context, x.dtype(), x.shape(), |y| {
            for_rows(y, block, |start, y| {
                for (i, y) in y.chunks_exact_mut(block).enumerate() {
                    let index = start / block + i;
                    let (first, second) = (index / columns, index % columns);
                    let (sample, step) = if batch_axis == 0 { (first, second) } else { (second, first) };
                    let step = if step < lengths[sample] { lengths[sample] - 1 - step } else { step };
                    let (first, second) = if batch_axis == 0 { (sample, step) } else { (step, sample) };
                    y.clone_from_slice(&units[(first * columns + second) * block..][..block]);
                }
            });
            Ok(())
        })
    })
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::{DepthToSpace, DepthToSpaceMode, ReverseSequence, SpaceToDepth, Transpose};
    use bantam_tensor::{DType, Tensor};

    use crate::ops::testing::{run, run_one};

    fn counted(shape: &[usize]) -> Tensor {
        let values: Vec<i32> = (0..shape.iter().product::<usize>() as i32).collect();
        Tensor::from_slice(shape, &values).unwrap()
    }

    #[test]
    fn dimensions_in_another_order() {
        let y = run_one(Transpose { perm: None }, &[counted(&[2, 3])]);
        assert_eq!(
            (y.shape(), y.to_i64().unwrap()),
            (&[3, 2][..], vec![0, 3, 1, 4, 2, 5])
        );
        let y = run_one(
            Transpose {
                perm: Some(vec![1, 0, 2]),
            },
            &[counted(&[2, 1, 3])],
        );
        assert_eq!(
            (y.shape(), y.to_i64().unwrap()),
            (&[1, 2, 3][..], vec![0, 1, 2, 3, 4, 5])
        );
        for perm in [vec![0], vec![0, 0], vec![0, 2]] {
            assert!(run(Transpose { perm: Some(perm) }, &[counted(&[2, 3])]).is_err());
        }
        assert_eq!(
            run_one(Transpose { perm: None }, &[counted(&[0, 3])]).shape(),
            [3, 0]
        );
    }

    #[test]
    fn blocks_go_to_space_and_back() {
        let x = counted(&[2, 8, 2, 3]);
        for (mode, start) in [
            (DepthToSpaceMode::DepthColumnRow, [0, 12, 1, 13]),
            (DepthToSpaceMode::ColumnRowDepth, [0, 6, 1, 7]),
        ] {
            let wide = run_one(DepthToSpace { blocksize: 2, mode }, std::slice::from_ref(&x));
            assert_eq!(wide.shape(), [2, 2, 4, 6]);
            assert_eq!(wide.to_i64().unwrap()[..4], start);
            assert_eq!(run_one(SpaceToDepth { blocksize: 2, mode }, &[wide]), x);
        }
        let mode = DepthToSpaceMode::DepthColumnRow;
        assert!(run(SpaceToDepth { blocksize: 2, mode }, std::slice::from_ref(&x)).is_err());
        assert!(run(SpaceToDepth { blocksize: 0, mode }, std::slice::from_ref(&x)).is_err());
        assert!(
            run(
                DepthToSpace {
                    blocksize: i64::MAX,
                    mode: DepthToSpaceMode::ColumnRowDepth
                },
                &[x]
            )
            .is_err()
        );
    }

    #[test]
    fn sequences_are_reversed_in_part() {
        let lengths = Tensor::from_vec1(&[1i64, 3]);
        let x = counted(&[3, 2]);
        let y = run_one(
            ReverseSequence {
                batch_axis: 1,
                time_axis: 0,
            },
            &[x.clone(), lengths.clone()],
        );
        assert_eq!(y.to_i64().unwrap(), [0, 5, 2, 3, 4, 1]);
        let y = run_one(
            ReverseSequence {
                batch_axis: 0,
                time_axis: 1,
            },
            &[counted(&[2, 3]), lengths.clone()],
        );
        assert_eq!(y.to_i64().unwrap(), [0, 1, 2, 5, 4, 3]);
        assert!(
            run(
                ReverseSequence {
                    batch_axis: 0,
                    time_axis: 0
                },
                &[x.clone(), lengths.clone()]
            )
            .is_err()
        );
        assert!(
            run(
                ReverseSequence {
                    batch_axis: 0,
                    time_axis: 1
                },
                &[x, lengths.clone()]
            )
            .is_err()
        );
        assert!(
            run(
                ReverseSequence {
                    batch_axis: 0,
                    time_axis: 1
                },
                &[counted(&[2]), lengths]
            )
            .is_err()
        );
        let nothing = Tensor::zeros(DType::F32, &[2, 3, 0]).unwrap();
        let y = run_one(
            ReverseSequence {
                batch_axis: 0,
                time_axis: 1,
            },
            &[nothing, Tensor::from_vec1(&[1i64, 1])],
        );
        assert_eq!(y.shape(), [2, 3, 0]);
    }
}
