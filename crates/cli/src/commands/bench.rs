//! `bantam bench`.

use bantam::Error;
use bantam::jobs::{self, BENCHMARKS, BenchJob, BenchReport, FitJob, ProtocolJob, RuntimeChoice};

use super::steps;
use crate::arguments::Bench;
use crate::output;
use crate::progress::Bars;

pub(crate) fn run(arguments: &Bench) -> Result<(), Error> {
    if arguments.fit.is_some() || arguments.cost_model.is_some() {
        return modelled(arguments);
    }
    if arguments.protocol.is_some() {
        return streamed(arguments);
    }
    let report = jobs::bench(&job(arguments)?, &Bars::new())?;
    if arguments.json {
        return output::json(&report);
    }
    output::talk(&summary(&report));
    output::data(&runtimes(&report))?;
    for runtime in &report.runtimes {
        output::talk(&format!(
            "energy, {}: {}",
            runtime.runtime,
            runtime.energy.describe()
        ));
    }
    if arguments.profile {
        output::data(&format!("\n{}", steps::table(&report.steps, report.batch)))?;
    }
    Ok(())
}

/// The job of one model and one batch.
fn job(arguments: &Bench) -> Result<BenchJob, Error> {
    let single = arguments.models.len() == 1 && arguments.batch.len() == 1;
    if !single && arguments.fit.is_none() && arguments.cost_model.is_none() {
        return Err(Error::Usage {
            message: "one model with one batch size is timed".to_owned(),
            hint: "several are for --fit FILE and --cost-model FILE".to_owned(),
        });
    }
    let default = BenchJob::default();
    let runtimes = arguments.runtime.iter().map(|name| RuntimeChoice::by_name(name));
    Ok(BenchJob {
        model: arguments.models[0].clone(),
        data: arguments.data.clone(),
        split: arguments.split.clone(),
        batch: arguments.batch[0] as usize,
        threads: arguments
            .threads
            .map_or(default.threads, |threads| threads as usize),
        runtimes: runtimes.collect::<Result<_, Error>>()?,
        rounds: arguments.rounds as usize,
        warm_up: arguments.warm_up as usize,
        seed: arguments.seed,
        profile: arguments.profile,
    })
}

/// Fits a model of time, or checks one.
fn modelled(arguments: &Bench) -> Result<(), Error> {
    let job = FitJob {
        models: arguments.models.clone(),
        batches: arguments.batch.iter().map(|batch| *batch as usize).collect(),
        bench: job(arguments)?,
    };
    let report = match (&arguments.fit, &arguments.cost_model) {
        (Some(output), _) => jobs::fit(&job, output, &Bars::new())?,
        (None, Some(file)) => jobs::check_cost_model(&job, jobs::read_cost_model(file)?, &Bars::new())?,
        (None, None) => return Ok(()),
    };
    if arguments.json {
        return output::json(&report);
    }
    let mut rows = vec![
        ["model", "batch", "measured ms", "modelled ms", "off by %"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(report.runs.iter().map(|run| {
        vec![
            run.model.display().to_string(),
            run.batch.to_string(),
            format!("{:.3}", run.measured_ms),
            format!("{:.3}", run.modelled_ms),
            format!("{:+.1}", 100.0 * (run.modelled_ms / run.measured_ms - 1.0)),
        ]
    }));
    output::data(&output::table(&rows))?;
    let unseen = report.error_unseen.map_or(String::new(), |error| {
        format!(
            "; {:.1}% for a network that is left out of the fit, each in turn",
            100.0 * error
        )
    });
    output::talk(&format!(
        "{}, {} threads: median error {:.1}%{unseen}",
        report.runtime,
        report.threads,
        100.0 * report.error
    ));
    Ok(())
}

/// Measures by a benchmark's rules.
fn streamed(arguments: &Bench) -> Result<(), Error> {
    let names = || BENCHMARKS.iter().map(|benchmark| benchmark.name);
    let named = arguments.benchmark.as_deref().map(|name| {
        let found = BENCHMARKS.iter().find(|benchmark| benchmark.name == name);
        found
            .copied()
            .ok_or_else(|| Error::unknown_name("benchmark", name, names()))
    });
    let job = ProtocolJob::new(job(arguments)?, named.transpose()?);
    if job.bench.batch != 1 {
        return Err(Error::Usage {
            message: "the protocol is a single stream".to_owned(),
            hint: "leave out --batch".to_owned(),
        });
    }
    let report = jobs::protocol(&job, &Bars::new())?;
    if arguments.json {
        return output::json(&report);
    }
    let mut rows = vec![
        ["run", "sample", "inferences", "seconds", "inferences/s"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(report.runs.iter().enumerate().map(|(index, run)| {
        vec![
            (index + 1).to_string(),
            run.sample.to_string(),
            run.inferences.to_string(),
            format!("{:.2}", run.seconds),
            format!("{:.1}", run.inferences as f64 / run.seconds),
        ]
    }));
    output::data(&output::table(&rows))?;
    output::talk(&format!(
        "{}, {} threads, single stream: median {:.1} inferences/s, {:.4} ms each",
        report.runtime, report.threads, report.inferences_per_second, report.latency_ms
    ));
    if let Some(quality) = report.quality {
        output::talk(&format!(
            "{}: {} {:.4} ({:.4} .. {:.4}) on {} samples, at least {:.2} asked: {}",
            quality.benchmark,
            quality.metric,
            quality.value,
            quality.low,
            quality.high,
            quality.samples,
            quality.least,
            if quality.passes { "passes" } else { "fails" }
        ));
    }
    Ok(())
}

fn summary(report: &BenchReport) -> String {
    let memory = report.peak_memory.map_or(String::new(), |bytes| {
        format!("; peak memory {}", output::bytes(bytes))
    });
    format!(
        "{}: batch {}, {} threads, {:.1} million MACs; this machine: {:.0} GFLOP/s, {:.1} GB/s{memory}",
        report.model.display(),
        report.batch,
        report.threads,
        report.macs as f64 / 1e6,
        report.peak.gflops,
        report.peak.gigabytes_per_second,
    )
}

fn runtimes(report: &BenchReport) -> String {
    let heading = [
        "runtime",
        "median ms",
        "p90 ms",
        "min ms",
        "ratio",
        "samples/s",
        "GFLOP/s",
        "of peak %",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(report.runtimes.iter().map(|runtime| {
        vec![
            runtime.runtime.clone(),
            format!("{:.2}", runtime.latency.median),
            format!("{:.2}", runtime.latency.p90),
            format!("{:.2}", runtime.latency.min),
            format!("{:.2}", runtime.ratio),
            format!("{:.1}", runtime.throughput),
            format!("{:.1}", runtime.gflops),
            format!("{:.1}", runtime.share_of_peak * 100.0),
        ]
    }));
    output::table(&rows)
}
