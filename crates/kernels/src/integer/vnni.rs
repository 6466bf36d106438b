//! AVX-512 VNNI: `vpdpbusd` adds four products of an unsigned and a signed byte to each of 16 sums, without saturation.

use std::arch::x86_64::{
    __m512i, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_storeu_si512,
};

use super::{DEPTH, LANES};
use crate::Isa;

/// True when the CPU has the instructions and wide ones are to be used.
pub(super) fn available() -> bool {
    Isa::best() == Isa::Avx512 && std::arch::is_x86_feature_detected!("avx512vnni")
}

/// See [`super::panel::multiply_unsigned_rows`]; only when [`available`].
pub(super) fn unsigned_rows(rows: &[u8], depth: usize, panels: &[i8], sums: &mut [i32]) {
    dispatch::<false>(bytes_of_rows(rows, depth), panels.as_ptr().cast(), panels.len(), depth, sums);
}

/// See [`super::panel::multiply_signed_rows`]; only when [`available`].
pub(super) fn signed_rows(rows: &[i8], depth: usize, panels: &[u8], sums: &mut [i32]) {
    let (pointer, count) = bytes_of_rows(rows, depth);
    dispatch::<true>((pointer, count), panels.as_ptr(), panels.len(), depth, sums);
}

fn bytes_of_rows<T>(rows: &[T], depth: usize) -> (*const u8, usize) {
    (rows.as_ptr().cast(), rows.len() / depth)
}

fn dispatch<const SIGNED_ROWS: bool>(
    (rows, count): (*const u8, usize),
    panels: *const u8,
    panel_bytes: usize,
    depth: usize,
    sums: &mut [i32],
) {
    let width = panel_bytes / (depth * LANES);
    assert!(depth.is_multiple_of(DEPTH) && sums.len() == count * width * LANES && available());
    macro_rules! tiles {
        ($($r:literal x $w:literal),*) => {
            match (count, width) {
                // SAFETY: the CPU has the instructions (asserted); `rows` holds `count * depth` bytes, `panels`
                // `width * LANES * depth` bytes and `sums` `count * width * LANES` sums, as computed or asserted above.
                $(($r, $w) => unsafe { tile::<$r, $w, SIGNED_ROWS>(rows, depth, panels, sums.as_mut_ptr()) },)*
                _ => unreachable!("at most six rows and four panels"),
            }
        };
    }
    tiles!(1 x 1, 1 x 2, 1 x 3, 1 x 4, 2 x 1, 2 x 2, 2 x 3, 2 x 4, 3 x 1, 3 x 2, 3 x 3, 3 x 4,
           4 x 1, 4 x 2, 4 x 3, 4 x 4, 5 x 1, 5 x 2, 5 x 3, 5 x 4, 6 x 1, 6 x 2, 6 x 3, 6 x 4);
}

/// `R` rows by `W` panels.
///
/// # Safety
/// The CPU must have AVX-512 F and VNNI; `rows` must be valid for `R * depth` bytes, `panels` for `W * LANES * depth`,
/// `sums` for `R * W * LANES` sums; `depth` is a multiple of [`DEPTH`].
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn tile<const R: usize, const W: usize, const SIGNED_ROWS: bool>(
    rows: *const u8,
    depth: usize,
    panels: *const u8,
    sums: *mut i32,
) {
    let mut totals: [[__m512i; W]; R] = [[_mm512_setzero_si512(); W]; R];
    for step in (0..depth).step_by(DEPTH) {
        let mut columns = [_mm512_setzero_si512(); W];
        for (panel, columns) in columns.iter_mut().enumerate() {
            // SAFETY: one group of LANES * DEPTH bytes of panel `panel`, within the caller's bounds.
            *columns = unsafe { _mm512_loadu_si512(panels.add((panel * depth + step) * LANES).cast()) };
        }
        for (row, totals) in totals.iter_mut().enumerate() {
            // SAFETY: DEPTH bytes of row `row`, within the caller's bounds.
            let codes = unsafe { rows.add(row * depth + step).cast::<i32>().read_unaligned() };
            let codes = _mm512_set1_epi32(codes);
            for (total, columns) in totals.iter_mut().zip(columns) {
                // The unsigned factor comes first.
                *total = if SIGNED_ROWS {
                    _mm512_dpbusd_epi32(*total, columns, codes)
                } else {
                    _mm512_dpbusd_epi32(*total, codes, columns)
                };
            }
        }
    }
    for (row, totals) in totals.into_iter().enumerate() {
        for (panel, total) in totals.into_iter().enumerate() {
            // SAFETY: LANES sums, within the caller's bounds.
            unsafe { _mm512_storeu_si512(sums.add((row * W + panel) * LANES).cast(), total) };
        }
    }
}
