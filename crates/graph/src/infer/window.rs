//! Sliding windows: the spatial sizes of convolutions and pools.

use super::dims::{positive, size};
use super::error::Problem;
use crate::Dim;
use crate::ops::AutoPad;

/// The attributes of a window, as the ops have them; empty lists mean the default.
pub(super) struct Window<'a> {
    pub(super) auto_pad: AutoPad,
    pub(super) ceil_mode: bool,
    pub(super) dilations: &'a [i64],
    pub(super) pads: &'a [i64],
    pub(super) strides: &'a [i64],
}

/// One spatial axis of a window.
pub(super) struct Axis {
    pub(super) stride: usize,
    /// Extent of the kernel with its gaps.
    pub(super) extent: usize,
    /// Padding at the start and at the end; those of `auto_pad` are not among them.
    pub(super) pads: (i64, i64),
}

impl Window<'_> {
    /// The window along each axis of a kernel.
    pub(super) fn axes(&self, kernel: &[usize]) -> Result<Vec<Axis>, Problem> {
        let rank = kernel.len();
        check_length("strides", self.strides, rank)?;
        check_length("dilations", self.dilations, rank)?;
        check_length("pads", self.pads, 2 * rank)?;
        let explicit = self.auto_pad == AutoPad::NotSet;
        let axis = |axis: usize| {
            let dilation = positive("dilations", self.dilations.get(axis).copied().unwrap_or(1))?;
            let extent = extent(kernel[axis], dilation)?;
            let pad = |index: usize| {
                if explicit {
                    self.pads.get(index).copied().unwrap_or(0)
                } else {
                    0
                }
            };
            Ok(Axis {
                stride: positive("strides", self.strides.get(axis).copied().unwrap_or(1))?,
                extent,
                pads: (pad(axis), pad(axis + rank)),
            })
        };
        (0..rank).map(axis).collect()
    }

    /// Output sizes for these spatial sizes.
    pub(super) fn output(&self, spatial: &[Dim], kernel: &[usize]) -> Result<Vec<Dim>, Problem> {
        let axes = self.axes(kernel)?;
        let sizes = spatial.iter().zip(&axes).enumerate();
        sizes
            .map(|(index, (dim, axis))| self.output_axis(index, dim, axis))
            .collect()
    }

    fn output_axis(&self, index: usize, dim: &Dim, axis: &Axis) -> Result<Dim, Problem> {
        let same = matches!(self.auto_pad, AutoPad::SameUpper | AutoPad::SameLower);
        let padding = axis.pads.0.checked_add(axis.pads.1);
        let padding = padding.ok_or_else(|| Problem::argument("pads", axis.pads, "smaller numbers"))?;
        let Some(input) = dim.known() else {
            let unchanged =
                axis.stride == 1 && (same || i64::try_from(axis.extent).ok() == padding.checked_add(1));
            return Ok(if unchanged { dim.clone() } else { Dim::Unknown });
        };
        if same {
            return Ok(Dim::Known(input.div_ceil(axis.stride)));
        }
        let padded = i64::try_from(input)
            .ok()
            .and_then(|input| input.checked_add(padding));
        let padded = padded.and_then(|padded| usize::try_from(padded).ok());
        let free = padded.and_then(|padded| padded.checked_sub(axis.extent));
        let (Some(_), Some(free)) = (padded, free) else {
            return Err(Problem::Window {
                axis: index,
                window: axis.extent,
                size: padded.unwrap_or(0),
            });
        };
        if !self.ceil_mode {
            return Ok(Dim::Known(free / axis.stride + 1));
        }
        // A window that would start in the padding at the end is left out.
        let positions = free.div_ceil(axis.stride) + 1;
        let start = u128::from(positions as u64 - 1) * axis.stride as u128;
        let beyond = start >= input as u128 + u128::try_from(axis.pads.0).unwrap_or(0);
        Ok(Dim::Known(positions - usize::from(beyond)))
    }
}

/// Extent of a kernel with gaps between its elements.
fn extent(kernel: usize, dilation: usize) -> Result<usize, Problem> {
    let extent = kernel
        .checked_sub(1)
        .and_then(|gaps| gaps.checked_mul(dilation)?.checked_add(1));
    let extent = extent.filter(|&extent| i64::try_from(extent).is_ok());
    extent.ok_or_else(|| Problem::argument("kernel_shape", kernel, "a number above zero that fits"))
}

fn check_length(name: &'static str, list: &[i64], expected: usize) -> Result<(), Problem> {
    if list.is_empty() || list.len() == expected {
        return Ok(());
    }
    Err(Problem::argument(name, list, format!("{expected} numbers")))
}

