//! Windows that slide over spatial dimensions: convolutions and pools.

use bantam_graph::ops::AutoPad;

use crate::OpError;

/// The attributes that say how windows slide. Empty lists mean the default.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowAttributes<'a> {
    pub(crate) auto_pad: AutoPad,
    pub(crate) kernel: &'a [i64],
    pub(crate) strides: &'a [i64],
    pub(crate) dilations: &'a [i64],
    pub(crate) pads: &'a [i64],
}

/// [`WindowAttributes`] of an op that has all of them.
macro_rules! window_attributes {
    ($op:expr) => {
        $crate::ops::windows::WindowAttributes {
            auto_pad: $op.auto_pad,
            kernel: &$op.kernel_shape,
            strides: &$op.strides,
            dilations: &$op.dilations,
            pads: &$op.pads,
        }
    };
}

pub(crate) use window_attributes;

/// How windows slide along one dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) input: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) dilation: usize,
    pub(crate) before: usize,
    pub(crate) after: usize,
    pub(crate) output: usize,
}

impl Window {
    /// Elements from the first to the last that the kernel sees.
    pub(crate) fn extent(&self) -> usize {
        (self.kernel - 1) * self.dilation + 1
    }

    /// One field of each window.
    pub(crate) fn each(windows: &[Window], field: impl Fn(&Window) -> usize) -> Vec<usize> {
        windows.iter().map(field).collect()
    }
}

/// What happens to a last window that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastWindow {
    /// It is left out.
    Dropped,
    /// It is kept if it starts in the input or in the padding before it.
    Kept,
}

/// Sizes, steps and pads above this are refused, so that sums and products of two of them cannot overflow.
const LARGEST: usize = 1 << 30;

impl WindowAttributes<'_> {
    /// The windows of each spatial dimension of an input; `kernel` is the size of the weights' spatial dimensions, or
    /// `None` if the attribute gives it.
    pub(crate) fn windows(
        &self,
        input: &[usize],
        kernel: Option<&[usize]>,
        last: LastWindow,
    ) -> Result<Vec<Window>, OpError> {
        let mut windows = self.unpadded(input, kernel)?;
        for window in &mut windows {
            let (extent, stride) = (window.extent(), window.stride);
            match self.auto_pad {
                AutoPad::SameUpper | AutoPad::SameLower => {
                    window.output = window.input.div_ceil(stride);
                    let covered = (window.output.max(1) - 1) * stride + extent;
                    let missing = covered.saturating_sub(window.input);
                    (window.before, window.after) = halves(missing, self.auto_pad);
                }
                AutoPad::NotSet | AutoPad::Valid => {
                    let padded = window.input + window.before + window.after;
                    let steps = padded.checked_sub(extent).ok_or_else(|| {
                        OpError::shape(format!(
                            "a window of {extent} elements does not fit into {padded}"
                        ))
                    })?;
                    window.output = match last {
                        LastWindow::Dropped => steps / stride + 1,
                        LastWindow::Kept => steps.div_ceil(stride) + 1,
                    };
                    if last == LastWindow::Kept
                        && (window.output - 1) * stride >= window.input + window.before
                    {
                        window.output -= 1;
                    }
                }
            }
        }
        Ok(windows)
    }

    /// The windows of a transposed convolution: `input` is its input, of which each element is spread over a window of
    /// the output.
    pub(crate) fn transposed(
        &self,
        input: &[usize],
        kernel: &[usize],
        output_padding: &[i64],
        output_shape: &[i64],
    ) -> Result<Vec<Window>, OpError> {
        let mut windows = self.unpadded(input, Some(kernel))?;
        let rank = windows.len();
        let output_padding = sizes(output_padding, rank, 0, 0, "output_padding")?;
        // Some files give the batch and the channels too.
        let spatial = output_shape
            .len()
            .checked_sub(rank)
            .map_or(output_shape, |extra| &output_shape[extra..]);
        let same = matches!(self.auto_pad, AutoPad::SameUpper | AutoPad::SameLower);
        let wanted = match spatial {
            [] if same => Some(
                windows
                    .iter()
                    .map(|window| window.input * window.stride)
                    .collect(),
            ),
            [] => None,
            _ => Some(sizes(spatial, rank, 0, 0, "output_shape")?),
        };
        for (axis, window) in windows.iter_mut().enumerate() {
            let reach = (window.input.max(1) - 1) * window.stride + window.extent() + output_padding[axis];
            if let Some(wanted) = &wanted {
                window.output = wanted[axis];
                (window.before, window.after) = halves(reach.saturating_sub(window.output), self.auto_pad);
            } else {
                let pads = window.before + window.after;
                window.output = reach.checked_sub(pads).ok_or_else(|| {
                    OpError::shape(format!(
                        "pads of {pads} are more than the {reach} elements that they cut from"
                    ))
                })?;
            }
        }
        Ok(windows)
    }

    /// Windows with explicit pads, whose output is not known yet.
    fn unpadded(&self, input: &[usize], kernel: Option<&[usize]>) -> Result<Vec<Window>, OpError> {
        let rank = input.len();
        if rank == 0 {
            return Err(OpError::shape("an input without spatial dimensions"));
        }
        let given = sizes(self.kernel, rank, 1, 1, "kernel_shape")?;
        let kernel = match kernel {
            Some(kernel) if !self.kernel.is_empty() && kernel != given.as_slice() => {
                return Err(OpError::shape(format!(
                    "kernel_shape {given:?} for weights of {kernel:?}"
                )));
            }
            Some(kernel) => kernel.to_vec(),
            None if self.kernel.is_empty() => return Err(OpError::value("kernel_shape is missing")),
            None => given,
        };
        if kernel.len() != rank || kernel.contains(&0) {
            return Err(OpError::shape(format!(
                "a kernel of {kernel:?} for {rank} spatial dimensions"
            )));
        }
        let too_large = input.iter().chain(&kernel).find(|&&size| size > LARGEST);
        if let Some(size) = too_large {
            return Err(OpError::shape(format!(
                "a spatial dimension of {size} is too large"
            )));
        }
        let strides = sizes(self.strides, rank, 1, 1, "strides")?;
        let dilations = sizes(self.dilations, rank, 1, 1, "dilations")?;
        let explicit = if self.auto_pad == AutoPad::NotSet {
            self.pads
        } else {
            &[]
        };
        let pads = sizes(explicit, 2 * rank, 0, 0, "pads")?;
        let window = |axis: usize| Window {
            input: input[axis],
            kernel: kernel[axis],
            stride: strides[axis],
            dilation: dilations[axis],
            before: pads[axis],
            after: pads[rank + axis],
            output: 0,
        };
        Ok((0..rank).map(window).collect())
    }
}

