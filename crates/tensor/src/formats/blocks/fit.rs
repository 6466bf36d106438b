//! Searches for the scale of a run of elements, as llama.cpp's `ggml-quants.c` does them: the same candidates, the same
//! arithmetic in the same order, so that codes are the same bit for bit (on a CPU that does not fuse products and sums).

/// Runs whose magnitudes are all below this have scale 0.
pub const GROUP_EPSILON: f32 = 1e-15;

/// `1.5 * 2^23`: added to a float of magnitude below 2^22, it leaves the nearest integer, ties to even.
const ROUNDER: f32 = 12_582_912.0;

/// The nearest integer from `low` to `high`, ties to even; NaN gives `low`. Bounds are integers below 2^22.
#[inline(always)]
pub fn round_between(value: f32, low: f32, high: f32) -> f32 {
    let above = if value > low { value } else { low };
    let within = if above < high { above } else { high };
    (within + ROUNDER) - ROUNDER
}

/// Sums of a fit without offset: `sum(w x l)` and `sum(w l l)`.
#[derive(Clone, Copy, Default)]
struct Sums {
    xl: f32,
    ll: f32,
}

impl Sums {
    fn add(&mut self, weight: f32, x: f32, code: f32) {
        self.xl += weight * x * code;
        self.ll += weight * code * code;
    }
    fn without(self, weight: f32, x: f32, code: f32) -> Sums {
        Sums {
            xl: self.xl - weight * x * code,
            ll: self.ll - weight * code * code,
        }
    }
    fn scale(self) -> f32 {
        if self.ll > 0.0 { self.xl / self.ll } else { 0.0 }
    }
    /// True when these codes leave a smaller error: the error is `const - xl^2 / ll`.
    fn better_than(self, other: Sums) -> bool {
        self.xl * self.xl * other.ll > other.xl * other.xl * self.ll
    }
}

/// Codes from `-bound` to `bound - 1` for `x`, stored with `bound` added, and their scale, which has either sign: the
/// extreme element gets code `-bound`, or up to 0.9 less or more, whichever leaves the least weighted squared error
/// (`make_qx_quants`).
pub fn fit_symmetric(x: &[f32], weights: &[f32], bound: f32, codes: &mut [u8]) -> f32 {
    let extreme = super::extreme(x);
    if extreme.abs() < GROUP_EPSILON {
        codes.fill(0);
        return 0.0;
    }
    let sums_at = |inverse: f32| {
        let mut sums = Sums::default();
        for (&x, &weight) in x.iter().zip(weights) {
            sums.add(weight, x, round_between(inverse * x, -bound, bound - 1.0));
        }
        sums
    };
    let mut inverse = -bound / extreme;
    let sums = sums_at(inverse);
    let mut scale = if sums.ll != 0.0 { sums.xl / sums.ll } else { 0.0 };
    let mut best = scale * sums.xl;
    for step in (-9..=9).filter(|&step| step != 0) {
        let candidate = -(bound + 0.1 * step as f32) / extreme;
        let sums = sums_at(candidate);
        if sums.ll > 0.0 && sums.xl * sums.xl > best * sums.ll {
            (inverse, scale) = (candidate, sums.xl / sums.ll);
            best = scale * sums.xl;
        }
    }
    for (code, &x) in codes.iter_mut().zip(x) {
        *code = (round_between(inverse * x, -bound, bound - 1.0) + bound) as u8;
    }
    scale
}