/// Kernel sizes from an attribute.
pub(super) fn kernel_sizes(kernel_shape: &[i64], rank: usize) -> Result<Vec<usize>, Problem> {
    if kernel_shape.len() != rank {
        return Err(Problem::argument(
            "kernel_shape",
            kernel_shape,
            format!("{rank} numbers"),
        ));
    }
    kernel_shape
        .iter()
        .map(|&value| positive("kernel_shape", value))
        .collect()
}

/// Output size of one axis of a transposed window:
/// `stride * (input - 1) + output_padding + extent - pads`.
pub(super) fn transposed(
    dim: &Dim,
    axis: &Axis,
    output_padding: i64,
    auto_pad: AutoPad,
) -> Result<Dim, Problem> {
    let Some(input) = dim.known() else {
        let unchanged = axis.stride == 1 && output_padding == 0 && axis.extent == 1 && axis.pads == (0, 0);
        return Ok(if unchanged { dim.clone() } else { Dim::Unknown });
    };
    let problem = || {
        Problem::Size(format!(
            "{input} elements, stride {}, window {}",
            axis.stride, axis.extent
        ))
    };
    if matches!(auto_pad, AutoPad::SameUpper | AutoPad::SameLower) {
        return input.checked_mul(axis.stride).map(Dim::Known).ok_or_else(problem);
    }
    let whole = |value: usize| i128::try_from(value).map_err(|_| problem());
    let pads = i128::from(axis.pads.0) + i128::from(axis.pads.1);
    let steps = (whole(input)? - 1)
        .checked_mul(whole(axis.stride)?)
        .ok_or_else(problem)?;
    let output = steps + i128::from(output_padding) + whole(axis.extent)? - pads;
    usize::try_from(output).map(Dim::Known).map_err(|_| problem())
}

/// Sizes from an attribute, which may be zero.
pub(super) fn sizes(name: &'static str, values: &[i64]) -> Result<Vec<Dim>, Problem> {
    values
        .iter()
        .map(|&value| size(name, value).map(Dim::Known))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(window: &Window<'_>, input: usize, kernel: usize) -> Option<usize> {
        window.output(&[Dim::Known(input)], &[kernel]).ok()?[0].known()
    }

    #[test]
    fn output_sizes() {
        // auto_pad, ceil, dilation, pads, stride, input, kernel -> output
        let cases = [
            (AutoPad::NotSet, false, 1, [1, 1], 1, 32, 3, Some(32)),
            (AutoPad::NotSet, false, 1, [1, 1], 2, 32, 3, Some(16)),
            (AutoPad::NotSet, false, 2, [0, 0], 1, 7, 3, Some(3)),
            (AutoPad::NotSet, true, 1, [0, 0], 2, 4, 3, Some(2)),
            (AutoPad::NotSet, true, 1, [0, 0], 2, 2, 1, Some(1)),
            (AutoPad::SameUpper, false, 1, [9, 9], 2, 5, 3, Some(3)),
            (AutoPad::Valid, false, 1, [9, 9], 1, 5, 3, Some(3)),
            (AutoPad::NotSet, false, 1, [0, 0], 1, 2, 3, None),
            (AutoPad::NotSet, false, 1, [-1, 0], 1, 3, 3, None),
            (AutoPad::NotSet, false, 1, [i64::MAX, 1], 1, 3, 3, None),
            (AutoPad::NotSet, false, i64::MAX, [0, 0], 1, 3, 3, None),
            (AutoPad::NotSet, false, 1, [0, 0], 0, 3, 3, None),
        ];
        for (auto_pad, ceil_mode, dilation, pads, stride, input, kernel, expected) in cases {
            let window = Window {
                auto_pad,
                ceil_mode,
                dilations: &[dilation],
                pads: &pads,
                strides: &[stride],
            };
            assert_eq!(
                output(&window, input, kernel),
                expected,
                "{auto_pad:?} {pads:?} {stride} {input} {kernel}"
            );
        }
    }

    #[test]
    fn padding_that_keeps_the_size_keeps_a_symbol() {
        let window = Window {
            auto_pad: AutoPad::NotSet,
            ceil_mode: false,
            dilations: &[],
            pads: &[1, 1],
            strides: &[],
        };
        let height = Dim::Symbol("H".to_owned());
        assert_eq!(
            window.output(std::slice::from_ref(&height), &[3]),
            Ok(vec![height.clone()])
        );
        assert_eq!(window.output(&[height], &[5]), Ok(vec![Dim::Unknown]));
    }
}
