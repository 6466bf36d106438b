//! The search for scales and offsets of `bantam_tensor::formats::blocks`, `fit_affine`, with one sub-block in each lane.

use bantam_tensor::formats::blocks::{AffineK, AffineSearch};

use crate::Isa;
use crate::simd::{Kernel, Simd, run};

/// Most elements of a sub-block.
pub(super) const LONGEST: usize = 32;
/// Most lanes of a vector.
pub(super) const LANES: usize = 16;
/// Elements of several sub-blocks: the first of each, the second of each, ...
pub(super) type Turned = [f32; LONGEST * LANES];

/// `1.5 * 2^23`: added to a float of magnitude below 2^22 and taken away again, it leaves the nearest integer, ties to even.
const ROUNDER: f32 = 12_582_912.0;

/// Scales and offsets as `fit_affine` gives them for each sub-block of `x`, which is bounded; `weights` with importance.
pub(super) fn affine(
    format: &AffineK,
    x: &[f32],
    weights: Option<&[f32]>,
    scales: &mut [f32],
    offsets: &mut [f32],
) {
    affine_with(Isa::best(), format, x, weights, scales, offsets);
}

/// As [`affine`], with the vectors of an instruction set.
pub(super) fn affine_with(
    isa: Isa,
    format: &AffineK,
    x: &[f32],
    weights: Option<&[f32]>,
    scales: &mut [f32],
    offsets: &mut [f32],
) {
    run(
        isa,
        Affine {
            format,
            x,
            weights,
            scales,
            offsets,
        },
    );
}

/// The element `index` of each of some sub-blocks; zeros for those that are not there.
#[inline(always)]
pub(super) fn turn(x: &[f32], len: usize, lanes: usize, turned: &mut Turned) {
    turned.fill(0.0);
    for (lane, part) in x.chunks_exact(len).enumerate() {
        for (index, &value) in part.iter().enumerate() {
            turned[index * lanes + lane] = value;
        }
    }
}

/// The nearest integers from `low` to `high`, ties to even; NaN gives `low`.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
pub(super) unsafe fn round_between<S: Simd>(value: S::V, low: f32, high: f32) -> S::V {
    // SAFETY: the caller has the instruction set.
    unsafe {
        // `low` is the first operand, so that NaN becomes it.
        let within = S::at_most(S::at_least(S::splat(low), value), S::splat(high));
        S::subtract(S::add(within, S::splat(ROUNDER)), S::splat(ROUNDER))
    }
}

struct Affine<'a> {
    format: &'a AffineK,
    x: &'a [f32],
    weights: Option<&'a [f32]>,
    scales: &'a mut [f32],
    offsets: &'a mut [f32],
}

impl Kernel for Affine<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let len = self.format.part_len;
        let search = if self.weights.is_some() {
            &self.format.weighted_search
        } else {
            &self.format.search
        };
        let mut turned: Turned = [0.0; LONGEST * LANES];
        let mut weights: Turned = [0.0; LONGEST * LANES];
        let group = len * S::LANES;
        let results = self
            .scales
            .chunks_mut(S::LANES)
            .zip(self.offsets.chunks_mut(S::LANES));
        for (index, (x, (scales, offsets))) in self.x.chunks(group).zip(results).enumerate() {
            turn(x, len, S::LANES, &mut turned);
            // SAFETY: the caller has the instruction set; the arrays hold `len` vectors, and lanes are at most 16.
            unsafe {
                match self.weights {
                    Some(all) => turn(&all[index * group..][..x.len()], len, S::LANES, &mut weights),
                    None => fill_weights::<S>(self.format.bits, &turned, len, &mut weights),
                }
                let (scale, offset) = fit_lines::<S>(search, &turned, &weights, len);
                S::store_first(scales.as_mut_ptr(), scale, scales.len());
                S::store_first(offsets.as_mut_ptr(), offset, offsets.len());
            }
        }
    }
}

/// What errors count: the magnitude, with 4 and 5 bits plus the root of the sub-block's mean square.
///
/// # Safety
/// As for [`Simd`]; the arrays hold `len` vectors.
#[inline(always)]
unsafe fn fill_weights<S: Simd>(bits: u32, turned: &Turned, len: usize, weights: &mut Turned) {
    // SAFETY: the caller says so.
    unsafe {
        let mut roots = [0.0f32; LANES];
        if bits != 2 {
            let mut squares = S::splat(0.0);
            for index in 0..len {
                let x = S::load(turned.as_ptr().add(index * S::LANES));
                squares = S::add(squares, S::multiply(x, x));
            }
            S::store(roots.as_mut_ptr(), squares);
            for root in &mut roots {
                *root = (*root / len as f32).sqrt();
            }
        }
        let roots = S::load(roots.as_ptr());
        for index in 0..len {
            let x = S::load(turned.as_ptr().add(index * S::LANES));
            S::store(
                weights.as_mut_ptr().add(index * S::LANES),
                S::add(roots, S::magnitude(x)),
            );
        }
    }
}

