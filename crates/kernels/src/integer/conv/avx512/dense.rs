//! Dense tiles.

use std::arch::x86_64::{
    __m512i, _mm_mask_storeu_epi8, _mm_storeu_si128, _mm256_storeu_si256, _mm512_add_ps,
    _mm512_castsi512_si256, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_extracti32x4_epi32,
    _mm512_extracti64x4_epi64, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_storeu_epi32,
    _mm512_mask_storeu_ps, _mm512_mul_ps, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_storeu_si512,
};

use super::{available, mask_of, requantize, store_codes};
use crate::integer::conv::dense::{Block, Place};
use crate::integer::conv::{Scaling, Target};
use crate::integer::{DEPTH, LANES};

/// Most pixels of a tile by the number of vectors less one.
const PIXELS: [usize; 4] = [12, 12, 8, 6];

/// A block, a few pixels at a time.
pub(in crate::integer::conv) fn dense(mut block: Block<'_, '_>) {
    assert!(available(), "a CPU with VNNI");
    block.check();
    let (pixels, width) = (block.windows.len(), block.width);
    let tiles = pixels.div_ceil(PIXELS[width - 1]);
    macro_rules! tiles {
        ($first:ident, $pixels:expr, $($p:literal x $b:literal),*) => {
            match ($pixels, width) {
                // SAFETY: the CPU has the instructions, and all places that are read and written lie in their slices,
                // as `check` asserts.
                $(($p, $b) => unsafe { dense_tile::<$p, $b>(&mut block, $first) },)*
                _ => unreachable!("as many pixels and vectors as a tile can have"),
            }
        };
    }
    for tile in 0..tiles {
        let (first, end) = (pixels * tile / tiles, pixels * (tile + 1) / tiles);
        tiles!(first, end - first,
               1 x 1, 2 x 1, 3 x 1, 4 x 1, 5 x 1, 6 x 1, 7 x 1, 8 x 1, 9 x 1, 10 x 1, 11 x 1, 12 x 1,
               1 x 2, 2 x 2, 3 x 2, 4 x 2, 5 x 2, 6 x 2, 7 x 2, 8 x 2, 9 x 2, 10 x 2, 11 x 2, 12 x 2,
               1 x 3, 2 x 3, 3 x 3, 4 x 3, 5 x 3, 6 x 3, 7 x 3, 8 x 3,
               1 x 4, 2 x 4, 3 x 4, 4 x 4, 5 x 4, 6 x 4);
    }
}

/// `P` pixels from `first` on by `B` vectors of output channels.
///
/// # Safety
/// The CPU must have AVX-512 F, BW, VL and VNNI; the block must hold what [`Block::check`] asserts.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn dense_tile<const P: usize, const B: usize>(block: &mut Block<'_, '_>, first: usize) {
    let mut totals: [[__m512i; B]; P] = [[_mm512_setzero_si512(); B]; P];
    for vector in 0..B {
        // SAFETY: there are `B * LANES` starts.
        let start = unsafe { _mm512_loadu_si512(block.starts.as_ptr().add(vector * LANES).cast()) };
        totals.iter_mut().for_each(|totals| totals[vector] = start);
    }
    let mut codes = block.codes.as_ptr();
    for &run in block.runs {
        let mut pixels = [block.bytes.as_ptr(); P];
        for (pixel, &window) in pixels.iter_mut().zip(&block.windows[first..]) {
            // SAFETY: the first byte of a run, which lies in `bytes`.
            *pixel = unsafe { pixel.add(window + run) };
        }
        for step in 0..block.steps {
            let mut weights = [_mm512_setzero_si512(); B];
            for (vector, weights) in weights.iter_mut().enumerate() {
                // SAFETY: the codes of this step, as many as asserted.
                *weights = unsafe { _mm512_loadu_si512(codes.add(vector * LANES * DEPTH).cast()) };
            }
            // SAFETY: at most one past the end.
            codes = unsafe { codes.add(B * LANES * DEPTH) };
            for (pixel, totals) in pixels.iter().zip(&mut totals) {
                // SAFETY: four bytes of a run.
                let bytes = unsafe { pixel.add(step * DEPTH).cast::<i32>().read_unaligned() };
                let bytes = _mm512_set1_epi32(bytes);
                for (total, weights) in totals.iter_mut().zip(weights) {
                    *total = _mm512_dpbusd_epi32(*total, bytes, weights);
                }
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe { store_tile::<P, B>(block, first, totals) };
}

/// What the block wants of a tile's sums.
///
/// # Safety
/// As for [`dense_tile`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn store_tile<const P: usize, const B: usize>(
    block: &mut Block<'_, '_>,
    first: usize,
    totals: [[__m512i; B]; P],
) {
    let place = &block.place;
    // SAFETY: the caller's promise.
    unsafe {
        match block.target {
            Target::Codes { y, to } if B > 2 => store_wide::<P, B>(place, first, totals, *to, y),
            Target::Codes { y, to } => store_narrow::<P, B>(place, first, totals, *to, y),
            Target::Reals { y, scales, bias } => {
                store_reals::<P, B>(place, first, totals, [*scales, *bias], y);
            }
            Target::Sums(y) => store_sums::<P, B>(place, first, totals, y),
        }
    }
}

/// Where a vector of a pixel goes.
#[inline(always)]
fn position(place: &Place, pixel: usize, vector: usize) -> usize {
    place.first + pixel * place.stride + vector * LANES
}

/// How many filters a vector has.
#[inline(always)]
fn filters(place: &Place, vector: usize) -> usize {
    place.filters.saturating_sub(vector * LANES).min(LANES)
}

/// Codes of three or four vectors.
///
/// # Safety
/// As for [`dense_tile`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn store_wide<const P: usize, const B: usize>(
    place: &Place,
    first: usize,
    totals: [[__m512i; B]; P],
    to: Scaling<'_>,
    y: &mut [u8],
) {
    let (scales, y) = (to.scales.as_ptr().wrapping_add(place.lanes.start), y.as_mut_ptr());
    for (pixel, totals) in totals.iter().enumerate() {
        // The last vector may come twice; its second codes are not stored.
        let vectors = [0, 1, 2, B - 1];
        let sums = vectors.map(|vector| totals[vector]);
        let scales = vectors.map(|vector| scales.wrapping_add(vector * LANES));
        // SAFETY: a scale for each lane; the filters of an existing pixel.
        unsafe {
            let codes = requantize(sums, scales, to);
            let to = y.wrapping_add(position(place, first + pixel, 0));
            store_codes(to, codes, place.filters.min(B * LANES));
        }
    }
}

