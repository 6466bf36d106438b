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
use bantam::compress::evaluate::metric_by_name;
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
        let heading = if is_proportion(name) {
            format!("{name} %")
        } else {
            (*name).clone()
        };
        rows[0].extend([heading, "95% interval".to_owned()]);
    }
    rows[0].extend(["samples".to_owned(), "seconds".to_owned()]);
    for report in reports {
        let size = output::bytes(report.bytes);
        let mut row = vec![report.model.display().to_string(), report.runtime.clone(), size];
        for (name, estimate) in names
            .iter()
            .filter_map(|name| report.metrics.get_key_value(*name))
        {
            let shown = |value: f64| match is_proportion(name) {
                true => format!("{:.2}", value * 100.0),
                false => format!("{value:.4}"),
            };
            row.push(shown(estimate.value));
            row.push(format!("{} .. {}", shown(estimate.low), shown(estimate.high)));
        }
        row.extend([report.samples.to_string(), format!("{:.2}", report.seconds)]);
        rows.push(row);
    }
    output::table(&rows)
}

/// Whether a metric is a share, which is shown in percent.
fn is_proportion(name: &str) -> bool {
    metric_by_name(name).is_none_or(|metric| metric.is_proportion())
}

/// Two models side by side, and what differs.
fn comparison(report: &CompareReport) -> String {
    let paired = &report.comparison;
    let mut text = score_rows(&[&report.first, &report.second]);
    if !is_proportion(paired.metric) {
        text += &format!(
            "\npredictions differ at {:.2}% of the tokens; mean score {:+.5} (95% interval {:+.5} .. {:+.5}), larger in {} \
             rows, smaller in {}, sign test p = {:.3}\n",
            paired.disagreement * 100.0,
            paired.difference,
            paired.difference_low,
            paired.difference_high,
            paired.only_second,
            paired.only_first,
            paired.p_value,
        );
        return text;
    }
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
