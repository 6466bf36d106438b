//! The sizes of convolutions.

use bantam_graph::ops::Conv;
use bantam_kernels::conv::Geometry;

use crate::OpError;
use crate::ops::windows::{LastWindow, Window, WindowAttributes, window_attributes};

/// The sizes of a convolution of `x` by `weights`.
pub(in crate::ops) fn geometry(
    attributes: WindowAttributes<'_>,
    group: i64,
    x: &[usize],
    weights: &[usize],
) -> Result<Geometry, OpError> {
    let (&[batch, channels, ref input @ ..], &[out_channels, group_channels, ref kernel @ ..]) = (x, weights)
    else {
        return Err(OpError::shape(format!(
            "a convolution of {x:?} by {weights:?}: at least 3 dimensions are needed"
        )));
    };
    let groups = groups(group)?;
    if group_channels.checked_mul(groups) != Some(channels) || !out_channels.is_multiple_of(groups) {
        return Err(OpError::shape(format!(
            "weights {weights:?} in {groups} groups do not fit an input of {channels} channels"
        )));
    }
    if x.len() != weights.len() {
        return Err(OpError::shape(format!(
            "an input of rank {} and weights of rank {}",
            x.len(),
            weights.len()
        )));
    }
    let windows = attributes.windows(input, Some(kernel), LastWindow::Dropped)?;
    Ok(with_windows(batch, channels, out_channels, groups, &windows))
}

/// The sizes of a convolution of an input of shape `x` by weights of shape `weights`.
///
/// # Errors
/// When the two do not fit each other or the attributes.
pub fn conv_geometry(op: &Conv, x: &[usize], weights: &[usize]) -> Result<Geometry, OpError> {
    geometry(window_attributes!(op), op.group, x, weights)
}

/// The sizes with these windows.
pub(super) fn with_windows(
    batch: usize,
    channels: usize,
    out_channels: usize,
    groups: usize,
    windows: &[Window],
) -> Geometry {
    Geometry {
        batch,
        channels,
        out_channels,
        groups,
        input: Window::each(windows, |window| window.input),
        kernel: Window::each(windows, |window| window.kernel),
        strides: Window::each(windows, |window| window.stride),
        dilations: Window::each(windows, |window| window.dilation),
        pads: Window::each(windows, |window| window.before),
        output: Window::each(windows, |window| window.output),
    }
}

pub(in crate::ops) fn groups(group: i64) -> Result<usize, OpError> {
    let groups = usize::try_from(group).ok().filter(|&groups| groups > 0);
    groups.ok_or_else(|| OpError::value(format!("group of {group} is not positive")))
}

pub(in crate::ops) fn output_shape(geometry: &Geometry) -> Vec<usize> {
    [
        &[geometry.batch, geometry.out_channels],
        geometry.output.as_slice(),
    ]
    .concat()
}

/// The dilation of the last dimension.
pub(in crate::ops) fn last_dilation(dilations: &[i64]) -> Option<usize> {
    dilations
        .last()
        .map_or(Some(1), |&last| usize::try_from(last).ok())
}

/// Elements of padding that are allowed for each element of input and output, so that a small file cannot ask for much
/// memory.
const MOST_PADDING: usize = 64;
/// And beyond those.
const SOME_PADDING: usize = 1 << 26;

/// Refuses padding that is far larger than input and output: some of it is written out.
pub(in crate::ops) fn check_padding(geometry: &Geometry) -> Result<(), OpError> {
    let padded = (0..geometry.input.len()).try_fold(geometry.channels, |elements, axis| {
        let reach = geometry.kernel[axis].saturating_sub(1);
        let reach = reach.checked_mul(geometry.dilations[axis])?;
        let last = geometry.output[axis].saturating_sub(1);
        let size = last.checked_mul(geometry.strides[axis])?.checked_add(reach)?;
        elements.checked_mul(size.checked_add(1)?)
    });
    let inputs = geometry.channels.saturating_mul(geometry.input_plane());
    let outputs = geometry.out_channels.saturating_mul(geometry.output_plane());
    let allowed = (inputs.saturating_add(outputs))
        .saturating_mul(MOST_PADDING)
        .saturating_add(SOME_PADDING);
    match padded.is_some_and(|padded| padded <= allowed) {
        true => Ok(()),
        false => Err(OpError::shape("far more padding than input and output")),
    }
}
