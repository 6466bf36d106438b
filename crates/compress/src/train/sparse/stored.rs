//! Masks in a checkpoint.

use bantam_tensor::Tensor;

use super::{Layer, Sparse};
use crate::train::{Checkpoint, TrainError};

impl Sparse {
    /// What a checkpoint keeps of the masks.
    pub(in crate::train) fn put(&self, put: &mut dyn FnMut(String, Tensor)) {
        for (index, (layer, mask)) in self.layers.iter().zip(&self.masks).enumerate() {
            let marks: Vec<f32> = mask.iter().map(|stays| f32::from(u8::from(*stays))).collect();
            put(format!("mask/{}", layer.name), Tensor::from_vec1(&marks));
            if let Some(scores) = self.scores.get(index) {
                put(format!("score/{}", layer.name), Tensor::from_vec1(scores));
            }
        }
    }

    /// The masks of a checkpoint, before step `step`.
    pub(in crate::train) fn restore(&mut self, checkpoint: &Checkpoint, step: u64) -> Result<(), TrainError> {
        let stored = |kind: &str, layer: &Layer| {
            let tensor = checkpoint.tensor(&format!("{kind}/{}", layer.name), &[layer.len()])?;
            Ok::<Vec<f32>, TrainError>(tensor.to_f32()?)
        };
        for (index, layer) in self.layers.iter().enumerate() {
            self.masks[index] = stored("mask", layer)?.iter().map(|mark| *mark != 0.0).collect();
            if let Some(scores) = self.scores.get_mut(index) {
                *scores = stored("score", layer)?;
            }
        }
        self.is_open &= step <= self.span.last;
        Ok(())
    }
}
