//! What is said of a finished search.

use std::path::{Path, PathBuf};

use bantam_compress::search::energy::multiply_accumulate;
use bantam_formats::data::DataSet;
use bantam_graph::{cost, infer_shapes};
use serde::Serialize;

use super::Search;
use super::budget::Minimize;
use super::candidate::{Candidate, Decided, arithmetic, latency, save_options};
use super::clock::Clock;
use super::details::details;
use super::histograms::histograms;
use super::level::{FLOAT, Level};
use super::plan::Found;
use crate::jobs::inspect::with_batch;
use crate::jobs::{
    CompareJob, CompareReport, ComparedCorruptions, EnergySource, EvalJob, RuntimeChoice, compare,
    compare_corrupted, model_bytes,
};
use crate::report::page;
use crate::{Error, Progress, pipeline, write_whole};

/// What was done.
#[derive(Clone, Debug, Serialize)]
pub struct CompressReport {
    /// The model's file.
    pub model: PathBuf,
    /// The result's file.
    pub output: PathBuf,
    /// The report for programs.
    pub report: PathBuf,
    /// The same for people.
    pub page: PathBuf,
    /// How the result was made, in words.
    pub name: String,
    /// The network as it was.
    pub before: Side,
    /// The result.
    pub after: Side,
    /// What told latency: a runtime, or the model of a target.
    pub latency_source: String,
    /// Networks that were built and judged.
    pub tried: usize,
    /// Time for all but scoring the result.
    pub seconds: f64,
    /// What to know before shipping the result.
    pub warnings: Vec<String>,
    /// Both on the test split, in our own executor.
    pub scores: Option<CompareReport>,
    /// The result there in the target's runtime, if that is present.
    pub in_runtime: Option<CompareReport>,
    /// Both under corruptions of the test images, if they were asked for.
    pub robustness: Option<ComparedCorruptions>,
    /// Whether the budget is kept on the test split.
    pub inside: Option<bool>,
}

/// Size and speed of a network.
#[derive(Clone, Debug, Serialize)]
pub struct Side {
    /// Bytes of the file.
    pub bytes: u64,
    /// Parameters.
    pub parameters: u64,
    /// Multiply-accumulates of a sample.
    pub macs: u64,
    /// Multiply-accumulates, each times the bits of both factors.
    pub bit_operations: u64,
    /// Millijoules of a sample.
    pub energy_mj: f64,
    /// What tells them; the model is of arithmetic, and of reading the weights of products.
    pub energy_source: EnergySource,
    /// Milliseconds of a run: the median, where they are measured.
    pub latency_ms: f64,
}

/// A candidate in words.
pub(super) fn name(candidate: &Candidate) -> String {
    let mut words = Vec::new();
    if candidate.left < 1000 {
        words.push(format!("{}% left", f64::from(candidate.left) / 10.0));
    }
    match &candidate.bits {
        None => words.push("float".to_owned()),
        Some(bits) => {
            let mean = bits.iter().map(|bits| f64::from(*bits)).sum::<f64>() / bits.len().max(1) as f64;
            words.push(format!("{mean:.2} bits a layer"));
        }
    }
    if !candidate.float.is_empty() {
        words.push(format!("{} layers in float", candidate.float.len()));
    }
    if candidate.epochs > 0 {
        words.push(format!("{} epochs", candidate.epochs));
    }
    words.join(", ")
}

/// What samples said, in words.
pub(super) fn word(decided: Decided) -> &'static str {
    match decided {
        Decided::Accepted => "within the budget for certain",
        Decided::Within => "within the budget",
        Decided::Beyond => "beyond the budget",
        Decided::Rejected => "beyond the budget for certain",
    }
}

/// A result that takes so many times as long is told.
const SLOWER: f64 = 1.2;

/// Writes the result and its reports, and scores it.
pub(super) fn finish(
    search: &Search<'_>,
    found: &Found,
    progress: &dyn Progress,
) -> Result<CompressReport, Error> {
    let job = search.job;
    let best = &found.best;
    let built = search.workspace.file(&best.file);
    pipeline::export(&pipeline::load(&built)?, &job.output, &save_options(job))?;
    let seconds = search.workspace.seconds();
    let level = level_of(found, &best.candidate);
    let sides = [
        side(search, &job.model, None, &found.levels[0], progress)?,
        side(search, &job.output, Some(&best.candidate), level, progress)?,
    ];
    let (scores, in_runtime) = scores(search, progress)?;
    let inside = scores.as_ref().map(|scores| is_inside(search, scores));
    let mut warnings = search.warnings.borrow().clone();
    if inside == Some(false) {
        warnings.push(format!(
            "on the test split the result loses more than asked: {}",
            verdict(search, scores.as_ref())
        ));
    }
    let [before, after] = &sides;
    let measured = matches!(search.clock, Clock::Runtime(_));
    if measured && after.latency_ms > SLOWER * before.latency_ms && job.budget.minimize != Minimize::Latency {
        warnings.push(format!(
            "the result takes {:.1} times as long as the model in {}: --minimize latency finds what is fast there",
            after.latency_ms / before.latency_ms,
            search.clock.name(),
        ));
    }
    let beside = |ending: &str| job.output.with_extension(ending);
    let [before, after] = sides;
    let report = CompressReport {
        model: job.model.clone(),
        output: job.output.clone(),
        report: beside("report.json"),
        page: beside("report.html"),
        name: name(&best.candidate),
        before,
        after,
        latency_source: search.clock.name(),
        tried: search.tried.borrow().len(),
        seconds,
        warnings,
        scores,
        in_runtime,
        robustness: robustness(search, progress)?,
        inside,
    };
    let mut details = details(search, found, &report);
    let before = &found.levels[0].layers;
    details["robustness"] =
        serde_json::to_value(report.robustness.as_ref().map(|found| &found.rows)).expect("numbers");
    details["histograms"] = histograms(search, before)?.into();
    let text = serde_json::to_vec_pretty(&details).expect("reports hold nothing that JSON cannot say");
    write_whole(&report.report, &text)?;
    write_whole(&report.page, page(&details).as_bytes())?;
    Ok(report)
}

