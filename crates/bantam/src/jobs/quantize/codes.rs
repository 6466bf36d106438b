//! Codes that are chosen by what they do to the network.

use bantam_compress::plan::Plan;
use bantam_compress::quantize::aware::{AwareSettings, bake};
use bantam_formats::data::sample_indices;
use bantam_graph::Model;
use bantam_tensor::Samples;

use super::{QuantizeJob, missing_data};
use crate::{Error, Progress, pipeline};

/// How codes are chosen.
#[derive(Clone)]
pub struct Codes {
    /// Formats, also those narrower than files can say; where scales start.
    pub settings: AwareSettings,
    /// What chooses them.
    pub algorithms: pipeline::Algorithms,
}

impl Codes {
    /// The plan, the number of calibration samples, and the quantized model.
    pub(super) fn choose(
        &self,
        job: &QuantizeJob,
        model: &Model,
        progress: &dyn Progress,
    ) -> Result<(Plan, usize, Model), Error> {
        let data = job.data.as_ref().ok_or_else(|| missing_data("static"))?;
        let graph = &model.graph;
        let split = pipeline::open_split(data, &job.calibration_split, graph)?;
        let indices = sample_indices(split.len(), job.samples, job.seed);
        let (float, mut aware) = pipeline::make_aware(
            graph,
            &split,
            &self.settings.clone().untrained(),
            &indices,
            progress,
        )?;
        let learned_from: (&dyn Samples, &[usize]) = (&split, &indices);
        pipeline::choose_codes(
            &mut aware,
            &float,
            &self.algorithms,
            learned_from,
            job.seed,
            progress,
        )?;
        let mut baked = bake(&aware)?;
        baked.plan.method = self.name();
        let graph = baked.graph;
        Ok((
            baked.plan,
            indices.len(),
            Model {
                graph,
                ..model.clone()
            },
        ))
    }

    fn name(&self) -> String {
        let names = self.algorithms.list.iter().map(|algorithm| algorithm.name());
        std::iter::once("static")
            .chain(names)
            .collect::<Vec<_>>()
            .join("+")
    }
}
