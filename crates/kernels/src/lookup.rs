//! Functions of a byte, by table.

use crate::quantize::Code;

/// `codes[i] = table[x[i]]`, signed codes standing for their bits.
pub fn look_up<T: ByteCode>(table: &[T; 256], x: &[T], codes: &mut [T]) {
    assert_eq!(x.len(), codes.len(), "as many codes out as in");
    #[cfg(target_arch = "x86_64")]
    if crate::Isa::best() == crate::Isa::Avx512 && std::arch::is_x86_feature_detected!("avx512vbmi") {
        // SAFETY: the CPU has the instructions; both slices have one length, and their elements are bytes.
        return unsafe {
            let (table, x, to) = (
                table.as_ptr().cast(),
                x.as_ptr().cast(),
                codes.as_mut_ptr().cast(),
            );
            by_permutation(table, x, to, codes.len());
        };
    }
    plain(table, x, codes);
}

/// Codes of one byte.
pub trait ByteCode: Code {}
impl ByteCode for i8 {}
impl ByteCode for u8 {}

/// The oracle.
fn plain<T: ByteCode>(table: &[T; 256], x: &[T], codes: &mut [T]) {
    for (code, x) in codes.iter_mut().zip(x) {
        *code = table[(x.to_i32() & 255) as usize];
    }
}

/// `vpermi2b` looks 64 bytes up in half of the table at once; the top bit of each byte chooses the half.
///
/// # Safety
/// The CPU has AVX-512 BW and VBMI; `table` is valid for 256 bytes, `x` and `to` for `count`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
unsafe fn by_permutation(table: *const u8, x: *const u8, to: *mut u8, count: usize) {
    use std::arch::x86_64::{
        _mm512_loadu_si512, _mm512_mask_blend_epi8, _mm512_mask_storeu_epi8, _mm512_maskz_loadu_epi8,
        _mm512_movepi8_mask, _mm512_permutex2var_epi8,
    };
    // SAFETY: four quarters of 256 bytes.
    let [a, b, c, d] = [0, 64, 128, 192].map(|at| unsafe { _mm512_loadu_si512(table.add(at).cast()) });
    for start in (0..count).step_by(64) {
        let mask = match count - start {
            64.. => u64::MAX,
            left => (1 << left) - 1,
        };
        // SAFETY: `left` bytes from `start` on.
        let index = unsafe { _mm512_maskz_loadu_epi8(mask, x.add(start).cast()) };
        let low = _mm512_permutex2var_epi8(a, index, b);
        let high = _mm512_permutex2var_epi8(c, index, d);
        let found = _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high);
        // SAFETY: as above.
        unsafe { _mm512_mask_storeu_epi8(to.add(start).cast(), mask, found) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_every_length() {
        let table: [u8; 256] = std::array::from_fn(|i| (i * 167 + 13) as u8);
        let signed = table.map(|code| code as i8);
        for count in [0, 1, 63, 64, 65, 300] {
            let x: Vec<u8> = (0..count).map(|i| (i * 7) as u8).collect();
            let (mut got, mut expected) = (vec![0; count], vec![0; count]);
            look_up(&table, &x, &mut got);
            plain(&table, &x, &mut expected);
            assert_eq!(got, expected);
            let x: Vec<i8> = x.iter().map(|&x| x as i8).collect();
            let mut got = vec![0; count];
            look_up(&signed, &x, &mut got);
            assert!(
                got.iter()
                    .zip(&expected)
                    .all(|(got, expected)| *got as u8 == *expected)
            );
        }
    }
}
