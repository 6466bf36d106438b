//! The commands: each turns arguments into a job, has it done, and prints the report.

pub(crate) mod analyze;
pub(crate) mod bench;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod compress;
pub(crate) mod demo;
pub(crate) mod eval;
pub(crate) mod export;
pub(crate) mod generate;
pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod lottery;
pub(crate) mod new;
pub(crate) mod prune;
pub(crate) mod quantize;
mod steps;
pub(crate) mod train;

use std::path::PathBuf;

use bantam::Error;
use bantam::compress::evaluate::{Agreement, Comparison, Estimate, metric_by_name};
use bantam::jobs::{CompareReport, CorruptionSettings, EvalJob, RuntimeChoice, ScoreReport};

use crate::arguments::{Corrupting, Scoring};
use crate::output;

/// The job of scoring `model` as the arguments say.
fn eval_job(model: PathBuf, scoring: &Scoring) -> Result<EvalJob, Error> {
    Ok(EvalJob {
        model,
        data: scoring.data.clone(),
        split: scoring.split.clone(),
        metrics: scoring.metric.clone(),
        runtime: RuntimeChoice::by_name(&scoring.runtime)?,
        limit: scoring.limit.unwrap_or(usize::MAX),
        batch: scoring.batch,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    })
}

/// How images are to be corrupted, if they are.
fn corruption_settings(arguments: &Corrupting) -> Option<CorruptionSettings> {
    arguments.corruptions.clone().map(|names| CorruptionSettings {
        names,
        strengths: arguments.strengths.clone(),
        seed: arguments.seed,
    })
}

/// Rows for some models' scores.
fn score_rows(reports: &[&ScoreReport]) -> String {
    let mut rows = vec![vec!["model".to_owned(), "runtime".to_owned(), "size".to_owned()]];
    let names: Vec<&String> = reports
        .first()
        .map_or(Vec::new(), |report| report.metrics.keys().collect());
    for name in &names {
        rows[0].extend([metric_heading(name), "95% interval".to_owned()]);
    }
    rows[0].extend(["samples".to_owned(), "seconds".to_owned()]);
    for report in reports {
        let size = output::bytes(report.bytes);
        let mut row = vec![report.model.display().to_string(), report.runtime.clone(), size];
        for (name, estimate) in names
            .iter()
            .filter_map(|name| report.metrics.get_key_value(*name))
        {
            row.extend(shown(name, estimate));
        }
        row.extend([report.samples.to_string(), format!("{:.2}", report.seconds)]);
        rows.push(row);
    }
    output::table(&rows)
}

/// A metric's name above its column.
fn metric_heading(name: &str) -> String {
    match is_proportion(name) {
        true => format!("{name} %"),
        false => name.to_owned(),
    }
}

/// A value of a metric, and its interval.
fn shown(metric: &str, estimate: &Estimate) -> [String; 2] {
    let shown = |value: f64| match is_proportion(metric) {
        true => format!("{:.2}", value * 100.0),
        false => format!("{value:.4}"),
    };
    let interval = format!("{} .. {}", shown(estimate.low), shown(estimate.high));
    [shown(estimate.value), interval]
}

/// Whether a metric is a share, which is shown in percent.
fn is_proportion(name: &str) -> bool {
    metric_by_name(name).is_none_or(|metric| metric.is_proportion())
}

/// Two models side by side, and what differs.
fn comparison(report: &CompareReport) -> String {
    let mut text = score_rows(&[&report.first, &report.second]) + "\n";
    if let Some(paired) = &report.comparison {
        text += &difference(paired);
    }
    text += &agreement(&report.agreement);
    text
}

/// The paired comparison by a metric.
fn difference(paired: &Comparison) -> String {
    let (factor, digits) = if is_proportion(paired.metric) {
        (100.0, 2)
    } else {
        (1.0, 5)
    };
    let shown = |value: f64| format!("{:+.digits$}", value * factor);
    let has_scores = metric_by_name(paired.metric).is_some_and(|metric| metric.has_scores());
    let what = match (factor == 1.0, has_scores) {
        (true, true) => "mean score".to_owned(),
        (true, false) => paired.metric.to_owned(),
        (false, _) => format!("{}: difference in points", paired.metric),
    };
    let interval = (shown(paired.difference_low), shown(paired.difference_high));
    let mut text = format!(
        "{what} {} (95% interval {} .. {}), ",
        shown(paired.difference),
        interval.0,
        interval.1
    );
    if let (Some(first), Some(second)) = (paired.only_first, paired.only_second) {
        text += &match factor == 1.0 {
            true => format!("larger for {second} samples, smaller for {first}, sign test "),
            false => format!("only the first right {first}, only the second {second}, McNemar "),
        };
    }
    text + &format!("p = {:.3}\n", paired.p_value)
}

/// How far outputs are from each other.
fn agreement(found: &Agreement) -> String {
    let mut parts = Vec::new();
    if let Some(share) = found.disagreement {
        let [value, low, high] = [share.value, share.low, share.high].map(|share| share * 100.0);
        parts.push(format!("predictions differ {value:.2}% ({low:.2} .. {high:.2})"));
    }
    if let Some(kl) = found.kl {
        parts.push(format!(
            "KL divergence {:.5} nats ({:.5} .. {:.5})",
            kl.value, kl.low, kl.high
        ));
    }
    if let Some(sqnr) = found.sqnr {
        parts.push(format!(
            "SQNR {:.2} dB ({:.2} .. {:.2})",
            sqnr.value, sqnr.low, sqnr.high
        ));
    }
    match parts.is_empty() {
        true => String::new(),
        false => format!("outputs: {}\n", parts.join(", ")),
    }
}
