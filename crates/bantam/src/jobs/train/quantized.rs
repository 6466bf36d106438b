//! Quantization-aware training of a model.

use bantam_compress::plan::Action;
use bantam_compress::quantize::aware::{Aware, AwareSettings, bake, strip, weights_without_zero};
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
    /// Calibrates, puts the quantizers in, and chooses the codes to start from.
    pub(super) fn new(
        graph: &Graph,
        settings: &AwareSettings,
        split: &Split,
        job: &TrainJob,
        progress: &dyn Progress,
    ) -> Result<Quantized, Error> {
        let indices = sample_indices(split.len(), job.calibration_samples, job.settings.seed);
        let (float, mut aware) = pipeline::make_aware(graph, split, settings, &indices, progress)?;
        let learned_from: (&dyn Samples, &[usize]) = (split, &indices);
        let seed = job.settings.seed;
        pipeline::choose_codes(&mut aware, &float, &job.algorithms, learned_from, seed, progress)?;
        if job.settings.sparsity.is_some() {
            check_zeros(&aware)?;
        }
        Ok(Quantized { aware })
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

/// Fails where zeros of weights would not be among their levels.
fn check_zeros(aware: &Aware) -> Result<(), Error> {
    let names = weights_without_zero(aware)?;
    match names.first() {
        None => Ok(()),
        Some(name) => Err(Error::Usage {
            message: format!("{} weights have no level for zero, as `{name}`", names.len()),
            hint: "sparse weights need --weights of 3 bits or more, or --weight-mapping ternary".to_owned(),
        }),
    }
}
