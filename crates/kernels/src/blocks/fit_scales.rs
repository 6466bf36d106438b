//! The search for scales of `bantam_tensor::formats::blocks`, `fit_symmetric`, with one sub-block in each lane.

use bantam_tensor::formats::blocks::GROUP_EPSILON;

use super::fit::{LANES, LONGEST, Turned, round_between, turn};
use crate::Isa;
use crate::simd::{Kernel, Simd, run};

/// Scales as `fit_symmetric` gives them for each sub-block of 16 elements of `x`, which is bounded, with weights `x^2`.
pub(super) fn symmetric(bound: f32, x: &[f32], scales: &mut [f32]) {
    symmetric_with(Isa::best(), bound, x, scales);
}

/// As [`symmetric`], with the vectors of an instruction set.
pub(super) fn symmetric_with(isa: Isa, bound: f32, x: &[f32], scales: &mut [f32]) {
    run(isa, Symmetric { bound, x, scales });
}

struct Symmetric<'a> {
    bound: f32,
    x: &'a [f32],
    scales: &'a mut [f32],
}

/// Elements of a sub-block of [`Symmetric`].
const SHORT: usize = 16;

impl Kernel for Symmetric<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let mut turned: Turned = [0.0; LONGEST * LANES];
        let parts = self
            .x
            .chunks(SHORT * S::LANES)
            .zip(self.scales.chunks_mut(S::LANES));
        for (x, scales) in parts {
            turn(x, SHORT, S::LANES, &mut turned);
            // SAFETY: the caller has the instruction set; the array holds 16 vectors, and lanes are at most 16.
            unsafe {
                let scale = fit_scales::<S>(self.bound, &turned);
                S::store_first(scales.as_mut_ptr(), scale, scales.len());
            }
        }
    }
}

/// `fit_symmetric` in each lane.
///
/// # Safety
/// As for [`Simd`]; the array holds 16 vectors.
#[inline(always)]
unsafe fn fit_scales<S: Simd>(bound: f32, turned: &Turned) -> S::V {
    // SAFETY: the caller says so.
    unsafe {
        let zero = S::splat(0.0);
        let mut extreme = zero;
        for index in 0..SHORT {
            let x = S::load(turned.as_ptr().add(index * S::LANES));
            extreme = S::if_less(S::magnitude(extreme), S::magnitude(x), x, extreme);
        }
        let (xl, ll) = scale_sums::<S>(bound, S::divide(S::splat(-bound), extreme), turned);
        let mut scale = S::if_less(zero, ll, S::divide(xl, ll), zero);
        let mut best = S::multiply(scale, xl);
        for step in -9..=9 {
            if step == 0 {
                continue;
            }
            let inverse = S::divide(S::splat(-(bound + 0.1 * step as f32)), extreme);
            let (xl, ll) = scale_sums::<S>(bound, inverse, turned);
            let new = S::divide(xl, ll);
            // Without codes other than 0 the sums are 0 and not better.
            let (old_error, new_error) = (S::multiply(best, ll), S::multiply(xl, xl));
            scale = S::if_less(old_error, new_error, new, scale);
            best = S::if_less(old_error, new_error, S::multiply(new, xl), best);
        }
        S::if_less(S::magnitude(extreme), S::splat(GROUP_EPSILON), zero, scale)
    }
}

/// `sum(w x l)` and `sum(w l l)` for the codes of an inverse scale.
///
/// # Safety
/// As for [`fit_scales`].
#[inline(always)]
unsafe fn scale_sums<S: Simd>(bound: f32, inverse: S::V, turned: &Turned) -> (S::V, S::V) {
    // SAFETY: the caller says so.
    unsafe {
        let (mut xl, mut ll) = (S::splat(0.0), S::splat(0.0));
        for index in 0..SHORT {
            let x = S::load(turned.as_ptr().add(index * S::LANES));
            let weight = S::multiply(x, x);
            let code = round_between::<S>(S::multiply(inverse, x), -bound, bound - 1.0);
            xl = S::add(xl, S::multiply(S::multiply(weight, x), code));
            ll = S::add(ll, S::multiply(S::multiply(weight, code), code));
        }
        (xl, ll)
    }
}
