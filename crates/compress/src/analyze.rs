//! Why layers lose accuracy when they are quantized, and what would help.

mod causes;
mod ranges;
mod trial;

use bantam_exec::{CompileOptions, Taps, compile};
use bantam_graph::{Graph, Op};
use bantam_tensor::{Batch, BatchSize, Samples, Tensor, TensorError};
use serde::Serialize;

pub use self::ranges::Ranges;
use self::trial::Change;
use crate::prune::{Weight, prunable};
use crate::quantize::aware::{
    Aware, AwareError, AwareSettings, Preparation, make_aware, prepare, round_weights,
};
use crate::quantize::layerwise::LayerwiseError;
use crate::quantizer::sqnr_db;
use crate::rewrite::RewriteError;
use crate::search::divergence;
use crate::select::Selector;
use crate::stats::{ObserveError, Request, Stat, Stats};

/// What was found about one layer.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// The name of its output, which selectors know it by.
    pub layer: String,
    /// Its op.
    pub op: String,
    /// Elements of its weight.
    pub elements: usize,
    /// Signal to noise of its weight's codes, in decibels; `None` where they are exact.
    pub weight_sqnr_db: Option<f64>,
    /// How far the network's answers move when this layer alone is quantized: mean Kullback-Leibler divergence in nats.
    pub loss: f64,
    /// The same when only its weight is.
    pub weight_loss: f64,
    /// By how much the cross-entropy with the labels grows when this layer alone is quantized, in nats, where samples have labels of
    /// classes.
    pub task_loss: Option<f64>,
    /// What is wrong with it, the likeliest first.
    pub causes: Vec<Cause>,
    /// The ranges of its channels.
    pub ranges: Ranges,
}

/// What is wrong with a layer.
#[derive(Clone, Debug, Serialize)]
pub struct Cause {
    /// The fact.
    pub fact: String,
    /// What would help.
    pub remedies: Vec<Remedy>,
}

/// What would help a layer.
#[derive(Clone, Debug, Serialize)]
pub struct Remedy {
    /// In words, as flags of `bantam quantize` where it has some.
    pub words: String,
    /// The divergence with this remedy, where it was tried.
    pub tried: Option<f64>,
    #[serde(skip)]
    change: Option<Change>,
}

