//! [`Stored`]: types that values of `f32` are kept in between kernels.

use half::bf16;

use crate::chunks::for_chunks;
use crate::vectorize::vectorized;

/// A type that values are kept in between kernels, which compute in `f32`.
pub trait Stored: Copy + Default + Send + Sync {
    /// The same value.
    fn widened(self) -> f32;
    /// The nearest value, ties to even.
    fn rounded(value: f32) -> Self;
}

impl Stored for f32 {
    #[inline(always)]
    fn widened(self) -> f32 {
        self
    }
    #[inline(always)]
    fn rounded(value: f32) -> f32 {
        value
    }
}

// Without branches, so that the compiler can vectorize it.
impl Stored for bf16 {
    #[inline(always)]
    fn widened(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
    #[inline(always)]
    fn rounded(value: f32) -> bf16 {
        let bits = value.to_bits();
        let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
        // Rounding could make an infinity of NaN.
        let quiet = bits >> 16 | 0x40;
        bf16::from_bits(if value.is_nan() { quiet } else { nearest } as u16)
    }
}

/// Values as `f32`.
///
/// # Panics
/// When the slices differ in length.
pub fn widen<T: Stored>(from: &[T], to: &mut [f32]) {
    assert_eq!(from.len(), to.len());
    for_chunks(to, |start, to| widen_chunk(&from[start..][..to.len()], to));
}

/// The nearest values.
///
/// # Panics
/// When the slices differ in length.
pub fn round<T: Stored>(from: &[f32], to: &mut [T]) {
    assert_eq!(from.len(), to.len());
    for_chunks(to, |start, to| round_chunk(&from[start..][..to.len()], to));
}

vectorized! {
    fn widen_chunk<T: Stored>(from: &[T], to: &mut [f32]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = from.widened();
        }
    }

    fn round_chunk<T: Stored>(from: &[f32], to: &mut [T]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = T::rounded(*from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_that_of_the_half_crate() {
        let special = [
            0.0,
            -0.0,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MAX,
            f32::MIN_POSITIVE,
            1e-40,
        ];
        let bits = (0..=u32::MAX).step_by(65_521).map(f32::from_bits);
        // Halves between neighbours, which go to the even one.
        let ties = (0..1000u32).map(|index| f32::from_bits(0x3f80_8000 + (index << 16)));
        let values: Vec<f32> = special.into_iter().chain(bits).chain(ties).collect();
        let mut rounded = vec![bf16::ZERO; values.len()];
        round(&values, &mut rounded);
        let mut wide = vec![0.0; values.len()];
        widen(&rounded, &mut wide);
        for ((value, rounded), wide) in values.iter().zip(&rounded).zip(wide) {
            let expected = bf16::from_f32(*value);
            assert_eq!(rounded.is_nan(), value.is_nan());
            if !value.is_nan() {
                assert_eq!(rounded.to_bits(), expected.to_bits(), "{value}");
                assert_eq!(wide, expected.to_f32());
            }
        }
    }
}
