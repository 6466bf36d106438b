//! Sums of outer products: some elements of the input by up to four vectors of output channels at a time.

use crate::Isa;
use crate::conv::blocks::WIDEST;
use crate::simd::{Factor, Operand, Simd};

/// Most elements by the number of vectors less one: as many sums as registers can hold.
fn most_elements(isa: Isa) -> [usize; WIDEST] {
    match isa {
        Isa::Avx512 => [24, 14, 9, 6],
        _ => [12, 6, 4, 3],
    }
}

/// `sums[e, lane] += sum over pixels of x[pixel, e] * dy[pixel, lane]`. Where there are several factors in a lane, they
/// are of several pixels, which stand for one here.
pub(super) struct Outer<'a, T> {
    /// The first element of the run.
    pub(super) x: *const T,
    /// Where each pixel's run starts.
    pub(super) windows: &'a [usize],
    /// Vectors of output channels of the first pixel.
    pub(super) dy: *const T,
    /// From pixel to pixel.
    pub(super) dy_step: usize,
    /// Vectors of output channels.
    pub(super) width: usize,
}

impl<T: Factor> Outer<'_, T> {
    /// Adds to the sums of `elements` elements of the run, `[element][vector][lane]`.
    ///
    /// # Safety
    /// As for [`Simd`]; for every pixel the elements exist from `x` on, and `width` vectors, at most [`WIDEST`], from `dy`
    /// on, as do the sums.
    #[inline(always)]
    pub(super) unsafe fn run<S: Simd, O: Operand<S, Element = T>>(
        &self,
        isa: Isa,
        elements: usize,
        sums: *mut f32,
    ) {
        let parts = elements.div_ceil(most_elements(isa)[self.width - 1]);
        for part in 0..parts {
            let (first, end) = (elements * part / parts, elements * (part + 1) / parts);
            // SAFETY: the caller's promise.
            unsafe {
                let sums = sums.add(first * self.width * S::LANES);
                self.dispatch::<S, O>(self.x.add(first * T::DEPTH), end - first, sums);
            }
        }
    }

    #[inline(always)]
    unsafe fn dispatch<S: Simd, O: Operand<S, Element = T>>(
        &self,
        x: *const T,
        elements: usize,
        sums: *mut f32,
    ) {
        macro_rules! tiles {
            ($($width:literal: $($count:literal)*);*) => {
                match (elements, self.width) {
                    // SAFETY: the caller's promise.
                    $($(($count, $width) => unsafe { self.tile::<S, O, $count, $width>(x, sums) },)*)*
                    _ => unreachable!("as many elements and vectors as a tile can have"),
                }
            };
        }
        tiles!(1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24;
               2: 1 2 3 4 5 6 7 8 9 10 11 12 13 14;
               3: 1 2 3 4 5 6 7 8 9;
               4: 1 2 3 4 5 6);
    }

    #[inline(always)]
    unsafe fn tile<S: Simd, O: Operand<S, Element = T>, const E: usize, const B: usize>(
        &self,
        x: *const T,
        to: *mut f32,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [[S::splat(0.0); B]; E];
            let mut dy = self.dy;
            for &window in self.windows {
                let x = x.add(window);
                let mut vectors = [O::load(dy); B];
                for (block, vector) in vectors.iter_mut().enumerate().skip(1) {
                    *vector = O::load(dy.add(block * S::LANES * T::DEPTH));
                }
                dy = dy.add(self.dy_step);
                for (element, sums) in sums.iter_mut().enumerate() {
                    let x = O::splat(x.add(element * T::DEPTH));
                    for (sum, vector) in sums.iter_mut().zip(vectors) {
                        *sum = O::multiply_add(x, vector, *sum);
                    }
                }
            }
            for (element, sums) in sums.into_iter().enumerate() {
                for (block, sum) in sums.into_iter().enumerate() {
                    let to = to.add((element * B + block) * S::LANES);
                    S::store(to, S::add(S::load(to), sum));
                }
            }
        }
    }
}
