//! Runs models over samples and scores them.

use std::time::Instant;

use bantam_tensor::{Batch, BatchSize, Samples, Tensor};

use super::agreement::{Agreement, Differences, class_axis};
use super::{Estimate, EvaluateError, Metric, Runner, Statistics, top_k};

/// What evaluation found.
#[derive(Clone, Debug)]
pub struct Scores {
    /// Each metric's name, estimate and what it keeps of each sample.
    pub metrics: Vec<(&'static str, Estimate, Statistics)>,
    /// The index of the largest output of each sample (of each token, where outputs are `[samples, tokens, classes]`); none where outputs
    /// are no scores of classes.
    pub predictions: Vec<usize>,
    /// Number of samples.
    pub samples: usize,
    /// Time in the runtime, without reading data.
    pub seconds: f64,
}

/// Which samples are scored, and how many at once.
pub struct EvaluateOptions<'a> {
    /// Number of samples from the start of the split.
    pub limit: usize,
    /// Samples that run at once.
    pub batch_size: BatchSize,
    /// Called after each batch with the number of samples done.
    pub progress: &'a dyn Fn(usize),
}

/// Scores a model on a split.
///
/// # Errors
/// When there is nothing to score, when labels are missing, when a metric is not defined on them, or when reading or running fails.
pub fn evaluate(
    runner: &mut dyn Runner,
    samples: &dyn Samples,
    metrics: &[&'static dyn Metric],
    options: &EvaluateOptions<'_>,
) -> Result<Scores, EvaluateError> {
    let indices = indices(samples, metrics, options.limit)?;
    let mut tally = Tally::new(metrics);
    for (indices, counted) in options.batch_size.cut(&indices) {
        let batch = samples.batch(&indices)?;
        let outputs = tally.run(runner, &batch)?;
        tally.add(&outputs, batch.labels.as_ref(), counted)?;
        (options.progress)(tally.samples);
    }
    tally.finish()
}

/// Scores two models on the same samples, and tells how far the second's outputs are from the first's. Without metrics no labels are
/// needed. The second takes its samples in batches of its own size.
///
/// # Errors
/// As [`evaluate`], and when the models' first outputs differ in shape.
pub fn evaluate_both(
    first: &mut dyn Runner,
    (second, second_size): (&mut dyn Runner, BatchSize),
    samples: &dyn Samples,
    metrics: &[&'static dyn Metric],
    options: &EvaluateOptions<'_>,
) -> Result<([Scores; 2], Agreement), EvaluateError> {
    let indices = indices(samples, metrics, options.limit)?;
    let (mut tally, mut other) = (Tally::new(metrics), Tally::new(metrics));
    let mut differences = Differences::default();
    for (indices, counted) in options.batch_size.cut(&indices) {
        let batch = samples.batch(&indices)?;
        let outputs = tally.run(first, &batch)?;
        let others = if second_size == options.batch_size {
            other.run(second, &batch)?
        } else {
            other.run_cut(second, samples, &indices, second_size)?
        };
        tally.add(&outputs, batch.labels.as_ref(), counted)?;
        other.add(&others, batch.labels.as_ref(), counted)?;
        differences.add(&outputs, &others, counted)?;
        (options.progress)(tally.samples);
    }
    Ok(([tally.finish()?, other.finish()?], differences.finish()))
}

/// The samples to be scored.
fn indices(
    samples: &dyn Samples,
    metrics: &[&'static dyn Metric],
    limit: usize,
) -> Result<Vec<usize>, EvaluateError> {
    let count = samples.len().min(limit);
    if count == 0 {
        return Err(EvaluateError::Empty);
    }
    if let (Some(metric), false) = (metrics.first(), samples.has_labels()) {
        return Err(EvaluateError::NoLabels {
            metric: metric.name(),
        });
    }
    Ok((0..count).collect())
}

/// What is known of a model so far.
struct Tally<'a> {
    metrics: &'a [&'static dyn Metric],
    statistics: Vec<Statistics>,
    predictions: Vec<usize>,
    samples: usize,
    seconds: f64,
}

impl<'a> Tally<'a> {
    fn new(metrics: &'a [&'static dyn Metric]) -> Tally<'a> {
        Tally {
            metrics,
            statistics: vec![Statistics::default(); metrics.len()],
            predictions: Vec::new(),
            samples: 0,
            seconds: 0.0,
        }
    }

    /// Runs a model and takes its time.
    fn run(&mut self, runner: &mut dyn Runner, batch: &Batch) -> Result<Vec<Tensor>, EvaluateError> {
        let inputs = batch
            .inputs
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor.clone()));
        let inputs: Vec<(&str, Tensor)> = inputs.collect();
        let start = Instant::now();
        let outputs = runner.run(&inputs)?;
        self.seconds += start.elapsed().as_secs_f64();
        Ok(outputs)
    }

    /// As [`Tally::run`], in batches of another size; gives the outputs of all.
    fn run_cut(
        &mut self,
        runner: &mut dyn Runner,
        samples: &dyn Samples,
        indices: &[usize],
        size: BatchSize,
    ) -> Result<Vec<Tensor>, EvaluateError> {
        let mut parts: Vec<Vec<Tensor>> = Vec::new();
        for (indices, counted) in size.cut(indices) {
            let outputs = self.run(runner, &samples.batch(&indices)?)?;
            // Only outputs that have a row for each sample can be put together.
            let outputs = outputs.iter().map_while(|output| output.rows(0, counted).ok());
            parts.push(outputs.collect());
        }
        let count = parts.iter().map(Vec::len).min().unwrap_or(0);
        (0..count).map(|output| joined(&parts, output)).collect()
    }

    /// Scores the first `counted` of the outputs' samples.
    fn add(
        &mut self,
        outputs: &[Tensor],
        labels: Option<&Tensor>,
        counted: usize,
    ) -> Result<(), EvaluateError> {
        let output = outputs.first().ok_or(EvaluateError::NoOutput)?;
        self.samples += counted;
        if let (Some(&samples @ 1..), Some(_)) = (output.shape().first(), class_axis(outputs))
            && let Ok(predicted) = top_k::predictions(output)
        {
            let for_each = predicted.len() / samples;
            self.predictions
                .extend(predicted.into_iter().take(counted * for_each));
        }
        for (metric, kept) in self.metrics.iter().zip(&mut self.statistics) {
            let labels = labels.ok_or(EvaluateError::NoLabels {
                metric: metric.name(),
            })?;
            kept.extend(&metric.statistics(outputs, labels)?, counted);
        }
        Ok(())
    }

    fn finish(self) -> Result<Scores, EvaluateError> {
        let metrics = self.metrics.iter().zip(self.statistics);
        let metrics = metrics.map(|(metric, statistics)| {
            let estimate = metric.estimate(&statistics);
            let name = metric.name();
            match estimate.value.is_nan() {
                true => Err(EvaluateError::Undefined { metric: name }),
                false => Ok((name, estimate, statistics)),
            }
        });
        Ok(Scores {
            metrics: metrics.collect::<Result<_, _>>()?,
            predictions: self.predictions,
            samples: self.samples,
            seconds: self.seconds,
        })
    }
}

/// One of the outputs of all parts, along the first dimension.
fn joined(parts: &[Vec<Tensor>], output: usize) -> Result<Tensor, EvaluateError> {
    let first = &parts[0][output];
    let mut shape = first.shape().to_vec();
    shape[0] = parts.iter().map(|part| part[output].shape()[0]).sum();
    let bytes: Vec<u8> = parts
        .iter()
        .flat_map(|part| part[output].as_bytes())
        .copied()
        .collect();
    Ok(Tensor::from_raw(first.dtype(), &shape, &bytes)?)
}
