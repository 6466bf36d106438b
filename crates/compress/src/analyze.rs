//! Why layers lose accuracy when they are quantized, and what would help.

mod causes;

use bantam_exec::{CompileOptions, Taps, compile};
use bantam_graph::{Graph, Op};
use bantam_tensor::{Batch, Tensor};
use serde::Serialize;

use crate::prune::{Weight, prunable};
use crate::quantize::aware::{
    Aware, AwareError, AwareSettings, Preparation, make_aware, prepare, round_weights,
};
use crate::quantizer::sqnr_db;
use crate::search::divergence;
use crate::select::Selector;
use crate::stats::{Request, Stat, Stats};

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
    /// What is wrong with it, the likeliest first.
    pub causes: Vec<Cause>,
}

/// What is wrong with a layer.
#[derive(Clone, Debug, Serialize)]
pub struct Cause {
    /// The fact.
    pub fact: String,
    /// What would help, as flags of `bantam quantize`.
    pub remedy: String,
    /// The divergence with this remedy, where it was tried.
    pub tried: Option<f64>,
    #[serde(skip)]
    change: Option<Change>,
}

/// A remedy that settings can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Ranges of least squared error.
    Range,
    /// Zero points of activations.
    ZeroPoint,
    /// Scales for each channel of weights.
    Channels,
    /// Weights of 8 bits.
    Width,
}

/// A network that is to be diagnosed.
pub struct Analysis {
    preparation: Preparation,
    settings: AwareSettings,
    graph: Graph,
    weights: Vec<Weight>,
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
    /// When the network cannot be run.
    pub fn diagnose(
        &self,
        stats: &Stats,
        batches: &[Batch],
        tries: usize,
        progress: &dyn Fn(usize, usize),
    ) -> Result<Vec<Diagnosis>, AwareError> {
        let expected = outputs(self.observed(), batches)?;
        let mut found = Vec::new();
        for (index, weight) in self.weights.iter().enumerate() {
            progress(index, self.weights.len());
            found.extend(self.layer(weight, stats, (batches, &expected))?);
        }
        found.sort_by(|a, b| b.loss.total_cmp(&a.loss));
        for diagnosis in found.iter_mut().take(tries) {
            let layer = diagnosis.layer.clone();
            for cause in &mut diagnosis.causes {
                if let Some(change) = cause.change {
                    let settings = changed(&self.alone(&layer)?, change);
                    let aware = self.aware(&settings, stats)?;
                    cause.tried = Some(distance(&aware.graph, batches, &expected)?);
                }
            }
        }
        progress(self.weights.len(), self.weights.len());
        Ok(found)
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
        (batches, expected): (&[Batch], &[Tensor]),
    ) -> Result<Option<Diagnosis>, AwareError> {
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
        let loss = distance(&aware.graph, batches, expected)?;
        let weight_loss = distance(&rounded, batches, expected)?;
        Ok(Some(Diagnosis {
            causes: causes::causes(self, weight, stats, (ratio, loss, weight_loss)),
            layer: name,
            op: node.op.name().to_owned(),
            elements: weight.len(),
            weight_sqnr_db: ratio,
            loss,
            weight_loss,
        }))
    }
}

/// Signal to noise of rounded numbers; `None` where there is no noise.
fn decibels(before: &[f32], after: &[f32]) -> Option<f64> {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let signal = before.iter().map(|x| square(*x)).sum();
    let noise = before.iter().zip(after).map(|(a, b)| square(a - b)).sum();
    Some(sqnr_db(signal, noise)).filter(|db| db.is_finite())
}

fn changed(settings: &AwareSettings, change: Change) -> AwareSettings {
    let mut settings = settings.clone();
    match change {
        Change::Range => {
            settings.quantize.range = crate::range::range_by_name("mse").expect("listed");
        }
        Change::ZeroPoint => settings.quantize.symmetric_activations = false,
        Change::Channels => settings.quantize.granularity = bantam_tensor::Granularity::Channel,
        Change::Width => {
            settings.quantize.weights = bantam_tensor::format_by_name("int8").expect("listed");
            settings.edges = None;
            settings.widths.clear();
        }
    }
    settings
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

fn distance(graph: &Graph, batches: &[Batch], expected: &[Tensor]) -> Result<f64, AwareError> {
    let got = outputs(graph, batches)?;
    let mut sum = 0.0;
    for (expected, got) in expected.iter().zip(&got) {
        sum += divergence(expected, got)?;
    }
    Ok(sum / expected.len().max(1) as f64)
}
