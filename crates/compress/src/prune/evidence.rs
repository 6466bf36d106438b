//! What criteria may look at.

use bantam_graph::{Graph, Op, ValueId};
use bantam_tensor::{Batch, BatchSize, Samples, SamplesError, Tensor, TensorError};

use super::{PruneError, Weight};
use crate::quantize::layerwise::{LayerwiseError, Moments, Walk, moments};
use crate::train::{GradientJob, Loss, visit_gradients};

/// Samples, and how to look at them.
pub struct Calibration<'a> {
    /// The samples.
    pub samples: &'a dyn Samples,
    /// Those of them to look at.
    pub indices: &'a [usize],
    /// Samples that run at once.
    pub batch_size: BatchSize,
    /// What gradients are of.
    pub loss: Loss,
    /// Chooses at random where there is a choice.
    pub seed: u64,
    /// Called with what is being done, how much of it is done, and of how much.
    pub progress: &'a dyn Fn(&str, usize, usize),
}

impl Calibration<'_> {
    pub(super) fn batches(&self) -> Result<Vec<Batch>, SamplesError> {
        let batches = self.batch_size.cut(self.indices);
        batches.map(|(indices, _)| self.samples.batch(&indices)).collect()
    }
}

/// A network, the weights that are in question, and samples if there are any.
pub struct Evidence<'a> {
    /// The network, with shapes inferred.
    pub graph: &'a Graph,
    /// The weights.
    pub weights: &'a [Weight],
    /// Samples to look at.
    pub calibration: Option<&'a Calibration<'a>>,
    /// Chooses at random where there is a choice.
    pub seed: u64,
}

impl Evidence<'_> {
    /// The elements of each weight, in the order of the tensors.
    ///
    /// # Errors
    /// When a tensor is damaged.
    pub fn values(&self) -> Result<Vec<Vec<f32>>, TensorError> {
        let constant = |weight: &Weight| self.graph.constant(weight.value);
        let tensors = self
            .weights
            .iter()
            .map(|weight| constant(weight).map(Tensor::to_f32));
        tensors
            .map(|values| values.unwrap_or_else(|| Ok(Vec::new())))
            .collect()
    }

    /// The samples of a criterion that cannot do without.
    pub(crate) fn calibration(&self, criterion: &'static str) -> Result<&Calibration<'_>, PruneError> {
        self.calibration.ok_or_else(|| PruneError::NoSamples {
            who: format!("the criterion {criterion}"),
            instead: "--criterion magnitude, lamp, synflow or random, which need none",
        })
    }

    /// Shows `visit` the gradients of the mean loss of each batch of `batch` samples (or of as many as the model's inputs fix), a
    /// list for each weight, in the order of the tensors.
    pub(crate) fn gradients(
        &self,
        criterion: &'static str,
        batch: usize,
        visit: &mut dyn FnMut(&[Vec<f32>]),
    ) -> Result<(), PruneError> {
        gradients_of(self.graph, self, criterion, batch, visit)
    }

    /// Shows `visit` the moments of the inputs of each weight in turn, one for each group, the second ones around zero.
    pub(crate) fn moments(
        &self,
        criterion: &'static str,
        visit: &mut dyn FnMut(usize, &[Moments]) -> Result<(), PruneError>,
    ) -> Result<(), PruneError> {
        self.moments_around(false, criterion, visit)
    }

    /// As [`Evidence::moments`], the second ones around the means.
    pub(crate) fn moments_around_means(
        &self,
        criterion: &'static str,
        visit: &mut dyn FnMut(usize, &[Moments]) -> Result<(), PruneError>,
    ) -> Result<(), PruneError> {
        self.moments_around(true, criterion, visit)
    }

    fn moments_around(
        &self,
        means: bool,
        criterion: &'static str,
        visit: &mut dyn FnMut(usize, &[Moments]) -> Result<(), PruneError>,
    ) -> Result<(), PruneError> {
        let calibration = self.calibration(criterion)?;
        let mut walk = Walk::new(self.graph, &calibration.batches()?)?;
        let mut last: Option<(ValueId, usize, Vec<Moments>)> = None;
        for (index, weight) in self.weights.iter().enumerate() {
            (calibration.progress)(criterion, index, self.weights.len());
            let node = self.graph.node(weight.node);
            let again =
                |(input, depth, _): &(ValueId, usize, _)| (*input, *depth) == (weight.input, weight.depth);
            // Matrices that read the same value share its moments.
            if matches!(node.op, Op::Conv(_)) || !last.as_ref().is_some_and(again) {
                walk.advance(self.graph, weight.node.index())?;
                let x = walk.get(weight.input).ok_or_else(|| no_inputs(weight))?;
                let shape = (&weight.shape[..], weight.depth);
                let found = moments(node, shape.0, shape.1, (x, None), (means, calibration.seed))?;
                last = Some((weight.input, weight.depth, found));
            }
            if let Some((_, _, moments)) = &last {
                visit(index, moments)?;
            }
        }
        (calibration.progress)(criterion, self.weights.len(), self.weights.len());
        Ok(())
    }
}

/// As [`Evidence::gradients`], of a graph with the same values but other weights.
pub(crate) fn gradients_of(
    graph: &Graph,
    evidence: &Evidence<'_>,
    criterion: &'static str,
    batch: usize,
    visit: &mut dyn FnMut(&[Vec<f32>]),
) -> Result<(), PruneError> {
    let calibration = evidence.calibration(criterion)?;
    let weights: Vec<ValueId> = evidence.weights.iter().map(|weight| weight.value).collect();
    let job = GradientJob {
        weights: &weights,
        loss: calibration.loss,
        indices: calibration.indices,
        batch: match calibration.batch_size {
            BatchSize::Fixed(size) => size,
            BatchSize::AtMost(_) => batch.min(calibration.indices.len()).max(1),
        },
        progress: &|done| (calibration.progress)(criterion, done, calibration.indices.len()),
    };
    let mut failed = None;
    visit_gradients(graph, calibration.samples, &job, &mut |gradients| match gradients
        .iter()
        .map(Tensor::to_f32)
        .collect::<Result<Vec<_>, _>>()
    {
        Ok(gradients) => visit(&gradients),
        Err(error) => failed = Some(error),
    })?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// What is said of a weight whose input no sample reaches.
pub(super) fn no_inputs(weight: &Weight) -> LayerwiseError {
    LayerwiseError::Shape {
        problem: format!("`{}` does not depend on the network's inputs", weight.name),
    }
}
