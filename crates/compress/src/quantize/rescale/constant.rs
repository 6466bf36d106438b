//! Constants by channels.

use bantam_graph::{Graph, ValueId};

use crate::rewrite::broadcast;

/// A constant whose elements belong to channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scaled {
    pub(super) value: ValueId,
    /// Shape of the factors, to be broadcast to that of the constant: of the same rank, each size 1 or that of the constant.
    pub(super) shape: Vec<usize>,
    /// For each of the factors, in order, the channel that it is of.
    pub(super) of: Vec<usize>,
}

impl Scaled {
    /// A constant with the channels along one axis.
    pub(super) fn along(value: ValueId, rank: usize, axis: usize, of: Vec<usize>) -> Scaled {
        let mut shape = vec![1; rank];
        shape[axis] = of.len();
        Scaled { value, shape, of }
    }

    /// The factors of the constant, from those of the channels.
    pub(super) fn factors(&self, of_channel: impl Fn(usize) -> f32) -> Vec<f32> {
        self.of.iter().map(|channel| of_channel(*channel)).collect()
    }

    /// The largest magnitude of each channel.
    pub(super) fn peaks(&self, graph: &Graph, channels: usize) -> Vec<f32> {
        let mut peaks = vec![0f32; channels];
        let Some(tensor) = graph.constant(self.value) else {
            return peaks;
        };
        let values = tensor.to_f32().unwrap_or_default();
        for (value, factor) in values.iter().zip(broadcast(tensor.shape(), &self.shape)) {
            let peak = &mut peaks[self.of[factor]];
            *peak = peak.max(value.abs());
        }
        peaks
    }
}
