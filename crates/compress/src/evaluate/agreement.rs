//! How far a model's outputs are from those of the model that it was made of. No labels are needed.

use std::borrow::Cow;

use bantam_tensor::{Tensor, TensorError};
use rayon::prelude::*;
use serde::Serialize;

use super::bootstrap::bootstrap;
use super::classes::{is_distribution, log_probabilities};
use super::error::described;
use super::metric::{first, mean};
use super::regression::{decibels, powers};
use super::{Estimate, EvaluateError, Statistics, wilson_interval};

/// Probabilities of the second model count as at least this much, so that one of 0 leaves the divergence finite.
const LEAST_PROBABILITY: f64 = 1e-10;

/// What differs between the first outputs of two models on the same samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// Samples that both ran on.
    pub samples: usize,
    /// Share of predictions (of samples, of tokens, of pixels) that differ; of integer outputs, of elements. Only where outputs are
    /// integers or scores of classes.
    pub disagreement: Option<Estimate>,
    /// Kullback-Leibler divergence of the second's probabilities from the first's, in nats, mean over predictions. Probabilities are the
    /// softmax of outputs, or the outputs themselves where the first's are probabilities.
    pub kl: Option<Estimate>,
    /// Power of the first's outputs over that of their difference, in dB; infinite (`null` in JSON) where there is none.
    pub sqnr: Option<Estimate>,
}

/// What is kept of each sample.
#[derive(Default)]
pub(super) struct Differences {
    differ: Statistics,
    /// True when samples have several predictions.
    has_many: bool,
    kl: Statistics,
    powers: Statistics,
    samples: usize,
}

impl Differences {
    /// The first `counted` samples of two models' outputs.
    pub(super) fn add(
        &mut self,
        outputs: &[Tensor],
        others: &[Tensor],
        counted: usize,
    ) -> Result<(), EvaluateError> {
        let (a, b) = (first(outputs)?, first(others)?);
        let wrong = || EvaluateError::OtherOutput {
            first: described(a),
            second: described(b),
        };
        let rows = |tensor: &Tensor| tensor.shape().first().copied().filter(|rows| *rows >= counted);
        let (Some(rows_a), Some(rows_b)) = (rows(a), rows(b)) else {
            return Err(wrong());
        };
        if a.shape()[1..] != b.shape()[1..] || a.dtype().is_float() != b.dtype().is_float() || a.is_empty() {
            return Err(wrong());
        }
        self.samples += counted;
        let (length_a, length_b) = (a.len() / rows_a, b.len() / rows_b);
        if !a.dtype().is_float() {
            let (x, y) = (a.to_i64()?, b.to_i64()?);
            for (x, y) in x
                .chunks_exact(length_a)
                .zip(y.chunks_exact(length_b))
                .take(counted)
            {
                let differ = x.iter().zip(y).filter(|(x, y)| x != y).count();
                self.predictions(differ, x.len());
            }
            return Ok(());
        }
        let (x, y) = (floats(a)?, floats(b)?);
        let samples = x
            .par_chunks_exact(length_a)
            .zip(y.par_chunks_exact(length_b))
            .take(counted);
        let axis = class_axis(outputs);
        let found: Vec<_> = samples
            .map(|(x, y)| (axis.map(|axis| axis.differences(x, y)), powers(x, y)))
            .collect();
        for (differences, powers) in found {
            self.powers.push(&powers);
            if let Some((differ, divergence, count)) = differences {
                self.predictions(differ, count);
                self.kl.push(&[divergence / count as f64]);
            }
        }
        Ok(())
    }

    /// How many of a sample's predictions differ.
    fn predictions(&mut self, differ: usize, count: usize) {
        self.has_many |= count > 1;
        self.differ.push(&[differ as f64 / count as f64]);
    }

    pub(super) fn finish(self) -> Agreement {
        let resampled = |kept: &Statistics, of: &(dyn Fn(&[u32]) -> f64 + Sync)| {
            (!kept.is_empty()).then(|| bootstrap(kept.len(), of).estimate)
        };
        let disagreement = match self.has_many {
            true => resampled(&self.differ, &mean(&self.differ)),
            false => (!self.differ.is_empty()).then(|| wilson_interval(&self.differ.scores())),
        };
        Agreement {
            samples: self.samples,
            disagreement,
            kl: resampled(&self.kl, &mean(&self.kl)),
            sqnr: resampled(&self.powers, &|weights: &[u32]| {
                decibels(&self.powers.weighted_sum(weights))
            }),
        }
    }
}

/// The values, without a copy where they are `f32` already.
fn floats(tensor: &Tensor) -> Result<Cow<'_, [f32]>, TensorError> {
    match tensor.values::<f32>() {
        Ok(values) => Ok(values),
        Err(_) => tensor.to_f32().map(Cow::Owned),
    }
}

/// Where the classes of an output are.
#[derive(Clone, Copy)]
pub(super) struct ClassAxis {
    classes: usize,
    /// How far apart the scores of a prediction are.
    stride: usize,
}

/// The classes of a first output `[samples, classes]`, `[samples, tokens, classes]` or `[samples, classes, height, width]`, where there
/// are at least two; `None` for other outputs, and for boxes `[samples, k, 4]` beside which there is an output `[samples, k]`.
pub(super) fn class_axis(outputs: &[Tensor]) -> Option<ClassAxis> {
    let output = outputs.first()?;
    if let [samples, boxes, 4] = *output.shape()
        && outputs.iter().any(|other| other.shape() == [samples, boxes])
    {
        return None;
    }
    let rest = output.shape().get(1..)?;
    let large = |(_, size): &(usize, &usize)| **size != 1;
    let mut large = rest.iter().enumerate().filter(large);
    let axis = match (large.next(), large.next()) {
        (Some((axis, _)), None) => axis,
        (Some(_), Some(_)) if rest.len() == 2 => 1,
        (Some(_), Some(_)) => 0,
        (None, _) => return None,
    };
    let axis = ClassAxis {
        classes: rest[axis],
        stride: rest[axis + 1..].iter().product(),
    };
    (output.dtype().is_float() && axis.classes > 1).then_some(axis)
}

impl ClassAxis {
    /// Predictions of a sample that differ, the sum of their divergences, and their number.
    fn differences(self, x: &[f32], y: &[f32]) -> (usize, f64, usize) {
        let (mut differ, mut divergence, mut count) = (0, 0.0, 0);
        let block = self.classes * self.stride;
        for (x, y) in x.chunks_exact(block).zip(y.chunks_exact(block)) {
            for position in 0..self.stride {
                let scores = |values: &[f32]| -> Vec<f32> {
                    values[position..].iter().step_by(self.stride).copied().collect()
                };
                let (x, y) = (scores(x), scores(y));
                differ += usize::from(super::classes::largest(&x) != super::classes::largest(&y));
                divergence += kl(&x, &y);
                count += 1;
            }
        }
        (differ, divergence, count)
    }
}

/// The divergence of the second's probabilities from the first's, in nats.
fn kl(x: &[f32], y: &[f32]) -> f64 {
    let is_distribution = is_distribution(x);
    let p = log_probabilities(x, is_distribution);
    let q = log_probabilities(y, is_distribution && y.iter().any(|value| *value > 0.0));
    let terms = p.iter().zip(&q).filter(|(p, _)| **p > f64::NEG_INFINITY);
    terms
        .map(|(p, q)| p.exp() * (p - q.max(LEAST_PROBABILITY.ln())))
        .sum::<f64>()
        .max(0.0)
}
