//! `bantam compress`.

use std::time::Duration;

use bantam::Error;
use bantam::compress::target::{Memory, Target};
use bantam::jobs::{
    self, Budget, CompressJob, CompressReport, CorruptionSettings, Minimize, RecipeJob, RecipeReport,
    RuntimeChoice,
};

use super::prune::share;
use super::quantize::{selectors, target};
use super::train::by_name;
use crate::arguments::Compress;
use crate::progress::Bars;
use crate::{commands, output, recipe};

pub(crate) fn run(arguments: &Compress) -> Result<(), Error> {
    if let Some(name) = &arguments.recipe {
        let report = jobs::recipe(&recipe(arguments, name)?, &Bars::new())?;
        return match arguments.json {
            true => output::json(&report),
            false => print_recipe(&report),
        };
    }
    let report = jobs::compress(&job(arguments)?, &Bars::new())?;
    match arguments.json {
        true => output::json(&report),
        false => print(&report),
    }
}

/// Prints what was done.
pub(crate) fn print(report: &CompressReport) -> Result<(), Error> {
    for warning in &report.warnings {
        output::talk(&format!("warning: {warning}"));
    }
    let (before, after) = (&report.before, &report.after);
    let times = |before: f64, after: f64| before / after.max(f64::MIN_POSITIVE);
    output::talk(&format!(
        "{} -> {}: {}, the best of {} networks that were built in {:.0} s",
        report.model.display(),
        report.output.display(),
        report.name,
        report.tried,
        report.seconds,
    ));
    output::talk(&format!(
        "{} -> {} ({:.2} times smaller), {:.2} -> {:.2} ms ({:.2} times faster, {}), MACs {} -> {}",
        output::bytes(before.bytes),
        output::bytes(after.bytes),
        times(before.bytes as f64, after.bytes as f64),
        before.latency_ms,
        after.latency_ms,
        times(before.latency_ms, after.latency_ms),
        report.latency_source,
        before.macs,
        after.macs,
    ));
    for scores in [&report.scores, &report.in_runtime].into_iter().flatten() {
        output::data(&commands::comparison(scores))?;
    }
    output::talk(&format!("report: {}", report.page.display()));
    Ok(())
}

/// Prints what the steps did.
pub(super) fn print_recipe(report: &RecipeReport) -> Result<(), Error> {
    for step in &report.steps {
        step.warnings
            .iter()
            .for_each(|warning| output::talk(&format!("warning: {}: {warning}", step.name)));
        output::talk(&format!(
            "{}: {} in {:.1} s",
            step.name,
            output::bytes(step.bytes),
            step.seconds
        ));
    }
    output::talk(&format!(
        "{} -> {}: {} -> {} in {:.1} s; {} makes it again",
        report.model.display(),
        report.output.display(),
        output::bytes(report.bytes_before),
        output::bytes(report.bytes_after),
        report.seconds,
        report.recipe.display(),
    ));
    report
        .scores
        .as_ref()
        .map_or(Ok(()), |scores| output::data(&commands::comparison(scores)))
}

fn recipe(arguments: &Compress, name: &str) -> Result<RecipeJob, Error> {
    let data = arguments.data.as_deref();
    let recipe = recipe::read(name, &arguments.model, data, arguments.seed)?;
    Ok(RecipeJob {
        model: arguments.model.clone(),
        data: arguments.data.clone(),
        steps: recipe.steps,
        resolved: recipe.resolved,
        score_split: data.map(|_| "test".to_owned()),
        metrics: arguments.metric.iter().cloned().collect(),
        limit: arguments.limit.unwrap_or(usize::MAX),
        output: arguments.output.clone(),
    })
}

pub(crate) fn job(arguments: &Compress) -> Result<CompressJob, Error> {
    let runtime = arguments.runtime.as_deref();
    let keep = arguments.keep.iter().map(|text| share(text));
    let minimize = by_name("goal", &arguments.minimize, Minimize::ALL)?;
    let usual_drop = if minimize == Minimize::Loss {
        f64::INFINITY
    } else {
        0.5
    };
    let target = target(&arguments.target)?;
    // What does not fit is streamed where the target can do that.
    let memory = match target.memory.beyond {
        None => target.memory,
        Some(_) => Memory::ANY,
    };
    let threads = || std::thread::available_parallelism().map_or(1, usize::from);
    Ok(CompressJob {
        model: arguments.model.clone(),
        data: arguments.data.clone().unwrap_or_default(),
        target,
        runtime: runtime.map(RuntimeChoice::by_name).transpose()?,
        cost_model: arguments
            .cost_model
            .as_deref()
            .map(jobs::read_cost_model)
            .transpose()?,
        metric: arguments.metric.clone(),
        budget: Budget {
            max_drop: arguments.max_drop.unwrap_or(usual_drop),
            min_score: arguments.min_score,
            max_bytes: arguments.max_bytes.or(memory.constants),
            max_activation_bytes: arguments.max_activation_bytes.or(memory.activations),
            max_latency: arguments.max_latency,
            confidence: share(&arguments.confidence)?,
            minimize,
            time_limit: arguments.time_limit.as_deref().map(duration).transpose()?,
        },
        keep: keep.collect::<Result<_, _>>()?,
        widths: match arguments.widths.is_empty() {
            true => usual_widths(target).to_vec(),
            false => arguments.widths.clone(),
        },
        epochs: arguments.epochs,
        learning_rate: arguments.learning_rate,
        exclude: selectors(&arguments.exclude)?,
        samples: arguments.samples,
        validation_samples: arguments.validation_samples,
        batch: arguments.batch as usize,
        threads: arguments.threads.map_or_else(threads, |threads| threads as usize),
        limit: arguments.limit.unwrap_or(usize::MAX),
        corruptions: arguments.corruptions.clone().map(|names| CorruptionSettings {
            names,
            strengths: arguments.strengths.clone(),
            seed: arguments.seed,
        }),
        seed: arguments.seed,
        command: command(),
        keep_search: arguments.keep_search,
        output: arguments.output.clone(),
    })
}

/// Widths that files for a target can have.
fn usual_widths(target: &Target) -> &'static [u32] {
    match target.folds_constants {
        true => &[8, 6, 5, 4, 3, 2],
        false => &[8, 4],
    }
}

/// The command line, so that it can be repeated.
fn command() -> String {
    let quoted = |word: String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:%".contains(c);
        match word.chars().all(plain) && !word.is_empty() {
            true => word,
            false => format!("'{}'", word.replace('\'', "'\\''")),
        }
    };
    let words = std::env::args().skip(1).map(quoted);
    std::iter::once("bantam".to_owned())
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}

/// A time as `90s`, `20m` or `2h`; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, Error> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let factor = match unit {
        "" | "s" => Some(1.0),
        "m" | "min" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    };
    let seconds = number.trim().parse::<f64>().ok().zip(factor);
    let duration = seconds.and_then(|(number, factor)| Duration::try_from_secs_f64(number * factor).ok());
    duration.ok_or_else(|| Error::Usage {
        message: format!("`{text}` is no time"),
        hint: "write it as 90s, 20m or 2h".to_owned(),
    })
}
