//! The gradient of weights over one channel, for each channel: vectors of channels, the sums of some elements of the
//! kernel at a time.

use std::ops::Range;

use super::Write;
use super::direct::Units;
use super::sums::{Division, TASKS};
use super::weight::for_filters;
use crate::Isa;
use crate::conv::Geometry;
use crate::conv::source::Source;
use crate::simd::{Kernel, Simd, run};

/// Most elements of the kernel whose sums are made together.
const TAPS: usize = 9;

pub(super) fn weight(isa: Isa, geometry: &Geometry, x: &[f32], dy: &[f32], write: Write, dw: &mut [f32]) {
    let source = Source::new(geometry, x, 0.0, false, 1);
    let units = Units::new(&source.geometry, usize::MAX);
    let (channels, taps) = (geometry.channels, geometry.taps());
    let division = Division {
        parts: vec![taps * channels],
        chunks: TASKS.min(units.chunks()),
    };
    let sums = division.sum(|chunk, _, sums| {
        let job = Job {
            source: &source,
            dy,
            units: &units,
            chunk: units.of_chunk(chunk, division.chunks),
            sums,
        };
        run(isa, job);
    });
    for_filters(dw, taps, |channel, dw| {
        let sums = sums[channel..].iter().step_by(channels);
        for (dw, &sum) in dw.iter_mut().zip(sums) {
            *dw = match write {
                Write::Replace => sum,
                Write::Add => *dw + sum,
            };
        }
    });
}

struct Job<'a> {
    source: &'a Source<'a, f32>,
    dy: &'a [f32],
    units: &'a Units,
    chunk: Range<usize>,
    /// `[element of the kernel][channel]`.
    sums: &'a mut [f32],
}

impl Kernel for Job<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let channels = self.source.geometry.channels;
        let runs = &self.source.runs;
        assert_eq!(self.sums.len(), runs.len() * channels, "a sum for each weight");
        for index in self.chunk {
            let unit = self.units.unit(index);
            let (x, windows) = self.source.windows(unit);
            let dy = &self.dy[self.units.pixel(unit) * channels..][..windows.len() * channels];
            let reach = windows.iter().max().unwrap_or(&0) + runs.iter().max().unwrap_or(&0);
            assert!(reach + channels <= x.len(), "windows within the source");
            let pixels = Pixels {
                x: x.as_ptr(),
                windows: &windows,
                dy: dy.as_ptr(),
                channels,
            };
            let mut channel = 0;
            while channel < channels {
                // SAFETY: the caller has the instruction set; all windows lie in the source, as asserted, and pixels in
                // `dy`; a sum exists for each element and channel.
                unsafe {
                    let sums = self.sums.as_mut_ptr().add(channel);
                    if channel + S::LANES <= channels {
                        pixels.add::<S, true>(runs, channel, sums);
                    } else {
                        pixels.add::<S, false>(runs, channel, sums);
                    }
                }
                channel += S::LANES;
            }
        }
    }
}

/// Pixels of a unit.
struct Pixels<'a> {
    x: *const f32,
    /// Where each window starts.
    windows: &'a [usize],
    dy: *const f32,
    channels: usize,
}

impl Pixels<'_> {
    /// Adds to the sums of a vector of channels, or of those that are left unless it is `WHOLE`.
    ///
    /// # Safety
    /// As for [`Simd`]; the channels exist in every window at each of the runs, in `dy` and in the sums.
    #[inline(always)]
    unsafe fn add<S: Simd, const WHOLE: bool>(&self, runs: &[usize], channel: usize, sums: *mut f32) {
        let parts = runs.len().div_ceil(TAPS);
        for part in 0..parts {
            let range = runs.len() * part / parts..runs.len() * (part + 1) / parts;
            macro_rules! taps {
                ($($count:literal)*) => {
                    match range.len() {
                        // SAFETY: the caller's promise.
                        $($count => unsafe {
                            let sums = sums.add(range.start * self.channels);
                            self.tile::<S, $count, WHOLE>(&runs[range], channel, sums)
                        },)*
                        _ => unreachable!("as many sums as a tile can have"),
                    }
                };
            }
            taps!(1 2 3 4 5 6 7 8 9);
        }
    }

    /// # Safety
    /// As for [`Pixels::add`], with `T` runs.
    #[inline(always)]
    unsafe fn tile<S: Simd, const T: usize, const WHOLE: bool>(
        &self,
        runs: &[usize],
        channel: usize,
        to: *mut f32,
    ) {
        let left = self.channels - channel;
        // SAFETY: the caller's promise.
        unsafe {
            // A macro, because a closure need not be compiled for the instruction set.
            macro_rules! load {
                ($from:expr) => {
                    if WHOLE {
                        S::load($from)
                    } else {
                        S::load_first($from, left)
                    }
                };
            }
            let mut sums = [S::splat(0.0); T];
            let mut starts = [self.x; T];
            for (start, run) in starts.iter_mut().zip(runs) {
                *start = start.add(run + channel);
            }
            let mut dy = self.dy.add(channel);
            for &window in self.windows {
                let gradient = load!(dy);
                dy = dy.add(self.channels);
                for (sum, start) in sums.iter_mut().zip(starts) {
                    *sum = S::multiply_add(load!(start.add(window)), gradient, *sum);
                }
            }
            for (tap, sum) in sums.into_iter().enumerate() {
                let to = to.add(tap * self.channels);
                let sum = S::add(load!(to), sum);
                if WHOLE {
                    S::store(to, sum);
                } else {
                    S::store_first(to, sum, left);
                }
            }
        }
    }
}
