//! One split of a data set: reads any of its samples on request.

use std::path::PathBuf;

use bantam_tensor::{Batch, Buffer, Samples, SamplesError, Tensor};
use rayon::prelude::*;

use super::DataError;
use super::augment::Augmentation;
use super::corruption::{Corruption, Corruptor, Strength};
use super::manifest::Augment;
use super::preprocess::Preprocess;
use super::source::Source;
use super::transform::Transform;

/// A split of a data set. Samples are read from their files when they are asked for, so memory is proportional to the
/// batch.
#[derive(Clone, Debug)]
pub struct Split {
    pub(super) name: String,
    pub(super) inputs: Vec<Input>,
    pub(super) labels: Option<Input>,
    /// True when the data do not say the input's name (a bare npy file or folder).
    pub(super) is_unnamed: bool,
}

/// An input or the labels.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) name: String,
    /// The first of its files, for messages.
    pub(super) path: PathBuf,
    pub(super) source: Source,
    pub(super) preprocess: Preprocess,
    pub(super) transform: Transform,
    /// What training does to samples.
    pub(super) augmentation: Option<Augmentation>,
    /// What is wrong with the camera.
    pub(super) corruption: Option<Corruptor>,
}

impl Input {
    /// Samples of `source`, made as `preprocess` says.
    pub(super) fn new(
        name: &str,
        path: PathBuf,
        source: Source,
        preprocess: Preprocess,
    ) -> Result<Input, DataError> {
        let is_array = matches!(source, Source::Arrays(_));
        if is_array && preprocess.has_image_keys() {
            return Err(DataError::ImageKeys {
                input: name.to_owned(),
                path,
            });
        }
        let (dtype, row_shape) = (source.dtype(), source.row_shape());
        match Transform::new(dtype, &row_shape, source.fixed_layout(), &preprocess) {
            Ok(transform) => Ok(Input {
                name: name.to_owned(),
                path,
                source,
                preprocess,
                transform,
                augmentation: None,
                corruption: None,
            }),
            Err(problem) => Err(DataError::Transform {
                input: name.to_owned(),
                path,
                problem: Box::new(problem),
            }),
        }
    }

    /// The same input, changed at random in training.
    pub(super) fn augmented(mut self, how: Option<&Augment>) -> Result<Input, DataError> {
        let Some(how) = how else {
            return Ok(self);
        };
        let (dtype, shape) = (self.source.dtype(), self.source.row_shape());
        let layout = self.transform.source_layout.or(self.source.fixed_layout());
        let augmentation = layout.and_then(|layout| Augmentation::new(how.clone(), dtype, layout, &shape));
        self.augmentation = Some(augmentation.ok_or_else(|| DataError::Augment {
            input: self.name.clone(),
            path: self.path.clone(),
            shape,
        })?);
        Ok(self)
    }

    /// The samples with these indices, `[indices, ...]`, changed at random if there is something to draw from.
    fn gather(&self, indices: &[usize], draw: Option<u64>) -> Result<Tensor, DataError> {
        let samples = self.source.rows();
        if let Some(&index) = indices.iter().find(|&&index| index >= samples) {
            return Err(DataError::Index { index, samples });
        }
        let too_large = || DataError::TooLarge {
            samples: indices.len(),
            what: self.name.clone(),
        };
        let row_bytes = self.transform.row_bytes().ok_or_else(too_large)?;
        let bytes = row_bytes.checked_mul(indices.len()).ok_or_else(too_large)?;
        let mut buffer = Buffer::zeroed(bytes);
        let rows = buffer.as_bytes_mut();
        match &self.source {
            Source::Arrays(_) if self.corruption.is_none() => {
                let mut rows = rows.chunks_exact_mut(row_bytes).zip(indices);
                rows.try_for_each(|(out, &index)| self.read(index, draw, out))?;
            }
            // Decoding and corrupting are slow enough to be worth threads; each image has its place, so their number does not show.
            _ => {
                let rows = rows.par_chunks_exact_mut(row_bytes).zip(indices);
                rows.try_for_each(|(out, &index)| self.read(index, draw, out))?;
            }
        }
        let shape = [&[indices.len()], self.transform.row_shape.as_slice()].concat();
        Tensor::from_buffer(self.transform.target, &shape, buffer).map_err(|_| too_large())
    }

    fn read(&self, index: usize, draw: Option<u64>, out: &mut [u8]) -> Result<(), DataError> {
        let mut sample = self.source.row(index)?;
        if let Some(corruption) = &self.corruption {
            let corrupted = corruption.apply(&sample, index);
            let wrong = || DataError::NoPixels {
                input: self.name.clone(),
                path: self.path.clone(),
                sample: index,
            };
            sample = corrupted.ok_or_else(wrong)?.into();
        }
        if let (Some(augmentation), Some(draw)) = (&self.augmentation, draw) {
            sample = augmentation.apply(&sample, index, draw).into();
        }
        self.transform
            .apply(&sample, out)
            .map_err(|value| DataError::Value {
                input: self.name.clone(),
                path: self.path.clone(),
                sample: index,
                value,
                dtype: self.transform.target,
            })
    }
}

