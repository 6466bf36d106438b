//! Pad and CenterCropPad.

use bantam_graph::ops::{CenterCropPad, Pad, PadMode};
use bantam_kernels::copy::RunList;
use bantam_tensor::Tensor;

use super::{axes_or_all, distinct_axes, sizes, take};
use crate::inputs::Inputs;
use crate::{Context, OpError};

/// data, pads (negative ones crop), optional constant, optional axes.
pub(in crate::ops) fn pad(op: &Pad, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    let (padded, shape) = padded_axes(op.mode, inputs, [1, 3], x.shape())?;
    let constant = inputs.optional(2).filter(|constant| !constant.is_empty());
    if let Some(constant) = constant.filter(|constant| constant.dtype() != x.dtype()) {
        return Err(OpError::Type {
            index: 2,
            got: constant.dtype(),
        });
    }
    take(x, x.shape(), &shape, constant, context, || {
        padded_runs(&padded, op.mode)
    })
}

/// What each axis of a tensor becomes, and its size then, by the inputs at these positions: pads, optional axes.
pub(in crate::ops) fn padded_axes(
    mode: PadMode,
    inputs: &Inputs<'_>,
    [pads, axes]: [usize; 2],
    shape: &[usize],
) -> Result<(Vec<Padding>, Vec<usize>), OpError> {
    let pads = inputs
        .integers(pads)?
        .ok_or(OpError::MissingInput { index: pads })?;
    let axes = axes_or_all(inputs, axes, shape.len())?;
    if pads.len() != 2 * axes.len() {
        return Err(OpError::shape(format!(
            "{} pads do not fit {} axes",
            pads.len(),
            axes.len()
        )));
    }
    let mut padded: Vec<Padding> = shape.iter().map(|&dim| Padding::none(dim)).collect();
    for (i, &axis) in axes.iter().enumerate() {
        padded[axis] = Padding::new(pads[i], pads[axes.len() + i], shape[axis], mode)?;
    }
    let sizes = padded
        .iter()
        .map(Padding::length)
        .collect::<Result<Vec<_>, _>>()?;
    Ok((padded, sizes))
}

/// Where the positions of each axis come from. Their number may grow with the size of the output.
pub(in crate::ops) fn padded_runs(padded: &[Padding], mode: PadMode) -> Vec<RunList> {
    padded.iter().map(|axis| axis.runs(mode)).collect()
}

/// What one axis becomes: `before` added positions, `length` positions of the input from `start`, `after` added ones.
pub(in crate::ops) struct Padding {
    before: usize,
    start: usize,
    length: usize,
    after: usize,
}

impl Padding {
    fn none(dim: usize) -> Padding {
        Padding {
            before: 0,
            start: 0,
            length: dim,
            after: 0,
        }
    }

    /// Negative pads crop first.
    fn new(before: i64, after: i64, dim: usize, mode: PadMode) -> Result<Padding, OpError> {
        let added = |pad: i64| usize::try_from(pad.max(0)).unwrap_or(usize::MAX);
        let cropped = |pad: i64| usize::try_from(pad.min(0).unsigned_abs()).unwrap_or(usize::MAX);
        let length = dim
            .checked_sub(cropped(before))
            .and_then(|rest| rest.checked_sub(cropped(after)));
        let fail = || {
            OpError::shape(format!(
                "pads {before} and {after} do not fit a dimension of size {dim}"
            ))
        };
        let padding = Padding {
            before: added(before),
            start: cropped(before),
            length: length.ok_or_else(fail)?,
            after: added(after),
        };
        let adds = padding.before > 0 || padding.after > 0;
        if mode != PadMode::Constant && adds && padding.length == 0 {
            Err(fail())
        } else {
            Ok(padding)
        }
    }

    fn length(&self) -> Result<usize, OpError> {
        let total = self
            .before
            .checked_add(self.length)
            .and_then(|sum| sum.checked_add(self.after));
        total.ok_or_else(|| OpError::shape("a padded dimension is too large"))
    }

    fn runs(&self, mode: PadMode) -> RunList {
        let (first, kept) = (self.start, self.length);
        let last = first + kept.saturating_sub(1);
        let runs = RunList::default();
        match mode {
            PadMode::Constant => runs
                .with(self.before, None, 0)
                .with(kept, Some(first), 1)
                .with(self.after, None, 0),
            PadMode::Edge => runs
                .with(self.before, Some(first), 0)
                .with(kept, Some(first), 1)
                .with(self.after, Some(last), 0),
            // Positions repeat after `period`; one that does not move repeats at once.
            PadMode::Wrap => self.periodic(kept, runs),
            PadMode::Reflect if kept == 1 => self.periodic(1, runs),
            PadMode::Reflect => self.periodic(2 * (kept.max(1) - 1), runs),
        }
    }

    /// Continues the positions `start..start + length` on both sides: again from the start, or (where `period` is
    /// longer than that) back first.
    fn periodic(&self, period: usize, mut runs: RunList) -> RunList {
        let total = self.before + self.length + self.after;
        if period <= 1 {
            return runs.with(total, Some(self.start), 0);
        }
        // Of the position within the period that comes first.
        let mut phase = (period - self.before % period) % period;
        let mut done = 0;
        while done < total {
            let (source, step, available) = if phase < self.length {
                (phase, 1, self.length - phase)
            } else {
                (period - phase, -1, period - phase)
            };
            let length = available.min(total - done);
            runs = runs.with(length, Some(self.start + source), step);
            phase = (phase + length) % period;
            done += length;
        }
        runs
    }
}

