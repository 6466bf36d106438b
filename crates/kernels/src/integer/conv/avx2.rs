//! AVX2: bytes widened to 16 bits, pairs of products added to 32-bit sums by `vpmaddwd`. `vpmaddubsw` would take bytes as
//! they are, but its 16-bit sums saturate.

use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm_set1_epi32, _mm256_add_epi32, _mm256_cvtepi8_epi16, _mm256_cvtepu8_epi16,
    _mm256_hadd_epi32, _mm256_madd_epi16, _mm256_permute4x64_epi64, _mm256_setzero_si256,
    _mm256_storeu_si256,
};

use super::dense::Block;
use crate::Isa;
use crate::integer::{DEPTH, LANES};

/// True when the CPU has the instructions.
pub(super) fn available() -> bool {
    Isa::best() >= Isa::Avx2
}

/// Most pixels of a tile.
const PIXELS: usize = 3;

/// A block, a few pixels at a time.
pub(super) fn dense(block: Block<'_, '_>) {
    assert!(available(), "a CPU with AVX2");
    block.check();
    for first in (0..block.windows.len()).step_by(PIXELS) {
        let pixels = PIXELS.min(block.windows.len() - first);
        let mut sums = [[0i32; 4 * LANES]; PIXELS];
        for vector in 0..block.width {
            // SAFETY: the CPU has AVX2; all windows lie in `bytes` and there are codes for every step, as asserted.
            let totals: [[i32; LANES]; PIXELS] = unsafe {
                match pixels {
                    1 => dense_tile::<1>(&block, first, vector),
                    2 => dense_tile::<2>(&block, first, vector),
                    _ => dense_tile::<3>(&block, first, vector),
                }
            };
            let starts = &block.starts[vector * LANES..][..LANES];
            for (sums, totals) in sums.iter_mut().zip(totals) {
                let sums = &mut sums[vector * LANES..][..LANES];
                for ((sum, total), start) in sums.iter_mut().zip(totals).zip(starts) {
                    *sum = total.wrapping_add(*start);
                }
            }
        }
        for (pixel, sums) in sums[..pixels].iter().enumerate() {
            block.place.put(first + pixel, sums, block.target);
        }
    }
}

/// `P` pixels by one vector of output channels.
///
/// # Safety
/// The CPU must have AVX2; the block must hold what [`Block::check`] asserts, and `P` pixels from `first` on.
#[target_feature(enable = "avx2")]
unsafe fn dense_tile<const P: usize>(
    tile: &Block<'_, '_>,
    first: usize,
    vector: usize,
) -> [[i32; LANES]; PIXELS] {
    /// Parts of a vector: four channels, two sums of each.
    const PARTS: usize = LANES / 4;
    let mut totals: [[__m256i; PARTS]; P] = [[_mm256_setzero_si256(); PARTS]; P];
    let step_bytes = tile.width * LANES * DEPTH;
    let mut codes = tile.codes.as_ptr().wrapping_add(vector * LANES * DEPTH);
    for &run in tile.runs {
        for step in 0..tile.steps {
            let mut weights = [_mm256_setzero_si256(); PARTS];
            for (part, weights) in weights.iter_mut().enumerate() {
                // SAFETY: 16 codes of this step and vector.
                let bytes = unsafe { _mm_loadu_si128(codes.add(part * 16).cast()) };
                *weights = _mm256_cvtepi8_epi16(bytes);
            }
            codes = codes.wrapping_add(step_bytes);
            for (&window, totals) in tile.windows[first..].iter().zip(&mut totals) {
                // SAFETY: four bytes of a run.
                let bytes = unsafe {
                    let pixel = tile.bytes.as_ptr().add(window + run + step * DEPTH);
                    pixel.cast::<i32>().read_unaligned()
                };
                let bytes = _mm256_cvtepu8_epi16(_mm_set1_epi32(bytes));
                for (total, weights) in totals.iter_mut().zip(weights) {
                    *total = _mm256_add_epi32(*total, _mm256_madd_epi16(bytes, weights));
                }
            }
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
