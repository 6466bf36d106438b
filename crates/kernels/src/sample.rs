//! Sampling of images at fractional positions.

use rayon::prelude::*;

use crate::real::Real;

/// How values between pixels are interpolated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleMode {
    /// The nearest pixel.
    Nearest,
    /// Linear along every dimension.
    Linear,
    /// Cubic along every dimension, with coefficient -0.75.
    Cubic,
}

/// What lies outside of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SamplePadding {
    /// Zeros.
    Zeros,
    /// The nearest border pixel.
    Border,
    /// The image mirrored at its borders.
    Reflection,
}

/// Parameters of [`sample`].
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// Interpolation.
    pub mode: SampleMode,
    /// Outside.
    pub padding: SamplePadding,
    /// -1 and 1 are the centres of the first and last pixel rather than their outer edges.
    pub align_corners: bool,
}

/// Samples one image `[channels, size...]` at points, given as `[points, dimensions]` in -1 to 1 with the last dimension of
/// the image first, into `y`, `[channels, points]`.
///
/// # Panics
/// When a slice is too short for the sizes.
pub fn sample<T: Real>(sampling: Sampling, x: &[T], size: &[usize], grid: &[T], y: &mut [T]) {
    let points = grid.len().checked_div(size.len()).unwrap_or(0);
    if points == 0 || x.is_empty() {
        return y.fill(T::ZERO);
    }
    let pixels: usize = size.iter().product();
    let taps = PointTaps::new(sampling, size, grid);
    y.par_chunks_exact_mut(points)
        .zip(x.par_chunks_exact(pixels))
        .for_each(|(y, x)| taps.apply(x, y));
}

/// For each point, the pixels that it is made of and their weights.
struct PointTaps<T> {
    per_point: usize,
    /// Positions in the image; those outside are `OUTSIDE`.
    positions: Vec<usize>,
    weights: Vec<T>,
}

const OUTSIDE: usize = usize::MAX;

impl<T: Real> PointTaps<T> {
    fn new(sampling: Sampling, size: &[usize], grid: &[T]) -> PointTaps<T> {
        let mut taps = PointTaps {
            per_point: 0,
            positions: Vec::new(),
            weights: Vec::new(),
        };
        for point in grid.chunks_exact(size.len()) {
            // Products of the taps along each dimension, the first dimension varying slowest.
            let mut combined = vec![(0, T::ONE)];
            for (dimension, &length) in size.iter().enumerate() {
                let along = axis_taps(sampling, point[size.len() - 1 - dimension], length);
                let join = |(position, weight): (usize, T)| {
                    along.clone().into_iter().map(move |(index, factor)| match index {
                        Some(index) if position != OUTSIDE => (position * length + index, weight * factor),
                        _ => (OUTSIDE, T::ZERO),
                    })
                };
                combined = combined.into_iter().flat_map(join).collect();
            }
            taps.per_point = combined.len();
            taps.positions
                .extend(combined.iter().map(|(position, _)| position));
            taps.weights.extend(combined.iter().map(|(_, weight)| weight));
        }
        taps
    }

    fn apply(&self, x: &[T], y: &mut [T]) {
        let points = self
            .positions
            .chunks_exact(self.per_point)
            .zip(self.weights.chunks_exact(self.per_point));
        for (y, (positions, weights)) in y.iter_mut().zip(points) {
            *y = T::ZERO;
            for (&position, &weight) in positions.iter().zip(weights) {
                if position != OUTSIDE {
                    *y += x[position] * weight;
                }
            }
        }
    }
}

/// The pixels and weights along one dimension of `length` pixels; `None` for zeros outside.
fn axis_taps<T: Real>(sampling: Sampling, normalized: T, length: usize) -> Vec<(Option<usize>, T)> {
    let (half, size) = (T::from_f64(0.5), T::from_f64(length as f64));
    let (low, high, position) = if sampling.align_corners {
        (
            T::ZERO,
            size - T::ONE,
            (normalized + T::ONE) * half * (size - T::ONE),
        )
    } else {
        (-half, size - half, ((normalized + T::ONE) * size - T::ONE) * half)
    };
    let nearest = sampling.mode == SampleMode::Nearest;
    let position = if nearest {
        position.round_ties_even()
    } else {
        position
    };
    let position = match sampling.padding {
        SamplePadding::Border if position < T::ZERO => T::ZERO,
        SamplePadding::Border if position > size - T::ONE => size - T::ONE,
        SamplePadding::Reflection => reflect(position, low, high),
        _ => position,
    };
    let floor = position.floor();
    let fraction = position - floor;
    let first = floor.to_f64() as i64;
    let pixel = |index: i64| match sampling.padding {
        SamplePadding::Zeros => usize::try_from(index).ok().filter(|&index| index < length),
        SamplePadding::Border => Some(index.clamp(0, length as i64 - 1) as usize),
        SamplePadding::Reflection => {
            let reflected = reflect(T::from_f64(index as f64), low, high).to_f64() as usize;
            Some(reflected.min(length - 1))
        }
    };
    match sampling.mode {
        SampleMode::Nearest => vec![(pixel(first), T::ONE)],
        SampleMode::Linear => {
            vec![
                (pixel(first), T::ONE - fraction),
                (pixel(first.saturating_add(1)), fraction),
            ]
        }
        SampleMode::Cubic => {
            let weights = cubic(fraction);
            (0..4)
                .map(|i| (pixel(first.saturating_add(i - 1)), weights[i as usize]))
                .collect()
        }
    }
}

