//! `bantam lottery`.

use std::ffi::OsStr;
use std::path::PathBuf;

use bantam::Error;
use bantam::compress::train::sparse::{Scope, SparsitySettings};
use bantam::jobs::{self, LotteryJob, LotteryReport, ScoreReport};
use bantam::networks::scheme_by_name;

use super::train::{by_name, training, zeros};
use crate::arguments::{Lottery, Zeros};
use crate::output;
use crate::progress::Bars;

pub(crate) fn run(arguments: &Lottery) -> Result<(), Error> {
    let report = jobs::lottery(&job(arguments)?, &Bars::new())?;
    match arguments.json {
        true => output::json(&report),
        false => print(&report),
    }
}

fn job(arguments: &Lottery) -> Result<LotteryJob, Error> {
    let Zeros::Amount(amount) = arguments.sparsity else {
        return Err(Error::Usage {
            message: "a lottery makes zeros; there are none to keep".to_owned(),
            hint: "--sparsity 90%".to_owned(),
        });
    };
    let beside = |suffix: &str| -> PathBuf {
        let mut name = arguments.output.as_os_str().to_owned();
        name.push(OsStr::new(suffix));
        name.into()
    };
    Ok(LotteryJob {
        model: arguments.model.clone(),
        data: arguments.data.clone(),
        settings: training(&arguments.training)?,
        sparsity: SparsitySettings {
            amount,
            scope: Some(by_name("scope", &arguments.sparsity_scope, Scope::ALL)?),
            exclude: arguments.sparsity_exclude.clone(),
            ..SparsitySettings::default()
        },
        rounds: arguments.rounds,
        rewind_step: arguments.rewind_step,
        control: arguments
            .control
            .then(|| scheme_by_name(&arguments.init))
            .transpose()?,
        work: arguments.work.clone().unwrap_or_else(|| beside(".rounds")),
        resume: arguments.resume,
        score_split: "test".to_owned(),
        metric: arguments.metric.clone(),
        limit: arguments.limit.unwrap_or(usize::MAX),
        ticket: arguments.ticket.clone().unwrap_or_else(|| beside(".ticket.onnx")),
        output: arguments.output.clone(),
    })
}

fn print(report: &LotteryReport) -> Result<(), Error> {
    output::talk(&output::table(&zeros(&report.sparsity)));
    output::talk(&format!(
        "{} -> {}: {} rounds, weights of step {}, {:.1} s; the ticket is {}",
        report.model.display(),
        report.output.display(),
        report.rounds.len() - 1,
        report.rewind_step,
        report.seconds,
        report.ticket.display(),
    ));
    output::data(&text(report))
}

/// The table of rounds, and what the control says.
fn text(report: &LotteryReport) -> String {
    let metric = report.rounds[0].scores.metrics.keys().next();
    let metric = metric.map_or("score", String::as_str);
    let percent = |heading: &str| {
        if super::is_proportion(metric) {
            format!("{heading} %")
        } else {
            heading.to_owned()
        }
    };
    let heading = [
        "trained".to_owned(),
        "zeros %".to_owned(),
        percent(metric),
        "95% interval".to_owned(),
    ];
    let mut rows = vec![heading.to_vec()];
    for round in &report.rounds {
        let name = match round.round {
            0 => "all weights".to_owned(),
            number => format!("round {number}"),
        };
        rows.push(row(name, round.sparsity, &round.scores, metric));
    }
    let last = report.rounds.last().map_or(0.0, |round| round.sparsity);
    if let Some(control) = &report.control {
        rows.push(row(
            "the last mask, drawn anew".to_owned(),
            last,
            &control.scores,
            metric,
        ));
    }
    let mut text = output::table(&rows);
    if let Some(control) = &report.control {
        let paired = &control.comparison;
        let factor = if super::is_proportion(metric) { 100.0 } else { 1.0 };
        text += &format!(
            "\nthe ticket against the control: {:+.2} (95% interval {:+.2} .. {:+.2}), p = {:.3}\n",
            paired.difference * factor,
            paired.difference_low * factor,
            paired.difference_high * factor,
            paired.p_value,
        );
    }
    text
}

fn row(name: String, sparsity: f64, scores: &ScoreReport, metric: &str) -> Vec<String> {
    let factor = if super::is_proportion(metric) { 100.0 } else { 1.0 };
    let estimate = scores.metrics[metric];
    let shown = |value: f64| format!("{:.2}", value * factor);
    let interval = format!("{} .. {}", shown(estimate.low), shown(estimate.high));
    vec![
        name,
        format!("{:.2}", sparsity * 100.0),
        shown(estimate.value),
        interval,
    ]
}
