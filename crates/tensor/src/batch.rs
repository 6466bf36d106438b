//! The form in which data sets reach the executor.

use crate::Tensor;

/// Some samples, stacked along the first dimension.
#[derive(Clone, Debug)]
pub struct Batch {
    /// One tensor per graph input, by name, each `[samples, ...]`.
    pub inputs: Vec<(String, Tensor)>,
    /// What is to be predicted, `[samples, ...]`, where the data set has it.
    pub labels: Option<Tensor>,
}

/// What went wrong when samples were read; the data set says it in full.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SamplesError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A split of a data set that gives any of its samples on request, without holding all of them.
pub trait Samples: Send + Sync {
    /// Number of samples.
    fn len(&self) -> usize;

    /// True when there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True when every sample has a label.
    fn has_labels(&self) -> bool;

    /// Reads and preprocesses the samples with these indices, in this order.
    fn batch(&self, indices: &[usize]) -> Result<Batch, SamplesError>;

    /// As [`Samples::batch`], changed at random as the data set says for training; `draw` and a sample's index alone
    /// decide how.
    fn training_batch(&self, indices: &[usize], _draw: u64) -> Result<Batch, SamplesError> {
        self.batch(indices)
    }
}

/// How many samples run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchSize {
    /// So many, or fewer at the end.
    AtMost(usize),
    /// Exactly so many, because the model's input has this first dimension.
    Fixed(usize),
}

impl BatchSize {
    /// Cuts indices into batches. Each comes with the number of its indices that count: where the size is fixed, the
    /// last batch is filled up by repeating its last index.
    pub fn cut(self, indices: &[usize]) -> impl Iterator<Item = (Vec<usize>, usize)> {
        let (BatchSize::AtMost(size) | BatchSize::Fixed(size)) = self;
        indices.chunks(size.max(1)).map(move |chunk| {
            let mut batch = chunk.to_vec();
            if let (BatchSize::Fixed(size), Some(&last)) = (self, chunk.last()) {
                batch.resize(size, last);
            }
            (batch, chunk.len())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_cover_every_index_once() {
        let cut = |size: BatchSize| size.cut(&[7, 8, 9]).collect::<Vec<_>>();
        assert_eq!(cut(BatchSize::AtMost(2)), [(vec![7, 8], 2), (vec![9], 1)]);
        assert_eq!(cut(BatchSize::Fixed(2)), [(vec![7, 8], 2), (vec![9, 9], 1)]);
        assert_eq!(cut(BatchSize::AtMost(0)).len(), 3);
    }
}
