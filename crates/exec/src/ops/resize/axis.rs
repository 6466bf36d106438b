//! How one axis is resized: sizes, and where output elements lie on the input.

use bantam_graph::ops::{NearestMode, ResizeTransform};
use bantam_kernels::Real;

/// One axis of a Resize.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis {
    /// Elements of the input.
    pub(super) input: usize,
    /// Elements of the output.
    pub(super) output: usize,
    /// Output length over input length, before the output length was rounded.
    pub(super) scale: f64,
    /// Start and end of the region of interest, in parts of the input.
    pub(super) region: [f64; 2],
}

impl Axis {
    /// True when the output is the input.
    pub(super) fn is_identity(&self, transform: ResizeTransform) -> bool {
        let whole = transform != ResizeTransform::TfCropAndResize || self.region == [0.0, 1.0];
        self.scale == 1.0 && self.input == self.output && whole
    }

    /// The coordinate on the input of each output element. In `f32`, scales that are rounded decimal fractions hit the
    /// ties that they are meant to hit; in `f64`, coordinates are as exact as the scales.
    pub(super) fn coordinates<T: Real>(&self, transform: ResizeTransform) -> Vec<T> {
        (0..self.output)
            .map(|position| self.coordinate(transform, T::from_f64(position as f64)))
            .collect()
    }

    fn coordinate<T: Real>(&self, transform: ResizeTransform, x: T) -> T {
        let real = T::from_f64;
        let (input, output, scale) = (
            real(self.input as f64),
            real(self.output as f64),
            real(self.scale),
        );
        let half = real(0.5);
        // The output length before rounding; the standard's test cases want it here and there.
        let exact = scale * input;
        let half_pixel = (x + half) / scale - half;
        match transform {
            ResizeTransform::HalfPixel => half_pixel,
            ResizeTransform::HalfPixelSymmetric => input * half * (T::ONE - output / exact) + half_pixel,
            ResizeTransform::PytorchHalfPixel if self.output == 1 => T::ZERO,
            ResizeTransform::PytorchHalfPixel => half_pixel,
            ResizeTransform::AlignCorners if exact == T::ONE => T::ZERO,
            ResizeTransform::AlignCorners => x * (input - T::ONE) / (exact - T::ONE),
            ResizeTransform::Asymmetric => x / scale,
            ResizeTransform::TfHalfPixelForNearest => (x + half) / scale,
            ResizeTransform::TfCropAndResize => {
                let [start, end] = self.region.map(real);
                let last = input - T::ONE;
                if self.output == 1 {
                    half * (start + end) * last
                } else {
                    start * last + x * (end - start) * last / (output - T::ONE)
                }
            }
        }
    }

    /// True for coordinates that TensorFlow's crop-and-resize fills with the extrapolation value.
    pub(super) fn is_outside(&self, transform: ResizeTransform, coordinate: f64) -> bool {
        // Not-a-number counts as outside.
        let inside = coordinate >= 0.0 && coordinate <= self.input as f64 - 1.0;
        transform == ResizeTransform::TfCropAndResize && !inside
    }

    /// The input element nearest to a coordinate.
    pub(super) fn nearest(&self, mode: NearestMode, coordinate: f64) -> usize {
        let rounded = match mode {
            NearestMode::RoundPreferFloor => (coordinate - 0.5).ceil(),
            NearestMode::RoundPreferCeil => (coordinate + 0.5).floor(),
            NearestMode::Floor => coordinate.floor(),
            NearestMode::Ceil => coordinate.ceil(),
        };
        // Saturates; an input has at least one element.
        (rounded as usize).min(self.input - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_match_the_specification() {
        let axis = Axis {
            input: 4,
            output: 8,
            scale: 2.0,
            region: [0.25, 0.75],
        };
        let cases = [
            (ResizeTransform::HalfPixel, 0.25),
            (ResizeTransform::HalfPixelSymmetric, 0.25),
            (ResizeTransform::PytorchHalfPixel, 0.25),
            (ResizeTransform::AlignCorners, 3.0 / 7.0),
            (ResizeTransform::Asymmetric, 0.5),
            (ResizeTransform::TfHalfPixelForNearest, 0.75),
            (ResizeTransform::TfCropAndResize, 1.5 / 7.0 + 0.75),
        ];
        for (transform, expected) in cases {
            let got: f64 = axis.coordinates(transform)[1];
            assert!(
                (got - expected).abs() < 1e-12,
                "{transform:?}: {got}, expected {expected}"
            );
        }
    }

    #[test]
    fn decimal_scales_hit_whole_coordinates() {
        let axis = Axis {
            input: 10,
            output: 6,
            scale: f64::from(0.6f32),
            region: [0.0, 1.0],
        };
        assert_eq!(axis.coordinates::<f32>(ResizeTransform::Asymmetric)[3], 5.0);
    }

    #[test]
    fn nearest_follows_its_mode_and_stays_inside() {
        let axis = Axis {
            input: 4,
            output: 4,
            scale: 1.0,
            region: [0.0, 1.0],
        };
        let cases = [
            (NearestMode::RoundPreferFloor, [0, 1, 2, 3, 0]),
            (NearestMode::RoundPreferCeil, [0, 2, 2, 3, 0]),
            (NearestMode::Floor, [0, 1, 1, 3, 0]),
            (NearestMode::Ceil, [0, 2, 2, 3, 0]),
        ];
        for (mode, expected) in cases {
            let got = [-0.7, 1.5, 1.7, 9.0, f64::NAN].map(|coordinate| axis.nearest(mode, coordinate));
            assert_eq!(got, expected, "{mode:?}");
        }
    }
}
