//! The steps of our own executor.

use bantam_exec::{Program, StepInfo};
use bantam_graph::Model;
use bantam_tensor::Tensor;
use serde::Serialize;

use super::{BenchJob, Latency, inputs, pool};
use crate::{Error, pipeline};

/// One step of our executor.
#[derive(Clone, Debug, Serialize)]
pub struct StepReport {
    /// The node, or the nodes.
    pub node: String,
    /// The kernel.
    pub kernel: String,
    /// Type of the first output.
    pub output: String,
    /// Bytes of the constants that it computes with.
    pub constant_bytes: u64,
    /// Bytes that it reads and writes besides, for one sample; `None` where sizes other than the first are not known.
    pub sample_bytes: Option<u64>,
    /// Median time in milliseconds, if it was measured.
    pub milliseconds: Option<f64>,
}

impl StepReport {
    fn new(step: StepInfo, milliseconds: Option<f64>) -> StepReport {
        StepReport {
            node: step.node,
            kernel: step.kernel,
            output: step.output,
            constant_bytes: step.constant_bytes,
            sample_bytes: step.sample_bytes,
            milliseconds,
        }
    }
}

/// The steps that run a model, with their times if the job is to profile.
pub fn program(job: &BenchJob) -> Result<Vec<StepReport>, Error> {
    let model = pipeline::load(&job.model)?;
    if !job.profile {
        let steps = pipeline::compile(&model)?.steps().into_iter();
        return Ok(steps.map(|step| StepReport::new(step, None)).collect());
    }
    let inputs = inputs::inputs(job, &model.graph)?;
    let inputs: Vec<(&str, Tensor)> = inputs
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor.clone()))
        .collect();
    pool(job)?.install(|| profile(&model, &inputs, job.rounds))
}

/// The steps with the median time of each.
pub(super) fn profile(
    model: &Model,
    inputs: &[(&str, Tensor)],
    rounds: usize,
) -> Result<Vec<StepReport>, Error> {
    let program = pipeline::compile(model)?;
    let times = times(&program, inputs, rounds)?;
    let report = |(step, times)| StepReport::new(step, Some(Latency::of(times).median));
    Ok(program.steps().into_iter().zip(times).map(report).collect())
}

/// The milliseconds of each step in each round.
fn times(program: &Program, inputs: &[(&str, Tensor)], rounds: usize) -> Result<Vec<Vec<f64>>, Error> {
    let mut times = vec![Vec::with_capacity(rounds); program.steps().len()];
    for _ in 0..rounds {
        let run = program.profile(inputs)?;
        let pairs = times.iter_mut().zip(run);
        pairs.for_each(|(times, time)| times.push(time.as_secs_f64() * 1e3));
    }
    Ok(times)
}