impl Split {
    /// Name of the split: `train`, `test`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name, type and shape of each input of a batch of `samples`.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, bantam_tensor::DType, &[usize])> {
        self.inputs.iter().map(|input| {
            let transform = &input.transform;
            (
                input.name.as_str(),
                transform.target,
                transform.row_shape.as_slice(),
            )
        })
    }

    /// The split with its images corrupted, before they are scaled and normalized. The seed and a sample's index alone decide how; inputs
    /// that are no images stay as they are.
    ///
    /// # Errors
    /// When no input is images: of a layout with two spatial dimensions, or of one or three channels at one end.
    pub fn corrupted(
        &self,
        corruption: &Corruption,
        strength: Strength,
        seed: u64,
    ) -> Result<Split, DataError> {
        let mut split = self.clone();
        for input in &mut split.inputs {
            let (dtype, shape) = (input.source.dtype(), input.source.row_shape());
            let layout = input.transform.source_layout.or(input.source.fixed_layout());
            input.corruption = Corruptor::new((corruption, strength), seed, dtype, layout, &shape);
        }
        if split.inputs.iter().all(|input| input.corruption.is_none()) {
            return Err(DataError::NoImageInput {
                split: self.name.clone(),
                path: self.inputs[0].path.clone(),
            });
        }
        Ok(split)
    }

    fn gather(&self, indices: &[usize], draw: Option<u64>) -> Result<Batch, DataError> {
        let inputs = self
            .inputs
            .iter()
            .map(|input| Ok((input.name.clone(), input.gather(indices, draw)?)));
        let inputs = inputs.collect::<Result<_, DataError>>()?;
        let labels = self.labels.as_ref().map(|labels| labels.gather(indices, None));
        Ok(Batch {
            inputs,
            labels: labels.transpose()?,
        })
    }

    /// The samples `first..end` of those that the files hold.
    pub(super) fn narrowed(mut self, first: usize, end: usize) -> Result<Split, DataError> {
        for input in self.inputs.iter_mut().chain(&mut self.labels) {
            let samples = input.source.rows();
            let source = input.source.clone().narrowed(first, end);
            input.source = source.ok_or_else(|| DataError::Rows {
                split: self.name.clone(),
                path: input.path.clone(),
                rows: [first, end],
                samples,
            })?;
        }
        Ok(self)
    }

    /// Every input and the labels have to have as many samples as the first input.
    pub(super) fn check_rows(self) -> Result<Split, DataError> {
        let first = &self.inputs[0];
        let first_rows = first.source.rows();
        let mut all = self.inputs.iter().chain(&self.labels);
        let Some(other) = all.find(|other| other.source.rows() != first_rows) else {
            return Ok(self);
        };
        let is_labels = self
            .labels
            .as_ref()
            .is_some_and(|labels| std::ptr::eq(labels, other));
        Err(DataError::RowCount {
            split: self.name.clone(),
            what: if is_labels {
                "labels".to_owned()
            } else {
                format!("input {:?}", other.name)
            },
            path: other.path.clone(),
            rows: other.source.rows(),
            first_path: first.path.clone(),
            first_rows,
        })
    }
}

impl Samples for Split {
    fn len(&self) -> usize {
        self.inputs[0].source.rows()
    }

    fn has_labels(&self) -> bool {
        self.labels.is_some()
    }

    fn batch(&self, indices: &[usize]) -> Result<Batch, SamplesError> {
        Ok(self.gather(indices, None)?)
    }

    fn training_batch(&self, indices: &[usize], draw: u64) -> Result<Batch, SamplesError> {
        Ok(self.gather(indices, Some(draw))?)
    }
}

/// Index of the first element that is NaN or infinite; `None` too for tensors of integers.
pub fn first_non_finite(tensor: &Tensor) -> Option<usize> {
    match tensor.values::<f32>() {
        Ok(values) => {
            let mut blocks = values.chunks(1024).enumerate();
            // Without an early exit inside a block, so that it is a few vector instructions.
            let is_bad = |block: &[f32]| block.iter().fold(false, |bad, value| bad | !value.is_finite());
            let (block, values) = blocks.find(|(_, block)| is_bad(block))?;
            Some(block * 1024 + values.iter().position(|value| !value.is_finite())?)
        }
        Err(_) if tensor.dtype().is_float() => {
            tensor.to_f64().ok()?.iter().position(|value| !value.is_finite())
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn non_finite_elements_are_found() {
        let mut values = vec![0f32; 3000];
        assert_eq!(first_non_finite(&Tensor::from_vec1(&values)), None);
        for position in [2999, 1024, 0] {
            values[position] = f32::INFINITY;
            assert_eq!(first_non_finite(&Tensor::from_vec1(&values)), Some(position));
        }
        assert_eq!(first_non_finite(&Tensor::from_vec1(&[0.0, f64::NAN])), Some(1));
        assert_eq!(first_non_finite(&Tensor::from_vec1(&[1i32])), None);
    }
}
