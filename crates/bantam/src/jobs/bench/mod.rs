//! Timing a model: latency, throughput and memory, in Bantam and in other runtimes.

mod energy;
mod fit;
mod inputs;
mod latency;
mod peak;
mod protocol;
mod steps;

use std::path::{Path, PathBuf};
use std::time::Instant;

use bantam_compress::evaluate::{EvaluateError, Runner};
use bantam_compress::target::cost::{Work, work};
use bantam_compress::target::target_by_name;
use bantam_graph::{cost, infer_shapes};
use bantam_tensor::Tensor;
use serde::Serialize;

use super::RuntimeChoice;
use crate::{Error, Progress, pipeline};
use energy::Meter;
pub use energy::{Energy, EnergySource};
pub use fit::{FitJob, FitReport, FitRun, check_cost_model, fit, read_cost_model};
pub use latency::Latency;
pub use peak::Peak;
pub use protocol::{BENCHMARKS, Benchmark, ProtocolJob, ProtocolReport, Quality, StreamRun, protocol};
pub use steps::{StepReport, program};

/// What to time and how.
#[derive(Clone, Debug)]
pub struct BenchJob {
    /// The model's file.
    pub model: PathBuf,
    /// Real inputs; random ones without.
    pub data: Option<PathBuf>,
    /// Split of the data.
    pub split: String,
    /// Samples that run at once, where the model leaves it open.
    pub batch: usize,
    /// Threads of every runtime.
    pub threads: usize,
    /// What runs the model, in turns.
    pub runtimes: Vec<RuntimeChoice>,
    /// Rounds that count.
    pub rounds: usize,
    /// Rounds before them, in each turn.
    pub warm_up: usize,
    /// Chooses the inputs.
    pub seed: u64,
    /// Time each step of our own executor as well.
    pub profile: bool,
}

impl Default for BenchJob {
    /// One sample of random numbers, on every core, in our own executor.
    fn default() -> Self {
        BenchJob {
            model: PathBuf::new(),
            data: None,
            split: "test".to_owned(),
            batch: 1,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            runtimes: vec![RuntimeChoice::Bantam],
            rounds: 20,
            warm_up: 2,
            seed: 0,
            profile: false,
        }
    }
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    /// The model's file.
    pub model: PathBuf,
    /// Size of the model's file or files.
    pub bytes: u64,
    /// Samples in a run.
    pub batch: usize,
    /// Threads.
    pub threads: usize,
    /// Multiply-accumulates of a run, of the nodes where they are known.
    pub macs: u64,
    /// The machine's limits.
    pub peak: Peak,
    /// Each runtime.
    pub runtimes: Vec<RuntimeReport>,
    /// Each step of our executor, when profiled.
    pub steps: Vec<StepReport>,
    /// Largest resident memory of this process, all runtimes together, in bytes; `None` where the system does not tell.
    pub peak_memory: Option<u64>,
}

/// One runtime.
#[derive(Clone, Debug, Serialize)]
pub struct RuntimeReport {
    /// Its name.
    pub runtime: String,
    /// Times of a run.
    pub latency: Latency,
    /// Samples a second, at the median.
    pub throughput: f64,
    /// Billions of float operations (two for each multiply-accumulate) a second, at the median.
    pub gflops: f64,
    /// The same as a share of the machine's limit for float32; algorithms with fewer operations and integers can pass 1.
    pub share_of_peak: f64,
    /// Median time divided by that of the first runtime.
    pub ratio: f64,
    /// Energy of a sample.
    pub energy: Energy,
}

/// Times a model.
pub fn bench(job: &BenchJob, progress: &dyn Progress) -> Result<BenchReport, Error> {
    pool(job)?.install(|| measure(job, progress))
}

/// The threads of our own executor.
fn pool(job: &BenchJob) -> Result<rayon::ThreadPool, Error> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(job.threads).build();
    pool.map_err(|error| Error::Usage {
        message: format!("{} threads cannot be started: {error}", job.threads),
        hint: "choose fewer --threads".to_owned(),
    })
}

fn measure(job: &BenchJob, progress: &dyn Progress) -> Result<BenchReport, Error> {
    let model = pipeline::load(&job.model)?;
    let inputs = inputs::inputs(job, &model.graph)?;
    let inputs: Vec<(&str, Tensor)> = inputs
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor.clone()))
        .collect();
    let batch = inputs.first().and_then(|(_, tensor)| tensor.shape().first());
    let times = take_turns(job, &inputs, progress)?;
    let steps = match job.profile {
        true => steps::profile(&model, &inputs, job.rounds)?,
        false => vec![],
    };
    // Read before the machine's limits are measured: that takes buffers larger than its caches.
    let peak_memory = latency::peak_memory();
    let mut report = BenchReport {
        model: job.model.clone(),
        bytes: super::model_bytes(&job.model),
        batch: batch.copied().unwrap_or(1),
        threads: job.threads,
        macs: macs(&model, &inputs)?,
        peak: peak::measure(),
        runtimes: Vec::new(),
        steps,
        peak_memory,
    };
    let modelled = Energy::modelled(&nodes(&model, &inputs)?, report.batch);
    for turn in times {
        let samples = turn.times.len() * report.batch;
        let energy = turn.meter.energy(samples).unwrap_or(modelled);
        let runtime = runtime_report(&turn.name, Latency::of(turn.times), energy, &report);
        report.runtimes.push(runtime);
    }
    Ok(report)
}

