//! What is said of a finished search.

use std::path::{Path, PathBuf};

use bantam_compress::search::energy::multiply_accumulate;
use bantam_formats::data::DataSet;
use bantam_graph::{cost, infer_shapes};
use serde::Serialize;
use serde_json::{Value, json};

use super::Search;
use super::budget::Minimize;
use super::candidate::{Candidate, Decided, Tried, arithmetic, latency};
use super::histograms::histograms;
use super::level::{FLOAT, Level};
use super::plan::Found;
use crate::jobs::inspect::with_batch;
use crate::jobs::{
    CompareJob, CompareReport, ComparedCorruptions, EvalJob, RuntimeChoice, compare, compare_corrupted,
    model_bytes,
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
    /// Millijoules of a sample by a model (Horowitz 2014): arithmetic, and reading the weights of products.
    pub energy_mj: f64,
    /// Median milliseconds of a run.
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
    pipeline::export(&pipeline::load(&built)?, &job.output, &Default::default())?;
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
    if after.latency_ms > SLOWER * before.latency_ms && job.budget.minimize != Minimize::Latency {
        warnings.push(format!(
            "the result takes {:.1} times as long as the model in {}, which unpacks weights of fewer than 8 bits at each run: --minimize latency, or --widths 8",
            after.latency_ms / before.latency_ms,
            search.runtime.name(),
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
    details["histograms"] = histograms(&job.model, &job.output, before)?.into();
    let text = serde_json::to_vec_pretty(&details).expect("reports hold nothing that JSON cannot say");
    write_whole(&report.report, &text)?;
    write_whole(&report.page, page(&details).as_bytes())?;
    Ok(report)
}

fn level_of<'a>(found: &'a Found, candidate: &Candidate) -> &'a Level {
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
    Ok(Side {
        bytes: model_bytes(file),
        parameters: counted.parameters,
        macs: counted.macs,
        bit_operations: operations as u64 + rest * u64::from(FLOAT * FLOAT),
        energy_mj: (picojoules + rest as f64 * multiply_accumulate(FLOAT, FLOAT)) / 1e9,
        latency_ms: latency(search, file, progress)?,
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
    let other = match search.runtime {
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

fn verdict(search: &Search<'_>, scores: Option<&CompareReport>) -> String {
    let Some(scores) = scores else {
        return "not scored".to_owned();
    };
    let (lost, limit) = (lost(search, scores), search.limit);
    match search.metric.is_none_or(|metric| metric.is_proportion()) {
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

/// Everything, for `report.json` and the page.
fn details(search: &Search<'_>, found: &Found, report: &CompressReport) -> Value {
    let job = search.job;
    let budget = &job.budget;
    let metric = search.metric.map_or("agreement", |metric| metric.name());
    // What candidates lose is known on samples that decide; it is shown from where the result is scored.
    let scored = report
        .scores
        .as_ref()
        .and_then(|scores| scores.first.metrics.get(metric));
    let whole = scored.map_or_else(|| search.float.score(search.metric), |score| score.value);
    json!({
        "bantam": env!("CARGO_PKG_VERSION"),
        "model": job.model, "output": job.output, "data": job.data, "target": job.target.name,
        "command": job.command, "seed": job.seed, "data_hash": search.data_hash, "seconds": report.seconds,
        "warnings": report.warnings,
        "budget": {
            "metric": metric, "max_drop": budget.max_drop / 100.0, "minimize": budget.minimize,
            "max_bytes": budget.max_bytes, "max_latency_ms": budget.max_latency, "min_score": budget.min_score,
            "confidence": budget.confidence, "time_limit_s": budget.time_limit.map(|limit| limit.as_secs()),
        },
        "verdict": { "inside": report.inside, "text": verdict(search, report.scores.as_ref()) },
        "before": side_details(search, &report.before, report.scores.as_ref().map(|scores| &scores.first)),
        "after": side_details(search, &report.after, report.scores.as_ref().map(|scores| &scores.second)),
        "comparison": report.scores.as_ref().map(|scores| &scores.comparison),
        "in_runtime": report.in_runtime,
        "candidates": candidates(search, found, whole),
        "alternatives": alternatives(search, found, whole),
        "layers": layers(found),
        "time": search.seconds.borrow().iter().map(|(stage, seconds)| json!({ "stage": stage, "seconds": seconds })).collect::<Vec<_>>(),
    })
}

fn side_details(search: &Search<'_>, side: &Side, scores: Option<&crate::jobs::ScoreReport>) -> Value {
    let job = search.job;
    json!({
        "bytes": side.bytes, "parameters": side.parameters, "macs": side.macs, "bit_operations": side.bit_operations, "energy_mj": side.energy_mj, "energy_source": "model",
        "metrics": scores.map(|scores| &scores.metrics), "samples": scores.map(|scores| scores.samples),
        "latency": [{
            "runtime": search.runtime.name(), "batch": job.batch, "threads": job.threads, "median_ms": side.latency_ms,
        }],
    })
}

/// Networks that were built, the one as it was before them.
fn candidates(search: &Search<'_>, found: &Found, whole: f64) -> Vec<Value> {
    let tried = search.tried.borrow();
    let is_on_front = |one: &Tried| {
        !tried.iter().any(|other| {
            (other.bytes < one.bytes && other.loss <= one.loss)
                || (other.bytes <= one.bytes && other.loss < one.loss)
        })
    };
    let listed = tried.iter().enumerate().map(|(index, one)| {
        let level = level_of(found, &one.candidate);
        let value = score(search, whole, one.loss);
        let ends = [score(search, whole, one.loss + one.half), score(search, whole, one.loss - one.half)];
        let kind = match (&one.candidate.bits, one.candidate.left) {
            (None, _) => "prune",
            (Some(_), 1000) => "quantize",
            (Some(_), _) => "joint",
        };
        json!({
            "id": index, "name": name(&one.candidate), "kind": kind, "removed": 1.0 - f64::from(one.candidate.left) / 1000.0,
            "mean_bits": mean_bits(level, &one.candidate), "bytes": one.bytes, "macs": level.macs, "latency_ms": one.latency_ms,
            "score": { "value": value, "low": ends[0].min(ends[1]), "high": ends[0].max(ends[1]) }, "drop": one.loss,
            "samples": one.samples, "decided": if one.verdict.is_within() { "accepted" } else { "rejected" },
            "certain": matches!(one.verdict, Decided::Accepted | Decided::Rejected), "trained": one.candidate.epochs > 0,
            "chosen": one.file == found.best.file, "on_front": is_on_front(one),
            "layers": bits_of_layers(&found.levels[0], level, &one.candidate),
        })
    });
    listed.collect()
}

/// The score of a network that loses so much against the one as it was.
fn score(search: &Search<'_>, whole: f64, loss: f64) -> f64 {
    match search.metric.is_none_or(|metric| metric.is_proportion()) {
        true => whole - loss,
        false => whole * loss.exp(),
    }
}

/// Mean bits of the weights' elements.
fn mean_bits(level: &Level, candidate: &Candidate) -> f64 {
    let (mut bits, mut elements) = (0.0, 0.0);
    for (place, layer) in level.layers.iter().enumerate() {
        bits += f64::from(candidate.bits_of(place)) * layer.elements as f64;
        elements += layer.elements as f64;
    }
    bits / f64::max(elements, 1.0)
}

fn bits_of_layers(whole: &Level, level: &Level, candidate: &Candidate) -> Vec<Value> {
    let layers = level.layers.iter().enumerate();
    let listed = layers.map(|(place, layer)| {
        let kept = layer.elements as f64 / whole.of_name(layer).elements.max(1) as f64;
        json!({ "name": layer.name, "bits": candidate.bits_of(place), "kept": kept })
    });
    listed.collect()
}

/// The best of each kind under the same budget.
fn alternatives(search: &Search<'_>, found: &Found, whole: f64) -> Vec<Value> {
    let tried = search.tried.borrow();
    let kinds = [
        ("joint", Some(&found.best)),
        ("quantize", found.quantized.as_ref()),
        ("prune", found.pruned.as_ref()),
    ];
    let listed = kinds.into_iter().filter_map(|(kind, best)| {
        let best = best?;
            let value = score(search, whole, best.loss);
        Some(json!({
            "kind": kind, "candidate": tried.iter().position(|one| one.file == best.file), "bytes": best.bytes,
            "latency_ms": best.latency_ms, "inside": best.verdict.is_within(),
            "score": { "value": value, "low": score(search, whole, best.loss + best.half), "high": score(search, whole, best.loss - best.half) },
        }))
    });
    listed.collect()
}

/// Each layer of the result beside that of the network as it was.
fn layers(found: &Found) -> Vec<Value> {
    let (whole, candidate) = (&found.levels[0], &found.best.candidate);
    let level = level_of(found, candidate);
    let listed = level.layers.iter().enumerate().map(|(place, layer)| {
        let before = whole.of_name(layer);
        let bits = candidate.bits_of(place);
        let formats = layer.formats.iter();
        let sensitivity: Vec<Value> = formats
            .map(|format| json!({ "bits": format.bits, "loss": format.loss }))
            .collect();
        json!({
            "name": layer.name, "op": layer.op, "parameters_before": before.elements, "parameters_after": layer.elements,
            "macs_before": before.macs, "macs_after": layer.macs, "bits": bits,
            "activation_bits": if bits == FLOAT { FLOAT } else { 8 },
            "kept": layer.elements as f64 / before.elements.max(1) as f64, "sensitivity": sensitivity, "why": why(layer, bits),
        })
    });
    listed.collect()
}

fn why(layer: &super::level::Layer, bits: u32) -> String {
    let Some(format) = layer.formats.iter().find(|format| format.bits == bits) else {
        return "stays in float: with codes the budget was not kept".to_owned();
    };
    let narrower = layer.formats.iter().filter(|other| other.bits < bits);
    match narrower.max_by_key(|other| other.bits) {
        None => format!(
            "the fewest bits that may be chosen move what the network says by {:.1e} nats",
            format.loss
        ),
        Some(other) => format!(
            "{} bits would move what the network says by {:.1e} nats, {bits} move it by {:.1e}",
            other.bits, other.loss, format.loss
        ),
    }
}
