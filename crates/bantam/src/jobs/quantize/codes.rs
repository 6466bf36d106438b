//! Codes that are chosen by what they do to the network.

use bantam_compress::plan::Plan;
use bantam_compress::quantize::aware::{AwareSettings, bake};
use bantam_compress::quantize::layerwise::{Algorithm, Calibration};
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
    /// In this order; with none, each weight gets its nearest code.
    pub algorithms: Vec<&'static dyn Algorithm>,
    /// Steps of algorithms that train; their own number when absent.
    pub steps: Option<usize>,
    /// The largest learning rate of those; their own when absent.
    pub learning_rate: Option<f32>,
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
        for algorithm in &self.algorithms {
            let report = |done: usize, all: usize| {
                if done == 0 {
                    progress.start(algorithm.name(), all);
                }
                progress.at(done);
            };
            let calibration = Calibration {
                float: &float,
                samples: &split,
                indices: &indices,
                batch_size: pipeline::batch_size(graph, pipeline::BATCH),
                steps: self.steps,
                learning_rate: self.learning_rate,
                seed: job.seed,
                progress: &report,
            };
            algorithm.apply(&mut aware, &calibration)?;
            progress.finish();
        }
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
        let names = self.algorithms.iter().map(|algorithm| algorithm.name());
        std::iter::once("static")
            .chain(names)
            .collect::<Vec<_>>()
            .join("+")
    }
}