/// As [`fit_symmetric`] with weights `x^2`, by moving one code at a time while that helps (`make_q3_quants`).
pub(super) fn fit_by_moves(x: &[f32], bound: f32, codes: &mut [u8]) -> f32 {
    let extreme = super::extreme(x);
    if extreme.abs() < GROUP_EPSILON {
        codes.fill(0);
        return 0.0;
    }
    let inverse = -bound / extreme;
    let mut sums = Sums::default();
    for (code, &x) in codes.iter_mut().zip(x) {
        let nearest = round_between(inverse * x, -bound, bound - 1.0);
        sums.add(x * x, x, nearest);
        *code = (nearest + bound) as u8;
    }
    let mut moved = true;
    for _ in 0..5 {
        if !std::mem::take(&mut moved) {
            break;
        }
        for (code, &x) in codes.iter_mut().zip(x) {
            let rest = sums.without(x * x, x, f32::from(*code) - bound);
            if rest.xl > 0.0 {
                let nearest = round_between(x * rest.ll / rest.xl, -bound, bound - 1.0);
                moved |= move_code(code, nearest, bound, (x * x, x), rest, &mut sums);
            }
        }
    }
    sums.scale()
}

/// Takes the new code if that leaves a smaller error; true when it does. `rest` are the sums of the other elements.
fn move_code(
    code: &mut u8,
    nearest: f32,
    bound: f32,
    (weight, x): (f32, f32),
    rest: Sums,
    sums: &mut Sums,
) -> bool {
    if nearest == f32::from(*code) - bound {
        return false;
    }
    let mut new = rest;
    new.add(weight, x, nearest);
    let better = new.ll > 0.0 && new.better_than(*sums);
    if better {
        *code = (nearest + bound) as u8;
        *sums = new;
    }
    better
}

/// Codes from 0 to `max` for scales of sub-blocks, and the scale of these (`make_qp_quants`).
pub(super) fn fit_positive(x: &[f32], weights: &[f32], max: f32, codes: &mut [u8]) -> f32 {
    let largest = x.iter().fold(0.0f32, |best, &x| if x > best { x } else { best });
    if largest < GROUP_EPSILON {
        codes.fill(0);
        return 0.0;
    }
    let inverse = best_positive_inverse(x, weights, max, largest);
    let mut sums = Sums::default();
    for ((code, &x), &weight) in codes.iter_mut().zip(x).zip(weights) {
        let nearest = round_between(inverse * x, 0.0, max);
        *code = nearest as u8;
        sums.add(weight, x, nearest);
    }
    let mut moved = true;
    for _ in 0..5 {
        if !std::mem::take(&mut moved) {
            break;
        }
        for ((code, &x), &weight) in codes.iter_mut().zip(x).zip(weights) {
            let rest = sums.without(weight, x, f32::from(*code));
            if rest.xl > 0.0 && rest.ll > 0.0 {
                let nearest = round_between(x * rest.ll / rest.xl, 0.0, max);
                moved |= move_code(code, nearest, 0.0, (weight, x), rest, &mut sums);
            }
        }
    }
    sums.scale()
}

/// The inverse scale with the least error among nine that bring the largest element near `max`.
fn best_positive_inverse(x: &[f32], weights: &[f32], max: f32, largest: f32) -> f32 {
    let error_at = |inverse: f32| {
        let scale = 1.0 / inverse;
        let mut error = 0.0;
        for (&x, &weight) in x.iter().zip(weights) {
            let difference = x - scale * round_between(inverse * x, 0.0, max);
            error += weight * difference * difference;
        }
        error
    };
    let mut inverse = max / largest;
    let mut best = error_at(inverse);
    for step in (-4..=4).filter(|&step| step != 0) {
        let candidate = (0.1 * step as f32 + max) / largest;
        let error = error_at(candidate);
        if error < best {
            (best, inverse) = (error, candidate);
        }
    }
    inverse
}

/// The candidates of [`fit_affine`]: scales that bring the range onto `max_code + first + step * 0..=steps` codes.
#[derive(Clone, Copy, Debug)]
pub struct AffineSearch {
    /// Largest code; the smallest is 0.
    pub max_code: f32,
    /// First candidate, relative to `max_code`.
    pub first: f32,
    /// Distance of candidates.
    pub step: f32,
    /// Number of candidates after the first.
    pub steps: usize,
    /// Compares sums of magnitudes of errors instead of squares.
    pub absolute: bool,
}

