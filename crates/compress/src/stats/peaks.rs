//! Smallest and largest elements along an axis.

/// The smallest and the largest element for each index of one axis.
#[derive(Clone, Debug)]
pub struct Peaks {
    /// `None` is the last.
    axis: Option<usize>,
    bounds: Vec<[f32; 2]>,
    /// True when an element was infinite or no number.
    pub(super) non_finite: bool,
}

impl Peaks {
    /// For each index of this axis, or of the last.
    pub fn of_axis(axis: Option<usize>) -> Peaks {
        Peaks {
            axis,
            bounds: Vec::new(),
            non_finite: false,
        }
    }

    /// Adds the elements of a tensor of this shape. A shape without the axis, or with another size of it than before,
    /// is left out.
    pub fn add(&mut self, values: &[f32], shape: &[usize]) {
        self.add_along(self.axis, values, shape);
    }

    /// As [`Peaks::add`], of a tensor whose axis 1 was moved behind the others.
    pub fn add_channels_last(&mut self, values: &[f32], shape: &[usize]) {
        self.add_along(None, values, shape);
    }

    fn add_along(&mut self, axis: Option<usize>, values: &[f32], shape: &[usize]) {
        let axis = axis.or(shape.len().checked_sub(1));
        let Some(axis) = axis.filter(|axis| *axis < shape.len()) else {
            return;
        };
        let (channels, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
        if channels == 0 || inner == 0 || (!self.bounds.is_empty() && self.bounds.len() != channels) {
            return;
        }
        self.bounds.resize(channels, NOTHING);
        for block in values.chunks_exact(channels * inner) {
            for ([low, high], run) in self.bounds.iter_mut().zip(block.chunks_exact(inner)) {
                for x in run {
                    (*low, *high) = (low.min(*x), high.max(*x));
                    self.non_finite |= !x.is_finite();
                }
            }
        }
    }

    /// Adds what another one saw.
    pub fn merge(&mut self, other: &Peaks) {
        let most = self.bounds.len().max(other.bounds.len());
        self.bounds.resize(most, NOTHING);
        let pairs = self.bounds.iter_mut().zip(&other.bounds);
        pairs.for_each(|([low, high], other)| (*low, *high) = (low.min(other[0]), high.max(other[1])));
        self.non_finite |= other.non_finite;
    }

    /// Smallest and largest elements; empty when nothing was seen.
    pub fn bounds(&self) -> &[[f32; 2]] {
        &self.bounds
    }

    /// The largest magnitudes; empty when nothing was seen.
    pub fn peaks(&self) -> Vec<f32> {
        let peak = |[low, high]: &[f32; 2]| high.max(-low).max(0.0);
        self.bounds.iter().map(peak).collect()
    }
}

/// The bounds of no elements.
const NOTHING: [f32; 2] = [f32::INFINITY, f32::NEG_INFINITY];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_by_channel_and_by_feature() {
        let values = [1.0, -2.0, 3.0, 0.5, -4.0, 1.0, 0.0, 2.0];
        let mut channels = Peaks::of_axis(Some(1));
        channels.add(&values, &[2, 2, 2]);
        assert_eq!(channels.peaks(), [4.0, 3.0]);
        assert_eq!(channels.bounds(), [[-4.0, 1.0], [0.0, 3.0]]);
        let mut last = Peaks::of_axis(Some(1));
        last.add_channels_last(&values, &[2, 2, 2]);
        let mut features = Peaks::of_axis(None);
        features.add(&values, &[4, 2]);
        assert_eq!(features.peaks(), [4.0, 2.0]);
        assert_eq!(last.peaks(), features.peaks());
        let mut more = Peaks::of_axis(None);
        more.add(&[0.0, f32::INFINITY], &[1, 2]);
        features.merge(&more);
        assert_eq!(features.peaks(), [4.0, f32::INFINITY]);
        assert!(features.non_finite);
    }
}
