//! Which elements share a scale.

use std::ops::Range;

use crate::OpError;
use crate::ops::axes;

/// How the scales are laid over a tensor, in memory order.
#[derive(Debug, PartialEq)]
pub(super) enum Runs {
    /// One scale.
    Tensor,
    /// One scale per index of an axis of `channels` elements, with `inner` elements each.
    Channels { channels: usize, inner: usize },
    /// One scale per `block` elements of an axis of `length` elements, for each of the `inner` positions.
    Blocks {
        length: usize,
        block: usize,
        inner: usize,
    },
}

impl Runs {
    /// The layout of scales of shape `scale` for a tensor of shape `x` (ONNX `QuantizeLinear`).
    pub(super) fn new(x: &[usize], scale: &[usize], axis: i64, block: i64) -> Result<Runs, OpError> {
        if block != 0 {
            return Runs::blocks(x, scale, axes::axis(axis, x.len())?, block);
        }
        if axes::count(scale) == 1 && scale.len() <= 1 {
            return Ok(Runs::Tensor);
        }
        let (_, channels, inner) = axes::split_at_axis(x, axes::axis(axis, x.len())?);
        if scale != [channels] {
            let expected =
                format!("a scale of shape {scale:?} does not fit {channels} elements along axis {axis}");
            return Err(OpError::shape(expected));
        }
        Ok(Runs::Channels { channels, inner })
    }

    fn blocks(x: &[usize], scale: &[usize], axis: usize, block: i64) -> Result<Runs, OpError> {
        let block = usize::try_from(block)
            .map_err(|_| OpError::value(format!("the block size is {block}, which is below zero")))?;
        let mut expected = x.to_vec();
        expected[axis] = x[axis].div_ceil(block);
        if scale != expected {
            return Err(OpError::shape(format!(
                "blocks of {block} along axis {axis} of {x:?} need scales of shape {expected:?}, got {scale:?}"
            )));
        }
        let (_, length, inner) = axes::split_at_axis(x, axis);
        Ok(Runs::Blocks { length, block, inner })
    }

    /// Calls `body(elements, scales)` for every run of a tensor of `count` elements: there is one scale for the run, or
    /// one for each of its elements.
    pub(super) fn for_each(&self, count: usize, mut body: impl FnMut(Range<usize>, Range<usize>)) {
        match *self {
            _ if count == 0 => {}
            Runs::Tensor => body(0..count, 0..1),
            Runs::Channels { channels, inner: 1 } => {
                (0..count)
                    .step_by(channels)
                    .for_each(|start| body(start..start + channels, 0..channels));
            }
            Runs::Channels { channels, inner } => {
                for run in 0..count / inner {
                    body(run * inner..(run + 1) * inner, run % channels..run % channels + 1);
                }
            }
            Runs::Blocks { length, block, inner } => {
                let blocks = length.div_ceil(block);
                for row in 0..count / inner {
                    let (outer, position) = (row / length, row % length);
                    let scales = (outer * blocks + position / block) * inner;
                    if inner > 1 {
                        body(row * inner..(row + 1) * inner, scales..scales + inner);
                    } else if position.is_multiple_of(block) {
                        body(row..row + block.min(length - position), scales..scales + 1);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The scale of every element.
    fn scales(x: &[usize], scale: &[usize], axis: i64, block: i64) -> Vec<usize> {
        let count = x.iter().product();
        let mut of_element = vec![usize::MAX; count];
        let runs = Runs::new(x, scale, axis, block).unwrap();
        runs.for_each(count, |elements, scales| {
            for (index, element) in elements.enumerate() {
                of_element[element] = if scales.len() == 1 {
                    scales.start
                } else {
                    scales.start + index
                };
            }
        });
        of_element
    }

    #[test]
    fn every_element_has_its_scale() {
        assert_eq!(scales(&[4], &[], 1, 0), [0; 4]);
        assert_eq!(scales(&[4], &[1], 0, 0), [0; 4]);
        assert_eq!(scales(&[2, 3], &[3], 1, 0), [0, 1, 2, 0, 1, 2]);
        assert_eq!(scales(&[2, 3], &[2], -2, 0), [0, 0, 0, 1, 1, 1]);
        assert_eq!(scales(&[2, 2, 2], &[2], 1, 0), [0, 0, 1, 1, 0, 0, 1, 1]);
        assert_eq!(scales(&[2, 5], &[2, 3], 1, 2), [0, 0, 1, 1, 2, 3, 3, 4, 4, 5]);
        assert_eq!(scales(&[3, 2], &[2, 2], 0, 2), [0, 1, 0, 1, 2, 3]);
        assert_eq!(scales(&[0, 3], &[3], 1, 0), []);
    }

    #[test]
    fn scales_must_fit() {
        assert!(Runs::new(&[2, 3], &[2], 1, 0).is_err());
        assert!(Runs::new(&[2, 3], &[3], 2, 0).is_err());
        assert!(Runs::new(&[2, 3], &[3, 1], 1, 0).is_err());
        assert!(Runs::new(&[2, 5], &[2, 2], 1, 2).is_err());
        assert!(Runs::new(&[2, 5], &[2, 2], 1, -2).is_err());
    }
}
