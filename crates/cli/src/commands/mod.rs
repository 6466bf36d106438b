//! The commands: each turns arguments into a job, has it done, and prints the report.

pub(crate) mod bench;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod eval;
pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod new;
pub(crate) mod quantize;
mod steps;
pub(crate) mod train;

use std::path::PathBuf;

use bantam::Error;
use bantam::jobs::{CompareReport, EvalJob, RuntimeChoice, ScoreReport};

use crate::arguments::Scoring;
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

/// Rows for some models' scores.
fn score_rows(reports: &[&ScoreReport]) -> String {
    let mut rows = vec![vec!["model".to_owned(), "runtime".to_owned(), "size".to_owned()]];
    let names: Vec<&String> = reports
        .first()
        .map_or(Vec::new(), |report| report.metrics.keys().collect());
    for name in &names {
        rows[0].extend([format!("{name} %"), "95% interval".to_owned()]);
    }
    rows[0].extend(["samples".to_owned(), "seconds".to_owned()]);
    for report in reports {
        let size = output::bytes(report.bytes);
        let mut row = vec![report.model.display().to_string(), report.runtime.clone(), size];
        for estimate in names.iter().filter_map(|name| report.metrics.get(*name)) {
            row.push(format!("{:.2}", estimate.value * 100.0));
            row.push(format!(
                "{:.2} .. {:.2}",
                estimate.low * 100.0,
                estimate.high * 100.0
            ));
        }
        row.extend([report.samples.to_string(), format!("{:.2}", report.seconds)]);
        rows.push(row);
    }
    output::table(&rows)
}

/// Two models side by side, and what differs.
fn comparison(report: &CompareReport) -> String {
    let paired = &report.comparison;
    let mut text = score_rows(&[&report.first, &report.second]);
    text += &format!(
        "\ndisagree on {:.2}% of the samples; difference {:+.2} points (95% interval {:+.2} .. {:+.2}), \
         only the first right {}, only the second {}, McNemar p = {:.3}\n",
        paired.disagreement * 100.0,
        paired.difference * 100.0,
        paired.difference_low * 100.0,
        paired.difference_high * 100.0,
        paired.only_first,
        paired.only_second,
        paired.p_value,
    );
    text
}
