//! AVX2: bytes widened to 16 bits, pairs of products added to 32-bit sums by `vpmaddwd`. `vpmaddubsw` would take bytes as
//! they are, but its 16-bit sums saturate.

use std::arch::x86_64::{
    __m256i, _mm_set1_epi32, _mm256_add_epi32, _mm256_cvtepu8_epi16, _mm256_hadd_epi32, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_permute4x64_epi64, _mm256_setzero_si256, _mm256_storeu_si256,
};

use super::dense::Block;
use crate::Isa;
use crate::integer::{DEPTH, LANES};
use crate::scratch::Scratch;

/// True when the CPU has the instructions.
pub(super) fn available() -> bool {
    Isa::best() >= Isa::Avx2
}

/// Most pixels of a tile: eight sums. With more of them some live in memory, and each step waits for those.
const PIXELS: usize = 2;

/// A block, a few pixels at a time.
pub(super) fn dense(block: Block<'_, '_>) {
    assert!(available(), "a CPU with AVX2");
    block.check();
    let (pixels, lanes) = (block.windows.len(), block.width * LANES);
    let mut sums = Scratch::<i32>::take(pixels * lanes);
    let mut codes = Scratch::<i16>::take(block.codes.len() / block.width);
    for vector in 0..block.width {
        // Each is used for every pixel.
        let steps = block.codes.chunks_exact(lanes * DEPTH);
        for (wide, step) in codes.chunks_exact_mut(LANES * DEPTH).zip(steps) {
            widen(&step[vector * LANES * DEPTH..][..LANES * DEPTH], wide);
        }
        let starts = &block.starts[vector * LANES..][..LANES];
        for first in (0..pixels).step_by(PIXELS) {
            let count = PIXELS.min(pixels - first);
            // SAFETY: the CPU has AVX2; all windows lie in `bytes` and there are codes for every step, as asserted.
            let totals: [[i32; LANES]; PIXELS] = unsafe {
                match count {
                    1 => dense_tile::<1>(&block, &codes, first),
                    _ => dense_tile::<2>(&block, &codes, first),
                }
            };
            for (pixel, totals) in totals[..count].iter().enumerate() {
                let sums = &mut sums[(first + pixel) * lanes + vector * LANES..][..LANES];
                for ((sum, total), start) in sums.iter_mut().zip(totals).zip(starts) {
                    *sum = total.wrapping_add(*start);
                }
            }
        }
    }
    for (pixel, sums) in sums.chunks_exact(lanes).enumerate() {
        block.place.put(pixel, sums, block.target);
    }
}

crate::vectorize::vectorized! {
    /// The same numbers in 16 bits.
    fn widen(from: &[i8], to: &mut [i16]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = i16::from(*from);
        }
    }
}

/// `P` pixels by one vector of output channels, whose codes are `codes`.
///
/// # Safety
/// The CPU must have AVX2; the block must hold what [`Block::check`] asserts, and `P` pixels from `first` on.
#[target_feature(enable = "avx2")]
unsafe fn dense_tile<const P: usize>(
    tile: &Block<'_, '_>,
    codes: &[i16],
    first: usize,
) -> [[i32; LANES]; PIXELS] {
    /// Parts of a vector: four channels, two sums of each.
    const PARTS: usize = LANES / 4;
    let mut totals: [[__m256i; PARTS]; P] = [[_mm256_setzero_si256(); PARTS]; P];
    let mut codes = codes.as_ptr();
    for &run in tile.runs {
        let mut pixels = [tile.bytes.as_ptr(); P];
        for (pixel, &window) in pixels.iter_mut().zip(&tile.windows[first..]) {
            *pixel = pixel.wrapping_add(window + run);
        }
        for step in 0..tile.steps {
            // SAFETY: four bytes of a run.
            let bytes = pixels.map(|pixel| unsafe { pixel.add(step * DEPTH).cast::<i32>().read_unaligned() });
            let mut seen = [_mm256_setzero_si256(); P];
            for (seen, bytes) in seen.iter_mut().zip(bytes) {
                *seen = _mm256_cvtepu8_epi16(_mm_set1_epi32(bytes));
            }
            for part in 0..PARTS {
                // SAFETY: 16 codes of this step and vector.
                let weights = unsafe { _mm256_loadu_si256(codes.add(part * 16).cast()) };
                for (totals, &seen) in totals.iter_mut().zip(&seen) {
                    totals[part] = _mm256_add_epi32(totals[part], _mm256_madd_epi16(seen, weights));
                }
            }
            codes = codes.wrapping_add(LANES * DEPTH);
        }
    }
    let mut sums = [[0; LANES]; PIXELS];
    for (sums, totals) in sums.iter_mut().zip(totals) {
        for (half, sums) in sums.chunks_exact_mut(8).enumerate() {
            // Of four channels each: both halves of the first two, then of the last two.
            let added = _mm256_hadd_epi32(totals[2 * half], totals[2 * half + 1]);
            let ordered = _mm256_permute4x64_epi64::<0b11_01_10_00>(added);
            // SAFETY: eight sums.
            unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast(), ordered) };
        }
    }
    sums
}
