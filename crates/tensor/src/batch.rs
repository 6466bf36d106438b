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
}
