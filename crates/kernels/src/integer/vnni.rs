//! AVX-512 VNNI: `vpdpbusd` adds four products of an unsigned and a signed byte to each of 16 sums, without saturation.

use std::arch::x86_64::{
    __m512i, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_si512,
    _mm512_storeu_si512,
};

use super::panel::{Columns, Sums};
use super::{DEPTH, LANES};
use crate::Isa;

/// True when the CPU has the instructions and wide ones are to be used.
pub(super) fn available() -> bool {
    Isa::best() == Isa::Avx512 && std::arch::is_x86_feature_detected!("avx512vnni")
}

/// See [`super::panel::multiply_unsigned_rows`]; only when [`available`].
pub(super) fn unsigned_rows(rows: &[u8], columns: Columns<'_, i8>, sums: Sums<'_>) {
    let depth = columns.offsets.len() * DEPTH;
    let count = sums.start.len();
    assert!(
        available() && columns.is_sound(),
        "columns within their slice, on a CPU with VNNI"
    );
    assert!(
        rows.len() == count * depth && sums.is_sound(columns.width()),
        "rows that fit the sums"
    );
    let (rows, codes) = (rows.as_ptr(), columns.codes.as_ptr());
    let (start, stride, sums) = (sums.start.as_ptr(), sums.stride, sums.values.as_mut_ptr());
    macro_rules! tiles {
        ($($r:literal x $w:literal),*) => {
            match (count, columns.panels) {
                // SAFETY: the CPU has the instructions, `rows` holds `count * depth` bytes, the columns lie in `codes`
                // and `sums` holds `panels * LANES` sums at each of the first `count` multiples of `stride`, all as asserted above, `start` `count` numbers;
                $(($r, $w) => unsafe {
                    tile::<$r, $w>(rows, columns.offsets, codes, columns.panel_stride, start, stride, sums);
                },)*
                _ => unreachable!("one to six rows and one to four panels"),
            }
        };
    }
    tiles!(1 x 1, 1 x 2, 1 x 3, 1 x 4, 2 x 1, 2 x 2, 2 x 3, 2 x 4, 3 x 1, 3 x 2, 3 x 3, 3 x 4,
           4 x 1, 4 x 2, 4 x 3, 4 x 4, 5 x 1, 5 x 2, 5 x 3, 5 x 4, 6 x 1, 6 x 2, 6 x 3, 6 x 4);
}

/// `R` rows by `W` panels.
///
/// # Safety
/// The CPU must have AVX-512 F and VNNI; `rows` must be valid for `R * DEPTH` bytes for each offset, `codes` for
/// `LANES * DEPTH` bytes at each offset plus each of the first `W` multiples of `panel_stride`, `start`
/// for `R` numbers, `sums` for `W * LANES` sums at each of the first `R` multiples of `stride`.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn tile<const R: usize, const W: usize>(
    rows: *const u8,
    offsets: &[usize],
    codes: *const i8,
    panel_stride: usize,
    start: *const i32,
    stride: usize,
    sums: *mut i32,
) {
    let depth = offsets.len() * DEPTH;
    let mut totals: [[__m512i; W]; R] = [[_mm512_setzero_si512(); W]; R];
    for (row, totals) in totals.iter_mut().enumerate() {
        // SAFETY: one of `R` numbers, within the caller's bounds.
        *totals = [_mm512_set1_epi32(unsafe { *start.add(row) }); W];
    }
    for (step, &offset) in offsets.iter().enumerate() {
        let mut columns = [_mm512_setzero_si512(); W];
        for (panel, columns) in columns.iter_mut().enumerate() {
            // SAFETY: LANES * DEPTH bytes within the caller's bounds.
            *columns = unsafe { _mm512_loadu_si512(codes.add(offset + panel * panel_stride).cast()) };
        }
        for (row, totals) in totals.iter_mut().enumerate() {
            // SAFETY: DEPTH bytes of row `row`, within the caller's bounds.
            let codes = unsafe {
                rows.add(row * depth + step * DEPTH)
                    .cast::<i32>()
                    .read_unaligned()
            };
            let codes = _mm512_set1_epi32(codes);
            for (total, columns) in totals.iter_mut().zip(columns) {
                *total = _mm512_dpbusd_epi32(*total, codes, columns);
            }
        }
    }
    for (row, totals) in totals.into_iter().enumerate() {
        for (panel, total) in totals.into_iter().enumerate() {
            // SAFETY: LANES sums, within the caller's bounds.
            unsafe { _mm512_storeu_si512(sums.add(row * stride + panel * LANES).cast(), total) };
        }
    }
}
