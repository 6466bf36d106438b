//! [`Class`]: the part of an input gradient whose positions leave the same residue when divided by the strides.

use super::Geometry;

/// The positions of one dimension that leave one residue, and the elements of the kernel that reach them.
#[derive(Clone, Copy, Debug)]
struct Residue {
    /// The residue: the first position.
    first: usize,
    /// Positions.
    count: usize,
    stride: usize,
    /// The first element of the kernel, the distance to the next, and their number.
    tap: usize,
    tap_step: usize,
    taps: usize,
    /// Dilation and padding of the convolution of the output's gradient that gives these positions.
    dilation: usize,
    pad: usize,
    /// Results of this convolution that lie before the first position: there are some when its padding is negative.
    skipped: usize,
}

impl Residue {
    fn new(geometry: &Geometry, axis: usize, first: usize) -> Residue {
        let (stride, dilation) = (geometry.strides[axis], geometry.dilations[axis]);
        let (kernel, pad) = (geometry.kernel[axis], geometry.pads[axis]);
        let common = greatest_common_divisor(stride, dilation);
        let tap_step = stride / common;
        // Output j sees position i by tap k when j * stride + k * dilation = i + pad.
        let tap = (0..kernel.min(tap_step))
            .find(|&tap| (tap * dilation) % stride == (first + pad) % stride)
            .unwrap_or(kernel);
        let taps = (kernel - tap).div_ceil(tap_step);
        let last = tap + taps.saturating_sub(1) * tap_step;
        let (reach, start) = (last * dilation, first + pad);
        Residue {
            first,
            count: (geometry.input[axis] - first).div_ceil(stride),
            stride,
            tap,
            tap_step,
            taps,
            dilation: dilation / common,
            pad: reach.saturating_sub(start) / stride,
            skipped: if taps == 0 {
                0
            } else {
                start.saturating_sub(reach) / stride
            },
        }
    }
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

/// One residue for each dimension. Its positions are the results of a convolution of the output's gradient, without
/// strides, with those elements of the kernel that reach them, in reverse order.
#[derive(Clone, Debug)]
pub(super) struct Class {
    axes: Vec<Residue>,
}

impl Class {
    /// All classes that have positions.
    pub(super) fn all(geometry: &Geometry) -> Vec<Class> {
        let mut classes = vec![Class { axes: Vec::new() }];
        for axis in 0..geometry.input.len() {
            let residues: Vec<Residue> = (0..geometry.strides[axis].min(geometry.input[axis]))
                .map(|first| Residue::new(geometry, axis, first))
                .collect();
            let with = |class: Class| {
                let add = move |&residue: &Residue| Class {
                    axes: class.axes.iter().copied().chain([residue]).collect(),
                };
                residues.iter().map(add).collect::<Vec<_>>()
            };
            classes = classes.into_iter().flat_map(with).collect();
        }
        classes
    }

    /// Whether nothing reaches the positions: their gradient is zero.
    pub(super) fn is_zero(&self) -> bool {
        self.axes.iter().any(|axis| axis.taps == 0)
    }

    /// Whether the results of the convolution are the whole input gradient as it is.
    pub(super) fn is_everything(&self) -> bool {
        self.axes.iter().all(|axis| axis.stride == 1 && axis.skipped == 0)
    }

    /// The convolution of the output's gradient.
    pub(super) fn geometry(&self, forward: &Geometry, batch: usize) -> Geometry {
        let list = |of: fn(&Residue) -> usize| self.axes.iter().map(of).collect::<Vec<usize>>();
        Geometry {
            batch,
            channels: forward.out_channels,
            out_channels: forward.channels,
            groups: forward.groups,
            input: forward.output.clone(),
            kernel: list(|axis| axis.taps),
            strides: vec![1; self.axes.len()],
            dilations: list(|axis| axis.dilation),
            pads: list(|axis| axis.pad),
            output: list(|axis| axis.count + axis.skipped),
        }
    }

    /// The weights of this convolution, `[channels, out_channels of a group, kernel...]`.
    pub(super) fn weights(&self, forward: &Geometry, weights: &[f32]) -> Vec<f32> {
        let taps = self.taps(forward);
        let kernel: usize = forward.kernel.iter().product();
        let (channels, filters) = (forward.group_channels(), forward.group_out_channels());
        let mut turned = vec![0.0; forward.channels * filters * taps.len()];
        let of_channel = turned.chunks_exact_mut((filters * taps.len()).max(1));
        for (index, turned) in of_channel.enumerate() {
            let (group, channel) = (index / channels, index % channels);
            for (filter, turned) in turned.chunks_exact_mut(taps.len()).enumerate() {
                let from = ((group * filters + filter) * channels + channel) * kernel;
                let from = &weights[from..][..kernel];
                turned
                    .iter_mut()
                    .zip(&taps)
                    .for_each(|(to, &tap)| *to = from[tap]);
            }
        }
        turned
    }

    /// The elements of the kernel, from the last to the first along each dimension.
    fn taps(&self, forward: &Geometry) -> Vec<usize> {
        let mut taps = vec![0];
        for (axis, residue) in self.axes.iter().enumerate() {
            let along = (0..residue.taps)
                .rev()
                .map(|tap| residue.tap + tap * residue.tap_step);
            let along: Vec<usize> = along.collect();
            let size = forward.kernel[axis];
            taps = (taps.iter())
                .flat_map(|before| along.iter().map(move |tap| before * size + tap))
                .collect();
        }
        taps
    }

    /// For each row of positions along the last dimension: its first result of the convolution of one image, and its
    /// first position, both as indices of pixels.
    pub(super) fn rows(&self, forward: &Geometry) -> Vec<(usize, usize)> {
        let last = self.axes.len() - 1;
        let mut rows = vec![(0, 0)];
        for (axis, residue) in self.axes.iter().enumerate() {
            let results = residue.count + residue.skipped;
            let count = if axis == last { 1 } else { residue.count };
            let along = |(result, position): (usize, usize)| {
                (0..count).map(move |index| {
                    let at = residue.first + index * residue.stride;
                    (
                        result * results + residue.skipped + index,
                        position * forward.input[axis] + at,
                    )
                })
            };
            rows = rows.into_iter().flat_map(along).collect();
        }
        rows
    }

    /// Positions of a row, and the distance from one to the next, in pixels.
    pub(super) fn row(&self) -> (usize, usize) {
        let last = self.axes[self.axes.len() - 1];
        (last.count, last.stride)
    }
}
