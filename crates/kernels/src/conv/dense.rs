//! Windows over several channels: a few pixels by up to four vectors of output channels at a time.

use super::blocks::{Blocks, WIDEST};
use super::packed::{Epilogue, Finish};
use super::source::{Source, Unit};
use crate::Isa;
use crate::simd::{Factor, Operand, ProductKernel, Simd};

/// Weights arranged for the microkernel.
#[derive(Debug)]
pub(super) struct Dense<T> {
    pub(super) blocks: Blocks,
    weights: Vec<T>,
    /// For each lane of all vectors.
    bias: Vec<f32>,
}

/// Most pixels of a tile by the number of vectors less one: as many sums as registers can hold.
pub(super) fn most_pixels(isa: Isa) -> [usize; WIDEST] {
    match isa {
        Isa::Avx512 => [10, 12, 8, 6],
        _ => [12, 6, 4, 3],
    }
}

impl<T: Factor> Dense<T> {
    pub(super) fn new(
        isa: Isa,
        weights: &[f32],
        shape: &[usize],
        groups: usize,
        dilation: usize,
        bias: &[f32],
    ) -> Dense<T> {
        let blocks = Blocks::new(shape, groups, dilation, isa.lanes(), T::DEPTH);
        let rounded: Vec<T> = weights.iter().map(|&weight| T::rounded(weight)).collect();
        Dense {
            weights: blocks.pack(&rounded, shape),
            bias: blocks.arrange(bias),
            blocks,
        }
    }

    pub(super) fn run(&self, isa: Isa, source: &Source<'_, T>, epilogue: Epilogue<'_, T>, y: &mut [T]) {
        let image = source.geometry.output_plane() * source.geometry.out_channels;
        let row = image / source.geometry.output[0].max(1);
        source.for_units(y, |unit, y| {
            let (to, len) = (y.as_mut_ptr(), y.len());
            let finish = Finish::new(epilogue, to, len, unit.image * image + unit.first * row);
            let job = Job {
                dense: self,
                isa,
                source,
                unit,
                finish,
                y: to,
                len,
            };
            T::run(isa, job);
            epilogue.activate(y);
        });
    }
}

struct Job<'a, T> {
    dense: &'a Dense<T>,
    isa: Isa,
    source: &'a Source<'a, T>,
    unit: Unit,
    finish: Finish<T>,
    /// The unit's part of the output.
    y: *mut T,
    len: usize,
}

impl<T: Factor> ProductKernel<T> for Job<'_, T> {
    #[inline(always)]
    unsafe fn run<S: Simd, O: Operand<S, Element = T>>(self) {
        let (x, windows) = self.source.windows(self.unit);
        let blocks = &self.dense.blocks;
        let out_channels = blocks.groups * blocks.filters;
        let reach = windows.iter().max().unwrap_or(&0) + self.source.runs.iter().max().unwrap_or(&0);
        let last_group = (blocks.groups - 1) * blocks.channels;
        assert!(
            self.len == windows.len() * out_channels
                && self.source.runs.len() == blocks.runs
                && reach + last_group + blocks.steps * T::DEPTH <= x.len()
                && blocks.lanes == S::LANES,
            "windows within the source, and a sum per pixel and filter"
        );
        let most = most_pixels(self.isa);
        for at in blocks.each() {
            let first = at.vector * blocks.vector_len();
            let filter = at.group * blocks.filters + at.filter;
            let tiles = windows.len().div_ceil(most[at.width - 1]);
            for tile in 0..tiles {
                let (from, to) = (windows.len() * tile / tiles, windows.len() * (tile + 1) / tiles);
                // SAFETY: the caller has the instruction set; windows lie in the source as asserted; `place` and the
                // other pixels' filters lie in the output, as it has one element per pixel and filter.
                unsafe {
                    let tile = Tile {
                        x: x.as_ptr().add(at.group * blocks.channels),
                        windows: &windows[from..to],
                        runs: &self.source.runs,
                        steps: blocks.steps,
                        weights: self.dense.weights[first..].as_ptr(),
                        bias: self.dense.bias[at.vector * S::LANES..].as_ptr(),
                        y: self.y,
                        place: from * out_channels + filter,
                        stride: out_channels,
                        filters: at.filters,
                        finish: self.finish,
                    };
                    tile.run::<S, O, O>(at.width);
                }
            }
        }
    }
}

