//! How one axis is resized: sizes, and where output elements lie on the input.

use bantam_graph::ops::{NearestMode, ResizeTransform};

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

    /// The coordinate on the input of each output element.
    pub(super) fn coordinates(&self, transform: ResizeTransform) -> Vec<f64> {
        (0..self.output)
            .map(|position| self.coordinate(transform, position as f64))
            .collect()
    }

    fn coordinate(&self, transform: ResizeTransform, x: f64) -> f64 {
        let (input, scale) = (self.input as f64, self.scale);
        // The output length before rounding.
        let exact = scale * input;
        let half_pixel = (x + 0.5) / scale - 0.5;
        match transform {
            ResizeTransform::HalfPixel => half_pixel,
            ResizeTransform::HalfPixelSymmetric => {
                let adjustment = self.output as f64 / exact;
                input / 2.0 * (1.0 - adjustment) + half_pixel
            }
            ResizeTransform::PytorchHalfPixel if exact == 1.0 => -0.5,
            ResizeTransform::PytorchHalfPixel => half_pixel,
            ResizeTransform::AlignCorners if exact == 1.0 => 0.0,
            ResizeTransform::AlignCorners => x * (input - 1.0) / (exact - 1.0),
            ResizeTransform::Asymmetric => x / scale,
            ResizeTransform::TfHalfPixelForNearest => (x + 0.5) / scale,
            ResizeTransform::TfCropAndResize => {
                let [start, end] = self.region;
                let inside = if exact == 1.0 {
                    (end - start) * (input - 1.0) / 2.0
                } else {
                    x * (end - start) * (input - 1.0) / (exact - 1.0)
                };
                inside + start * (input - 1.0)
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
            let got = axis.coordinates(transform)[1];
            assert!(
                (got - expected).abs() < 1e-12,
                "{transform:?}: {got}, expected {expected}"
            );
        }
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
