//! [`Simd`]: vectors of `f32` in one form for every instruction set, and [`run`], which picks the form.

mod factor;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::Isa;
pub(crate) use factor::{Factor, Operand, Plain, ProductKernel};

/// Operations on one vector of `f32`. All are `#[inline(always)]`, so that they become instructions of the function
/// that [`run`] compiles for the instruction set.
///
/// # Safety
/// Every method may be called only on a CPU that has the instruction set; pointers must be valid for the elements that
/// are read or written, without need for alignment.
pub(crate) trait Simd: Copy {
    /// One vector.
    type V: Copy;
    /// Elements of a vector.
    const LANES: usize;

    /// Every element `value`.
    unsafe fn splat(value: f32) -> Self::V;
    /// The elements at `from`.
    unsafe fn load(from: *const f32) -> Self::V;
    /// The first `count` elements at `from`, then zeros.
    unsafe fn load_first(from: *const f32, count: usize) -> Self::V;
    /// Writes all elements to `to`.
    unsafe fn store(to: *mut f32, value: Self::V);
    /// Writes the first `count` elements to `to`.
    unsafe fn store_first(to: *mut f32, value: Self::V, count: usize);
    /// `a * b + c`, rounded once where the CPU can.
    unsafe fn multiply_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `c - a * b`, rounded once where the CPU can.
    unsafe fn negative_multiply_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a + b`.
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`.
    unsafe fn subtract(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b`.
    unsafe fn multiply(a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`.
    unsafe fn divide(a: Self::V, b: Self::V) -> Self::V;
    /// `value * 2^exponent` for whole exponents of -152 to 128, rounded once where the CPU can.
    unsafe fn scale(value: Self::V, exponent: Self::V) -> Self::V;
    /// `value` without its sign.
    unsafe fn magnitude(value: Self::V) -> Self::V;
    /// `magnitude`, which has no sign, with the sign of `sign`.
    unsafe fn with_sign(magnitude: Self::V, sign: Self::V) -> Self::V;
    /// `then` where `a < b`, else `other`.
    unsafe fn if_less(a: Self::V, b: Self::V, then: Self::V, other: Self::V) -> Self::V;
    /// `low` where `value < low`, else `value`; so NaN stays.
    unsafe fn at_least(value: Self::V, low: Self::V) -> Self::V;
    /// `high` where `value > high`, else `value`; so NaN stays.
    unsafe fn at_most(value: Self::V, high: Self::V) -> Self::V;
}

/// A computation that is compiled once for each instruction set.
pub(crate) trait Kernel {
    /// The body. It must be `#[inline(always)]`, as must be every function that it calls for each vector.
    ///
    /// # Safety
    /// As for [`Simd`].
    unsafe fn run<S: Simd>(self);
}

/// Runs a kernel with an instruction set, or with the widest that the CPU has if that is narrower.
pub(crate) fn run<K: Kernel>(isa: Isa, kernel: K) {
    match isa.or_narrower() {
        // SAFETY: `or_narrower` says that the CPU has the instruction set.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { x86::run_avx512(kernel) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { x86::run_avx2(kernel) },
        // SAFETY: `Portable` needs nothing of the CPU.
        _ => unsafe { kernel.run::<Portable>() },
    }
}

/// Plain Rust, which the compiler turns into whatever vectors the target always has.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

const PORTABLE_LANES: usize = 4;

impl Simd for Portable {
    type V = [f32; PORTABLE_LANES];
    const LANES: usize = PORTABLE_LANES;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::V {
        [value; PORTABLE_LANES]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        // SAFETY: the caller's pointer is valid for a vector.
        unsafe { from.cast::<Self::V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self::V {
        let mut value = [0.0; PORTABLE_LANES];
        for (lane, element) in value.iter_mut().enumerate().take(count) {
            // SAFETY: the caller's pointer is valid for `count` elements.
            *element = unsafe { *from.add(lane) };
        }
        value
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: Self::V) {
        // SAFETY: the caller's pointer is valid for a vector.
        unsafe { to.cast::<Self::V>().write_unaligned(value) }
    }
    #[inline(always)]
    unsafe fn store_first(to: *mut f32, value: Self::V, count: usize) {
        for (lane, element) in value.into_iter().enumerate().take(count) {
            // SAFETY: the caller's pointer is valid for `count` elements.
            unsafe { *to.add(lane) = element };
        }
    }
    #[inline(always)]
    unsafe fn multiply_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        std::array::from_fn(|lane| a[lane] * b[lane] + c[lane])
    }
    #[inline(always)]
    unsafe fn negative_multiply_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        std::array::from_fn(|lane| c[lane] - a[lane] * b[lane])
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|lane| a[lane] + b[lane])
    }
    #[inline(always)]
    unsafe fn subtract(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|lane| a[lane] - b[lane])
    }
    #[inline(always)]
    unsafe fn multiply(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|lane| a[lane] * b[lane])
    }
    #[inline(always)]
    unsafe fn divide(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|lane| a[lane] / b[lane])
    }
    #[inline(always)]
    unsafe fn scale(value: Self::V, exponent: Self::V) -> Self::V {
        // Two factors, as one could be too small or too large for a normal number.
        let power = |exponent: i32| f32::from_bits((exponent.wrapping_add(127) as u32) << 23);
        std::array::from_fn(|lane| {
            let exponent = exponent[lane] as i32;
            let half = exponent >> 1;
            value[lane] * power(half) * power(exponent.wrapping_sub(half))
        })
    }
    #[inline(always)]
    unsafe fn magnitude(value: Self::V) -> Self::V {
        value.map(f32::abs)
    }
    #[inline(always)]
    unsafe fn with_sign(magnitude: Self::V, sign: Self::V) -> Self::V {
        std::array::from_fn(|lane| magnitude[lane].copysign(sign[lane]))
    }
    #[inline(always)]
    unsafe fn if_less(a: Self::V, b: Self::V, then: Self::V, other: Self::V) -> Self::V {
        std::array::from_fn(|lane| {
            if a[lane] < b[lane] {
                then[lane]
            } else {
                other[lane]
            }
        })
    }
    #[inline(always)]
    unsafe fn at_least(value: Self::V, low: Self::V) -> Self::V {
        std::array::from_fn(|lane| {
            if value[lane] < low[lane] {
                low[lane]
            } else {
                value[lane]
            }
        })
    }
    #[inline(always)]
    unsafe fn at_most(value: Self::V, high: Self::V) -> Self::V {
        std::array::from_fn(|lane| {
            if value[lane] > high[lane] {
                high[lane]
            } else {
                value[lane]
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Applies every operation to `input`, the last ones to its first `count` elements.
    struct Everything<'a> {
        input: &'a [f32; 32],
        count: usize,
        output: &'a mut [f32; 64],
    }

    impl Kernel for Everything<'_> {
        #[inline(always)]
        unsafe fn run<S: Simd>(self) {
            let (from, to) = (self.input.as_ptr(), self.output.as_mut_ptr());
            // SAFETY: vectors have at most 16 elements; the caller has the instruction set.
            unsafe {
                let (a, b) = (S::load(from), S::load(from.add(1)));
                assert!(S::LANES <= 16);
                let sum = S::subtract(S::add(S::multiply_add(a, b, S::splat(0.5)), a), S::splat(0.25));
                let sum = S::negative_multiply_add(b, S::splat(2.0), sum);
                let sum = S::multiply(sum, S::splat(1.5));
                let clamped = S::at_most(S::at_least(sum, S::splat(-1.0)), S::splat(2.0));
                S::store(to, clamped);
                S::store_first(to.add(32), S::load_first(from, self.count), self.count);
            }
        }
    }

    /// Writes its number of lanes.
    struct Lanes<'a>(&'a mut usize);

    impl Kernel for Lanes<'_> {
        #[inline(always)]
        unsafe fn run<S: Simd>(self) {
            *self.0 = S::LANES;
        }
    }

    #[test]
    fn lanes_are_those_of_the_instruction_set() {
        for isa in Isa::available() {
            let mut lanes = 0;
            run(isa, Lanes(&mut lanes));
            assert_eq!(lanes, isa.lanes());
        }
    }

    #[test]
    fn every_instruction_set_computes_the_same() {
        let mut input: [f32; 32] = std::array::from_fn(|i| (i as f32 - 7.0) * 0.25);
        input[3] = f32::NAN;
        for isa in Isa::available() {
            for count in 0..=4 {
                let mut output = [9.0; 64];
                run(
                    isa,
                    Everything {
                        input: &input,
                        count,
                        output: &mut output,
                    },
                );
                for lane in 0..PORTABLE_LANES {
                    let (a, b) = (input[lane], input[lane + 1]);
                    let sum = a * b + 0.5 + a - 0.25 - 2.0 * b;
                    let sum = sum * 1.5;
                    let expected = if sum.is_nan() { sum } else { sum.clamp(-1.0, 2.0) };
                    assert_eq!(
                        output[lane].to_bits(),
                        expected.to_bits(),
                        "{} lane {lane}",
                        isa.name()
                    );
                }
                for lane in 0..16 {
                    let expected = if lane < count { input[lane] } else { 9.0 };
                    assert_eq!(
                        output[32 + lane].to_bits(),
                        expected.to_bits(),
                        "{} first {count}",
                        isa.name()
                    );
                }
            }
        }
    }
}
