//! Quantization-aware training of a model.

use bantam_compress::plan::Action;
use bantam_compress::quantize::aware::{Aware, AwareSettings, bake, make_aware, prepare, strip};
use bantam_compress::stats::{ObserveOptions, observe};
use bantam_compress::train::ParameterRule;
use bantam_formats::data::{Split, sample_indices};
use bantam_graph::Graph;
use bantam_tensor::Samples;

use super::TrainJob;
use crate::{Error, Progress, pipeline};

/// A model that rounds.
pub(super) struct Quantized {
    pub(super) aware: Aware,
}

impl Quantized {
    /// Calibrates, and puts the quantizers in.
    pub(super) fn new(
        graph: &Graph,
        settings: &AwareSettings,
        split: &Split,
        job: &TrainJob,
        progress: &dyn Progress,
    ) -> Result<Quantized, Error> {
        let preparation = prepare(graph, settings)?;
        let indices = sample_indices(split.len(), job.calibration_samples, job.settings.seed);
        progress.start("calibrate", indices.len());
        let report = |done| progress.at(done);
        let options = ObserveOptions {
            indices: &indices,
            batch_size: pipeline::batch_size(graph, pipeline::CALIBRATION_BATCH),
            progress: &report,
        };
        let stats = observe(&preparation.observed, split, &preparation.requests, &options);
        progress.finish();
        Ok(Quantized {
            aware: make_aware(&preparation, &stats?)?,
        })
    }

    /// What is special about the quantizers' constants.
    pub(super) fn rules(&self) -> Vec<ParameterRule> {
        self.aware.rules()
    }

    /// The trained graph in float, to be prepared for another width.
    pub(super) fn strip(mut self, trained: Graph) -> Result<Graph, Error> {
        self.aware.graph = trained;
        Ok(strip(&self.aware)?)
    }

    /// The quantized graph, and how many values and constants it quantizes.
    pub(super) fn bake(mut self, trained: Graph) -> Result<(Graph, usize), Error> {
        self.aware.graph = trained;
        let baked = bake(&self.aware)?;
        let decisions = baked.plan.decisions.iter();
        let count = decisions
            .filter(|decision| decision.action != Action::Keep)
            .count();
        Ok((baked.graph, count))
    }
}
