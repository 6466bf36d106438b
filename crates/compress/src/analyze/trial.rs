//! Trying what would help.

use bantam_graph::{Graph, InferOptions, infer_shapes};

use super::{Analysis, AnalyzeError, Diagnosis, Evidence, Expected};
use crate::plan::{Decision, Plan};
use crate::quantize::aware::{AwareError, AwareSettings};
use crate::quantize::layerwise::{Calibration, algorithm_by_name};
use crate::quantize::rescale::{Smooth, equalize, unbound};
use crate::rewrite::rewrite;
use crate::stats::{ObserveOptions, Stats, observe};

/// A remedy that can be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Ranges of least squared error.
    Range,
    /// Zero points of activations.
    ZeroPoint,
    /// Zero points of weights.
    WeightZeroPoint,
    /// Scales for each channel of weights.
    Channels,
    /// Weights of 8 bits.
    Width,
    /// Activations of 8 bits.
    Activations,
    /// Scales that move between the weights before and behind each channel.
    Equalize,
    /// That, with bounds of activations removed first.
    Unbound,
    /// Scales that move from inputs into weights.
    Smooth,
    /// Codes chosen by this algorithm.
    Algorithm(&'static str),
}

/// SmoothQuant's alpha.
const ALPHA: f32 = 0.5;

impl Change {
    /// The flags of `bantam quantize` that make it.
    pub(super) fn words(self) -> String {
        let words = match self {
            Change::Range => "--range mse",
            Change::ZeroPoint => "--symmetric-activations=false",
            Change::WeightZeroPoint => "--symmetric-weights=false",
            Change::Channels => "--granularity channel",
            Change::Width => "--width",
            Change::Activations => "--activations of 8 bits",
            Change::Equalize => "--equalize",
            Change::Unbound => "--equalize unbound",
            Change::Smooth => "--smooth 0.5",
            Change::Algorithm(name) => return format!("--algorithm {name}"),
        };
        words.to_owned()
    }
}

impl Analysis {
    /// Tries the remedies of a layer, this layer alone quantized.
    pub(super) fn try_remedies(
        &self,
        diagnosis: &mut Diagnosis,
        stats: &Stats,
        evidence: &Evidence<'_>,
        expected: &Expected,
    ) -> Result<(), AnalyzeError> {
        let alone = self.alone(&diagnosis.layer)?;
        for remedy in diagnosis.causes.iter_mut().flat_map(|cause| &mut cause.remedies) {
            let Some(change) = remedy.change else { continue };
            let graph = match change {
                Change::Equalize | Change::Unbound | Change::Smooth => {
                    self.rescaled(change, &alone, evidence)?
                }
                Change::Algorithm(name) => Some(self.chosen(name, stats, &alone, evidence)?),
                _ => Some(self.aware(&changed(&alone, change), stats)?.graph),
            };
            remedy.tried = match graph {
                Some(graph) => Some(expected.judge(&graph)?.0),
                None => None,
            };
        }
        Ok(())
    }

    /// With scales that have moved; `None` where none can.
    fn rescaled(
        &self,
        change: Change,
        alone: &AwareSettings,
        evidence: &Evidence<'_>,
    ) -> Result<Option<Graph>, AnalyzeError> {
        let mut graph = self.graph.clone();
        let mut moves = false;
        if change == Change::Unbound {
            apply(&mut graph, unbound(&self.graph))?;
            moves = true;
        }
        let found = match change {
            Change::Smooth => self.smoothing(evidence)?,
            _ => equalize(&graph)?,
        };
        moves |= found
            .iter()
            .any(|decision| matches!(decision.action, crate::plan::Action::ScaleConstant { .. }));
        if !moves {
            return Ok(None);
        }
        apply(&mut graph, found)?;
        let moved = Analysis::new(&graph, &self.settings)?;
        let stats = look(&moved, evidence)?;
        Ok(Some(moved.aware(alone, &stats)?.graph))
    }

    fn smoothing(&self, evidence: &Evidence<'_>) -> Result<Vec<Decision>, AnalyzeError> {
        let smooth = Smooth {
            alpha: ALPHA,
            products: self.settings.quantize.granularity == bantam_tensor::Granularity::Channel,
        };
        let requests = smooth.requests(&self.graph);
        let stats = observe(&self.graph, evidence.samples, &requests, &options(evidence))?;
        Ok(smooth.decide(&self.graph, &stats))
    }

    /// With codes that an algorithm chooses.
    fn chosen(
        &self,
        name: &str,
        stats: &Stats,
        alone: &AwareSettings,
        evidence: &Evidence<'_>,
    ) -> Result<Graph, AnalyzeError> {
        let mut aware = self.aware(alone, stats)?;
        let calibration = Calibration {
            float: self.observed(),
            samples: evidence.samples,
            indices: evidence.indices,
            batch_size: evidence.batch_size,
            steps: None,
            learning_rate: None,
            seed: evidence.seed,
            progress: &|_, _| (),
        };
        if let Some(algorithm) = algorithm_by_name(name) {
            algorithm.apply(&mut aware, &calibration)?;
        }
        Ok(aware.graph)
    }
}

fn options<'a>(evidence: &Evidence<'a>) -> ObserveOptions<'a> {
    ObserveOptions {
        indices: evidence.indices,
        batch_size: evidence.batch_size,
        progress: &|_| (),
    }
}

fn look(analysis: &Analysis, evidence: &Evidence<'_>) -> Result<Stats, AnalyzeError> {
    let requests = analysis.requests();
    Ok(observe(
        analysis.observed(),
        evidence.samples,
        &requests,
        &options(evidence),
    )?)
}

fn apply(graph: &mut Graph, decisions: Vec<Decision>) -> Result<(), AnalyzeError> {
    let plan = Plan {
        version: Plan::VERSION,
        model: None,
        method: "rescaling".to_owned(),
        target: "any".to_owned(),
        decisions,
    };
    *graph = rewrite(graph, &plan)?;
    infer_shapes(graph, &InferOptions::default()).map_err(AwareError::from)?;
    Ok(())
}

/// The settings with a change that settings can say.
fn changed(settings: &AwareSettings, change: Change) -> AwareSettings {
    let mut settings = settings.clone();
    let quantize = &mut settings.quantize;
    match change {
        Change::Range => quantize.range = crate::range::range_by_name("mse").expect("listed"),
        Change::ZeroPoint => quantize.symmetric_activations = false,
        Change::WeightZeroPoint => quantize.symmetric_weights = false,
        Change::Channels => quantize.granularity = bantam_tensor::Granularity::Channel,
        Change::Width => {
            quantize.weights = bantam_tensor::format_by_name("int8").expect("listed");
            settings.edges = None;
            settings.widths.clear();
        }
        Change::Activations => {
            let signed = quantize.activations.min_code() < 0;
            let name = if signed { "int8" } else { "uint8" };
            quantize.activations = bantam_tensor::format_by_name(name).expect("listed");
            settings.edges = None;
        }
        Change::Equalize | Change::Unbound | Change::Smooth | Change::Algorithm(_) => (),
    }
    settings
}