fn runtime_report(name: &str, latency: Latency, energy: Energy, report: &BenchReport) -> RuntimeReport {
    let seconds = latency.median / 1e3;
    let gflops = 2.0 * report.macs as f64 / seconds / 1e9;
    let first = report.runtimes.first().map_or(latency, |first| first.latency);
    RuntimeReport {
        runtime: name.to_owned(),
        throughput: report.batch as f64 / seconds,
        gflops,
        share_of_peak: gflops / report.peak.gflops,
        ratio: latency.median / first.median,
        energy,
        latency,
    }
}

/// What the nodes have to do for inputs of these shapes.
fn nodes(model: &bantam_graph::Model, inputs: &[(&str, Tensor)]) -> Result<Vec<Work>, Error> {
    let mut graph = pipeline::prepare(model)?.graph;
    let shapes: Vec<(&str, Vec<usize>)> = inputs
        .iter()
        .map(|(name, tensor)| (*name, tensor.shape().to_vec()))
        .collect();
    let options = bantam_graph::InferOptions::default().with_input_shapes(&shapes);
    infer_shapes(&mut graph, &options)?;
    let own = target_by_name("bantam").expect("listed");
    Ok(work(&graph, own))
}

/// Multiply-accumulates for inputs of these shapes.
fn macs(model: &bantam_graph::Model, inputs: &[(&str, Tensor)]) -> Result<u64, Error> {
    let mut graph = pipeline::inline(model)?.into_owned().graph;
    let shapes: Vec<(&str, Vec<usize>)> = inputs
        .iter()
        .map(|(name, tensor)| (*name, tensor.shape().to_vec()))
        .collect();
    infer_shapes(
        &mut graph,
        &bantam_graph::InferOptions::default().with_input_shapes(&shapes),
    )?;
    Ok(cost::cost(&graph).macs)
}

/// Turns that each runtime gets, so that slow drifts of the machine meet all of them.
const TURNS: usize = 3;

/// What a run of a network takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// Median milliseconds of a run.
    pub(super) milliseconds: f64,
    /// Energy of a sample, where it was measured.
    pub(super) energy: Option<Energy>,
}

/// What the job's model and another one with the same inputs take in the job's first runtime, in turns: what slows the
/// machine down for a while meets both.
pub(super) fn beside(job: &BenchJob, other: &Path, progress: &dyn Progress) -> Result<[Taken; 2], Error> {
    pool(job)?.install(|| {
        let model = pipeline::load(&job.model)?;
        let inputs = inputs::inputs(job, &model.graph)?;
        let inputs: Vec<(&str, Tensor)> = inputs
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor.clone()))
            .collect();
        let runtime = job.runtimes.first().copied().unwrap_or(RuntimeChoice::Bantam);
        let mut times = [Vec::new(), Vec::new()];
        let mut meters = [Meter::here(), Meter::here()];
        progress.start("time", 2 * TURNS);
        for turn in 0..2 * TURNS {
            let path = if turn % 2 == 0 { &job.model } else { other };
            let mut runner = runtime.open(path, job.threads)?;
            let rounds = job.rounds.div_ceil(TURNS);
            let meter = Some(&mut meters[turn % 2]);
            times[turn % 2].extend(rounds_of(runner.as_mut(), &inputs, (job.warm_up, rounds), meter)?);
            progress.at(turn + 1);
        }
        progress.finish();
        let [first, second] = times;
        let taken = |times: Vec<f64>, meter: &Meter| Taken {
            energy: meter.energy(times.len() * job.batch),
            milliseconds: Latency::of(times).median,
        };
        Ok([taken(first, &meters[0]), taken(second, &meters[1])])
    })
}

/// The milliseconds of rounds that count, whose energy is added to a meter.
fn rounds_of(
    runner: &mut dyn Runner,
    inputs: &[(&str, Tensor)],
    (warm_up, rounds): (usize, usize),
    meter: Option<&mut Meter>,
) -> Result<Vec<f64>, Error> {
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..warm_up {
        runner.run(inputs).map_err(EvaluateError::from)?;
    }
    let before = meter.as_ref().map(|meter| meter.read());
    for _ in 0..rounds {
        let start = Instant::now();
        runner.run(inputs).map_err(EvaluateError::from)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    if let (Some(meter), Some(before)) = (meter, before) {
        meter.add_since(&before);
    }
    Ok(times)
}

/// What was measured of a runtime.
struct Turns {
    name: String,
    /// Milliseconds of each round.
    times: Vec<f64>,
    meter: Meter,
}

/// What was measured of each runtime. A runtime is opened for its turn and closed
/// after it: the threads of one that stays open go on looking for work for a while, and would slow the next one down.
fn take_turns(
    job: &BenchJob,
    inputs: &[(&str, Tensor)],
    progress: &dyn Progress,
) -> Result<Vec<Turns>, Error> {
    let mut times: Vec<Turns> = (job.runtimes.iter())
        .map(|_| Turns {
            name: String::new(),
            times: Vec::new(),
            meter: Meter::here(),
        })
        .collect();
    let turns = if job.runtimes.len() > 1 {
        TURNS.min(job.rounds)
    } else {
        1
    };
    progress.start("time", turns * job.runtimes.len());
    for turn in 0..turns {
        let rounds = job.rounds * (turn + 1) / turns - job.rounds * turn / turns;
        for (index, (runtime, turns)) in job.runtimes.iter().zip(&mut times).enumerate() {
            let mut runner = runtime.open(&job.model, job.threads)?;
            runner.name().clone_into(&mut turns.name);
            let meter = Some(&mut turns.meter);
            let more = rounds_of(runner.as_mut(), inputs, (job.warm_up, rounds), meter)?;
            turns.times.extend(more);
            progress.at(turn * job.runtimes.len() + index + 1);
        }
    }
    progress.finish();
    Ok(times)
}
