//! AVX-512 VNNI: `vpdpbusd` adds four products of an unsigned and a signed byte to each of 16 sums, without saturation.

use std::arch::x86_64::{
    __m512i, _mm_mask_storeu_epi8, _mm_storeu_si128, _mm256_storeu_si256, _mm512_add_ps, _mm512_adds_epi16,
    _mm512_castsi512_si256, _mm512_cvtepi32_ps, _mm512_cvtps_epi32, _mm512_dpbusd_epi32,
    _mm512_extracti32x4_epi32, _mm512_extracti64x4_epi64, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_mask_storeu_epi8, _mm512_mask_storeu_epi32, _mm512_mask_storeu_ps, _mm512_maskz_loadu_epi8,
    _mm512_min_ps, _mm512_mul_ps, _mm512_packs_epi16, _mm512_packs_epi32, _mm512_packus_epi16,
    _mm512_permutexvar_epi32, _mm512_set1_epi8, _mm512_set1_epi16, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setr_epi32, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_storeu_si512, _mm512_unpackhi_epi8,
    _mm512_unpackhi_epi16, _mm512_unpacklo_epi8, _mm512_unpacklo_epi16,
};

use super::dense::Block;
use super::depthwise::{self, Columns, Row};
use super::{Scaling, Target};
use crate::Isa;
use crate::integer::{DEPTH, LANES};

/// True when the CPU has the instructions and wide ones are to be used.
pub(super) fn available() -> bool {
    Isa::best() == Isa::Avx512 && std::arch::is_x86_feature_detected!("avx512vnni")
}

/// Most pixels of a tile by the number of vectors less one.
const PIXELS: [usize; 4] = [12, 12, 8, 6];

/// Codes of four vectors of sums, the 16 codes of each one after the other; as `quantize::requantize_columns` has them.
///
/// # Safety
/// The CPU has AVX-512; each of `scales` is valid for 16 numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn requantize(sums: [__m512i; 4], scales: [*const f32; 4], to: Scaling<'_>) -> __m512i {
    // Packing takes turns among quarters of the vectors; this undoes it.
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    // SAFETY: the caller's promise.
    _mm512_permutexvar_epi32(order, unsafe { requantize_in_quarters(sums, scales, to) })
}

/// As [`requantize`], but in each quarter four codes of each vector after the other.
///
/// # Safety
/// As for [`requantize`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn requantize_in_quarters(sums: [__m512i; 4], scales: [*const f32; 4], to: Scaling<'_>) -> __m512i {
    let mut quotients = [_mm512_setzero_ps(); 4];
    for ((quotient, sums), scales) in quotients.iter_mut().zip(sums).zip(scales) {
        // SAFETY: the caller's promise.
        *quotient = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), unsafe { _mm512_loadu_ps(scales) });
    }
    if !to.fits {
        // Larger numbers saturate below all the same, but could not be converted. NaN passes, and NaN and very small
        // numbers are converted to the smallest integer.
        let high = _mm512_set1_ps(32767.0);
        for quotient in &mut quotients {
            *quotient = _mm512_min_ps(high, *quotient);
        }
    }
    let mut codes = sums;
    for (codes, quotient) in codes.iter_mut().zip(quotients) {
        *codes = _mm512_cvtps_epi32(quotient);
    }
    let to = to.to;
    let zero_point = _mm512_set1_epi16(to.zero_point as i16);
    let low = _mm512_adds_epi16(_mm512_packs_epi32(codes[0], codes[1]), zero_point);
    let high = _mm512_adds_epi16(_mm512_packs_epi32(codes[2], codes[3]), zero_point);
    match to.signed {
        true => _mm512_packs_epi16(low, high),
        false => _mm512_packus_epi16(low, high),
    }
}

