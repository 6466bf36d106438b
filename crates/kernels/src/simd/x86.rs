//! AVX2 and AVX-512.

use std::arch::x86_64::*;

use half::bf16;

use super::{Kernel, Operand, ProductKernel, Simd};

/// # Safety
/// The CPU has AVX-512 F, VL, BW, DQ and BF16, AVX2 and FMA.
#[target_feature(enable = "avx512bf16,avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
pub(super) unsafe fn run_avx512_bf16<K: ProductKernel<bf16>>(kernel: K) {
    // SAFETY: the caller says so.
    unsafe { kernel.run::<Avx512, Pairs>() }
}

/// # Safety
/// The CPU has AVX-512 F, VL, BW and DQ, AVX2 and FMA.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
pub(super) unsafe fn run_avx512<K: Kernel>(kernel: K) {
    // SAFETY: the caller says so.
    unsafe { kernel.run::<Avx512>() }
}

/// # Safety
/// The CPU has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run_avx2<K: Kernel>(kernel: K) {
    // SAFETY: the caller says so.
    unsafe { kernel.run::<Avx2>() }
}

/// 16 elements.
#[derive(Clone, Copy)]
pub(crate) struct Avx512;

// SAFETY (all blocks): the CPU has the instruction set and pointers are valid, as `Simd` demands of the caller.
impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m512 {
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> __m512 {
        unsafe { _mm512_maskz_loadu_ps(first(count), from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: __m512) {
        unsafe { _mm512_storeu_ps(to, value) }
    }
    #[inline(always)]
    unsafe fn store_first(to: *mut f32, value: __m512, count: usize) {
        unsafe { _mm512_mask_storeu_ps(to, first(count), value) }
    }
    #[inline(always)]
    unsafe fn multiply_add(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn negative_multiply_add(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fnmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn subtract(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn multiply(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn divide(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn scale(value: __m512, exponent: __m512) -> __m512 {
        unsafe { _mm512_scalef_ps(value, exponent) }
    }
    #[inline(always)]
    unsafe fn magnitude(value: __m512) -> __m512 {
        unsafe { _mm512_abs_ps(value) }
    }
    #[inline(always)]
    unsafe fn with_sign(magnitude: __m512, sign: __m512) -> __m512 {
        unsafe { _mm512_or_ps(magnitude, _mm512_and_ps(sign, _mm512_set1_ps(-0.0))) }
    }
    #[inline(always)]
    unsafe fn if_less(a: __m512, b: __m512, then: __m512, other: __m512) -> __m512 {
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), other, then) }
    }
    #[inline(always)]
    unsafe fn at_least(value: __m512, low: __m512) -> __m512 {
        // The second operand is the result when one of them is NaN.
        unsafe { _mm512_max_ps(low, value) }
    }
    #[inline(always)]
    unsafe fn at_most(value: __m512, high: __m512) -> __m512 {
        unsafe { _mm512_min_ps(high, value) }
    }
}

/// Pairs of BF16 numbers.
pub(super) struct Pairs;

/// Puts 16 elements of the lower half and 16 of the upper half in turns.
const IN_TURNS: [i16; 32] = {
    let mut order = [0; 32];
    let mut lane = 0;
    while lane < 16 {
        order[2 * lane] = lane as i16;
        order[2 * lane + 1] = lane as i16 + 16;
        lane += 1;
    }
    order
};

// SAFETY (all blocks): as for `Avx512`, with BF16; vectors of any kind have the same bits.
impl Operand<Avx512> for Pairs {
    type Element = bf16;
    type V = __m512i;

    #[inline(always)]
    unsafe fn splat(from: *const bf16) -> __m512i {
        unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn load(from: *const bf16) -> __m512i {
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn multiply_add(a: __m512i, b: __m512i, sum: __m512) -> __m512 {
        use std::mem::transmute;
        unsafe {
            _mm512_dpbf16_ps(
                sum,
                transmute::<__m512i, __m512bh>(a),
                transmute::<__m512i, __m512bh>(b),
            )
        }
    }
    #[inline(always)]
    unsafe fn widen(from: *const bf16, count: usize) -> __m512 {
        unsafe {
            let bits = match count >= 16 {
                true => _mm256_loadu_si256(from.cast()),
                false => _mm256_maskz_loadu_epi16(first(count), from.cast()),
            };
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits)))
        }
    }
    #[inline(always)]
    unsafe fn store(to: *mut bf16, value: __m512, count: usize) {
        unsafe {
            let rounded = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(value));
            match count >= 16 {
                true => _mm256_storeu_si256(to.cast(), rounded),
                false => _mm256_mask_storeu_epi16(to.cast(), first(count), rounded),
            }
        }
    }
    #[inline(always)]
    unsafe fn store_joined(to: *mut bf16, values: [__m512; 2], count: usize) {
        unsafe {
            let rounded = _mm512_cvtne2ps_pbh(values[1], values[0]);
            let rounded = std::mem::transmute::<__m512bh, __m512i>(rounded);
            let in_turns = _mm512_permutexvar_epi16(_mm512_loadu_si512(IN_TURNS.as_ptr().cast()), rounded);
            match count >= 16 {
                true => _mm512_storeu_si512(to.cast(), in_turns),
                false => _mm512_mask_storeu_epi32(to.cast(), first(count), in_turns),
            }
        }
    }
}

/// The mask of the first `count` elements.
#[inline(always)]
fn first(count: usize) -> __mmask16 {
    if count >= 16 { u16::MAX } else { (1 << count) - 1 }
}

/// 8 elements.
#[derive(Clone, Copy)]
pub(crate) struct Avx2;

// SAFETY (all blocks): as for `Avx512`.
impl Simd for Avx2 {
    type V = __m256;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m256 {
        unsafe { _mm256_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> __m256 {
        unsafe { _mm256_maskload_ps(from, first_of_8(count)) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: __m256) {
        unsafe { _mm256_storeu_ps(to, value) }
    }
    #[inline(always)]
    unsafe fn store_first(to: *mut f32, value: __m256, count: usize) {
        unsafe { _mm256_maskstore_ps(to, first_of_8(count), value) }
    }
    #[inline(always)]
    unsafe fn multiply_add(a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn negative_multiply_add(a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fnmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn subtract(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn multiply(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn divide(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn scale(value: __m256, exponent: __m256) -> __m256 {
        // Two factors, as one could be too small or too large for a normal number.
        unsafe {
            let exponent = _mm256_cvtps_epi32(exponent);
            let half = _mm256_srai_epi32::<1>(exponent);
            let rest = _mm256_sub_epi32(exponent, half);
            _mm256_mul_ps(_mm256_mul_ps(value, power_of_two(half)), power_of_two(rest))
        }
    }
    #[inline(always)]
    unsafe fn magnitude(value: __m256) -> __m256 {
        unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), value) }
    }
    #[inline(always)]
    unsafe fn with_sign(magnitude: __m256, sign: __m256) -> __m256 {
        unsafe { _mm256_or_ps(magnitude, _mm256_and_ps(sign, _mm256_set1_ps(-0.0))) }
    }
    #[inline(always)]
    unsafe fn if_less(a: __m256, b: __m256, then: __m256, other: __m256) -> __m256 {
        unsafe { _mm256_blendv_ps(other, then, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b)) }
    }
    #[inline(always)]
    unsafe fn at_least(value: __m256, low: __m256) -> __m256 {
        unsafe { _mm256_max_ps(low, value) }
    }
    #[inline(always)]
    unsafe fn at_most(value: __m256, high: __m256) -> __m256 {
        unsafe { _mm256_min_ps(high, value) }
    }
}

/// All bits of the first `count` elements.
#[inline(always)]
unsafe fn first_of_8(count: usize) -> __m256i {
    // SAFETY: as for `Avx2`.
    unsafe {
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        _mm256_cmpgt_epi32(_mm256_set1_epi32(count.min(8) as i32), lanes)
    }
}

/// `2^exponent` for exponents of normal numbers.
#[inline(always)]
unsafe fn power_of_two(exponent: __m256i) -> __m256 {
    // SAFETY: as for `Avx2`.
    unsafe {
        let bits = _mm256_slli_epi32::<23>(_mm256_add_epi32(exponent, _mm256_set1_epi32(127)));
        _mm256_castsi256_ps(bits)
    }
}