impl AffineSearch {
    /// The error of one element.
    #[inline(always)]
    fn penalty(&self, difference: f32) -> f32 {
        if self.absolute {
            difference.abs()
        } else {
            difference * difference
        }
    }

    /// The inverse scale of a candidate.
    #[inline(always)]
    pub fn inverse(&self, candidate: usize, range: f32) -> f32 {
        (self.first + self.step * candidate as f32 + self.max_code) / range
    }
}

/// A scale and an offset (at most 0), and what gave the codes they were fitted to.
#[derive(Clone, Copy)]
struct Line {
    scale: f32,
    offset: f32,
    inverse: f32,
    low: f32,
}

/// Codes for `x`, their scale, and the offset that is subtracted after scaling (at least 0): for each candidate the
/// codes, for these the best scale and offset in closed form (`make_qkx2_quants`, `make_qkx3_quants`). A candidate counts
/// from the best offset so far.
pub fn fit_affine(x: &[f32], weights: &[f32], search: &AffineSearch, codes: &mut [u8]) -> (f32, f32) {
    let (mut low, mut high) = (x[0], x[0]);
    let (mut sum_w, mut sum_x) = (weights[0], weights[0] * x[0]);
    for (&x, &weight) in x.iter().zip(weights).skip(1) {
        low = if x < low { x } else { low };
        high = if x > high { x } else { high };
        sum_w += weight;
        sum_x += weight * x;
    }
    low = if low > 0.0 { 0.0 } else { low };
    if high <= low {
        codes.fill(0);
        return (0.0, -low);
    }
    let inverse = search.max_code / (high - low);
    let mut best = Line {
        scale: 1.0 / inverse,
        offset: low,
        inverse,
        low,
    };
    let mut best_error = search.error(x, weights, best);
    for candidate in 0..=search.steps {
        let inverse = search.inverse(candidate, high - best.offset);
        if let Some(line) = search.line(x, weights, (sum_w, sum_x), (inverse, best.offset)) {
            let error = search.error(x, weights, line);
            if error < best_error {
                (best_error, best) = (error, line);
            }
        }
    }
    for (code, &x) in codes.iter_mut().zip(x) {
        *code = search.code(best.inverse, best.low, x) as u8;
    }
    (best.scale, -best.offset)
}

impl AffineSearch {
    fn code(&self, inverse: f32, low: f32, x: f32) -> f32 {
        round_between(inverse * (x - low), 0.0, self.max_code)
    }

    /// The weighted error of a line with its codes.
    fn error(&self, x: &[f32], weights: &[f32], line: Line) -> f32 {
        let mut error = 0.0;
        for (&x, &weight) in x.iter().zip(weights) {
            let difference = line.scale * self.code(line.inverse, line.low, x) + line.offset - x;
            error += weight * self.penalty(difference);
        }
        error
    }

    /// The line with the least weighted squared error for the codes of a candidate; an offset above 0 becomes 0.
    fn line(&self, x: &[f32], weights: &[f32], sums: (f32, f32), (inverse, low): (f32, f32)) -> Option<Line> {
        let (sum_w, sum_x) = sums;
        let (mut sum_l, mut sum_ll, mut sum_xl) = (0.0f32, 0.0f32, 0.0f32);
        for (&x, &weight) in x.iter().zip(weights) {
            let code = self.code(inverse, low, x);
            sum_l += weight * code;
            sum_ll += weight * code * code;
            sum_xl += weight * code * x;
        }
        let determinant = sum_w * sum_ll - sum_l * sum_l;
        if determinant <= 0.0 || determinant.is_nan() {
            return None;
        }
        let mut scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
        let mut offset = (sum_ll * sum_x - sum_l * sum_xl) / determinant;
        if offset > 0.0 {
            (scale, offset) = (sum_xl / sum_ll, 0.0);
        }
        Some(Line {
            scale,
            offset,
            inverse,
            low,
        })
    }
}