/// A block, a few pixels at a time.
pub(super) fn dense(mut block: Block<'_, '_>) {
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

/// Codes or sums of a tile.
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
    let at = |pixel: usize, vector: usize| place.first + (first + pixel) * place.stride + vector * LANES;
    let left = |vector: usize| place.filters.saturating_sub(vector * LANES).min(LANES);
    match block.target {
        Target::Codes { y, to } => {
            let (to, y) = (*to, y.as_mut_ptr());
            let scales = to.scales.as_ptr().wrapping_add(place.lanes.start);
            if B > 2 {
                for (pixel, totals) in totals.iter().enumerate() {
                    // The last vector may come twice; its second codes are not stored.
                    let vectors = [0, 1, 2, B - 1];
                    let sums = vectors.map(|vector| totals[vector]);
                    let scales = vectors.map(|vector| scales.wrapping_add(vector * LANES));
                    // SAFETY: a scale for each lane; the filters of an existing pixel.
                    unsafe {
                        let codes = requantize(sums, scales, to);
                        store_codes(y.wrapping_add(at(pixel, 0)), codes, place.filters.min(B * LANES));
                    }
                }
                return;
            }
            for group in (0..P * B).step_by(4) {
                // The last one may come more than once.
                let indices = [0, 1, 2, 3].map(|i| (group + i).min(P * B - 1));
                let sums = indices.map(|i| totals[i / B][i % B]);
                let scales = indices.map(|i| scales.wrapping_add(i % B * LANES));
                // SAFETY: a scale for each lane.
                let codes = unsafe { requantize(sums, scales, to) };
                let whole = group + 4 <= P * B && place.filters == B * LANES;
                if whole && place.stride == B * LANES {
                    // SAFETY: the filters of existing pixels that lie side by side.
                    unsafe { _mm512_storeu_si512(y.wrapping_add(at(group / B, 0)).cast(), codes) };
                    continue;
                }
                if whole && B == 2 {
                    let parts = (
                        _mm512_castsi512_si256(codes),
                        _mm512_extracti64x4_epi64::<1>(codes),
                    );
                    // SAFETY: the filters of two existing pixels.
                    unsafe {
                        _mm256_storeu_si256(y.wrapping_add(at(group / B, 0)).cast(), parts.0);
                        _mm256_storeu_si256(y.wrapping_add(at(group / B + 1, 0)).cast(), parts.1);
                    }
                    continue;
                }
                let parts = [
                    _mm512_extracti32x4_epi32::<0>(codes),
                    _mm512_extracti32x4_epi32::<1>(codes),
                    _mm512_extracti32x4_epi32::<2>(codes),
                    _mm512_extracti32x4_epi32::<3>(codes),
                ];
                for (part, i) in parts.into_iter().zip(group..P * B) {
                    let to = y.wrapping_add(at(i / B, i % B));
                    // SAFETY: existing filters of an existing pixel.
                    match left(i % B) {
                        LANES => unsafe { _mm_storeu_si128(to.cast(), part) },
                        count => unsafe { _mm_mask_storeu_epi8(to.cast(), mask_of(count) as u16, part) },
                    }
                }
            }
        }
        Target::Reals { y, scales, bias } => {
            let first = |of: &[f32]| of.as_ptr().wrapping_add(place.lanes.start);
            let (scales, bias, y) = (first(scales), first(bias), y.as_mut_ptr());
            for (pixel, totals) in totals.into_iter().enumerate() {
                for (vector, total) in totals.into_iter().enumerate() {
                    let mask = mask_of(left(vector)) as u16;
                    // SAFETY: a scale and a bias for each lane; reals of existing filters within `y`.
                    unsafe {
                        let scale = _mm512_loadu_ps(scales.add(vector * LANES));
                        let bias = _mm512_loadu_ps(bias.add(vector * LANES));
                        let real = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(total), scale), bias);
                        _mm512_mask_storeu_ps(y.wrapping_add(at(pixel, vector)), mask, real);
                    }
                }
            }
        }
        Target::Sums(y) => {
            for (pixel, totals) in totals.into_iter().enumerate() {
                for (vector, total) in totals.into_iter().enumerate() {
                    let mask = mask_of(left(vector)) as u16;
                    let to = y.as_mut_ptr().wrapping_add(at(pixel, vector));
                    // SAFETY: sums of existing filters within `y`.
                    unsafe { _mm512_mask_storeu_epi32(to, mask, total) };
                }
            }
        }
    }
}

/// Writes the first `count` codes, of 64. Stores by a mask are slower than whole ones.
///
/// # Safety
/// The CPU has AVX-512; `to` is valid for `count` bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn store_codes(to: *mut u8, codes: __m512i, count: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match count {
            64 => _mm512_storeu_si512(to.cast(), codes),
            48 => {
                _mm256_storeu_si256(to.cast(), _mm512_castsi512_si256(codes));
                _mm_storeu_si128(to.add(32).cast(), _mm512_extracti32x4_epi32::<2>(codes));
            }
            _ => _mm512_mask_storeu_epi8(to.cast(), mask_of(count), codes),
        }
    }
}

/// The lowest `count` bits, of 64 at most.
fn mask_of(count: usize) -> u64 {
    match count {
        64.. => u64::MAX,
        _ => (1 << count) - 1,
    }
}

/// One output row of 64 channels: see [`depthwise`].
pub(super) fn depthwise_row(row: &Row<'_>, columns: &mut Columns, target: &mut Target<'_>) {
    assert!(available(), "a CPU with VNNI");
    row.check(target);
    columns.resize(row.columns() * row.quads());
    // SAFETY: the CPU has the instructions; `check` asserts that all rows lie in the input, that the filters are complete
    // and that the results lie in the target, and `columns` has room for every quad of every column.
    unsafe {
        interleave(row, columns);
        let mut first = 0;
        while first < row.pixels {
            let left = row.pixels - first;
            first += match left {
                6.. => depthwise_tile::<6>(row, columns, first, target),
                3..6 => depthwise_tile::<3>(row, columns, first, target),
                _ => depthwise_tile::<1>(row, columns, first, target),
            };
        }
    }
}