/// Some pixels by one block of output channels.
pub(super) struct Tile<'a, T, Y> {
    pub(super) x: *const T,
    /// Where each window starts.
    pub(super) windows: &'a [usize],
    /// Where each run starts in a window.
    pub(super) runs: &'a [usize],
    /// Steps of a run, of [`Factor::DEPTH`] elements each.
    pub(super) steps: usize,
    /// `[run][step][vector][lane][element of the step]`.
    pub(super) weights: *const T,
    /// `[vector][lane]`.
    pub(super) bias: *const f32,
    pub(super) y: *mut Y,
    /// Where the first filter of the first pixel goes.
    pub(super) place: usize,
    /// From pixel to pixel.
    pub(super) stride: usize,
    pub(super) filters: usize,
    pub(super) finish: Finish<Y>,
}

impl<T: Factor, Y: Factor> Tile<'_, T, Y> {
    /// Computes the tile, with a number of pixels and vectors that [`most_pixels`] allows.
    ///
    /// # Safety
    /// As for [`Simd`]; all runs of all windows lie in `x`, the weights and biases of `width` vectors exist, and `filters`
    /// elements of `y` for each pixel.
    #[inline(always)]
    pub(super) unsafe fn run<S, O, R>(&self, width: usize)
    where
        S: Simd,
        O: Operand<S, Element = T>,
        R: Operand<S, Element = Y>,
    {
        macro_rules! tiles {
            ($($p:literal x $b:literal),*) => {
                match (self.windows.len(), width) {
                    // SAFETY: the caller's promise.
                    $(($p, $b) => unsafe { self.tile::<S, O, R, $p, $b>() },)*
                    _ => unreachable!("as many pixels and vectors as a tile can have"),
                }
            };
        }
        tiles!(1 x 1, 2 x 1, 3 x 1, 4 x 1, 5 x 1, 6 x 1, 7 x 1, 8 x 1, 9 x 1, 10 x 1, 11 x 1, 12 x 1,
               1 x 2, 2 x 2, 3 x 2, 4 x 2, 5 x 2, 6 x 2, 7 x 2, 8 x 2, 9 x 2, 10 x 2, 11 x 2, 12 x 2,
               1 x 3, 2 x 3, 3 x 3, 4 x 3, 5 x 3, 6 x 3, 7 x 3, 8 x 3,
               1 x 4, 2 x 4, 3 x 4, 4 x 4, 5 x 4, 6 x 4);
    }

    #[inline(always)]
    unsafe fn tile<S, O, R, const P: usize, const B: usize>(&self)
    where
        S: Simd,
        O: Operand<S, Element = T>,
        R: Operand<S, Element = Y>,
    {
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [[S::splat(0.0); B]; P];
            for block in 0..B {
                let bias = S::load(self.bias.add(block * S::LANES));
                sums.iter_mut().for_each(|sums| sums[block] = bias);
            }
            let mut weights = self.weights;
            for &run in self.runs {
                let mut pixels = [self.x; P];
                for (pixel, &window) in pixels.iter_mut().zip(self.windows) {
                    *pixel = pixel.add(window + run);
                }
                for step in 0..self.steps {
                    let mut vectors = [O::load(weights); B];
                    for (block, vector) in vectors.iter_mut().enumerate().skip(1) {
                        *vector = O::load(weights.add(block * S::LANES * T::DEPTH));
                    }
                    weights = weights.add(B * S::LANES * T::DEPTH);
                    for (pixel, sums) in pixels.iter().zip(&mut sums) {
                        let x = O::splat(pixel.add(step * T::DEPTH));
                        for (sum, vector) in sums.iter_mut().zip(vectors) {
                            *sum = O::multiply_add(x, vector, *sum);
                        }
                    }
                }
            }
            for (pixel, sums) in sums.into_iter().enumerate() {
                for (block, sum) in sums.into_iter().enumerate() {
                    let first = block * S::LANES;
                    let at = self.place + pixel * self.stride + first;
                    self.finish.store::<S, R>(sum, self.y, at, self.filters - first);
                }
            }
        }
    }
}
