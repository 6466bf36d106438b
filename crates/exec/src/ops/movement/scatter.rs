//! Writing elements and slices by index.

use bantam_graph::ops::{ScatterElements, ScatterNd, ScatterReduction, TensorScatter, TensorScatterMode};
use bantam_kernels::elementwise::Number;
use bantam_tensor::{DType, Tensor};

use super::gather::{TuplePlaces, element_offsets};
use crate::inputs::Inputs;
use crate::ops::axes::{axis, split_at_axis};
use crate::ops::dispatch::in_number_or_bool;
use crate::ops::units::{self, Unit, in_unit};
use crate::{Context, OpError};

/// data, indices, updates: each update goes to its own place, but with its index along the axis.
pub(in crate::ops) fn scatter_elements(
    op: &ScatterElements,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let wanted = inputs.required(1)?;
    if inputs.required(2)?.shape() != wanted.shape() {
        return Err(OpError::shape("the indices and the updates differ in shape"));
    }
    let indices = inputs.integers(1)?.ok_or(OpError::MissingInput { index: 1 })?;
    let offsets = element_offsets(inputs.required(0)?.shape(), op.axis, wanted.shape(), &indices)?;
    scatter(&offsets, 1, op.reduction, inputs, context)
}

/// data, index tuples, updates: each update is the slice that its tuple names.
pub(in crate::ops) fn scatter_nd(
    op: &ScatterNd,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let (x, tuples) = (inputs.required(0)?, inputs.required(1)?);
    let indices = inputs.integers(1)?.ok_or(OpError::MissingInput { index: 1 })?;
    let places = TuplePlaces::new(x.shape(), 0, tuples.shape(), &indices)?;
    let expected = [&tuples.shape()[..tuples.rank() - 1], &x.shape()[places.depth..]].concat();
    if inputs.required(2)?.shape() != expected {
        return Err(OpError::shape(format!(
            "the updates must be of shape {expected:?}"
        )));
    }
    scatter(&places.offsets, places.block, op.reduction, inputs, context)
}

/// [`write`] with a method of [`Number`].
macro_rules! combine {
    ($dtype:ident, $offsets:ident, $block:ident, $inputs:ident, $context:ident, $method:ident) => {
        in_number_or_bool!($dtype, 0, T => {
            write::<T>($offsets, $block, $inputs, $context, |y, &update| *y = Number::$method(*y, update))
        })
    };
}

/// Writes blocks of the updates (input 2) over, or into, input 0.
fn scatter(
    offsets: &[usize],
    block: usize,
    reduction: ScatterReduction,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let dtype = inputs.required(0)?.dtype();
    let truths = dtype == DType::Bool;
    match reduction {
        ScatterReduction::None => {
            in_unit!(dtype, U => write::<U>(offsets, block, inputs, context, |y, update| y.clone_from(update)))
        }
        // The sum of truths is "or", their product "and".
        ScatterReduction::Add if truths => write::<u8>(offsets, block, inputs, context, |y, &u| *y |= u),
        ScatterReduction::Mul if truths => write::<u8>(offsets, block, inputs, context, |y, &u| *y &= u),
        ScatterReduction::Add => combine!(dtype, offsets, block, inputs, context, plus),
        ScatterReduction::Mul => combine!(dtype, offsets, block, inputs, context, times),
        ScatterReduction::Max => combine!(dtype, offsets, block, inputs, context, larger),
        ScatterReduction::Min => combine!(dtype, offsets, block, inputs, context, smaller),
    }
}

fn write<U: Unit>(
    offsets: &[usize],
    block: usize,
    inputs: &mut Inputs<'_>,
    context: &Context,
    merge: impl Fn(&mut U, &U),
) -> Result<Tensor, OpError> {
    let x = inputs.keep(0)?;
    let updates = units::read::<U>(inputs, 2, x.dtype())?;
    U::modify(context, x, |y| {
        for (updates, &offset) in updates.chunks_exact(block.max(1)).zip(offsets) {
            y[offset..offset + block]
                .iter_mut()
                .zip(updates)
                .for_each(|(y, update)| merge(y, update));
        }
        Ok(())
    })
}