/// Mirrors a position at the borders until it lies between them.
fn reflect<T: Real>(position: T, low: T, high: T) -> T {
    let range = (high - low).to_f64();
    let outside = if position < low {
        (low - position).to_f64()
    } else if position > high {
        (position - high).to_f64()
    } else {
        return position;
    };
    if range <= 0.0 || !outside.is_finite() {
        return low;
    }
    let (turns, rest) = ((outside / range).floor(), T::from_f64(outside % range));
    if (position < low) == (turns % 2.0 == 0.0) {
        low + rest
    } else {
        high - rest
    }
}

/// Weights of the four neighbours of a position `fraction` behind the second.
fn cubic<T: Real>(fraction: T) -> [T; 4] {
    let real = T::from_f64;
    let a = real(-0.75);
    let far = |x: T| ((a * x - real(5.0) * a) * x + real(8.0) * a) * x - real(4.0) * a;
    let near = |x: T| ((a + real(2.0)) * x - (a + real(3.0))) * x * x + T::ONE;
    let rest = T::ONE - fraction;
    [
        far(fraction + T::ONE),
        near(fraction),
        near(rest),
        far(rest + T::ONE),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples the row 10, 20, 30, 40 at positions counted in pixels.
    fn check(mode: SampleMode, padding: SamplePadding, positions: &[f64], expected: &[f64]) {
        for align_corners in [true, false] {
            let normalized = |p: &f64| {
                if align_corners {
                    p * 2.0 / 3.0 - 1.0
                } else {
                    (2.0 * p + 1.0) / 4.0 - 1.0
                }
            };
            let grid: Vec<f64> = positions.iter().map(normalized).collect();
            let mut y = vec![f64::NAN; grid.len()];
            sample(
                Sampling {
                    mode,
                    padding,
                    align_corners,
                },
                &[10.0, 20.0, 30.0, 40.0],
                &[4],
                &grid,
                &mut y,
            );
            let close = y.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
            assert!(
                close,
                "{mode:?} {padding:?} {align_corners}: {y:?}, expected {expected:?}"
            );
        }
    }

    #[test]
    fn positions_inside_interpolate() {
        for padding in [
            SamplePadding::Zeros,
            SamplePadding::Border,
            SamplePadding::Reflection,
        ] {
            check(SampleMode::Nearest, padding, &[0.4, 1.6], &[10.0, 30.0]);
            check(SampleMode::Linear, padding, &[1.25, 3.0], &[22.5, 40.0]);
            check(SampleMode::Cubic, padding, &[1.5], &[25.0]);
        }
    }

    #[test]
    fn positions_outside_follow_the_padding() {
        check(
            SampleMode::Linear,
            SamplePadding::Zeros,
            &[-0.5, 3.25, 9.0],
            &[5.0, 30.0, 0.0],
        );
        check(
            SampleMode::Linear,
            SamplePadding::Border,
            &[-7.0, 3.25],
            &[10.0, 40.0],
        );
        check(
            SampleMode::Nearest,
            SamplePadding::Border,
            &[-7.0, 7.0],
            &[10.0, 40.0],
        );
    }

    #[test]
    fn reflection_turns_at_the_borders() {
        for (position, expected) in [(-1.0, 1.0), (4.0, 2.0), (7.0, 1.0), (-4.0, 2.0), (2.0, 2.0)] {
            assert_eq!(reflect(position, 0.0, 3.0), expected, "{position}");
        }
        assert_eq!(reflect(f64::INFINITY, 0.0, 3.0), 0.0);
        assert_eq!(reflect(5.0, 0.0, 0.0), 0.0);
    }

    #[test]
    fn the_last_dimension_comes_first_in_points() {
        let sampling = Sampling {
            mode: SampleMode::Nearest,
            padding: SamplePadding::Zeros,
            align_corners: true,
        };
        let mut y = [0.0f32; 2];
        // Two channels of 2 x 3; the point is column 2, row 0.
        let x: Vec<f32> = (0..12u8).map(f32::from).collect();
        sample(sampling, &x, &[2, 3], &[1.0, -1.0], &mut y);
        assert_eq!(y, [2.0, 8.0]);
    }
}
