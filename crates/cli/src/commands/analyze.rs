//! `bantam analyze`.

use bantam::Error;
use bantam::compress::analyze::Diagnosis;
use bantam::compress::quantize::aware::AwareSettings;
use bantam::jobs::{self, AnalyzeJob, AnalyzeReport};
use bantam::tensor::Granularity;

use super::quantize::{granularity, range, target};
use crate::arguments::Analyze;
use crate::output;
use crate::progress::Bars;

pub(crate) fn run(arguments: &Analyze) -> Result<(), Error> {
    let report = jobs::analyze(&job(arguments)?, &Bars::new())?;
    match arguments.json {
        true => output::json(&report),
        false => print(&report),
    }
}

fn job(arguments: &Analyze) -> Result<AnalyzeJob, Error> {
    let mut settings = AwareSettings::for_target(target(&arguments.target)?);
    let (weights, activations) = (
        settings.quantize.weights.name(),
        settings.quantize.activations.name(),
    );
    settings.set_formats(
        arguments.weights.as_deref().unwrap_or(weights),
        arguments.activations.as_deref().unwrap_or(activations),
    )?;
    settings.set_edges(&arguments.edges)?;
    settings.quantize.granularity = match granularity(&arguments.granularity)? {
        Granularity::Group(_) => {
            return Err(Error::Usage {
                message: "weights in groups cannot be analyzed".to_owned(),
                hint: "--granularity channel or tensor".to_owned(),
            });
        }
        granularity => granularity,
    };
    settings.quantize.range = range(&arguments.range)?;
    settings.quantize.weight_range = range(&arguments.weight_range)?;
    let symmetric = arguments.symmetric_activations;
    settings.quantize.symmetric_activations = symmetric.unwrap_or(settings.quantize.symmetric_activations);
    Ok(AnalyzeJob {
        model: arguments.model.clone(),
        data: arguments.data.clone(),
        settings,
        samples: arguments.samples,
        compared: arguments.compared,
        tries: arguments.tries,
        seed: arguments.seed,
        plots: arguments.plots.clone(),
    })
}

fn print(report: &AnalyzeReport) -> Result<(), Error> {
    output::talk(&format!(
        "{}: each layer alone with {} weights and {} activations, answers compared on {} samples in {:.1} s",
        report.model.display(),
        report.weights,
        report.activations,
        report.compared,
        report.seconds,
    ));
    let heading = [
        "layer",
        "op",
        "weight dB",
        "nats",
        "by its weight",
        "task",
        "cause",
        "remedy",
        "with it",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    report.layers.iter().for_each(|layer| rows.extend(lines(layer)));
    output::data(&output::table(&rows))
}

/// A line for each remedy of each cause, or one.
fn lines(layer: &Diagnosis) -> Vec<Vec<String>> {
    let decibels = layer
        .weight_sqnr_db
        .map_or(String::new(), |db| format!("{db:.1}"));
    let task = layer
        .task_loss
        .map_or(String::new(), |nats| format!("{nats:+.6}"));
    let own = vec![
        layer.layer.clone(),
        layer.op.clone(),
        decibels,
        format!("{:.6}", layer.loss),
        format!("{:.6}", layer.weight_loss),
        task,
    ];
    let remedies = layer.causes.iter().flat_map(|cause| {
        let lines = cause.remedies.iter().enumerate();
        lines.map(|(index, remedy)| {
            let fact = if index == 0 {
                cause.fact.clone()
            } else {
                String::new()
            };
            let tried = remedy.tried.map_or(String::new(), |nats| format!("{nats:.6}"));
            vec![fact, remedy.words.clone(), tried]
        })
    });
    let remedies: Vec<Vec<String>> = remedies.collect();
    let empty = vec![String::new(); own.len()];
    match remedies.split_first() {
        None => vec![own],
        Some((first, rest)) => std::iter::once([own, first.clone()].concat())
            .chain(rest.iter().map(|line| [empty.clone(), line.clone()].concat()))
            .collect(),
    }
}
