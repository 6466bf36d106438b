//! [`Source`]: where the elements of each window lie when the channels come last.

use rayon::prelude::*;

use super::{Geometry, advance};
use crate::scratch::{self, Scratch};

/// Some rows of the output of one image: indices along the first spatial dimension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unit {
    pub(crate) image: usize,
    pub(crate) first: usize,
    pub(crate) rows: usize,
}

/// The input of a convolution, and how windows see it.
pub(crate) struct Source<'a, T> {
    pub(crate) geometry: Geometry,
    pub(crate) x: &'a [T],
    /// What the padding holds.
    pub(crate) zero: T,
    /// Windows are read from a padded copy of the rows that a unit sees, not from the input itself.
    copied: bool,
    /// Elements of the (padded) input along each spatial dimension; along the first, of the whole input.
    sizes: Vec<usize>,
    /// Elements of a run, and the offset of each run from the first element of a window.
    pub(crate) run: usize,
    pub(crate) runs: Vec<usize>,
    /// Elements that kernels read at once.
    step: usize,
}

/// What windows lie in.
pub(crate) enum Elements<'a, T: scratch::Element> {
    Shared(&'a [T]),
    Copied(Scratch<T>),
}

impl<T: scratch::Element> std::ops::Deref for Elements<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        match self {
            Elements::Shared(elements) => elements,
            Elements::Copied(elements) => elements,
        }
    }
}

/// Elements of input that a unit reads: they stay in the second-level cache.
const ELEMENTS: usize = 64 * 1024;
/// Pixels of a unit: enough to go through the weights for.
const PIXELS: std::ops::Range<usize> = 24..192;
/// Products of a unit: enough to be worth a task, and enough to be worth no smaller one.
const PRODUCTS: std::ops::Range<usize> = 1 << 17..1 << 19;
/// Units for each thread at least.
const SHARE: usize = 2;

impl<'a, T: scratch::Element + Send + Sync> Source<'a, T> {
    /// For runs over the last dimension of the kernel too if they are `merged`, which are read `step` elements at once.
    pub(crate) fn new(geometry: &Geometry, x: &'a [T], zero: T, merged: bool, step: usize) -> Source<'a, T> {
        let geometry = simplified(geometry);
        let needed = |axis: usize| {
            let reach = geometry.kernel[axis].saturating_sub(1) * geometry.dilations[axis];
            geometry.output[axis].saturating_sub(1) * geometry.strides[axis] + reach + 1
        };
        let channels = geometry.group_channels();
        let last = geometry.kernel[geometry.kernel.len() - 1];
        let run = if merged { channels * last } else { channels };
        let inside = (0..geometry.input.len())
            .all(|axis| geometry.pads[axis] == 0 && needed(axis) <= geometry.input[axis]);
        // Whole steps must not reach past the input.
        let copied = !inside || !run.is_multiple_of(step);
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
            step,
        };
        source.runs = source.offsets_of_runs(merged);
        source
    }

    /// Calls `work` for every unit and its part of the output, which has the channels last. How the output is divided
    /// depends on the number of threads; what an element becomes must not depend on its unit.
    pub(crate) fn for_units<Y: Send>(&self, y: &mut [Y], work: impl Fn(Unit, &mut [Y]) + Sync) {
        if y.is_empty() {
            return;
        }
        let row = self.row_pixels() * self.geometry.out_channels;
        let rows = self.rows_of_unit();
        let of_image = |(image, y): (usize, &mut [Y])| {
            y.par_chunks_mut(rows * row).enumerate().for_each(|(index, y)| {
                let unit = Unit {
                    image,
                    first: index * rows,
                    rows: y.len() / row,
                };
                work(unit, y);
            });
        };
        y.par_chunks_mut(row * self.geometry.output[0])
            .enumerate()
            .for_each(of_image);
    }

    fn rows_of_unit(&self) -> usize {
        let geometry = &self.geometry;
        let products = (geometry.taps() * geometry.out_channels).max(1);
        let most = (ELEMENTS / geometry.channels.max(1)).clamp(PIXELS.start, PIXELS.end);
        let most = most.max(PRODUCTS.end / products);
        let pixels = geometry.batch * geometry.output_plane();
        let even = pixels.div_ceil(SHARE * rayon::current_num_threads());
        let wanted = even.clamp((PRODUCTS.start / products).min(most), most).max(1);
        wanted.div_ceil(self.row_pixels().max(1))
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

    /// The first element of the pixel at `position * steps`.
    fn offset(&self, position: &[usize], steps: &[usize]) -> usize {
        let flat = (0..position.len()).fold(0, |flat, axis| {
            flat * self.sizes[axis] + position[axis] * steps[axis]
        });
        flat * self.geometry.channels
    }

    /// Output pixels for each index along the first dimension.
    fn row_pixels(&self) -> usize {
        self.geometry.output[1..].iter().product()
    }

    /// The elements that a unit's windows lie in, and the offset of each window.
    pub(crate) fn windows(&self, unit: Unit) -> (Elements<'_, T>, Vec<usize>) {
        let elements = match self.copied {
            true => Elements::Copied(self.copy(unit)),
            false => {
                let image = self.geometry.input_plane() * self.geometry.channels;
                let row = image / self.sizes[0].max(1);
                let start = unit.first * self.geometry.strides[0] * row;
                Elements::Shared(&self.x[unit.image * image..][start..image])
            }
        };
        let sizes: Vec<usize> = std::iter::once(unit.rows)
            .chain(self.geometry.output[1..].iter().copied())
            .collect();
        let mut starts = Vec::with_capacity(sizes.iter().product());
        let last = sizes.len() - 1;
        let step = self.geometry.strides[last] * self.geometry.channels;
        let mut position = vec![0; sizes.len()];
        while !sizes.contains(&0) {
            let first = self.offset(&position, &self.geometry.strides);
            starts.extend((0..sizes[last]).map(|pixel| first + pixel * step));
            if !advance(&mut position[..last], &sizes[..last]) {
                break;
            }
        }
        (elements, starts)
    }

    /// The padded rows that a unit's windows see, with some slack.
    fn copy(&self, unit: Unit) -> Scratch<T> {
        let geometry = &self.geometry;
        let rank = geometry.input.len();
        let reach = geometry.kernel[0].saturating_sub(1) * geometry.dilations[0];
        let mut sizes = self.sizes.clone();
        sizes[0] = (unit.rows - 1) * geometry.strides[0] + reach + 1;
        let channels = geometry.channels;
        let mut copy = Scratch::take(sizes.iter().product::<usize>() * channels + self.step);
        copy.fill(self.zero);
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
                copy[(to * padded + pad) * channels..][..count]
                    .copy_from_slice(&image[from * width * channels..][..count]);
            }
            if !advance(&mut position, outer) {
                return copy;
            }
        }
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
