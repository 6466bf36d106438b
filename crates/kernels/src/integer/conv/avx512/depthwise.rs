//! Depthwise rows.

use std::arch::x86_64::{
    __m512i, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_maskz_loadu_epi8, _mm512_set1_epi8,
    _mm512_setzero_si512, _mm512_storeu_si512, _mm512_unpackhi_epi8, _mm512_unpackhi_epi16,
    _mm512_unpacklo_epi8, _mm512_unpacklo_epi16,
};

use super::{available, mask_of, requantize_in_quarters, store_codes};
use crate::integer::conv::Target;
use crate::integer::conv::depthwise::{self, Columns, Row};
use crate::integer::{DEPTH, LANES};

/// One output row of 64 channels: see [`depthwise`].
pub(in crate::integer::conv) fn depthwise_row(row: &Row<'_>, columns: &mut Columns, target: &mut Target<'_>) {
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
        // SAFETY: the channels of an existing pixel.
        unsafe { store_pixel(row, row.first + (first + pixel) * row.out_stride, totals, target) };
    }
    P
}

/// What the target wants of a pixel's sums.
///
/// # Safety
/// As stated in [`depthwise_row`]; the channels from `at` on lie in the target.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn store_pixel(
    row: &Row<'_>,
    at: usize,
    totals: [__m512i; depthwise::CHANNELS / LANES],
    target: &mut Target<'_>,
) {
    match target {
        Target::Codes { y, to } => {
            let of_vector = |vector: usize| to.scales.as_ptr().wrapping_add(row.lanes + vector * LANES);
            // SAFETY: a scale for each channel of the block; the codes of existing channels of an existing pixel.
            unsafe {
                // Packing undoes the order that unpacking made.
                let codes = requantize_in_quarters(totals, [0, 1, 2, 3].map(of_vector), *to);
                store_codes(y.as_mut_ptr().add(at), codes, row.channels);
            }
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