/// The codes for a candidate in the order of `x`, and their sums `sum(w l)`, `sum(w l l)` and `sum(w l x)`.
///
/// # Safety
/// As for [`fill_weights`].
#[inline(always)]
unsafe fn candidate_codes<S: Simd>(
    (turned, weights, len): (&Turned, &Turned, usize),
    (inverse, low, max_code): (S::V, S::V, f32),
    codes: &mut Turned,
) -> [S::V; 3] {
    // SAFETY: the caller says so.
    unsafe {
        let mut sums = [S::splat(0.0); 3];
        for index in 0..len {
            let at = index * S::LANES;
            let (x, weight) = (
                S::load(turned.as_ptr().add(at)),
                S::load(weights.as_ptr().add(at)),
            );
            let code = round_between::<S>(S::multiply(inverse, S::subtract(x, low)), 0.0, max_code);
            S::store(codes.as_mut_ptr().add(at), code);
            let weighted = S::multiply(weight, code);
            sums[0] = S::add(sums[0], weighted);
            sums[1] = S::add(sums[1], S::multiply(weighted, code));
            sums[2] = S::add(sums[2], S::multiply(weighted, x));
        }
        sums
    }
}

/// The weighted error of lines with codes.
///
/// # Safety
/// As for [`fill_weights`].
#[inline(always)]
unsafe fn line_error<S: Simd>(
    (turned, weights, len): (&Turned, &Turned, usize),
    (scale, offset): (S::V, S::V),
    codes: &Turned,
    absolute: bool,
) -> S::V {
    // SAFETY: the caller says so.
    unsafe {
        let mut error = S::splat(0.0);
        for index in 0..len {
            let at = index * S::LANES;
            let (x, weight) = (
                S::load(turned.as_ptr().add(at)),
                S::load(weights.as_ptr().add(at)),
            );
            let code = S::load(codes.as_ptr().add(at));
            let difference = S::subtract(S::add(S::multiply(scale, code), offset), x);
            let penalty = if absolute {
                S::magnitude(difference)
            } else {
                S::multiply(difference, difference)
            };
            error = S::add(error, S::multiply(weight, penalty));
        }
        error
    }
}

/// The least and the greatest element, and the sums of weights and of weighted elements.
///
/// # Safety
/// As for [`fill_weights`].
#[inline(always)]
unsafe fn ends_and_sums<S: Simd>((turned, weights, len): (&Turned, &Turned, usize)) -> [S::V; 4] {
    // SAFETY: the caller says so.
    unsafe {
        let (x, weight) = (S::load(turned.as_ptr()), S::load(weights.as_ptr()));
        let (mut low, mut high) = (x, x);
        let (mut sum_w, mut sum_x) = (weight, S::multiply(weight, x));
        for index in 1..len {
            let at = index * S::LANES;
            let (x, weight) = (
                S::load(turned.as_ptr().add(at)),
                S::load(weights.as_ptr().add(at)),
            );
            low = S::if_less(x, low, x, low);
            high = S::if_less(high, x, x, high);
            sum_w = S::add(sum_w, weight);
            sum_x = S::add(sum_x, S::multiply(weight, x));
        }
        [low, high, sum_w, sum_x]
    }
}

/// `fit_affine` in each lane.
///
/// # Safety
/// As for [`fill_weights`].
#[inline(always)]
unsafe fn fit_lines<S: Simd>(
    search: &AffineSearch,
    turned: &Turned,
    weights: &Turned,
    len: usize,
) -> (S::V, S::V) {
    let data = (turned, weights, len);
    let mut codes: Turned = [0.0; LONGEST * LANES];
    // SAFETY: the caller says so.
    unsafe {
        let zero = S::splat(0.0);
        let [low, high, sum_w, sum_x] = ends_and_sums::<S>(data);
        let low = S::if_less(zero, low, zero, low);
        let inverse = S::divide(S::splat(search.max_code), S::subtract(high, low));
        let mut best = (S::divide(S::splat(1.0), inverse), low);
        candidate_codes::<S>(data, (inverse, low, search.max_code), &mut codes);
        let mut best_error = line_error::<S>(data, best, &codes, search.absolute);
        for candidate in 0..=search.steps {
            let range = S::subtract(high, best.1);
            let inverse = S::divide(S::splat(search.inverse(candidate, 1.0)), range);
            let sums = candidate_codes::<S>(data, (inverse, best.1, search.max_code), &mut codes);
            let (determinant, scale, offset) = solve::<S>(sum_w, sum_x, sums);
            let error = line_error::<S>(data, (scale, offset), &codes, search.absolute);
            let error = S::if_less(zero, determinant, error, S::splat(f32::INFINITY));
            best.0 = S::if_less(error, best_error, scale, best.0);
            best.1 = S::if_less(error, best_error, offset, best.1);
            best_error = S::if_less(error, best_error, error, best_error);
        }
        // A run of equal elements has scale 0.
        let scale = S::if_less(low, high, best.0, zero);
        let offset = S::if_less(low, high, best.1, low);
        (scale, S::subtract(zero, offset))
    }
}

/// The determinant, and scale and offset with the least weighted squared error; an offset above 0 becomes 0.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
unsafe fn solve<S: Simd>(sum_w: S::V, sum_x: S::V, [sum_l, sum_ll, sum_xl]: [S::V; 3]) -> (S::V, S::V, S::V) {
    // SAFETY: the caller has the instruction set.
    unsafe {
        let zero = S::splat(0.0);
        let determinant = S::subtract(S::multiply(sum_w, sum_ll), S::multiply(sum_l, sum_l));
        let scale = S::subtract(S::multiply(sum_w, sum_xl), S::multiply(sum_x, sum_l));
        let offset = S::subtract(S::multiply(sum_ll, sum_x), S::multiply(sum_l, sum_xl));
        let (scale, offset) = (S::divide(scale, determinant), S::divide(offset, determinant));
        let alone = S::divide(sum_xl, sum_ll);
        (
            determinant,
            S::if_less(zero, offset, alone, scale),
            S::if_less(zero, offset, zero, offset),
        )
    }
}
