//! Slice.

use bantam_kernels::copy::RunList;
use bantam_tensor::Tensor;

use super::{axes_or_all, take};
use crate::inputs::Inputs;
use crate::{Context, OpError};

/// data, starts, ends, optional axes, optional steps (which may be negative).
pub(in crate::ops) fn slice(inputs: &mut Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    let runs = sliced_axes(inputs, 1, x.shape())?;
    let shape: Vec<usize> = runs.iter().map(RunList::len).collect();
    let whole = x
        .shape()
        .iter()
        .map(|&dim| RunList::identity(dim))
        .eq(runs.iter().cloned());
    if whole {
        return inputs.keep(0);
    }
    take(x, x.shape(), &shape, None, context, || runs)
}

/// What is taken of each axis of a tensor, by the inputs starts (at position `first`), ends, optional axes, optional steps.
pub(in crate::ops) fn sliced_axes(
    inputs: &Inputs<'_>,
    first: usize,
    shape: &[usize],
) -> Result<Vec<RunList>, OpError> {
    let required = |index| inputs.integers(index)?.ok_or(OpError::MissingInput { index });
    let (starts, ends) = (required(first)?, required(first + 1)?);
    let axes = match inputs.optional(first + 2) {
        Some(_) => axes_or_all(inputs, first + 2, shape.len())?,
        None => (0..starts.len()).collect(),
    };
    let steps = inputs
        .integers(first + 3)?
        .unwrap_or_else(|| vec![1; starts.len()]);
    let same = [ends.len(), axes.len(), steps.len()]
        .iter()
        .all(|&length| length == starts.len());
    if !same || axes.iter().any(|&axis| axis >= shape.len()) {
        return Err(OpError::shape(
            "starts, ends, axes and steps do not fit each other or the input",
        ));
    }
    let mut runs: Vec<RunList> = shape.iter().map(|&dim| RunList::identity(dim)).collect();
    for (i, &axis) in axes.iter().enumerate() {
        runs[axis] = run(starts[i], ends[i], steps[i], shape[axis])?;
    }
    Ok(runs)
}

/// The positions `start`, `start + step`, ... before `end`; out of range they are clamped.
fn run(start: i64, end: i64, step: i64, dim: usize) -> Result<RunList, OpError> {
    let size = i64::try_from(dim).unwrap_or(i64::MAX);
    let from_start = |index: i64| {
        if index < 0 {
            index.saturating_add(size)
        } else {
            index
        }
    };
    let (start, end) = (from_start(start), from_start(end));
    let (start, distance) = match step {
        0 => return Err(OpError::value("a step of Slice is 0")),
        1.. => (start.clamp(0, size), end.clamp(0, size)),
        // The end may lie before the first element.
        _ => (start.clamp(-1, size - 1), end.clamp(-1, size - 1)),
    };
    let distance = if step > 0 {
        distance - start
    } else {
        start - distance
    };
    let length = if distance > 0 {
        (distance as u64).div_ceil(step.unsigned_abs()) as usize
    } else {
        0
    };
    // With one position the step does not matter; with more it is shorter than the axis.
    let step = if length > 1 { step as isize } else { 1 };
    Ok(RunList::default().with(length, Some(start.max(0) as usize), step))
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::Slice;
    use bantam_tensor::{DType, Tensor};

    use crate::ops::testing::{run, run_one};

    fn slice(start: i64, end: i64, step: i64) -> Vec<i64> {
        let x = Tensor::from_vec1(&[0i32, 1, 2, 3, 4]);
        let argument = |value: i64| Tensor::from_vec1(&[value]);
        let inputs = [x, argument(start), argument(end), argument(0), argument(step)];
        run_one(Slice {}, &inputs).to_i64().unwrap()
    }

    #[test]
    fn ranges_are_those_of_numpy() {
        assert_eq!(slice(1, 4, 1), [1, 2, 3]);
        assert_eq!(slice(-3, -1, 1), [2, 3]);
        assert_eq!(slice(0, i64::MAX, 2), [0, 2, 4]);
        assert_eq!(slice(10, 20, 1), [0i64; 0]);
        assert_eq!(slice(3, 1, 1), [0i64; 0]);
        assert_eq!(slice(-1, i64::MIN, -1), [4, 3, 2, 1, 0]);
        assert_eq!(slice(10, 1, -2), [4, 2]);
        assert_eq!(slice(2, 2, -1), [0i64; 0]);
        assert_eq!(slice(i64::MIN, i64::MAX, i64::MAX), [0]);
        assert_eq!(slice(i64::MAX, i64::MIN, i64::MIN), [4]);
    }

    #[test]
    fn several_axes_and_nibbles() {
        let x = Tensor::from_i64(DType::U4, &[3, 3], &[0, 1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        let list = |values: &[i64]| Tensor::from_vec1(values);
        let y = run_one(
            Slice {},
            &[
                x.clone(),
                list(&[1, -1]),
                list(&[3, -9]),
                list(&[0, -1]),
                list(&[1, -1]),
            ],
        );
        assert_eq!(
            (y.shape(), y.to_i64().unwrap()),
            (&[2, 3][..], vec![5, 4, 3, 8, 7, 6])
        );
        let y = run_one(Slice {}, &[x.clone(), list(&[0]), list(&[1])]);
        assert_eq!((y.shape(), y.to_i64().unwrap()), (&[1, 3][..], vec![0, 1, 2]));
        for (starts, ends, axes, steps) in [
            (&[0][..], &[1, 2][..], &[0][..], &[1][..]),
            (&[0], &[1], &[2], &[1]),
            (&[0, 0], &[1, 1], &[1, -1], &[1, 1]),
            (&[0], &[1], &[0], &[0]),
            (&[0, 0, 0], &[1, 1, 1], &[0, 1, 2], &[1, 1, 1]),
        ] {
            assert!(
                run(
                    Slice {},
                    &[x.clone(), list(starts), list(ends), list(axes), list(steps)]
                )
                .is_err()
            );
        }
    }
}
