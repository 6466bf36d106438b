//! `bantam bench`.

use bantam::Error;
use bantam::jobs::{self, BenchJob, BenchReport, RuntimeChoice};

use super::steps;
use crate::arguments::Bench;
use crate::output;
use crate::progress::Bars;

pub(crate) fn run(arguments: &Bench) -> Result<(), Error> {
    let report = jobs::bench(&job(arguments)?, &Bars::new())?;
    if arguments.json {
        return output::json(&report);
    }
    output::talk(&summary(&report));
    output::data(&runtimes(&report))?;
    if arguments.profile {
        output::data(&format!("\n{}", steps::table(&report.steps, report.batch)))?;
    }
    Ok(())
}

fn job(arguments: &Bench) -> Result<BenchJob, Error> {
    let default = BenchJob::default();
    let runtimes = arguments.runtime.iter().map(|name| RuntimeChoice::by_name(name));
    Ok(BenchJob {
        model: arguments.model.clone(),
        data: arguments.data.clone(),
        split: arguments.split.clone(),
        batch: arguments.batch as usize,
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