/// Crops or pads with zeros around the centre.
pub(in crate::ops) fn center_crop_pad(
    op: &CenterCropPad,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    let wanted = sizes(inputs, 1)?;
    let axes = match &op.axes {
        Some(axes) => distinct_axes(axes, x.rank())?,
        None => (0..x.rank()).collect(),
    };
    if axes.len() != wanted.len() {
        return Err(OpError::shape(format!(
            "{} sizes do not fit {} axes",
            wanted.len(),
            axes.len()
        )));
    }
    let mut shape = x.shape().to_vec();
    let mut runs: Vec<RunList> = shape.iter().map(|&dim| RunList::identity(dim)).collect();
    for (&axis, &size) in axes.iter().zip(&wanted) {
        let dim = shape[axis];
        let (before, start) = (size.saturating_sub(dim) / 2, dim.saturating_sub(size) / 2);
        let kept = size.min(dim);
        let centre = RunList::default()
            .with(before, None, 0)
            .with(kept, Some(start), 1);
        runs[axis] = centre.with(size - before - kept, None, 0);
        shape[axis] = size;
    }
    take(x, x.shape(), &shape, None, context, || runs)
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::{CenterCropPad, Pad, PadMode};
    use bantam_tensor::{DType, Tensor};

    use crate::ops::testing::{run, run_one};

    fn pad(mode: PadMode, x: &[i32], before: i64, after: i64) -> Vec<i64> {
        let inputs = [
            Tensor::from_vec1(x),
            Tensor::from_vec1(&[before, after]),
            Tensor::scalar(9i32),
        ];
        run_one(Pad { mode }, &inputs).to_i64().unwrap()
    }

    #[test]
    fn modes_are_those_of_numpy() {
        let x = [1, 2, 3];
        assert_eq!(pad(PadMode::Constant, &x, 2, 1), [9, 9, 1, 2, 3, 9]);
        assert_eq!(pad(PadMode::Edge, &x, 2, 1), [1, 1, 1, 2, 3, 3]);
        assert_eq!(
            pad(PadMode::Reflect, &x, 5, 4),
            [2, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2, 3]
        );
        assert_eq!(pad(PadMode::Wrap, &x, 4, 2), [3, 1, 2, 3, 1, 2, 3, 1, 2]);
        assert_eq!(pad(PadMode::Reflect, &[7], 2, 1), [7, 7, 7, 7]);
        assert_eq!(pad(PadMode::Wrap, &[7], 2, 1), [7, 7, 7, 7]);
    }

    #[test]
    fn negative_pads_crop_first() {
        let x = [1, 2, 3, 4];
        assert_eq!(pad(PadMode::Constant, &x, -1, 1), [2, 3, 4, 9]);
        assert_eq!(pad(PadMode::Constant, &x, -1, -3), [0i64; 0]);
        assert_eq!(pad(PadMode::Edge, &x, -2, 2), [3, 4, 4, 4]);
        assert_eq!(pad(PadMode::Reflect, &x, 2, -1), [3, 2, 1, 2, 3]);
    }

    #[test]
    fn some_axes_and_wrong_pads() {
        let x = Tensor::from_slice(&[1, 2], &[1.0f32, 2.0]).unwrap();
        let list = |values: &[i64]| Tensor::from_vec1(values);
        let op = Pad {
            mode: PadMode::Constant,
        };
        let inputs = [Some(x.clone()), Some(list(&[1, 0])), None, Some(list(&[-2]))];
        let y = crate::ops::testing::run_optional(op.clone(), &inputs).unwrap();
        assert_eq!(
            y[0],
            Some(Tensor::from_slice(&[2, 2], &[0.0f32, 0.0, 1.0, 2.0]).unwrap())
        );
        for pads in [
            &[1, 2, 3][..],
            &[-2, 0, 0, 0],
            &[i64::MAX, 0, i64::MAX, 0],
            &[i64::MIN, 0, 0, 0],
        ] {
            assert!(run(op.clone(), &[x.clone(), list(pads)]).is_err(), "{pads:?}");
        }
        let empty = Tensor::zeros(DType::F32, &[0]).unwrap();
        assert!(run(Pad { mode: PadMode::Edge }, &[empty.clone(), list(&[1, 0])]).is_err());
        assert_eq!(run_one(op, &[empty, list(&[1, 0])]).shape(), [1]);
    }

    #[test]
    fn the_centre_is_rounded_down() {
        let x = Tensor::from_vec1(&[1i32, 2, 3, 4]);
        let centre = |size: i64| {
            run_one(
                CenterCropPad { axes: None },
                &[x.clone(), Tensor::from_vec1(&[size])],
            )
            .to_i64()
            .unwrap()
        };
        assert_eq!(centre(3), [1, 2, 3]);
        assert_eq!(centre(7), [0, 1, 2, 3, 4, 0, 0]);
        assert_eq!(centre(0), [0i64; 0]);
        let op = CenterCropPad { axes: Some(vec![1]) };
        assert!(run(op, &[x, Tensor::from_vec1(&[2i64])]).is_err());
    }
}
