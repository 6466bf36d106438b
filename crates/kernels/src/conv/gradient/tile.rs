//! Sums over pixels in registers.

use crate::simd::{Kernel, Simd};

/// For each filter and each element of a run, adds over the pixels the product of the filter's gradient with the element
/// that the pixel's window sees: `sums[filter][element] += dy[pixel][filter] * elements[windows[pixel] + element]`.
pub(super) struct Product<'a> {
    pub(super) elements: &'a [f32],
    pub(super) windows: &'a [usize],
    /// Elements of a run.
    pub(super) run: usize,
    /// From the first filter of the first pixel on.
    pub(super) dy: &'a [f32],
    /// From pixel to pixel in `dy`.
    pub(super) out_channels: usize,
    pub(super) filters: usize,
    /// `[filters, run]`.
    pub(super) sums: &'a mut [f32],
}

impl Product<'_> {
    fn check(&self) {
        let reach = self.windows.iter().max().map_or(0, |last| last + self.run);
        let end = (self.windows.len().max(1) - 1) * self.out_channels + self.filters;
        assert!(
            reach <= self.elements.len()
                && (self.windows.is_empty() || end <= self.dy.len())
                && self.sums.len() == self.filters * self.run,
            "everything within its slice"
        );
    }
}

/// Vectors of a run that a tile has at most.
const VECTORS: usize = 3;

impl Kernel for Product<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        self.check();
        let vectors = self.run.div_ceil(S::LANES);
        let tiles = vectors.div_ceil(VECTORS);
        for tile in 0..tiles {
            let (first, end) = (vectors * tile / tiles, vectors * (tile + 1) / tiles);
            let at = first * S::LANES;
            // The last vector may be there in part.
            let last = (self.run - (end - 1) * S::LANES).min(S::LANES);
            // SAFETY: `check` asserts what the tiles read and write; the caller has the instruction set.
            unsafe {
                match (end - first, last == S::LANES) {
                    (1, true) => self.filters::<S, 1, true>(at, last),
                    (1, false) => self.filters::<S, 1, false>(at, last),
                    (2, true) => self.filters::<S, 2, true>(at, last),
                    (2, false) => self.filters::<S, 2, false>(at, last),
                    (_, true) => self.filters::<S, 3, true>(at, last),
                    (_, false) => self.filters::<S, 3, false>(at, last),
                }
            }
        }
    }
}

impl Product<'_> {
    /// All filters by `V` vectors from element `at` on, of the last of which `last` elements exist, all if `WHOLE`.
    ///
    /// # Safety
    /// As for [`Simd`]; the vectors lie in the run.
    #[inline(always)]
    unsafe fn filters<S: Simd, const V: usize, const WHOLE: bool>(&mut self, at: usize, last: usize) {
        // As many sums as there are registers for beside the vectors and a number.
        let wide = S::LANES == 16;
        let mut filter = 0;
        // SAFETY: the caller's promise; the filters of a tile exist.
        unsafe {
            while filter < self.filters {
                filter += match self.filters - filter {
                    16.. if wide && V == 1 => self.tile::<S, 16, V, WHOLE>(filter, at, last),
                    12.. if wide && V == 2 => self.tile::<S, 12, V, WHOLE>(filter, at, last),
                    8.. if wide || V == 1 => self.tile::<S, 8, V, WHOLE>(filter, at, last),
                    4.. => self.tile::<S, 4, V, WHOLE>(filter, at, last),
                    2.. => self.tile::<S, 2, V, WHOLE>(filter, at, last),
                    _ => self.tile::<S, 1, V, WHOLE>(filter, at, last),
                };
            }
        }
    }

    /// `F` filters by `V` vectors; gives `F`.
    ///
    /// # Safety
    /// As for [`Product::filters`]; the filters exist.
    #[inline(always)]
    unsafe fn tile<S: Simd, const F: usize, const V: usize, const WHOLE: bool>(
        &mut self,
        filter: usize,
        at: usize,
        last: usize,
    ) -> usize {
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [[S::splat(0.0); V]; F];
            let mut dy = self.dy.as_ptr().add(filter);
            let elements = self.elements.as_ptr().add(at);
            for &window in self.windows {
                let mut seen = [S::splat(0.0); V];
                for (vector, seen) in seen.iter_mut().enumerate() {
                    let from = elements.add(window + vector * S::LANES);
                    *seen = if WHOLE || vector + 1 < V {
                        S::load(from)
                    } else {
                        S::load_first(from, last)
                    };
                }
                for (filter, sums) in sums.iter_mut().enumerate() {
                    let gradient = S::splat(*dy.add(filter));
                    for (sum, seen) in sums.iter_mut().zip(seen) {
                        *sum = S::multiply_add(gradient, seen, *sum);
                    }
                }
                dy = dy.wrapping_add(self.out_channels);
            }
            for (index, sums) in sums.into_iter().enumerate() {
                for (vector, sum) in sums.into_iter().enumerate() {
                    let to = self
                        .sums
                        .as_mut_ptr()
                        .add((filter + index) * self.run + at + vector * S::LANES);
                    if WHOLE || vector + 1 < V {
                        S::store(to, S::add(S::load(to), sum));
                    } else {
                        S::store_first(to, S::add(S::load_first(to, last), sum), last);
                    }
                }
            }
        }
        F
    }
}

