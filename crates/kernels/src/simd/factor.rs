//! [`Factor`]: elements that are multiplied and added up in `f32`, and [`Operand`], vectors of them.

use half::bf16;

use super::{Kernel, Portable, Simd};
use crate::Isa;
use crate::scratch;
use crate::stored::Stored;

/// Elements whose products are added up in `f32`: `f32`, or BF16 two at a time.
pub(crate) trait Factor: Stored + scratch::Element {
    /// Elements of a lane, whose products go to the same sum.
    const DEPTH: usize;

    /// The instruction set whose kernels multiply such factors where `isa` is wanted.
    fn isa(isa: Isa) -> Isa;

    /// Runs a kernel with the instruction set of [`Factor::isa`].
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

    fn isa(isa: Isa) -> Isa {
        isa.or_narrower()
    }

    fn run<K: ProductKernel<f32>>(isa: Isa, kernel: K) {
        super::run(isa, Single(kernel));
    }
}

/// BF16 in plain code: what CPUs without instructions for it use, and what those instructions are tested against. It is
/// compiled for no other instruction set, since `f32` is faster on all of them.
pub(crate) struct Emulated;

type Vector = <Portable as Simd>::V;
const LANES: usize = Portable::LANES;

impl Operand<Portable> for Emulated {
    // Functions of their own: inlined in every tile they would take the compiler minutes.
    type Element = bf16;
    /// First and second factors.
    type V = [Vector; 2];

    #[inline(never)]
    unsafe fn splat(from: *const bf16) -> [Vector; 2] {
        // SAFETY: the caller's promise, here and below.
        unsafe { [0, 1].map(|at| Portable::splat((*from.add(at)).widened())) }
    }
    #[inline(never)]
    unsafe fn load(from: *const bf16) -> [Vector; 2] {
        let mut values = [[0.0; LANES]; 2];
        for lane in 0..LANES {
            for (at, values) in values.iter_mut().enumerate() {
                values[lane] = unsafe { (*from.add(2 * lane + at)).widened() };
            }
        }
        unsafe { values.map(|values| Portable::load(values.as_ptr())) }
    }
    #[inline(never)]
    unsafe fn multiply_add(a: [Vector; 2], b: [Vector; 2], sum: Vector) -> Vector {
        unsafe { Portable::multiply_add(a[0], b[0], Portable::multiply_add(a[1], b[1], sum)) }
    }
    #[inline(never)]
    unsafe fn widen(from: *const bf16, count: usize) -> Vector {
        let mut values = [0.0; LANES];
        for (lane, value) in values.iter_mut().enumerate().take(count.min(LANES)) {
            *value = unsafe { (*from.add(lane)).widened() };
        }
        unsafe { Portable::load(values.as_ptr()) }
    }
    #[inline(never)]
    unsafe fn store(to: *mut bf16, value: Vector, count: usize) {
        let mut values = [0.0; LANES];
        unsafe { Portable::store(values.as_mut_ptr(), value) };
        for (lane, value) in values.into_iter().enumerate().take(count.min(LANES)) {
            unsafe { *to.add(lane) = bf16::rounded(value) };
        }
    }
    #[inline(never)]
    unsafe fn store_joined(to: *mut bf16, values: [Vector; 2], count: usize) {
        for (at, value) in values.into_iter().enumerate() {
            let mut values = [0.0; LANES];
            unsafe { Portable::store(values.as_mut_ptr(), value) };
            for (lane, value) in values.into_iter().enumerate().take(count.min(LANES)) {
                unsafe { *to.add(2 * lane + at) = bf16::rounded(value) };
            }
        }
    }
}

impl Factor for bf16 {
    const DEPTH: usize = 2;

    fn isa(isa: Isa) -> Isa {
        let isa = isa.or_narrower();
        if isa.multiplies_bf16() { isa } else { Isa::Scalar }
    }

    fn run<K: ProductKernel<bf16>>(isa: Isa, kernel: K) {
        #[cfg(target_arch = "x86_64")]
        if isa.or_narrower().multiplies_bf16() {
            // SAFETY: the CPU has the instruction set.
            return unsafe { super::x86::run_avx512_bf16(kernel) };
        }
        // SAFETY: every CPU has what it takes.
        unsafe { kernel.run::<Portable, Emulated>() }
    }
}

/// A kernel of `f32` for any instruction set.
struct Single<K>(K);

impl<K: ProductKernel<f32>> Kernel for Single<K> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's promise.
        unsafe { self.0.run::<S, Plain>() }
    }
}
