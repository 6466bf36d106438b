//! Sums and maxima of slices, in an order that does not depend on the CPU or the number of threads.

use crate::real::Real;

/// Independent partial results, so that the compiler can use vectors.
const LANES: usize = 16;
/// Elements that are summed before the partial result goes to `f64`.
const BLOCK: usize = 4096;

/// The largest element; minus infinity for an empty slice. Not-a-numbers are passed over.
#[inline(always)]
pub(crate) fn maximum<T: Real>(x: &[T]) -> T {
    let mut lanes = [T::NEG_INFINITY; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = value.larger(*lane);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane = value.larger(*lane);
    }
    lanes
        .iter()
        .fold(T::NEG_INFINITY, |best, &lane| lane.larger(best))
}

/// The sum of `term` over the elements: in `T` within blocks, in `f64` across them.
#[inline(always)]
pub(crate) fn sum_of<T: Real>(x: &[T], term: impl Fn(T) -> T) -> f64 {
    let mut total = 0.0;
    for block in x.chunks(BLOCK) {
        let mut lanes = [T::ZERO; LANES];
        let (chunks, rest) = block.as_chunks::<LANES>();
        for chunk in chunks {
            for (lane, &value) in lanes.iter_mut().zip(chunk) {
                *lane += term(value);
            }
        }
        for (lane, &value) in lanes.iter_mut().zip(rest) {
            *lane += term(value);
        }
        total += lanes.iter().map(|lane| lane.to_f64()).sum::<f64>();
    }
    total
}

/// Mean and (population) variance of the elements, in two passes; zeros for an empty slice.
#[inline(always)]
pub(crate) fn moments<T: Real>(x: &[T]) -> (f64, f64) {
    if x.is_empty() {
        return (0.0, 0.0);
    }
    let count = x.len() as f64;
    let mean = sum_of(x, |value| value) / count;
    let centre = T::from_f64(mean);
    let squares = sum_of(x, |value| (value - centre) * (value - centre)) / count;
    // What rounding `mean` to `T` added.
    let shift = mean - centre.to_f64();
    (mean, (squares - shift * shift).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_maxima_cover_every_remainder() {
        for length in [0, 1, 15, 16, 17, 4095, 4096, 4097, 10_000] {
            let x: Vec<f32> = (0..length).map(|i| i as f32).collect();
            let expected = (0..length).map(|i| i as f64).sum::<f64>();
            assert_eq!(sum_of(&x, |v| v), expected);
            assert_eq!(
                maximum(&x),
                if length == 0 {
                    f32::NEG_INFINITY
                } else {
                    (length - 1) as f32
                }
            );
        }
    }

    #[test]
    fn variance_survives_a_large_mean() {
        let x: Vec<f32> = (0..50_000).map(|i| 1000.0 + (i % 2) as f32).collect();
        let (mean, variance) = moments(&x);
        assert!(
            (mean - 1000.5).abs() < 1e-3 && (variance - 0.25).abs() < 1e-5,
            "{mean} {variance}"
        );
    }

    #[test]
    fn not_a_number_and_infinity_reach_the_variance() {
        assert!(moments(&[f32::NAN, 1.0]).1.is_nan() || moments(&[f32::NAN, 1.0]).0.is_nan());
    }
}
