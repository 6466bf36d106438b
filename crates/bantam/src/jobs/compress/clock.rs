//! Where latency comes from: a runtime that is there, or a model.

use std::path::Path;

use bantam_compress::target::Target;
use bantam_compress::target::cost::{CostModel, work};
use bantam_graph::infer_shapes;

use super::CompressJob;
use crate::jobs::bench::{Taken, beside};
use crate::jobs::inspect::with_batch;
use crate::jobs::{BenchJob, RuntimeChoice};
use crate::{Error, Progress, pipeline};

/// What tells how long a network takes.
pub(super) enum Clock {
    /// A runtime of this machine.
    Runtime(RuntimeChoice),
    /// A model of the target.
    Model(CostModel),
}

impl Clock {
    /// What suits a job, and what to know about it.
    pub(super) fn of(job: &CompressJob) -> (Clock, Option<String>) {
        if let Some(runtime) = job.runtime {
            return (Clock::Runtime(runtime), None);
        }
        let published = || CostModel::published(job.target);
        if let Some(model) = job.cost_model.clone().or_else(published) {
            let told = format!("latency is modelled, not measured: {}", model.source);
            return (Clock::Model(model), Some(told));
        }
        let own = RuntimeChoice::Bantam;
        let named = RuntimeChoice::by_name(job.target.name).unwrap_or(own);
        if named == own || named.open(&job.model, job.threads).is_ok() {
            return (Clock::Runtime(named), None);
        }
        let text = format!(
            "{} is not there to measure with: latency is that of Bantam's own runtime",
            job.target.name
        );
        (Clock::Runtime(own), Some(text))
    }

    /// The runtime that results run in; Bantam's own where times are modelled.
    pub(super) fn runtime(&self) -> RuntimeChoice {
        match self {
            Clock::Runtime(runtime) => *runtime,
            Clock::Model(_) => RuntimeChoice::Bantam,
        }
    }

    /// In words.
    pub(super) fn name(&self) -> String {
        match self {
            Clock::Runtime(runtime) => runtime.name().to_owned(),
            Clock::Model(model) => format!("model of {}", model.target),
        }
    }

    /// What the network as it was and another one take.
    pub(super) fn both(
        &self,
        job: &CompressJob,
        other: &Path,
        progress: &dyn Progress,
    ) -> Result<[Taken; 2], Error> {
        match self {
            Clock::Runtime(runtime) => {
                let timed = BenchJob {
                    model: job.model.clone(),
                    batch: job.batch,
                    threads: job.threads,
                    runtimes: vec![*runtime],
                    rounds: 45,
                    warm_up: 5,
                    ..BenchJob::default()
                };
                beside(&timed, other, progress)
            }
            Clock::Model(model) => {
                let of = |path: &Path| {
                    let milliseconds = modelled(model, job.target, path, job.batch)?;
                    Ok::<_, Error>(Taken {
                        milliseconds,
                        energy: None,
                    })
                };
                Ok([of(&job.model)?, of(other)?])
            }
        }
    }
}

/// Milliseconds of a file by a model.
fn modelled(model: &CostModel, target: &Target, path: &Path, batch: usize) -> Result<f64, Error> {
    let mut graph = pipeline::prepare(&pipeline::load(path)?)?.graph;
    let options = with_batch(&graph, batch);
    infer_shapes(&mut graph, &options)?;
    Ok(1e3 * model.seconds(&work(&graph, target)))
}