/// Why a network could not be analyzed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum AnalyzeError {
    #[error(transparent)]
    Aware(#[from] AwareError),
    #[error(transparent)]
    Observe(#[from] ObserveError),
    #[error(transparent)]
    Rewrite(#[from] RewriteError),
    #[error(transparent)]
    Layer(#[from] LayerwiseError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// The samples that a network is diagnosed on.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    /// The split.
    pub samples: &'a dyn Samples,
    /// Samples that ranges come from.
    pub indices: &'a [usize],
    /// Those of them that answers are compared on.
    pub compared: &'a [usize],
    /// Samples that run at once.
    pub batch_size: BatchSize,
    /// Chooses at random where a remedy does.
    pub seed: u64,
}

/// A network that is to be diagnosed.
pub struct Analysis {
    preparation: Preparation,
    settings: AwareSettings,
    graph: Graph,
    weights: Vec<Weight>,
}

/// What the network in float says.
struct Expected {
    batches: Vec<Batch>,
    outputs: Vec<Tensor>,
    task_loss: Option<f64>,
}

impl Analysis {
    /// Finds the layers of a graph without local functions.
    ///
    /// # Errors
    /// When the graph is malformed, or a selector matches nothing.
    pub fn new(graph: &Graph, settings: &AwareSettings) -> Result<Analysis, AwareError> {
        let preparation = prepare(graph, settings)?;
        let (weights, _) = prunable(
            &preparation.observed,
            &vec![None; preparation.observed.nodes.len()],
        );
        Ok(Analysis {
            preparation,
            settings: settings.clone(),
            graph: graph.clone(),
            weights,
        })
    }

    /// The graph to observe.
    pub fn observed(&self) -> &Graph {
        &self.preparation.observed
    }

    /// What to observe of it.
    pub fn requests(&self) -> Vec<Request> {
        let mut requests = self.preparation.requests.clone();
        for weight in &self.weights {
            let more = [self.peaks(weight), Stat::Histogram, Stat::MinMax].map(|stat| Request {
                value: weight.input,
                stat,
            });
            requests.extend(
                more.into_iter()
                    .filter(|request| !self.preparation.requests.contains(request)),
            );
        }
        requests.sort_by_key(|request| (request.value, request.stat));
        requests.dedup();
        requests
    }

    /// How the channels of a layer's input lie.
    fn peaks(&self, weight: &Weight) -> Stat {
        match self.observed().node(weight.node).op {
            Op::Conv(_) | Op::ConvTranspose(_) => Stat::ChannelPeaks,
            _ => Stat::FeaturePeaks,
        }
    }

    /// Diagnoses every layer, those that move the answers most first. The remedies of the first `tries` are tried.
    ///
    /// # Errors
    /// When samples cannot be read, or the network cannot be run.
    pub fn diagnose(
        &self,
        stats: &Stats,
        evidence: &Evidence<'_>,
        tries: usize,
        progress: &dyn Fn(usize, usize),
    ) -> Result<Vec<Diagnosis>, AnalyzeError> {
        let expected = self.expected(evidence)?;
        let steps = self.weights.len() + tries.min(self.weights.len());
        let mut found = Vec::new();
        for (index, weight) in self.weights.iter().enumerate() {
            progress(index, steps);
            found.extend(self.layer(weight, stats, &expected)?);
        }
        found.sort_by(|a, b| b.loss.total_cmp(&a.loss));
        for (index, diagnosis) in found.iter_mut().take(tries).enumerate() {
            progress(self.weights.len() + index, steps);
            self.try_remedies(diagnosis, stats, evidence, &expected)?;
        }
        progress(steps, steps);
        Ok(found)
    }

    fn expected(&self, evidence: &Evidence<'_>) -> Result<Expected, AnalyzeError> {
        let cut = evidence.batch_size.cut(evidence.compared);
        let batches = cut.map(|(indices, _)| evidence.samples.batch(&indices));
        let batches: Vec<Batch> = batches.collect::<Result<_, _>>().map_err(ObserveError::from)?;
        if batches.is_empty() {
            return Err(ObserveError::Empty.into());
        }
        let outputs = outputs(self.observed(), &batches)?;
        Ok(Expected {
            task_loss: task_loss(&batches, &outputs)?,
            batches,
            outputs,
        })
    }

    /// The settings that quantize one layer alone.
    fn alone(&self, layer: &str) -> Result<AwareSettings, AwareError> {
        let mut settings = self.settings.clone();
        settings.quantize.include =
            vec![Selector::of_name(layer).map_err(crate::quantize::QuantizeError::from)?];
        settings.quantize.exclude.clear();
        Ok(settings)
    }

    fn aware(&self, settings: &AwareSettings, stats: &Stats) -> Result<Aware, AwareError> {
        make_aware(&prepare(&self.graph, settings)?, stats)
    }

    fn layer(
        &self,
        weight: &Weight,
        stats: &Stats,
        expected: &Expected,
    ) -> Result<Option<Diagnosis>, AnalyzeError> {
        let graph = self.observed();
        let node = graph.node(weight.node);
        let Some(output) = node.output(0) else {
            return Ok(None);
        };
        let name = graph.value(output).name.clone();
        let aware = self.aware(&self.alone(&name)?, stats)?;
        if aware.is_empty() {
            return Ok(None);
        }
        let rounded = round_weights(&aware)?;
        let (before, after) = (graph.constant(weight.value), rounded.value_by_name(&weight.name));
        let after = after.and_then(|after| rounded.constant(after));
        let ratio = match (before, after) {
            (Some(before), Some(after)) => decibels(&before.to_f32()?, &after.to_f32()?),
            _ => None,
        };
        let (loss, task_loss) = expected.judge(&aware.graph)?;
        let (weight_loss, _) = expected.judge(&rounded)?;
        Ok(Some(Diagnosis {
            causes: causes::causes(self, weight, stats, (ratio, loss, weight_loss)),
            ranges: Ranges::of(self, weight, stats),
            layer: name,
            op: node.op.name().to_owned(),
            elements: weight.len(),
            weight_sqnr_db: ratio,
            loss,
            weight_loss,
            task_loss,
        }))
    }
}

impl Expected {
    /// How far the answers of a graph are away, and by how much its cross-entropy with labels is larger.
    fn judge(&self, graph: &Graph) -> Result<(f64, Option<f64>), AwareError> {
        let got = outputs(graph, &self.batches)?;
        let mut sum = 0.0;
        for (expected, got) in self.outputs.iter().zip(&got) {
            sum += divergence(expected, got)?;
        }
        let more = task_loss(&self.batches, &got)?.zip(self.task_loss);
        Ok((
            sum / self.outputs.len().max(1) as f64,
            more.map(|(after, before)| after - before),
        ))
    }
}

/// Signal to noise of rounded numbers; `None` where there is no noise.
fn decibels(before: &[f32], after: &[f32]) -> Option<f64> {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let signal = before.iter().map(|x| square(*x)).sum();
    let noise = before.iter().zip(after).map(|(a, b)| square(a - b)).sum();
    Some(sqnr_db(signal, noise)).filter(|db| db.is_finite())
}

/// The first output for each batch.
fn outputs(graph: &Graph, batches: &[Batch]) -> Result<Vec<Tensor>, AwareError> {
    let program = compile(graph, &CompileOptions::default())?;
    let mut outputs = Vec::with_capacity(batches.len());
    for batch in batches {
        let inputs: Vec<(&str, Tensor)> = batch
            .inputs
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor.clone()))
            .collect();
        outputs.extend(program.run(&inputs, &mut Taps::none())?.into_iter().next());
    }
    Ok(outputs)
}

/// The mean cross-entropy of outputs `[n, ..., classes]` with the integer labels `[n, ...]`, in nats; `None` without such labels.
fn task_loss(batches: &[Batch], outputs: &[Tensor]) -> Result<Option<f64>, TensorError> {
    let (mut sum, mut count) = (0.0, 0);
    for (batch, output) in batches.iter().zip(outputs) {
        let Some(labels) = batch.labels.as_ref().filter(|labels| labels.dtype().is_integer()) else {
            return Ok(None);
        };
        let classes = output.shape().last().copied().unwrap_or(0);
        let (labels, scores) = (labels.to_i64()?, output.to_f32()?);
        if classes < 2 || labels.len() * classes != scores.len() {
            return Ok(None);
        }
        for (label, scores) in labels.iter().zip(scores.chunks_exact(classes)) {
            let Some(score) = usize::try_from(*label).ok().and_then(|label| scores.get(label)) else {
                return Ok(None);
            };
            let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let total: f64 = scores.iter().map(|x| f64::from(x - largest).exp()).sum();
            sum += total.ln() - f64::from(score - largest);
            count += 1;
        }
    }
    Ok((count > 0).then(|| sum / f64::from(count)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cross_entropy_needs_labels_of_classes() {
        let batch = |labels| Batch {
            inputs: Vec::new(),
            labels,
        };
        let outputs = [Tensor::from_slice(&[2, 2], &[0.0f32, 0.0, 0.0, 3f32.ln()]).unwrap()];
        let labels = |numbers: &[i64]| Some(Tensor::from_vec1(numbers));
        let of = |labels| task_loss(&[batch(labels)], &outputs).unwrap();
        let found = of(labels(&[0, 1])).unwrap();
        assert!(
            (found - (2f64.ln() + (4.0f64 / 3.0).ln()) / 2.0).abs() < 1e-6,
            "{found}"
        );
        for wrong in [None, labels(&[0]), labels(&[0, 2]), labels(&[0, -1])] {
            assert_eq!(of(wrong), None);
        }
        assert_eq!(of(Some(Tensor::from_vec1(&[0.0f32, 1.0]))), None);
    }
}
