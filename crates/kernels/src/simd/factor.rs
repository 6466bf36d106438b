//! [`Factor`]: elements that are multiplied and added up in `f32`, and [`Operand`], vectors of them.

use half::bf16;

use super::{Kernel, Simd};
use crate::Isa;
use crate::scratch;
use crate::stored::Stored;

/// Elements whose products are added up in `f32`: `f32`, or BF16 two at a time.
pub(crate) trait Factor: Stored + scratch::Element {
    /// Elements of a lane, whose products go to the same sum.
    const DEPTH: usize;

    /// Runs a kernel with an instruction set, or with the widest that the CPU has if that is narrower.
    fn run<K: ProductKernel<Self>>(isa: Isa, kernel: K);
}

/// A computation that is compiled once for each instruction set and kind of factors.
pub(crate) trait ProductKernel<T: Factor> {
    /// The body; as for [`Kernel::run`].
    ///
    /// # Safety
    /// As for [`Simd`].
    unsafe fn run<S: Simd, O: Operand<S, Element = T>>(self);
}

/// Operations on vectors of factors, [`Factor::DEPTH`] in each lane.
///
/// # Safety
/// As for [`Simd`].
pub(crate) trait Operand<S: Simd> {
    /// One factor.
    type Element: Factor;
    /// A vector of them.
    type V: Copy;

    /// The factors of one lane, which are at `from`, in each lane.
    unsafe fn splat(from: *const Self::Element) -> Self::V;
    /// The factors at `from`, lane after lane.
    unsafe fn load(from: *const Self::Element) -> Self::V;
    /// `sum` plus the products of factors in the same place, lane by lane.
    unsafe fn multiply_add(a: Self::V, b: Self::V, sum: S::V) -> S::V;
    /// The first `count` factors at `from` as numbers, then unspecified ones.
    unsafe fn widen(from: *const Self::Element, count: usize) -> S::V;
    /// Writes the first `count` elements as factors, one after the other.
    unsafe fn store(to: *mut Self::Element, value: S::V, count: usize);
    /// Writes the first `count` lanes of factors that are made of the elements of `values`; of the first of them only if
    /// there is one factor in a lane.
    unsafe fn store_joined(to: *mut Self::Element, values: [S::V; 2], count: usize);
}

/// `f32` as it is.
pub(crate) struct Plain;

impl<S: Simd> Operand<S> for Plain {
    type Element = f32;
    type V = S::V;

    #[inline(always)]
    unsafe fn splat(from: *const f32) -> S::V {
        // SAFETY: the caller's promise, here and below.
        unsafe { S::splat(*from) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> S::V {
        unsafe { S::load(from) }
    }
    #[inline(always)]
    unsafe fn multiply_add(a: S::V, b: S::V, sum: S::V) -> S::V {
        unsafe { S::multiply_add(a, b, sum) }
    }
    #[inline(always)]
    unsafe fn widen(from: *const f32, count: usize) -> S::V {
        unsafe {
            match count >= S::LANES {
                true => S::load(from),
                false => S::load_first(from, count),
            }
        }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: S::V, count: usize) {
        unsafe {
            match count >= S::LANES {
                true => S::store(to, value),
                false => S::store_first(to, value, count),
            }
        }
    }
    #[inline(always)]
    unsafe fn store_joined(to: *mut f32, values: [S::V; 2], count: usize) {
        unsafe { <Plain as Operand<S>>::store(to, values[0], count) }
    }
}

impl Factor for f32 {
    const DEPTH: usize = 1;

    fn run<K: ProductKernel<f32>>(isa: Isa, kernel: K) {
        super::run(isa, With::<f32, Plain, K>::new(kernel));
    }
}

/// BF16 in plain code: what CPUs without instructions for it use.
pub(crate) struct Emulated;

/// The most lanes that a vector has.
const LANES: usize = 16;

impl<S: Simd> Operand<S> for Emulated {
    type Element = bf16;
    /// First and second factors.
    type V = [S::V; 2];

    #[inline(always)]
    unsafe fn splat(from: *const bf16) -> [S::V; 2] {
        // SAFETY: the caller's promise, here and below; no vector has more than `LANES` lanes.
        unsafe { [0, 1].map(|at| S::splat((*from.add(at)).widened())) }
    }
    #[inline(always)]
    unsafe fn load(from: *const bf16) -> [S::V; 2] {
        let mut values = [[0.0; LANES]; 2];
        for lane in 0..S::LANES {
            for (at, values) in values.iter_mut().enumerate() {
                values[lane] = unsafe { (*from.add(2 * lane + at)).widened() };
            }
        }
        unsafe { values.map(|values| S::load(values.as_ptr())) }
    }
    #[inline(always)]
    unsafe fn multiply_add(a: [S::V; 2], b: [S::V; 2], sum: S::V) -> S::V {
        unsafe { S::multiply_add(a[0], b[0], S::multiply_add(a[1], b[1], sum)) }
    }
    #[inline(always)]
    unsafe fn widen(from: *const bf16, count: usize) -> S::V {
        let mut values = [0.0; LANES];
        for (lane, value) in values.iter_mut().enumerate().take(count.min(S::LANES)) {
            *value = unsafe { (*from.add(lane)).widened() };
        }
        unsafe { S::load(values.as_ptr()) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut bf16, value: S::V, count: usize) {
        let mut values = [0.0; LANES];
        unsafe { S::store(values.as_mut_ptr(), value) };
        for (lane, value) in values.into_iter().enumerate().take(count.min(S::LANES)) {
            unsafe { *to.add(lane) = bf16::rounded(value) };
        }
    }
    #[inline(always)]
    unsafe fn store_joined(to: *mut bf16, values: [S::V; 2], count: usize) {
        for (at, value) in values.into_iter().enumerate() {
            let mut values = [0.0; LANES];
            unsafe { S::store(values.as_mut_ptr(), value) };
            for (lane, value) in values.into_iter().enumerate().take(count.min(S::LANES)) {
                unsafe { *to.add(2 * lane + at) = bf16::rounded(value) };
            }
        }
    }
}

impl Factor for bf16 {
    const DEPTH: usize = 2;

    fn run<K: ProductKernel<bf16>>(isa: Isa, kernel: K) {
        let isa = isa.or_narrower();
        #[cfg(target_arch = "x86_64")]
        if isa.multiplies_bf16() {
            // SAFETY: the CPU has the instruction set.
            return unsafe { super::x86::run_avx512_bf16(kernel) };
        }
        super::run(isa, With::<bf16, Emulated, K>::new(kernel));
    }
}

/// A kernel with the operands that it is to use.
struct With<T, O, K> {
    kernel: K,
    operands: std::marker::PhantomData<(T, O)>,
}

impl<T, O, K> With<T, O, K> {
    fn new(kernel: K) -> Self {
        let operands = std::marker::PhantomData;
        With { kernel, operands }
    }
}

impl<K: ProductKernel<f32>> Kernel for With<f32, Plain, K> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's promise.
        unsafe { self.kernel.run::<S, Plain>() }
    }
}

impl<K: ProductKernel<bf16>> Kernel for With<bf16, Emulated, K> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's promise.
        unsafe { self.kernel.run::<S, Emulated>() }
    }
}
