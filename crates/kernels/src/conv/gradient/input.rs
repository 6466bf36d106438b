//! The gradient of the input: convolutions of the output's gradient with the weights turned around.
//!
//! With a stride `s`, an element of the input meets only every `s`-th tap of the kernel, and which ones depends on its
//! position modulo `s`: each residue is a convolution of its own, without strides and without a wasted product.

use super::super::{Epilogue, Geometry, PackedConvolution, advance};
use crate::Isa;
use rayon::prelude::*;

/// Writes to `dx` the gradient of the input for the gradient `dy` of the output, both with their channels last.
///
/// # Panics
/// When the slices do not have the sizes of the geometry.
pub fn input(isa: Isa, geometry: &Geometry, dy: &[f32], weights: &[f32], dx: &mut [f32]) {
    let count = geometry.out_channels * geometry.taps();
    assert!(
        geometry.fits(dx.len(), count, dy.len()) && weights.len() == count,
        "slices do not fit {geometry:?}"
    );
    if dx.is_empty() {
        return;
    }
    if geometry.strides.iter().all(|&stride| stride == 1)
        && let Some(residue) = Residue::new(geometry, &vec![0; geometry.input.len()])
    {
        return residue.convolve(isa, geometry, dy, weights, dx);
    }
    dx.fill(0.0);
    let (strides, sizes) = (geometry.strides.iter(), &geometry.input);
    let remainders: Vec<usize> = strides
        .zip(sizes)
        .map(|(&stride, &size)| stride.min(size))
        .collect();
    let mut remainder = vec![0; geometry.input.len()];
    loop {
        if let Some(residue) = Residue::new(geometry, &remainder) {
            let mut part = vec![0.0; residue.elements(geometry)];
            residue.convolve(isa, geometry, dy, weights, &mut part);
            residue.spread(geometry, &part, dx);
        }
        if !advance(&mut remainder, &remainders) {
            return;
        }
    }
}

/// Along one dimension, the elements of the input whose position modulo the stride is the same.
#[derive(Clone, Debug)]
struct Axis {
    /// The first such element.
    first: usize,
    /// How many there are.
    count: usize,
    /// The taps that they meet, in the order in which the output's elements follow each other; `None` has no weight.
    taps: Vec<Option<usize>>,
    /// From one of these output elements to the next.
    dilation: usize,
    /// Which output element the first input element meets with the first tap; negative is before the first.
    start: isize,
}

/// A residue along every dimension; one without taps or elements gets no gradient.
struct Residue {
    axes: Vec<Axis>,
}

impl Residue {
    /// Of the elements `remainder + k * strides`; `None` if they meet nothing.
    fn new(geometry: &Geometry, remainder: &[usize]) -> Option<Residue> {
        let axis = |axis: usize| Axis::new(geometry, axis, remainder[axis]);
        let axes: Option<Vec<Axis>> = (0..remainder.len()).map(axis).collect();
        axes.map(|axes| Residue { axes })
    }

    /// Elements of this residue.
    fn elements(&self, geometry: &Geometry) -> usize {
        geometry.batch * geometry.channels * self.axes.iter().map(|axis| axis.count).product::<usize>()
    }

    /// The gradients of the elements of this residue, side by side.
    fn convolve(&self, isa: Isa, geometry: &Geometry, dy: &[f32], weights: &[f32], dx: &mut [f32]) {
        let list = |of: fn(&Axis) -> usize| self.axes.iter().map(of).collect::<Vec<usize>>();
        let turned = Geometry {
            batch: geometry.batch,
            channels: geometry.out_channels,
            out_channels: geometry.channels,
            groups: geometry.groups,
            input: geometry.output.clone(),
            kernel: list(|axis| axis.taps.len()),
            strides: vec![1; self.axes.len()],
            dilations: list(|axis| axis.dilation),
            // A window that starts inside is one with more taps before it, which are zero.
            pads: list(|axis| axis.start.min(0).unsigned_abs()),
            output: list(|axis| axis.count),
        };
        let weights = self.turn(geometry, weights);
        let shape = [
            &[turned.out_channels, turned.group_channels()],
            turned.kernel.as_slice(),
        ]
        .concat();
        let dilation = turned.dilations[turned.dilations.len() - 1];
        let packed = PackedConvolution::new(isa, &shape, turned.groups, dilation, None);
        packed.run(&turned, dy, &weights, Epilogue::default(), dx);
    }