/// Codes of one or two vectors, of four or two pixels at a time.
///
/// # Safety
/// As for [`dense_tile`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn store_narrow<const P: usize, const B: usize>(
    place: &Place,
    first: usize,
    totals: [[__m512i; B]; P],
    to: Scaling<'_>,
    y: &mut [u8],
) {
    let (scales, y) = (to.scales.as_ptr().wrapping_add(place.lanes.start), y.as_mut_ptr());
    for group in (0..P * B).step_by(4) {
        // The last one may come more than once.
        let indices = [0, 1, 2, 3].map(|i| (group + i).min(P * B - 1));
        let sums = indices.map(|i| totals[i / B][i % B]);
        let scales = indices.map(|i| scales.wrapping_add(i % B * LANES));
        // SAFETY: a scale for each lane.
        let codes = unsafe { requantize(sums, scales, to) };
        let whole = group + 4 <= P * B && place.filters == B * LANES;
        let at = |i: usize| y.wrapping_add(position(place, first + i / B, i % B));
        // SAFETY: the filters of existing pixels: side by side, in halves, or each by itself.
        unsafe {
            if whole && place.stride == B * LANES {
                _mm512_storeu_si512(at(group).cast(), codes);
            } else if whole && B == 2 {
                _mm256_storeu_si256(at(group).cast(), _mm512_castsi512_si256(codes));
                _mm256_storeu_si256(at(group + 2).cast(), _mm512_extracti64x4_epi64::<1>(codes));
            } else {
                let parts = [
                    _mm512_extracti32x4_epi32::<0>(codes),
                    _mm512_extracti32x4_epi32::<1>(codes),
                    _mm512_extracti32x4_epi32::<2>(codes),
                    _mm512_extracti32x4_epi32::<3>(codes),
                ];
                for (part, i) in parts.into_iter().zip(group..P * B) {
                    match filters(place, i % B) {
                        LANES => _mm_storeu_si128(at(i).cast(), part),
                        count => _mm_mask_storeu_epi8(at(i).cast(), mask_of(count) as u16, part),
                    }
                }
            }
        }
    }
}

/// Reals by scales and a bias.
///
/// # Safety
/// As for [`dense_tile`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn store_reals<const P: usize, const B: usize>(
    place: &Place,
    first: usize,
    totals: [[__m512i; B]; P],
    factors: [&[f32]; 2],
    y: &mut [f32],
) {
    let [scales, bias] = factors.map(|of| of.as_ptr().wrapping_add(place.lanes.start));
    for (pixel, totals) in totals.into_iter().enumerate() {
        for (vector, total) in totals.into_iter().enumerate() {
            let mask = mask_of(filters(place, vector)) as u16;
            let to = y
                .as_mut_ptr()
                .wrapping_add(position(place, first + pixel, vector));
            // SAFETY: a scale and a bias for each lane; reals of existing filters within `y`.
            unsafe {
                let scale = _mm512_loadu_ps(scales.add(vector * LANES));
                let bias = _mm512_loadu_ps(bias.add(vector * LANES));
                let real = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(total), scale), bias);
                _mm512_mask_storeu_ps(to, mask, real);
            }
        }
    }
}

/// The sums themselves.
///
/// # Safety
/// As for [`dense_tile`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn store_sums<const P: usize, const B: usize>(
    place: &Place,
    first: usize,
    totals: [[__m512i; B]; P],
    y: &mut [i32],
) {
    for (pixel, totals) in totals.into_iter().enumerate() {
        for (vector, total) in totals.into_iter().enumerate() {
            let mask = mask_of(filters(place, vector)) as u16;
            let to = y
                .as_mut_ptr()
                .wrapping_add(position(place, first + pixel, vector));
            // SAFETY: sums of existing filters within `y`.
            unsafe { _mm512_mask_storeu_epi32(to, mask, total) };
        }
    }
}
