//! Weights in groups, activations in float.

use bantam_compress::plan::Plan;
use bantam_compress::quantize::groups::{GroupSettings, Needs, quantize_groups};
use bantam_compress::quantize::layerwise::Calibration;
use bantam_formats::data::sample_indices;
use bantam_graph::Model;
use bantam_tensor::Samples;

use super::QuantizeJob;
use crate::{Error, Progress, pipeline};

/// The plan, the number of samples that were looked at, and the quantized model.
pub(super) fn quantize(
    job: &QuantizeJob,
    settings: &GroupSettings,
    model: &Model,
    progress: &dyn Progress,
) -> Result<(Plan, usize, Model), Error> {
    let (graph, algorithm) = (&model.graph, settings.algorithm);
    let report = |done: usize, all: usize| {
        if done == 0 {
            progress.start(algorithm.name(), all);
        }
        progress.at(done);
    };
    let split = match (settings.needs(), &job.data) {
        (Needs::Nothing, _) => None,
        (_, None) => {
            return Err(Error::Usage {
                message: match settings.smooth {
                    true => "--smooth awq looks at samples".to_owned(),
                    false => format!("the algorithm {} looks at samples", algorithm.name()),
                },
                hint: "give --data FILE, or take --algorithm nearest or hqq, which need none".to_owned(),
            });
        }
        (_, Some(data)) => Some(pipeline::open_split(data, &job.calibration_split, graph)?),
    };
    let indices = split.as_ref().map_or_else(Vec::new, |split| {
        sample_indices(split.len(), job.samples, job.seed)
    });
    let calibration = split.as_ref().map(|split| Calibration {
        float: graph,
        samples: split,
        indices: &indices,
        batch_size: pipeline::batch_size(graph, pipeline::BATCH),
        steps: None,
        learning_rate: None,
        seed: job.seed,
        progress: &report,
    });
    let (graph, plan) = quantize_groups(graph, settings, calibration.as_ref(), &report)?;
    progress.finish();
    Ok((
        plan,
        indices.len(),
        Model {
            graph,
            ..model.clone()
        },
    ))
}
