//! Which samples calibrate, and which decide.

use std::path::Path;

use bantam_formats::data::{DataSet, Split, sample_indices};
use bantam_graph::Graph;
use bantam_tensor::{Batch, Samples, SamplesError};

use crate::{Error, pipeline};

/// Some samples of a split.
pub(super) struct Part<'a> {
    pub(super) split: &'a Split,
    pub(super) indices: &'a [usize],
}

impl Samples for Part<'_> {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn has_labels(&self) -> bool {
        self.split.has_labels()
    }

    fn batch(&self, indices: &[usize]) -> Result<Batch, SamplesError> {
        let indices: Vec<usize> = indices.iter().map(|index| self.indices[*index]).collect();
        self.split.batch(&indices)
    }
}

/// What a search reads. The split `test` is not among it: it scores the result, and chooses nothing.
pub(super) struct Sources {
    train: Split,
    validation: Option<Split>,
    /// Of the split `train`, to calibrate on.
    pub(super) calibration: Vec<usize>,
    /// To decide on.
    deciding: Vec<usize>,
}

impl Sources {
    /// Opens the data set. Samples of the split `validation` decide if there is one, else some of `train` that do not calibrate.
    pub(super) fn open(
        data: &Path,
        graph: &Graph,
        (calibration, validation): (usize, usize),
        seed: u64,
    ) -> Result<Sources, Error> {
        let train = pipeline::open_split(data, "train", graph)?;
        let has_own = DataSet::open(data)?.split_names().contains(&"validation");
        let own = has_own.then(|| pipeline::open_split(data, "validation", graph));
        let own = own.transpose()?;
        let apart = if own.is_some() { 0 } else { validation };
        let drawn = sample_indices(train.len(), calibration.saturating_add(apart), seed);
        // Where there are few samples, half of them decide.
        let calibrating = match apart {
            0 => drawn.len(),
            _ => calibration.min(drawn.len() - apart.min(drawn.len() / 2)),
        };
        let (calibration, rest) = drawn.split_at(calibrating);
        let deciding = match &own {
            Some(split) => (0..split.len().min(validation)).collect(),
            None => rest.to_vec(),
        };
        if calibration.is_empty() || deciding.is_empty() {
            return Err(bantam_compress::stats::ObserveError::Empty.into());
        }
        Ok(Sources {
            calibration: calibration.to_vec(),
            deciding,
            train,
            validation: own,
        })
    }

    /// The split that is calibrated on.
    pub(super) fn train(&self) -> &Split {
        &self.train
    }

    /// Samples to decide on, in a fixed order.
    pub(super) fn deciding(&self) -> Part<'_> {
        Part {
            split: self.validation.as_ref().unwrap_or(&self.train),
            indices: &self.deciding,
        }
    }

    /// Whether they are of the split that the network may have been trained on.
    pub(super) fn decides_on_training_samples(&self) -> bool {
        self.validation.is_none()
    }
}