/// For each column of the padded input, four rows at a time: the bytes of each channel side by side.
///
/// # Safety
/// As stated in [`depthwise_row`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn interleave(row: &Row<'_>, columns: &mut Columns) {
    let zero = _mm512_set1_epi8(row.zero as i8);
    let mask = mask_of(row.channels);
    let mut to = columns.as_mut_ptr();
    for column in 0..row.columns() {
        let x = column.checked_sub(row.pad).filter(|&x| x < row.width);
        for quad in 0..row.quads() {
            let load = |lane: usize| match (x, row.rows.get(quad * DEPTH + lane)) {
                // SAFETY: `channels` bytes of a pixel of the input.
                (Some(x), Some(Some(start))) => unsafe {
                    _mm512_maskz_loadu_epi8(mask, row.x.as_ptr().add(start + x * row.stride).cast())
                },
                _ => zero,
            };
            let [a, b, c, d] = [load(0), load(1), load(2), load(3)];
            let (low, high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
            let (low2, high2) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
            let vectors = [
                _mm512_unpacklo_epi16(low, low2),
                _mm512_unpackhi_epi16(low, low2),
                _mm512_unpacklo_epi16(high, high2),
                _mm512_unpackhi_epi16(high, high2),
            ];
            for vector in vectors {
                // SAFETY: `columns` has room for four vectors for each quad of each column.
                unsafe {
                    _mm512_storeu_si512(to.cast(), vector);
                    to = to.add(size_of::<__m512i>());
                }
            }
        }
    }
}

/// `P` pixels from `first` on; gives `P`.
///
/// # Safety
/// As stated in [`depthwise_row`], with columns that are interleaved.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn depthwise_tile<const P: usize>(
    row: &Row<'_>,
    columns: &Columns,
    first: usize,
    target: &mut Target<'_>,
) -> usize {
    const VECTORS: usize = depthwise::CHANNELS / LANES;
    const BYTES: usize = LANES * DEPTH;
    let mut totals: [[__m512i; VECTORS]; P] = [[_mm512_setzero_si512(); VECTORS]; P];
    for vector in 0..VECTORS {
        // SAFETY: a start for each channel of the block.
        let start = unsafe { _mm512_loadu_si512(row.starts.as_ptr().add(vector * LANES).cast()) };
        totals.iter_mut().for_each(|totals| totals[vector] = start);
    }
    let quads = row.quads();
    for tap in 0..row.kernel {
        for quad in 0..quads {
            let mut weights = [_mm512_setzero_si512(); VECTORS];
            for (vector, weights) in weights.iter_mut().enumerate() {
                let at = ((tap * quads + quad) * VECTORS + vector) * BYTES;
                // SAFETY: the codes of this tap and quad.
                *weights = unsafe { _mm512_loadu_si512(row.codes.as_ptr().add(at).cast()) };
            }
            for (pixel, totals) in totals.iter_mut().enumerate() {
                let column = (first + pixel) * row.step + tap * row.dilation;
                let at = (column * quads + quad) * VECTORS * BYTES;
                for (vector, total) in totals.iter_mut().enumerate() {
                    // SAFETY: a vector of a column that an existing pixel sees.
                    let bytes =
                        unsafe { _mm512_loadu_si512(columns.as_ptr().add(at + vector * BYTES).cast()) };
                    *total = _mm512_dpbusd_epi32(*total, bytes, weights[vector]);
                }
            }
        }
    }
    for (pixel, totals) in totals.into_iter().enumerate() {
        let at = row.first + (first + pixel) * row.out_stride;
        match target {
            Target::Codes { y, to } => {
                let of_vector = |vector: usize| to.scales.as_ptr().wrapping_add(row.lanes + vector * LANES);
                // Packing undoes the order that unpacking made.
                // SAFETY: a scale for each channel of the block.
                let bytes = unsafe { requantize_in_quarters(totals, [0, 1, 2, 3].map(of_vector), *to) };
                // SAFETY: the codes of existing channels of an existing pixel.
                unsafe { store_codes(y.as_mut_ptr().add(at), bytes, row.channels) };
            }
            Target::Reals { y, scales, bias } => {
                let sums = in_lanes(totals);
                for (channel, y) in y[at..at + row.channels].iter_mut().enumerate() {
                    let lane = depthwise::lane(channel);
                    *y = sums[lane] as f32 * scales[row.lanes + lane] + bias[row.lanes + lane];
                }
            }
            Target::Sums(y) => {
                let sums = in_lanes(totals);
                for (channel, sum) in y[at..at + row.channels].iter_mut().enumerate() {
                    *sum = sums[depthwise::lane(channel)];
                }
            }
        }
    }
    P
}

/// The elements of four vectors.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn in_lanes(vectors: [__m512i; depthwise::CHANNELS / LANES]) -> [i32; depthwise::CHANNELS] {
    let mut lanes = [0; depthwise::CHANNELS];
    for (lanes, vector) in lanes.chunks_exact_mut(LANES).zip(vectors) {
        // SAFETY: 16 lanes.
        unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), vector) };
    }
    lanes
}
