//! What a value holds for all samples.

use bantam_tensor::{DType, SplitMix64, Tensor};

/// Numbers by samples.
pub(super) struct Data {
    values: Vec<f32>,
    pub(super) samples: usize,
    /// Of one sample.
    shape: Vec<usize>,
}

impl Data {
    /// From batches; `None` where they are no floats, or not `[samples, ...]` of one shape.
    pub(super) fn of(batches: &[Tensor]) -> Option<Data> {
        let shape = batches.first()?.shape().get(1..)?.to_vec();
        let mut data = Data {
            values: Vec::new(),
            samples: 0,
            shape,
        };
        for batch in batches {
            if batch.dtype() != DType::F32 || batch.shape().get(1..)? != data.shape {
                return None;
            }
            data.values.extend_from_slice(&batch.values::<f32>().ok()?);
            data.samples += batch.shape()[0];
        }
        (data.samples > 0).then_some(data)
    }

    /// The shape of so many samples.
    pub(super) fn shape_of(&self, samples: usize) -> Vec<usize> {
        [&[samples], self.shape.as_slice()].concat()
    }

    fn row(&self, sample: usize) -> &[f32] {
        let each = self.values.len() / self.samples;
        &self.values[sample * each..(sample + 1) * each]
    }

    /// Some samples.
    pub(super) fn rows(&self, chosen: &[usize]) -> Vec<f32> {
        chosen
            .iter()
            .flat_map(|sample| self.row(*sample))
            .copied()
            .collect()
    }

    /// Some samples, half of their elements, chosen at random, those of other data of the same shape.
    pub(super) fn mixed(&self, other: &Data, chosen: &[usize], random: &mut SplitMix64) -> Vec<f32> {
        let mut values = self.rows(chosen);
        let others = other.rows(chosen);
        for (values, others) in values.chunks_mut(64).zip(others.chunks(64)) {
            let mut bits = random.next_u64();
            for (value, other) in values.iter_mut().zip(others) {
                if bits & 1 == 1 {
                    *value = *other;
                }
                bits >>= 1;
            }
        }
        values
    }
}