/// Padding before and after. SAME_UPPER puts the odd one after; everything else before.
fn halves(padding: usize, auto_pad: AutoPad) -> (usize, usize) {
    let half = padding / 2;
    if auto_pad == AutoPad::SameUpper {
        (half, padding - half)
    } else {
        (padding - half, half)
    }
}

/// An attribute of `count` sizes of at least `smallest`, each `default` if the list is empty.
fn sizes(
    values: &[i64],
    count: usize,
    default: usize,
    smallest: usize,
    what: &str,
) -> Result<Vec<usize>, OpError> {
    if values.is_empty() {
        return Ok(vec![default; count]);
    }
    if values.len() != count {
        return Err(OpError::value(format!(
            "{what} has {} values, not {count}",
            values.len()
        )));
    }
    let size = |&value: &i64| {
        let size = usize::try_from(value)
            .ok()
            .filter(|size| (smallest..=LARGEST).contains(size));
        size.ok_or_else(|| OpError::value(format!("{what} of {value} is not in {smallest}..={LARGEST}")))
    };
    values.iter().map(size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: WindowAttributes<'_> = WindowAttributes {
        auto_pad: AutoPad::NotSet,
        kernel: &[3],
        strides: &[],
        dilations: &[],
        pads: &[],
    };

    fn one(attributes: WindowAttributes<'_>, input: usize, last: LastWindow) -> [usize; 3] {
        let window = attributes.windows(&[input], None, last).unwrap()[0];
        [window.before, window.after, window.output]
    }

    #[test]
    fn outputs_and_pads() {
        use LastWindow::{Dropped, Kept};
        let stride_2 = WindowAttributes {
            strides: &[2],
            ..PLAIN
        };
        let upper = WindowAttributes {
            auto_pad: AutoPad::SameUpper,
            kernel: &[2],
            ..PLAIN
        };
        let lower = WindowAttributes {
            auto_pad: AutoPad::SameLower,
            ..upper
        };
        let cases = [
            ("plain", PLAIN, 5, Dropped, [0, 0, 3]),
            (
                "padded",
                WindowAttributes {
                    pads: &[1, 2],
                    ..PLAIN
                },
                5,
                Dropped,
                [1, 2, 6],
            ),
            (
                "dilated",
                WindowAttributes {
                    dilations: &[2],
                    ..PLAIN
                },
                5,
                Dropped,
                [0, 0, 1],
            ),
            ("dropped", stride_2, 6, Dropped, [0, 0, 2]),
            ("kept", stride_2, 6, Kept, [0, 0, 3]),
            (
                "starts in the padding after",
                WindowAttributes {
                    pads: &[0, 2],
                    strides: &[4],
                    ..PLAIN
                },
                4,
                Kept,
                [0, 2, 1],
            ),
            ("same upper", upper, 4, Dropped, [0, 1, 4]),
            ("same lower", lower, 4, Dropped, [1, 0, 4]),
            (
                "same with stride",
                WindowAttributes {
                    strides: &[3],
                    ..upper
                },
                7,
                Dropped,
                [0, 1, 3],
            ),
            (
                "same dilated",
                WindowAttributes {
                    dilations: &[3],
                    ..upper
                },
                7,
                Dropped,
                [1, 2, 7],
            ),
            (
                "valid",
                WindowAttributes {
                    auto_pad: AutoPad::Valid,
                    pads: &[9, 9],
                    ..PLAIN
                },
                5,
                Dropped,
                [0, 0, 3],
            ),
        ];
        for (name, attributes, input, last, expected) in cases {
            assert_eq!(one(attributes, input, last), expected, "{name}");
        }
    }

    #[test]
    fn transposed_outputs() {
        let stride_2 = WindowAttributes {
            strides: &[2],
            ..PLAIN
        };
        let window = |attributes: WindowAttributes<'_>, padding: &[i64], shape: &[i64]| {
            let window = attributes.transposed(&[4], &[3], padding, shape).unwrap()[0];
            [window.before, window.after, window.output]
        };
        assert_eq!(window(stride_2, &[], &[]), [0, 0, 9]);
        assert_eq!(
            window(
                WindowAttributes {
                    pads: &[1, 1],
                    ..stride_2
                },
                &[1],
                &[]
            ),
            [1, 1, 8]
        );
        assert_eq!(window(stride_2, &[], &[8]), [1, 0, 8]);
        assert_eq!(window(stride_2, &[], &[1, 2, 8]), [1, 0, 8]);
        assert_eq!(
            window(
                WindowAttributes {
                    auto_pad: AutoPad::SameUpper,
                    ..stride_2
                },
                &[],
                &[]
            ),
            [0, 1, 8]
        );
        assert_eq!(window(stride_2, &[], &[12]), [0, 0, 12]);
    }

    #[test]
    fn wrong_attributes_are_refused() {
        let cases = [
            WindowAttributes {
                strides: &[0],
                ..PLAIN
            },
            WindowAttributes {
                strides: &[1, 1],
                ..PLAIN
            },
            WindowAttributes {
                dilations: &[-1],
                ..PLAIN
            },
            WindowAttributes {
                pads: &[-1, 0],
                ..PLAIN
            },
            WindowAttributes {
                pads: &[i64::MAX, 0],
                ..PLAIN
            },
            WindowAttributes {
                kernel: &[0],
                ..PLAIN
            },
            WindowAttributes { kernel: &[], ..PLAIN },
            WindowAttributes {
                kernel: &[9],
                ..PLAIN
            },
        ];
        for attributes in cases {
            assert!(
                attributes.windows(&[5], None, LastWindow::Dropped).is_err(),
                "{attributes:?}"
            );
        }
        assert!(PLAIN.windows(&[], None, LastWindow::Dropped).is_err());
        assert!(PLAIN.windows(&[usize::MAX], None, LastWindow::Dropped).is_err());
        assert!(PLAIN.windows(&[5], Some(&[2]), LastWindow::Dropped).is_err());
    }
}
