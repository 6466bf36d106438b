//! What is done to the model before it is quantized: scales that move between its constants.

use bantam_compress::plan::{Decision, Plan};
use bantam_compress::quantize::rescale::{Smooth, equalize, unbound};
use bantam_compress::quantize::rotate::rotate;
use bantam_formats::data::sample_indices;
use bantam_graph::{InferOptions, Model, infer_shapes};
use bantam_tensor::{Granularity, Samples};

use super::{QuantizeJob, missing_data};
use crate::{Error, Progress, pipeline};

/// What moves, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rescaling {
    /// Clamps between zero and a bound become Relu first, which changes what the network computes where the bound was reached.
    pub unbound: bool,
    /// Residual streams that RMSNorm reads are turned by orthogonal matrices; the seed of the job chooses them.
    pub rotate: bool,
    /// Cross-layer equalization: the weights before and behind each channel get equal ranges.
    pub equalize: bool,
    /// SmoothQuant's alpha: the largest inputs of products move into their weights.
    pub smooth: Option<f32>,
}

impl Rescaling {
    /// The model as it is quantized, and what was decided.
    pub(super) fn apply(
        &self,
        job: &QuantizeJob,
        model: Model,
        progress: &dyn Progress,
    ) -> Result<(Model, Vec<Decision>), Error> {
        let mut model = model;
        let mut decisions = Vec::new();
        if self.unbound {
            let found = unbound(&model.graph);
            decisions.extend(applied(&mut model, found)?);
        }
        if self.rotate {
            infer_shapes(&mut model.graph, &InferOptions::default())?;
            let found = rotate(&model.graph, job.seed);
            if found.is_empty() {
                return Err(Error::Usage {
                    message: "there is no residual stream to turn".to_owned(),
                    hint: "--rotate is for transformers with RMSNorm in front of their products".to_owned(),
                });
            }
            decisions.extend(applied(&mut model, found)?);
        }
        if self.equalize {
            let found = equalize(&model.graph)?;
            decisions.extend(applied(&mut model, found)?);
        }
        if let Some(alpha) = self.smooth {
            let found = smooth(job, alpha, &model, progress)?;
            decisions.extend(applied(&mut model, found)?);
        }
        Ok((model, decisions))
    }
}

fn applied(model: &mut Model, decisions: Vec<Decision>) -> Result<Vec<Decision>, Error> {
    let plan = Plan {
        version: Plan::VERSION,
        model: None,
        method: "rescaling".to_owned(),
        target: "any".to_owned(),
        decisions,
    };
    *model = pipeline::rewrite(model, &plan)?;
    infer_shapes(&mut model.graph, &InferOptions::default())?;
    Ok(plan.decisions)
}

fn smooth(
    job: &QuantizeJob,
    alpha: f32,
    model: &Model,
    progress: &dyn Progress,
) -> Result<Vec<Decision>, Error> {
    let smooth = Smooth {
        alpha,
        products: job.settings.granularity == Granularity::Channel,
    };
    let data = job.data.as_ref().ok_or_else(|| missing_data("smooth"))?;
    let graph = &model.graph;
    let split = pipeline::open_split(data, &job.calibration_split, graph)?;
    let indices = sample_indices(split.len(), job.samples, job.seed);
    let stats = pipeline::watched(graph, &split, &smooth.requests(graph), &indices, progress)?;
    Ok(smooth.decide(graph, &stats))
}
