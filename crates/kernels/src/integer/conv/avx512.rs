//! AVX-512 VNNI: `vpdpbusd` adds four products of an unsigned and a signed byte to each of 16 sums, without saturation.

use std::arch::x86_64::{
    __m512i, _mm_mask_storeu_epi8, _mm512_add_epi32, _mm512_cvtepi32_epi8, _mm512_cvtepi32_ps,
    _mm512_cvtps_epi32, _mm512_dpbusd_epi32, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_storeu_epi8,
    _mm512_mask_storeu_epi32, _mm512_maskz_loadu_epi8, _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps,
    _mm512_packs_epi16, _mm512_packs_epi32, _mm512_packus_epi16, _mm512_set1_epi8, _mm512_set1_epi32,
    _mm512_set1_ps, _mm512_setzero_si512, _mm512_storeu_si512, _mm512_unpackhi_epi8, _mm512_unpackhi_epi16,
    _mm512_unpacklo_epi8, _mm512_unpacklo_epi16,
};

use super::dense::{Kernel, Place, Tile};
use super::depthwise::{self, Columns, Row};
use super::{Requantization, Target};
use crate::Isa;
use crate::integer::{DEPTH, LANES};

/// True when the CPU has the instructions and wide ones are to be used.
pub(super) fn available() -> bool {
    Isa::best() == Isa::Avx512 && std::arch::is_x86_feature_detected!("avx512vnni")
}

pub(super) const DENSE: Kernel = Kernel {
    most_pixels: [12, 12, 8, 6],
    run: dense,
};

/// From sums to codes in registers.
#[derive(Clone, Copy)]
struct Bounds {
    low: f32,
    high: f32,
    zero_point: i32,
}

impl Bounds {
    fn of(to: &Requantization) -> Bounds {
        let grid = to.grid();
        Bounds {
            low: (grid.min - grid.zero_point) as f32,
            high: (grid.max - grid.zero_point) as f32,
            zero_point: grid.zero_point,
        }
    }
}

/// Codes of sums, one in each 32-bit lane; as `quantize::requantize_columns` has them.
///
/// # Safety
/// The CPU has AVX-512; `scales` is valid for 16 numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn requantize(sums: __m512i, scales: *const f32, bounds: Bounds) -> __m512i {
    // SAFETY: the caller's promise.
    let quotient = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), unsafe { _mm512_loadu_ps(scales) });
    // Of NaN and a bound, these give the bound.
    let above = _mm512_max_ps(quotient, _mm512_set1_ps(bounds.low));
    let within = _mm512_min_ps(above, _mm512_set1_ps(bounds.high));
    _mm512_add_epi32(_mm512_cvtps_epi32(within), _mm512_set1_epi32(bounds.zero_point))
}

fn dense(tile: Tile<'_, '_>) {
    let pixels = tile.windows.len();
    let reach = tile.windows.iter().max().unwrap_or(&0) + tile.runs.iter().max().unwrap_or(&0);
    assert!(
        available() && reach + tile.steps * DEPTH <= tile.bytes.len(),
        "windows within the source, on a CPU with VNNI"
    );
    let lanes = tile.width * LANES;
    assert!(
        tile.codes.len() == tile.runs.len() * tile.steps * lanes * DEPTH && tile.starts.len() == lanes,
        "codes and starts of a block"
    );
    tile.place.check(pixels, lanes, tile.target);
    macro_rules! tiles {
        ($($p:literal x $b:literal),*) => {
            match (pixels, tile.width) {
                // SAFETY: the CPU has the instructions, and all places that are read and written lie in their slices,
                // as asserted above.
                $(($p, $b) => unsafe { dense_tile::<$p, $b>(tile) },)*
                _ => unreachable!("as many pixels and vectors as the kernel takes"),
            }
        };
    }
    tiles!(1 x 1, 2 x 1, 3 x 1, 4 x 1, 5 x 1, 6 x 1, 7 x 1, 8 x 1, 9 x 1, 10 x 1, 11 x 1, 12 x 1,
           1 x 2, 2 x 2, 3 x 2, 4 x 2, 5 x 2, 6 x 2, 7 x 2, 8 x 2, 9 x 2, 10 x 2, 11 x 2, 12 x 2,
           1 x 3, 2 x 3, 3 x 3, 4 x 3, 5 x 3, 6 x 3, 7 x 3, 8 x 3,
           1 x 4, 2 x 4, 3 x 4, 4 x 4, 5 x 4, 6 x 4);
}