/// past cache, update, optional write indices: per sample (first dimension) the update goes to consecutive positions
/// of an axis.
pub(in crate::ops) fn tensor_scatter(
    op: &TensorScatter,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let (shape, update) = (inputs.required(0)?.shape().to_vec(), inputs.required(1)?.shape());
    let at = axis(op.axis, shape.len())?;
    let fits = update.len() == shape.len() && (0..shape.len()).all(|i| i == at || update[i] == shape[i]);
    if !fits || at == 0 || update[at] > shape[at] {
        return Err(OpError::shape(format!(
            "an update of shape {update:?} does not fit {shape:?}"
        )));
    }
    let starts = match inputs.integers(2)? {
        Some(starts) if starts.len() == shape[0] => starts,
        Some(starts) => {
            return Err(OpError::shape(format!(
                "{} write indices for {} samples",
                starts.len(),
                shape[0]
            )));
        }
        None => vec![0; shape[0]],
    };
    let (outer, dim, inner) = split_at_axis(&shape, at);
    let length = update[at];
    let per_sample = outer.checked_div(shape[0]).unwrap_or(0);
    let starts: Vec<usize> = starts
        .into_iter()
        .map(|start| {
            let start = usize::try_from(start).ok().map(|start| match op.mode {
                TensorScatterMode::Circular => start % dim.max(1),
                TensorScatterMode::Linear => start,
            });
            let circular = op.mode == TensorScatterMode::Circular;
            start
                .filter(|start| circular || start.checked_add(length).is_some_and(|end| end <= dim))
                .ok_or_else(|| OpError::value("a write index is outside of the cache"))
        })
        .collect::<Result<_, _>>()?;
    in_unit!(inputs.required(0)?.dtype(), U => {
        let cache = inputs.keep(0)?;
        let updates = units::read::<U>(inputs, 1, cache.dtype())?;
        U::modify(context, cache, |y| {
            for (index, update) in updates.chunks_exact(inner.max(1)).enumerate() {
                let (row, i) = (index / length, index % length);
                let position = row * dim + (starts[row / per_sample] + i) % dim;
                y[position * inner..(position + 1) * inner].clone_from_slice(update);
            }
            Ok(())
        })
    })
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::{ScatterElements, ScatterNd, ScatterReduction, TensorScatter, TensorScatterMode};
    use bantam_tensor::Tensor;

    use crate::ops::testing::{run, run_one};

    fn matrix(values: &[f32]) -> Tensor {
        Tensor::from_slice(&[values.len() / 2, 2], values).unwrap()
    }

    #[test]
    fn elements_meet_what_is_there() {
        let x = matrix(&[1.0, 2.0, 3.0, 4.0]);
        let indices = Tensor::from_slice(&[2, 1], &[1i64, -1]).unwrap();
        let updates = Tensor::from_slice(&[2, 1], &[5.0f32, 3.0]).unwrap();
        for (reduction, expected) in [
            (ScatterReduction::None, [1.0, 5.0, 3.0, 3.0]),
            (ScatterReduction::Add, [1.0, 7.0, 3.0, 7.0]),
            (ScatterReduction::Mul, [1.0, 10.0, 3.0, 12.0]),
            (ScatterReduction::Max, [1.0, 5.0, 3.0, 4.0]),
            (ScatterReduction::Min, [1.0, 2.0, 3.0, 3.0]),
        ] {
            let op = ScatterElements { axis: 1, reduction };
            let y = run_one(op, &[x.clone(), indices.clone(), updates.clone()]);
            assert_eq!(y, matrix(&expected), "{reduction:?}");
        }
        let op = ScatterElements {
            axis: 1,
            reduction: ScatterReduction::None,
        };
        assert!(run(op.clone(), &[x.clone(), indices.clone(), matrix(&[1.0, 2.0])]).is_err());
        let outside = Tensor::from_slice(&[2, 1], &[1i64, 2]).unwrap();
        assert!(run(op, &[x, outside, updates]).is_err());
    }

    #[test]
    fn truths_are_added_by_or() {
        let x = Tensor::from_bools(&[2], &[true, false]).unwrap();
        let inputs = [
            x,
            Tensor::from_vec1(&[0i64, 1]),
            Tensor::from_bools(&[2], &[true, true]).unwrap(),
        ];
        let y = run_one(
            ScatterElements {
                axis: 0,
                reduction: ScatterReduction::Add,
            },
            &inputs,
        );
        assert_eq!(y, Tensor::from_bools(&[2], &[true, true]).unwrap());
    }

    #[test]
    fn slices_by_tuple() {
        let x = matrix(&[1.0, 2.0, 3.0, 4.0]);
        let op = |reduction| ScatterNd { reduction };
        let tuples = Tensor::from_slice(&[2, 1], &[1i64, 1]).unwrap();
        let inputs = [x.clone(), tuples.clone(), matrix(&[10.0, 20.0, 30.0, 40.0])];
        assert_eq!(
            run_one(op(ScatterReduction::Add), &inputs),
            matrix(&[1.0, 2.0, 43.0, 64.0])
        );
        assert_eq!(
            run_one(op(ScatterReduction::None), &inputs),
            matrix(&[1.0, 2.0, 30.0, 40.0])
        );
        assert!(run(op(ScatterReduction::None), &[x, tuples, matrix(&[1.0, 2.0])]).is_err());
    }

    #[test]
    fn caches_are_written_per_sample() {
        let cache = Tensor::from_slice(&[2, 3, 1], &[0i32; 6]).unwrap();
        let update = Tensor::from_slice(&[2, 2, 1], &[1i32, 2, 3, 4]).unwrap();
        let op = |mode| TensorScatter { axis: -2, mode };
        let write = |mode, starts: [i64; 2]| {
            let inputs = [cache.clone(), update.clone(), Tensor::from_vec1(&starts)];
            run(op(mode), &inputs)
                .ok()
                .map(|outputs| outputs[0].to_i64().unwrap())
        };
        assert_eq!(
            write(TensorScatterMode::Linear, [0, 1]),
            Some(vec![1, 2, 0, 0, 3, 4])
        );
        assert_eq!(
            write(TensorScatterMode::Circular, [0, 2]),
            Some(vec![1, 2, 0, 4, 0, 3])
        );
        assert_eq!(write(TensorScatterMode::Linear, [0, 2]), None);
        assert_eq!(write(TensorScatterMode::Linear, [-1, 0]), None);
    }
}
