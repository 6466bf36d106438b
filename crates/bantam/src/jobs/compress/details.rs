//! The report for programs, of which the page is made.

use serde_json::{Value, json};

use super::Search;
use super::candidate::{Candidate, Decided, Tried};
use super::level::{FLOAT, Layer, Level};
use super::outcome::{CompressReport, Side, level_of, name, verdict};
use super::plan::Found;
use crate::jobs::ScoreReport;

/// Everything, for `report.json` and the page.
pub(super) fn details(search: &Search<'_>, found: &Found, report: &CompressReport) -> Value {
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

fn side_details(search: &Search<'_>, side: &Side, scores: Option<&ScoreReport>) -> Value {
    let job = search.job;
    json!({
        "bytes": side.bytes, "parameters": side.parameters, "macs": side.macs, "bit_operations": side.bit_operations, "energy_mj": side.energy_mj, "energy_source": side.energy_source,
        "metrics": scores.map(|scores| &scores.metrics), "samples": scores.map(|scores| scores.samples),
        "latency": [{
            "runtime": search.clock.name(), "batch": job.batch, "threads": job.threads, "median_ms": side.latency_ms,
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

fn why(layer: &Layer, bits: u32) -> String {
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