impl Place {
    /// Asserts that the results of so many pixels and lanes lie in the target.
    fn check(&self, pixels: usize, lanes: usize, target: &Target<'_>) {
        let end = self.first + pixels.saturating_sub(1) * self.stride + self.filters;
        let scales = match target {
            Target::Codes { scales, .. } => scales.len() >= self.lanes.end,
            Target::Sums(_) => true,
        };
        assert!(
            end <= target.len() && self.filters <= lanes && self.lanes.len() == lanes && scales,
            "results within the output"
        );
    }
}

/// `P` pixels by `B` vectors of output channels.
///
/// # Safety
/// The CPU must have AVX-512 F, BW, VL and VNNI; the tile must hold what [`dense`] asserts.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn dense_tile<const P: usize, const B: usize>(tile: Tile<'_, '_>) {
    let mut totals: [[__m512i; B]; P] = [[_mm512_setzero_si512(); B]; P];
    for block in 0..B {
        // SAFETY: there are `B * LANES` starts.
        let start = unsafe { _mm512_loadu_si512(tile.starts.as_ptr().add(block * LANES).cast()) };
        totals.iter_mut().for_each(|totals| totals[block] = start);
    }
    let mut codes = tile.codes.as_ptr();
    for &run in tile.runs {
        let mut pixels = [tile.bytes.as_ptr(); P];
        for (pixel, &window) in pixels.iter_mut().zip(tile.windows) {
            // SAFETY: the first byte of a run, which lies in `bytes`.
            *pixel = unsafe { pixel.add(window + run) };
        }
        for step in 0..tile.steps {
            let mut weights = [_mm512_setzero_si512(); B];
            for (block, weights) in weights.iter_mut().enumerate() {
                // SAFETY: the codes of this step, as many as asserted.
                *weights = unsafe { _mm512_loadu_si512(codes.add(block * LANES * DEPTH).cast()) };
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
    let place = &tile.place;
    let mask = |block: usize| mask_of((place.filters - (block * LANES).min(place.filters)).min(LANES)) as u16;
    match tile.target {
        Target::Codes { y, to, scales } => {
            let bounds = Bounds::of(to);
            for (pixel, totals) in totals.into_iter().enumerate() {
                for (block, total) in totals.into_iter().enumerate() {
                    let at = place.first + pixel * place.stride + block * LANES;
                    // SAFETY: a scale for each lane; codes of existing filters within `y`, as `Place::check` asserts.
                    unsafe {
                        let scales = scales.as_ptr().add(place.lanes.start + block * LANES);
                        let codes = _mm512_cvtepi32_epi8(requantize(total, scales, bounds));
                        _mm_mask_storeu_epi8(y.as_mut_ptr().wrapping_add(at).cast(), mask(block), codes);
                    }
                }
            }
        }
        Target::Sums(y) => {
            for (pixel, totals) in totals.into_iter().enumerate() {
                for (block, total) in totals.into_iter().enumerate() {
                    let at = place.first + pixel * place.stride + block * LANES;
                    // SAFETY: sums of existing filters within `y`, as `Place::check` asserts.
                    unsafe {
                        _mm512_mask_storeu_epi32(y.as_mut_ptr().wrapping_add(at), mask(block), total);
                    }
                }
            }
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
            Target::Codes { y, to, scales } => {
                let bounds = Bounds::of(to);
                let mut codes = totals;
                for (vector, codes) in codes.iter_mut().enumerate() {
                    // SAFETY: a scale for each channel of the block.
                    *codes = unsafe {
                        requantize(*codes, scales.as_ptr().add(row.lanes + vector * LANES), bounds)
                    };
                }
                // Packing undoes the order that unpacking made.
                let low = _mm512_packs_epi32(codes[0], codes[1]);
                let high = _mm512_packs_epi32(codes[2], codes[3]);
                let bytes = match to.signed {
                    true => _mm512_packs_epi16(low, high),
                    false => _mm512_packus_epi16(low, high),
                };
                // SAFETY: the codes of existing channels of an existing pixel.
                unsafe {
                    _mm512_mask_storeu_epi8(y.as_mut_ptr().add(at).cast(), mask_of(row.channels), bytes)
                };
            }
            Target::Sums(y) => {
                let mut lanes = [0i32; depthwise::CHANNELS];
                for (vector, total) in totals.into_iter().enumerate() {
                    // SAFETY: 16 of 64 lanes.
                    unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().add(vector * LANES).cast(), total) };
                }
                for (channel, sum) in y[at..at + row.channels].iter_mut().enumerate() {
                    *sum = lanes[depthwise::lane(channel)];
                }
            }
        }
    }
    P
}
