//! The gradient of the weights: for each run of a window, the product of the output's gradients, pixels being summed over,
//! with what the pixels' windows see.
//!
//! Images are cut into a number of chunks that depends on sizes alone. Each chunk has its own sums, `[group][run][filter][element of the
//! run]`, which are added up in order, so that results do not depend on threads.

use rayon::prelude::*;

use super::super::Geometry;
use super::super::source::{Source, Unit};
use super::tile::{Depthwise, Product};
use crate::Isa;
use crate::simd::run;

/// Chunks of images at most; each has sums of its own.
const CHUNKS: usize = 8;
/// Bytes of the sums of all chunks at most, as long as there is more than one.
const SUMS: usize = 16 << 20;
/// Elements of input and output that a unit of work reads: they stay in the second-level cache.
const ELEMENTS: usize = 48 * 1024;
/// Filters that one task computes.
const FILTERS: usize = 64;

/// Writes to `dw` `[out_channels, channels of a group, kernel...]` the gradient of the weights for the input `x` and the
/// gradient `dy` of the output, both with their channels last.
///
/// # Panics
/// When the slices do not have the sizes of the geometry.
pub fn weights(isa: Isa, geometry: &Geometry, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let count = geometry.out_channels * geometry.taps();
    assert!(
        geometry.fits(x.len(), count, dy.len()) && dw.len() == count,
        "slices do not fit {geometry:?}"
    );
    if count == 0 {
        return;
    }
    let dilation = geometry.dilations[geometry.dilations.len() - 1];
    let merged = geometry.groups == 1 && dilation == 1;
    let job = Job {
        isa,
        geometry,
        source: Source::new(geometry, x, 0.0, merged, 1),
        dy,
        merged,
    };
    let units = job.units();
    let most = CHUNKS.min(SUMS / (count * size_of::<f32>())).max(1);
    let chunks = units.len().min(most).max(1);
    let mut sums = vec![0.0; count * chunks];
    sums.par_chunks_exact_mut(count)
        .enumerate()
        .for_each(|(chunk, sums)| {
            let range = units.len() * chunk / chunks..units.len() * (chunk + 1) / chunks;
            job.sums(&units[range], sums);
        });
    job.finish(&sums, dw);
}

struct Job<'a> {
    isa: Isa,
    geometry: &'a Geometry,
    source: Source<'a, f32>,
    dy: &'a [f32],
    merged: bool,
}

impl Job<'_> {
    /// Parts of the output, of about equal size.
    fn units(&self) -> Vec<Unit> {
        let geometry = &self.source.geometry;
        let row: usize = geometry.output[1..].iter().product();
        let strides: usize = geometry.strides.iter().product();
        let elements = row * (geometry.channels * strides + geometry.out_channels);
        let rows = geometry.output[0];
        let at_a_time = (ELEMENTS / elements.max(1)).clamp(1, rows.max(1));
        let of_image = |image: usize| {
            let parts = (0..rows).step_by(at_a_time);
            parts.map(move |first| Unit {
                image,
                first,
                rows: at_a_time.min(rows - first),
            })
        };
        (0..geometry.batch).flat_map(of_image).collect()
    }

    /// Adds what some units give.
    fn sums(&self, units: &[Unit], sums: &mut [f32]) {
        let out_channels = self.geometry.out_channels;
        let row: usize = self.source.geometry.output[1..].iter().product();
        let image = row * self.source.geometry.output[0] * out_channels;
        for unit in units {
            let (elements, windows) = self.source.windows(*unit);
            let first = unit.image * image + unit.first * row * out_channels;
            let dy = &self.dy[first..][..windows.len() * out_channels];
            if self.is_depthwise() {
                let job = Depthwise {
                    elements: &elements,
                    windows: &windows,
                    taps: &self.source.runs,
                    dy,
                    channels: out_channels,
                    sums,
                };
                run(self.isa, job);
                continue;
            }
            self.products(&elements, &windows, dy, sums);
        }
    }

    fn is_depthwise(&self) -> bool {
        self.geometry.groups > 1
            && self.geometry.group_channels() == 1
            && self.geometry.group_out_channels() == 1
    }

    /// One product for each group, run of the window and block of filters.
    fn products(&self, elements: &[f32], windows: &[usize], dy: &[f32], sums: &mut [f32]) {
        let (groups, run_len) = (self.geometry.groups, self.source.run);
        let filters = self.geometry.group_out_channels();
        let block = FILTERS.min(filters) * run_len;
        let runs = self.source.runs.len();
        let of_run = |(index, sums): (usize, &mut [f32])| {
            let (group, offset) = (index / runs, self.source.runs[index % runs]);
            let first = group * self.geometry.group_channels() + offset;
            sums.par_chunks_mut(block).enumerate().for_each(|(index, sums)| {
                let product = Product {
                    elements: &elements[first.min(elements.len())..],
                    windows,
                    run: run_len,
                    dy: &dy[group * filters + index * FILTERS..],
                    out_channels: groups * filters,
                    filters: sums.len() / run_len,
                    sums,
                };
                run(self.isa, product);
            });
        };
        sums.chunks_exact_mut(filters * run_len)
            .enumerate()
            .for_each(of_run);
    }

    /// Adds up the sums of all chunks in the order of the weights.
    fn finish(&self, sums: &[f32], dw: &mut [f32]) {
        let count = dw.len();
        let (channels, filters) = (self.geometry.group_channels(), self.geometry.group_out_channels());
        let taps: usize = self.geometry.kernel.iter().product();
        let last = self.geometry.kernel[self.geometry.kernel.len() - 1];
        let runs = self.source.runs.len();
        let depthwise = self.is_depthwise();
        dw.par_chunks_mut(channels * taps)
            .enumerate()
            .for_each(|(out, dw)| {
                let (group, filter) = (out / filters, out % filters);
                for (index, dw) in dw.iter_mut().enumerate() {
                    let (channel, tap) = (index / taps, index % taps);
                    let (run, at) = match self.merged {
                        true => (tap / last, tap % last * channels + channel),
                        false => (tap, channel),
                    };
                    let place = match depthwise {
                        true => tap * self.geometry.out_channels + out,
                        false => ((group * runs + run) * filters + filter) * self.source.run + at,
                    };
                    let parts = (place..sums.len()).step_by(count);
                    *dw = parts.map(|place| sums[place]).sum();
                }
            });
    }
}
