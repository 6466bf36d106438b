//! The protocol of MLPerf Tiny: a single stream, five runs, and targets of quality.

use std::time::{Duration, Instant};

use bantam_compress::evaluate::{EvaluateError, Runner};
use bantam_formats::data::sample_indices;
use bantam_tensor::{Samples, Tensor};
use serde::Serialize;

use super::{BenchJob, pool};
use crate::jobs::eval::score;
use crate::jobs::{EvalJob, RuntimeChoice};
use crate::{Error, Progress, pipeline};

/// A benchmark of MLPerf Tiny 1.2 with its target of quality (its rules, section "Benchmarks").
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Benchmark {
    /// The name that users write.
    pub name: &'static str,
    /// The metric.
    pub metric: &'static str,
    /// Least score.
    pub least: f64,
}

/// Every benchmark.
pub const BENCHMARKS: &[Benchmark] = &[
    Benchmark {
        name: "image-classification",
        metric: "top1",
        least: 0.85,
    },
    Benchmark {
        name: "keyword-spotting",
        metric: "top1",
        least: 0.90,
    },
    Benchmark {
        name: "visual-wake-words",
        metric: "top1",
        least: 0.80,
    },
    Benchmark {
        name: "anomaly-detection",
        metric: "roc-auc",
        least: 0.85,
    },
];

/// What to run. The rules' own numbers are [`ProtocolJob::new`]'s.
#[derive(Clone, Debug)]
pub struct ProtocolJob {
    /// Model, data, split, threads, seed and the one runtime.
    pub bench: BenchJob,
    /// The benchmark whose target must be met; nothing is scored without.
    pub benchmark: Option<Benchmark>,
    /// Runs, each with another sample.
    pub runs: usize,
    /// Least time of a run.
    pub time: Duration,
    /// Least inferences of a run.
    pub inferences: usize,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct ProtocolReport {
    /// The runtime.
    pub runtime: String,
    /// Threads.
    pub threads: usize,
    /// Each run.
    pub runs: Vec<StreamRun>,
    /// Median of all runs.
    pub inferences_per_second: f64,
    /// Its reciprocal.
    pub latency_ms: f64,
    /// What the benchmark asks of quality.
    pub quality: Option<Quality>,
}

/// One run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StreamRun {
    /// Position of the sample in the split.
    pub sample: usize,
    /// Inferences, one after another.
    pub inferences: usize,
    /// Time for all of them.
    pub seconds: f64,
}

/// A score beside the one that is asked.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Quality {
    /// The benchmark.
    pub benchmark: &'static str,
    /// The metric.
    pub metric: &'static str,
    /// The score.
    pub value: f64,
    /// Ends of its 95% interval.
    pub low: f64,
    /// Ends of its 95% interval.
    pub high: f64,
    /// What is asked.
    pub least: f64,
    /// Whether the score is that or better.
    pub passes: bool,
    /// Number of samples.
    pub samples: usize,
}

impl ProtocolJob {
    /// Five runs of ten seconds and ten inferences at least (EnergyRunner, performance mode, as MLPerf Tiny's rules name it).
    pub fn new(bench: BenchJob, benchmark: Option<Benchmark>) -> ProtocolJob {
        ProtocolJob {
            bench,
            benchmark,
            runs: 5,
            time: Duration::from_secs(10),
            inferences: 10,
        }
    }
}

/// Runs the protocol.
///
/// # Errors
/// When there are no data, fewer samples than runs, or several runtimes.
pub fn protocol(job: &ProtocolJob, progress: &dyn Progress) -> Result<ProtocolReport, Error> {
    let bench = &job.bench;
    let [runtime] = bench.runtimes[..] else {
        return Err(usage(
            "the protocol measures one runtime",
            "--runtime onnxruntime",
        ));
    };
    let quality = job
        .benchmark
        .map(|benchmark| quality(job, benchmark, runtime, progress));
    let quality = quality.transpose()?;
    let streams = pool(bench)?.install(|| streams(job, runtime, progress))?;
    let mut rates: Vec<f64> = streams
        .iter()
        .map(|run| run.inferences as f64 / run.seconds)
        .collect();
    rates.sort_by(f64::total_cmp);
    let median = (rates[(rates.len() - 1) / 2] + rates[rates.len() / 2]) / 2.0;
    Ok(ProtocolReport {
        runtime: runtime.name().to_owned(),
        threads: bench.threads,
        runs: streams,
        inferences_per_second: median,
        latency_ms: 1e3 / median,
        quality,
    })
}

fn usage(message: &str, hint: &str) -> Error {
    Error::Usage {
        message: message.to_owned(),
        hint: hint.to_owned(),
    }
}

