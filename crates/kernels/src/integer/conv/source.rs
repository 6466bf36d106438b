//! [`Source`]: where the bytes of each window lie.

use std::borrow::Cow;

use super::{Kind, Unit};
use crate::conv::{Geometry, advance};
use crate::integer::DEPTH;

/// The input of a convolution, and how windows see it.
pub(super) struct Source<'a> {
    pub(super) geometry: Geometry,
    pub(super) x: &'a [u8],
    pub(super) zero: u8,
    /// Windows are read from a padded copy of the rows that a unit sees, not from the input itself.
    copied: bool,
    /// Elements of the (padded) input along each spatial dimension; along the first, of the whole input.
    sizes: Vec<usize>,
    /// Bytes of a run, and the offset of each run from the first byte of a window.
    pub(super) run: usize,
    pub(super) runs: Vec<usize>,
}

/// Pixels of a unit at least.
const PIXELS: usize = 96;
/// Products of a unit at least: enough to be worth a task.
const PRODUCTS: usize = 1 << 19;

impl<'a> Source<'a> {
    pub(super) fn new(geometry: &Geometry, x: &'a [u8], zero: u8, kind: &Kind) -> Source<'a> {
        let geometry = simplified(geometry);
        let merged = matches!(kind, Kind::Dense(dense) if dense.merged);
        let needed = |axis: usize| {
            let reach = geometry.kernel[axis].saturating_sub(1) * geometry.dilations[axis];
            geometry.output[axis].saturating_sub(1) * geometry.strides[axis] + reach + 1
        };
        let channels = geometry.group_channels();
        let last = geometry.kernel[geometry.kernel.len() - 1];
        let run = if merged { channels * last } else { channels };
        let inside = (0..geometry.input.len())
            .all(|axis| geometry.pads[axis] == 0 && needed(axis) <= geometry.input[axis]);
        // Kernels read whole groups of four bytes, which must not reach past the input.
        let copied = !inside || !run.is_multiple_of(DEPTH);
        let sizes = match copied {
            true => (0..geometry.input.len()).map(needed).collect(),
            false => geometry.input.clone(),
        };
        let mut source = Source {
            geometry,
            x,
            zero,
            copied,
            sizes,
            run,
            runs: Vec::new(),
        };
        source.runs = source.offsets_of_runs(merged);
        source
    }

    fn offsets_of_runs(&self, merged: bool) -> Vec<usize> {
        let mut kernel = self.geometry.kernel.clone();
        if merged {
            let last = kernel.len() - 1;
            kernel[last] = kernel[last].min(1);
        }
        let mut runs = Vec::new();
        let mut tap = vec![0; kernel.len()];
        while !kernel.contains(&0) {
            runs.push(self.offset(&tap, &self.geometry.dilations));
            if !advance(&mut tap, &kernel) {
                break;
            }
        }
        runs
    }

    /// The first byte of the element at `position * steps`.
    fn offset(&self, position: &[usize], steps: &[usize]) -> usize {
        let flat = (0..position.len()).fold(0, |flat, axis| {
            flat * self.sizes[axis] + position[axis] * steps[axis]
        });
        flat * self.geometry.channels
    }

    /// Output indices along the first spatial dimension.
    pub(super) fn rows(&self) -> usize {
        self.geometry.output[0]
    }

    /// Output pixels for each of them.
    pub(super) fn row_pixels(&self) -> usize {
        self.geometry.output[1..].iter().product()
    }

    pub(super) fn groups(&self) -> usize {
        self.geometry.groups
    }

    /// Rows of a unit, for so many products in a pixel.
    pub(super) fn rows_of_unit(&self, products: usize) -> usize {
        let pixels = PIXELS.max(PRODUCTS / products.max(1));
        pixels.div_ceil(self.row_pixels().max(1))
    }

    /// The bytes that a unit's windows lie in, and the offset of each window.
    pub(super) fn windows(&self, unit: Unit) -> (Cow<'_, [u8]>, Vec<usize>) {
        let bytes = match self.copied {
            true => Cow::Owned(self.copy(unit)),
            false => {
                let image = self.geometry.input_plane() * self.geometry.channels;
                let row = image / self.sizes[0].max(1);
                let start = unit.first * self.geometry.strides[0] * row;
                Cow::Borrowed(&self.x[unit.image * image..][start..image])
            }
        };
        let sizes: Vec<usize> = std::iter::once(unit.rows)
            .chain(self.geometry.output[1..].iter().copied())
            .collect();
        let mut starts = Vec::with_capacity(sizes.iter().product());
        let mut position = vec![0; sizes.len()];
        while !sizes.contains(&0) {
            starts.push(self.offset(&position, &self.geometry.strides));
            if !advance(&mut position, &sizes) {
                break;
            }
        }
        (bytes, starts)
    }

    /// The padded rows that a unit's windows see, with some slack.
    fn copy(&self, unit: Unit) -> Vec<u8> {
        let geometry = &self.geometry;
        let rank = geometry.input.len();
        let reach = geometry.kernel[0].saturating_sub(1) * geometry.dilations[0];
        let mut sizes = self.sizes.clone();
        sizes[0] = (unit.rows - 1) * geometry.strides[0] + reach + 1;
        let channels = geometry.channels;
        let mut bytes = vec![self.zero; sizes.iter().product::<usize>() * channels + DEPTH];
        // What is copied at once: the elements along the last dimension, or one of the only dimension.
        let outer = &sizes[..(rank - 1).max(1)];
        let (pad, width, padded) = match rank {
            1 => (0, 1, 1),
            _ => (geometry.pads[rank - 1], geometry.input[rank - 1], sizes[rank - 1]),
        };
        let count = width.min(padded.saturating_sub(pad)) * channels;
        let image = &self.x[unit.image * geometry.input_plane() * channels..];
        let first = unit.first * geometry.strides[0];
        let mut position = vec![0; outer.len()];
        loop {
            let index = |axis: usize| {
                let padded = position[axis] + if axis == 0 { first } else { 0 };
                let index = padded.checked_sub(geometry.pads[axis])?;
                (index < geometry.input[axis]).then_some(index)
            };
            let inside =
                (0..outer.len()).try_fold(0, |flat, axis| Some(flat * geometry.input[axis] + index(axis)?));
            if let Some(from) = inside {
                let to = (0..outer.len()).fold(0, |flat, axis| flat * sizes[axis] + position[axis]);
                bytes[(to * padded + pad) * channels..][..count]
                    .copy_from_slice(&image[from * width * channels..][..count]);
            }
            if !advance(&mut position, outer) {
                return bytes;
            }
        }
    }

    /// For each pixel of a unit and each group, the sum of the bytes that its window sees.
    pub(super) fn sums_of_windows(&self, unit: Unit) -> Vec<i32> {
        let (bytes, starts) = self.windows(unit);
        let channels = self.geometry.group_channels();
        let of_group = |start: usize, group: usize| {
            let run = |run: &usize| &bytes[start + group * channels + run..][..self.run];
            self.runs
                .iter()
                .map(|offset| run(offset).iter().map(|&byte| i32::from(byte)).sum::<i32>())
                .fold(0i32, i32::wrapping_add)
        };
        let of_pixel = |start: usize| (0..self.groups()).map(move |group| of_group(start, group));
        starts.iter().flat_map(|&start| of_pixel(start)).collect()
    }
}

/// The same convolution as one image of single pixels where windows are single elements that lie side by side.
fn simplified(geometry: &Geometry) -> Geometry {
    let ones = [&geometry.kernel, &geometry.strides]
        .into_iter()
        .flatten()
        .all(|&size| size == 1);
    if !ones || geometry.input != geometry.output || geometry.pads.iter().any(|&pad| pad != 0) {
        return geometry.clone();
    }
    let pixels = vec![geometry.batch * geometry.input_plane()];
    Geometry {
        batch: 1,
        input: pixels.clone(),
        output: pixels,
        kernel: vec![1],
        strides: vec![1],
        dilations: vec![1],
        pads: vec![0],
        ..*geometry
    }
}
