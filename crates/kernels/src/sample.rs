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
    for (block, grid) in grid.chunks(POINTS * size.len()).enumerate() {
        let taps = PointTaps::new(sampling, size, grid);
        let range = block * POINTS..(block * POINTS + POINTS).min(points);
        let channels = y.par_chunks_exact_mut(points).zip(x.par_chunks_exact(pixels));
        channels.for_each(|(y, x)| taps.apply(x, &mut y[range.clone()]));
    }
}

/// Points whose taps are kept at once.
const POINTS: usize = 4096;

impl SampleMode {
    /// Pixels along one dimension.
    fn taps(self) -> usize {
        match self {
            SampleMode::Nearest => 1,
            SampleMode::Linear => 2,
            SampleMode::Cubic => 4,
        }
    }
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
        let along = sampling.mode.taps();
        let per_point: usize = size.iter().map(|_| along).product();
        let count = grid.len() / size.len() * per_point;
        let (mut positions, mut weights) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut axes = vec![
            AxisTaps {
                pixels: [None; 4],
                weights: [T::ZERO; 4]
            };
            size.len()
        ];
        for point in grid.chunks_exact(size.len()) {
            for ((axis, &coordinate), &length) in axes.iter_mut().zip(point.iter().rev()).zip(size) {
                *axis = AxisTaps::new(sampling, coordinate, length);
            }
            for combination in 0..per_point {
                let (mut rest, mut position, mut weight, mut step) = (combination, Some(0), T::ONE, 1);
                for (axis, &length) in axes.iter().zip(size).rev() {
                    let tap = rest % along;
                    position = position
                        .zip(axis.pixels[tap])
                        .map(|(position, pixel)| position + pixel * step);
                    weight *= axis.weights[tap];
                    step *= length;
                    rest /= along;
                }
                positions.push(position.unwrap_or(OUTSIDE));
                weights.push(weight);
            }
        }
        PointTaps {
            per_point,
            positions,
            weights,
        }
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

/// The pixels and weights along one dimension; as many as [`SampleMode::taps`] says.
#[derive(Clone, Copy)]
struct AxisTaps<T> {
    /// `None` for zeros outside.
    pixels: [Option<usize>; 4],
    weights: [T; 4],
}

impl<T: Real> AxisTaps<T> {
    fn new(sampling: Sampling, normalized: T, length: usize) -> AxisTaps<T> {
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
            // The cubic looks at pixels around the position itself, as in PyTorch and ONNX Runtime.
            SamplePadding::Border if sampling.mode == SampleMode::Cubic => position,
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
        let (before, weights) = match sampling.mode {
            SampleMode::Nearest => (0, [T::ONE, T::ZERO, T::ZERO, T::ZERO]),
            SampleMode::Linear => (0, [T::ONE - fraction, fraction, T::ZERO, T::ZERO]),
            SampleMode::Cubic => (1, cubic(fraction)),
        };
        let pixels = [0, 1, 2, 3].map(|i| pixel(first.saturating_add(i - before)));
        AxisTaps { pixels, weights }
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