/// The runs, one sample each; preparing samples is not timed.
fn streams(
    job: &ProtocolJob,
    runtime: RuntimeChoice,
    progress: &dyn Progress,
) -> Result<Vec<StreamRun>, Error> {
    let bench = &job.bench;
    let data = bench.data.as_ref();
    let data = data.ok_or_else(|| usage("the protocol runs on samples of the data set", "--data FILE"))?;
    let model = pipeline::load(&bench.model)?;
    let split = pipeline::open_split(data, &bench.split, &model.graph)?;
    let samples = sample_indices(split.len(), job.runs, bench.seed);
    if samples.len() < job.runs || job.runs == 0 {
        let message = format!("{} samples are too few for {} runs", samples.len(), job.runs);
        return Err(usage(&message, "give a larger split"));
    }
    let mut runner = runtime.open(&bench.model, bench.threads)?;
    let mut runs = Vec::with_capacity(job.runs);
    progress.start("stream", job.runs);
    for sample in samples {
        let batch = split
            .batch(&[sample])
            .map_err(bantam_compress::stats::ObserveError::from)?;
        let inputs: Vec<(&str, Tensor)> = batch
            .inputs
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor.clone()))
            .collect();
        let (inferences, seconds) = stream(runner.as_mut(), &inputs, job)?;
        runs.push(StreamRun {
            sample,
            inferences,
            seconds,
        });
        progress.at(runs.len());
    }
    progress.finish();
    Ok(runs)
}

/// Inferences one after another until both the time and the number are reached; one before them is not timed.
fn stream(
    runner: &mut dyn Runner,
    inputs: &[(&str, Tensor)],
    job: &ProtocolJob,
) -> Result<(usize, f64), Error> {
    runner.run(inputs).map_err(EvaluateError::from)?;
    let start = Instant::now();
    let mut inferences = 0;
    while inferences < job.inferences || start.elapsed() < job.time {
        runner.run(inputs).map_err(EvaluateError::from)?;
        inferences += 1;
    }
    Ok((inferences, start.elapsed().as_secs_f64()))
}

fn quality(
    job: &ProtocolJob,
    benchmark: Benchmark,
    runtime: RuntimeChoice,
    progress: &dyn Progress,
) -> Result<Quality, Error> {
    let bench = &job.bench;
    let data = bench.data.clone();
    let asked = EvalJob {
        model: bench.model.clone(),
        data: data.ok_or_else(|| usage("quality is scored on a data set", "--data FILE"))?,
        split: bench.split.clone(),
        metrics: vec![benchmark.metric.to_owned()],
        runtime,
        limit: usize::MAX,
        batch: None,
        threads: bench.threads,
    };
    let (report, _) = score(&asked, progress)?;
    let estimate = report.metrics.get(benchmark.metric).copied();
    let estimate = estimate.ok_or_else(|| {
        usage(
            "the data set has no labels to score by",
            "give `labels` in its manifest",
        )
    })?;
    Ok(Quality {
        benchmark: benchmark.name,
        metric: benchmark.metric,
        value: estimate.value,
        low: estimate.low,
        high: estimate.high,
        least: benchmark.least,
        passes: estimate.value >= benchmark.least,
        samples: report.samples,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoProgress;
    use crate::demo::write_files;

    fn job(folder: &std::path::Path, benchmark: Option<Benchmark>) -> ProtocolJob {
        let bench = BenchJob {
            model: folder.join("digits.onnx"),
            data: Some(folder.join("digits.toml")),
            threads: 1,
            ..BenchJob::default()
        };
        ProtocolJob {
            time: Duration::from_millis(20),
            ..ProtocolJob::new(bench, benchmark)
        }
    }

    #[test]
    fn five_runs_reach_both_time_and_number_and_quality_is_judged() {
        let folder = tempfile::tempdir().unwrap();
        write_files(folder.path()).unwrap();
        let whole = ProtocolJob::new(BenchJob::default(), None);
        assert_eq!(
            (whole.runs, whole.time.as_secs(), whole.inferences),
            (5, 10, 10),
            "the rules"
        );
        let report = protocol(&job(folder.path(), Some(BENCHMARKS[0])), &NoProgress).unwrap();
        assert_eq!(report.runs.len(), 5);
        for run in &report.runs {
            assert!(run.inferences >= 10 && run.seconds >= 0.02, "{run:?}");
            let same = report.runs.iter().filter(|other| other.sample == run.sample);
            assert_eq!(same.count(), 1, "each run has a sample of its own");
        }
        let rate = |run: &StreamRun| run.inferences as f64 / run.seconds;
        let below = report
            .runs
            .iter()
            .filter(|run| rate(run) < report.inferences_per_second);
        assert_eq!(below.count(), 2, "the median of five");
        let quality = report.quality.unwrap();
        assert!(
            quality.passes && quality.value > 0.95 && quality.low < quality.value,
            "{quality:?}"
        );
        let hard = Benchmark {
            least: 0.9999,
            ..BENCHMARKS[0]
        };
        let failed = protocol(&job(folder.path(), Some(hard)), &NoProgress).unwrap();
        assert!(!failed.quality.unwrap().passes);
    }

    #[test]
    fn runs_need_data_and_samples() {
        let folder = tempfile::tempdir().unwrap();
        write_files(folder.path()).unwrap();
        let mut without = job(folder.path(), None);
        without.bench.data = None;
        assert!(protocol(&without, &NoProgress).is_err());
        let mut many = job(folder.path(), None);
        many.runs = 1_000_000;
        let refused = protocol(&many, &NoProgress).unwrap_err().to_string();
        assert!(refused.contains("too few"), "{refused}");
    }
}
