//! AVX-512 VNNI: `vpdpbusd` adds four products of an unsigned and a signed byte to each of 16 sums, without saturation.

mod dense;
mod depthwise;

use std::arch::x86_64::{
    __m512i, _mm_storeu_si128, _mm256_storeu_si256, _mm512_adds_epi16, _mm512_castsi512_si256,
    _mm512_cvtepi32_ps, _mm512_cvtps_epi32, _mm512_extracti32x4_epi32, _mm512_loadu_ps,
    _mm512_mask_storeu_epi8, _mm512_min_ps, _mm512_mul_ps, _mm512_packs_epi16, _mm512_packs_epi32,
    _mm512_packus_epi16, _mm512_permutexvar_epi32, _mm512_set1_epi16, _mm512_set1_ps, _mm512_setr_epi32,
    _mm512_setzero_ps, _mm512_storeu_si512,
};

use super::Scaling;
use crate::Isa;
pub(super) use dense::dense;
pub(super) use depthwise::depthwise_row;

/// True when the CPU has the instructions and wide ones are to be used.
pub(super) fn available() -> bool {
    Isa::best() == Isa::Avx512 && std::arch::is_x86_feature_detected!("avx512vnni")
}

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
