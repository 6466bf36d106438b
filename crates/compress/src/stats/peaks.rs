//! Largest magnitudes along an axis.

/// The largest magnitude for each index of one axis.
#[derive(Clone, Debug)]
pub struct Peaks {
    /// `None` is the last.
    axis: Option<usize>,
    peaks: Vec<f32>,
    /// True when an element was infinite or no number.
    pub(super) non_finite: bool,
}

impl Peaks {
    /// For each index of this axis, or of the last.
    pub fn of_axis(axis: Option<usize>) -> Peaks {
        Peaks {
            axis,
            peaks: Vec::new(),
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
        if channels == 0 || inner == 0 || (!self.peaks.is_empty() && self.peaks.len() != channels) {
            return;
        }
        self.peaks.resize(channels, 0.0);
        for block in values.chunks_exact(channels * inner) {
            for (peak, run) in self.peaks.iter_mut().zip(block.chunks_exact(inner)) {
                for x in run {
                    *peak = peak.max(x.abs());
                    self.non_finite |= !x.is_finite();
                }
            }
        }
    }

    /// Adds what another one saw.
    pub fn merge(&mut self, other: &Peaks) {
        self.peaks.resize(self.peaks.len().max(other.peaks.len()), 0.0);
        let pairs = self.peaks.iter_mut().zip(&other.peaks);
        pairs.for_each(|(peak, other)| *peak = peak.max(*other));
        self.non_finite |= other.non_finite;
    }

    /// The largest magnitudes; empty when nothing was seen.
    pub fn peaks(&self) -> &[f32] {
        &self.peaks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_by_channel_and_by_feature() {
        let values = [1.0, -2.0, 3.0, 0.5, -4.0, 1.0, 0.0, 2.0];
        let mut channels = Peaks::of_axis(Some(1));
        channels.add(&values, &[2, 2, 2]);
        assert_eq!(channels.peaks(), [4.0, 3.0]);
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