/// For each tap and channel, adds over the pixels `dy[pixel][channel] * elements[windows[pixel] + taps[tap] + channel]`.
pub(super) struct Depthwise<'a> {
    pub(super) elements: &'a [f32],
    pub(super) windows: &'a [usize],
    pub(super) taps: &'a [usize],
    /// `[pixels, channels]`.
    pub(super) dy: &'a [f32],
    pub(super) channels: usize,
    /// `[taps, channels]`.
    pub(super) sums: &'a mut [f32],
}

/// Taps whose sums are in registers together.
const TAPS: usize = 9;

impl Kernel for Depthwise<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        let reach = self.windows.iter().max().unwrap_or(&0) + self.taps.iter().max().unwrap_or(&0);
        assert!(
            (self.windows.is_empty() || reach + self.channels <= self.elements.len())
                && self.dy.len() == self.windows.len() * self.channels
                && self.sums.len() == self.taps.len() * self.channels,
            "everything within its slice"
        );
        for at in (0..self.channels).step_by(S::LANES) {
            let left = self.channels - at;
            for first in (0..self.taps.len()).step_by(TAPS) {
                let end = self.taps.len().min(first + TAPS);
                // SAFETY: the channels and taps exist, as asserted; the caller has the instruction set.
                unsafe {
                    match left >= S::LANES {
                        true => self.tile::<S, true>(first..end, at, S::LANES),
                        false => self.tile::<S, false>(first..end, at, left),
                    }
                }
            }
        }
    }
}

impl Depthwise<'_> {
    /// `count` channels from `at` on, a vector if `WHOLE`.
    ///
    /// # Safety
    /// As for [`Simd`]; the channels and the taps, at most [`TAPS`], exist.
    #[inline(always)]
    unsafe fn tile<S: Simd, const WHOLE: bool>(
        &mut self,
        taps: std::ops::Range<usize>,
        at: usize,
        count: usize,
    ) {
        macro_rules! load {
            ($from:expr) => {
                if WHOLE {
                    S::load($from)
                } else {
                    S::load_first($from, count)
                }
            };
        }
        let channels = self.channels;
        // SAFETY: the caller's promise.
        unsafe {
            let mut totals = [S::splat(0.0); TAPS];
            for (pixel, &window) in self.windows.iter().enumerate() {
                let gradient = load!(self.dy.as_ptr().add(pixel * channels + at));
                for (total, &tap) in totals.iter_mut().zip(&self.taps[taps.clone()]) {
                    let seen = load!(self.elements.as_ptr().add(window + tap + at));
                    *total = S::multiply_add(gradient, seen, *total);
                }
            }
            for (tap, total) in taps.zip(totals) {
                let to = self.sums.as_mut_ptr().add(tap * channels + at);
                let sum = S::add(load!(to), total);
                S::store_first(to, sum, count);
            }
        }
    }
}