pub(super) fn level_of<'a>(found: &'a Found, candidate: &Candidate) -> &'a Level {
    let level = found.levels.iter().find(|level| level.left == candidate.left);
    level.unwrap_or(&found.levels[0])
}

fn side(
    search: &Search<'_>,
    file: &Path,
    candidate: Option<&Candidate>,
    level: &Level,
    progress: &dyn Progress,
) -> Result<Side, Error> {
    let mut graph = pipeline::prepare(&pipeline::load(&level.file)?)?.graph;
    let options = with_batch(&graph, 1);
    infer_shapes(&mut graph, &options)?;
    let counted = cost(&graph);
    let whole = Candidate::float(level.left);
    let candidate = candidate.unwrap_or(&whole);
    let layers: u64 = level.layers.iter().map(|layer| layer.macs).sum();
    let rest = counted.macs.saturating_sub(layers);
    let operations = arithmetic(level, candidate, Minimize::BitOperations);
    let picojoules = arithmetic(level, candidate, Minimize::Energy);
    let taken = latency(search, file, progress)?;
    let modelled = (picojoules + rest as f64 * multiply_accumulate(FLOAT, FLOAT)) / 1e9;
    let (energy_mj, energy_source) = taken.energy.map_or((modelled, EnergySource::Model), |energy| {
        (energy.millijoules, energy.source)
    });
    Ok(Side {
        bytes: model_bytes(file),
        parameters: counted.parameters,
        macs: counted.macs,
        bit_operations: operations as u64 + rest * u64::from(FLOAT * FLOAT),
        energy_mj,
        energy_source,
        latency_ms: taken.milliseconds,
    })
}

/// Both networks on the test split, if there is one with labels.
fn scores(
    search: &Search<'_>,
    progress: &dyn Progress,
) -> Result<(Option<CompareReport>, Option<CompareReport>), Error> {
    let job = search.job;
    let data = DataSet::open(&job.data)?;
    if !data.is_one_split() && !data.split_names().contains(&"test") {
        search
            .warnings
            .borrow_mut()
            .push("the data set has no split `test`: the result is not scored".to_owned());
        return Ok((None, None));
    }
    let with = |runtime| compare(&pair(search, runtime), progress);
    let own = with(RuntimeChoice::Bantam)?;
    let other = match search.clock.runtime() {
        RuntimeChoice::Bantam => None,
        runtime => Some(with(runtime)?),
    };
    Ok((Some(own), other))
}

/// Both networks on the test split.
fn pair(search: &Search<'_>, runtime: RuntimeChoice) -> CompareJob {
    let job = search.job;
    CompareJob {
        first: EvalJob {
            model: job.model.clone(),
            data: job.data.clone(),
            split: "test".to_owned(),
            metrics: search
                .metric
                .iter()
                .map(|metric| metric.name().to_owned())
                .collect(),
            runtime,
            limit: job.limit,
            batch: None,
            threads: job.threads,
        },
        second: job.output.clone(),
        second_runtime: runtime,
    }
}

/// Both under corruptions of the test images, where that is asked for.
fn robustness(search: &Search<'_>, progress: &dyn Progress) -> Result<Option<ComparedCorruptions>, Error> {
    let (Some(settings), Some(_)) = (&search.job.corruptions, search.metric) else {
        return Ok(None);
    };
    compare_corrupted(&pair(search, RuntimeChoice::Bantam), settings, progress).map(Some)
}

/// Whether the loss on the test split is at most what was allowed.
fn is_inside(search: &Search<'_>, scores: &CompareReport) -> bool {
    lost(search, scores) <= search.limit
}

/// Mean loss of a sample; without labels the share of answers that changed.
fn lost(search: &Search<'_>, scores: &CompareReport) -> f64 {
    let is_share = search.metric.is_none_or(|metric| metric.is_proportion());
    match &scores.comparison {
        Some(comparison) if is_share => -comparison.difference,
        Some(comparison) => comparison.difference,
        None => scores
            .agreement
            .disagreement
            .map_or(f64::INFINITY, |share| share.value),
    }
}

/// What was lost, and what was allowed.
pub(super) fn verdict(search: &Search<'_>, scores: Option<&CompareReport>) -> String {
    let Some(scores) = scores else {
        return "not scored".to_owned();
    };
    let (lost, limit) = (lost(search, scores), search.limit);
    let is_share = search.metric.is_none_or(|metric| metric.is_proportion());
    if limit.is_infinite() {
        return match is_share {
            true => format!("{:.3} points lost", 100.0 * lost),
            false => format!("{:.2}% worse", 100.0 * lost.exp_m1()),
        };
    }
    match is_share {
        true => format!(
            "{:.3} points lost, at most {:.3} allowed",
            100.0 * lost,
            100.0 * limit
        ),
        false => format!(
            "{:.2}% worse, at most {:.2}% allowed",
            100.0 * lost.exp_m1(),
            100.0 * limit.exp_m1()
        ),
    }
}