    /// The weights that this residue meets: input and output channels change places, taps are in the output's order.
    fn turn(&self, geometry: &Geometry, weights: &[f32]) -> Vec<f32> {
        let (channels, filters) = (geometry.group_channels(), geometry.group_out_channels());
        let all: usize = geometry.kernel.iter().product();
        let counts: Vec<usize> = self.axes.iter().map(|axis| axis.taps.len()).collect();
        let mut taps = Vec::with_capacity(counts.iter().product());
        let mut position = vec![0; counts.len()];
        loop {
            let mut axes = self.axes.iter().zip(&position).zip(&geometry.kernel);
            let flat = axes.try_fold(0, |flat, ((axis, &at), size)| Some(flat * size + axis.taps[at]?));
            taps.push(flat);
            if !advance(&mut position, &counts) {
                break;
            }
        }
        let mut turned = vec![0.0; geometry.channels * filters * taps.len()];
        let filter = filters * taps.len();
        turned
            .par_chunks_mut(filter)
            .enumerate()
            .for_each(|(channel, turned)| {
                let (group, channel) = (channel / channels, channel % channels);
                for (out, turned) in turned.chunks_exact_mut(taps.len()).enumerate() {
                    let from = ((group * filters + out) * channels + channel) * all;
                    for (to, tap) in turned.iter_mut().zip(&taps) {
                        *to = tap.map_or(0.0, |tap| weights[from + tap]);
                    }
                }
            });
        turned
    }

    /// Puts the gradients of this residue where they belong.
    fn spread(&self, geometry: &Geometry, part: &[f32], dx: &mut [f32]) {
        let channels = geometry.channels;
        let last = self.axes.len() - 1;
        let (row, image) = (
            self.axes[last].count * channels,
            geometry.input_plane() * channels,
        );
        let outer: Vec<usize> = self.axes[..last].iter().map(|axis| axis.count).collect();
        let part_image = part.len() / geometry.batch;
        let images = dx
            .par_chunks_exact_mut(image)
            .zip(part.par_chunks_exact(part_image));
        images.for_each(|(dx, part)| {
            let mut position = vec![0; last];
            for row in part.chunks_exact(row) {
                let index = |axis: usize, at: usize| self.axes[axis].first + at * geometry.strides[axis];
                let line = (0..last).fold(0, |flat, axis| {
                    flat * geometry.input[axis] + index(axis, position[axis])
                });
                for (at, pixel) in row.chunks_exact(channels).enumerate() {
                    let to = (line * geometry.input[last] + index(last, at)) * channels;
                    dx[to..to + channels].copy_from_slice(pixel);
                }
                advance(&mut position, &outer);
            }
        });
    }
}

impl Axis {
    /// Output element `o` meets input element `i` by tap `t` where `o * stride + t * dilation = i + pad`.
    fn new(geometry: &Geometry, axis: usize, remainder: usize) -> Option<Axis> {
        let (stride, dilation) = (geometry.strides[axis], geometry.dilations[axis]);
        let (pad, size) = (geometry.pads[axis], geometry.input[axis]);
        let first = remainder;
        let met = |tap: &usize| tap * dilation % stride == (first + pad) % stride;
        // Later taps meet earlier elements.
        let met: Vec<usize> = (0..geometry.kernel[axis]).filter(met).rev().collect();
        let earliest = *met.first().filter(|_| first < size)?;
        let step = match met.as_slice() {
            [a, b, ..] => (a - b) * dilation / stride,
            _ => 1,
        };
        let mut start = ((first + pad) as isize - (earliest * dilation) as isize) / stride as isize;
        let mut taps: Vec<Option<usize>> = met.into_iter().map(Some).collect();
        // A window cannot start behind the first element: taps without weight are put before.
        while start > 0 {
            taps.insert(0, None);
            start -= step as isize;
        }
        Some(Axis {
            first,
            count: (size - first).div_ceil(stride),
            taps,
            dilation: step,
            start,
        })
    }
}
