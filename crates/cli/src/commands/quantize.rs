//! `bantam quantize`.

mod groups;
mod rescaling;

use bantam::Error;
use bantam::compress::quantize::aware::AwareSettings;
use bantam::compress::quantize::layerwise::{ALGORITHMS, Algorithm, algorithm_by_name};
use bantam::compress::quantize::{METHODS, Method, QuantizeSettings, method_by_name};
use bantam::compress::range::{RANGES, RangeMethod, range_by_name};
use bantam::compress::select::Selector;
use bantam::compress::target::{TARGETS, Target, target_by_name};
use bantam::jobs::{self, Codes, QuantizeJob, QuantizeReport};
use bantam::pipeline::Algorithms;
use bantam::tensor::{
    FORMATS, FormatKind, Granularity, NARROW_FORMATS, NumberFormat, table_format_by_name,
    trained_format_by_name,
};

use crate::arguments::Quantize;
use crate::progress::Bars;
use crate::{commands, output};

pub(crate) fn run(arguments: &Quantize) -> Result<(), Error> {
    let report = jobs::quantize(&job(arguments)?, &Bars::new())?;
    print(&report, arguments.json)
}

/// Prints what was done.
pub(crate) fn print(report: &QuantizeReport, json: bool) -> Result<(), Error> {
    for warning in &report.warnings {
        output::talk(&format!("warning: {warning}"));
    }
    if json {
        return output::json(report);
    }
    output::talk(&format!(
        "{} -> {}: {} quantization for {} with {} calibration samples in {:.2} s, {} -> {}",
        report.model.display(),
        report.output.display(),
        report.method,
        report.target,
        report.samples,
        report.seconds,
        output::bytes(report.bytes_before),
        output::bytes(report.bytes_after),
    ));
    if report.rescaled > 0 || !report.unmoved.is_empty() {
        output::talk(&format!("scales moved between {} constants", report.rescaled));
    }
    for unmoved in &report.unmoved {
        output::talk(&format!("scale kept: {} ({})", unmoved.node, unmoved.why));
    }
    for kept in &report.kept {
        output::talk(&format!("kept in float: {} ({})", kept.node, kept.why));
    }
    match &report.scores {
        Some(scores) => output::data(&commands::comparison(scores)),
        None => Ok(()),
    }
}

pub(crate) fn job(arguments: &Quantize) -> Result<QuantizeJob, Error> {
    let groups = groups::groups(arguments)?;
    let method = match (&arguments.float, arguments.dynamic) {
        (Some(name), _) => float_method(name)?,
        (None, true) => method_by_name("dynamic").expect("listed"),
        (None, false) => method_by_name("static").expect("listed"),
    };
    Ok(QuantizeJob {
        model: arguments.model.clone(),
        data: arguments.data.clone(),
        method,
        settings: settings(arguments)?,
        codes: if groups.is_none() { codes(arguments)? } else { None },
        groups,
        rescaling: rescaling::rescaling(arguments)?,
        samples: arguments.samples,
        seed: arguments.seed,
        calibration_split: "train".to_owned(),
        plan: arguments.plan.clone(),
        plan_out: arguments.plan_out.clone(),
        score_split: (!arguments.no_eval).then(|| "test".to_owned()),
        metrics: arguments.metric.clone(),
        limit: arguments.limit.unwrap_or(usize::MAX),
        output: arguments.output.clone(),
        resume: arguments.resume,
        save: arguments.saving.options_for(target(&arguments.target)?),
    })
}

/// The method that makes floats of 16 bits.
fn float_method(name: &str) -> Result<&'static dyn Method, Error> {
    let floats = || {
        METHODS
            .iter()
            .copied()
            .filter(|method| method.name().contains("f16"))
    };
    let found = floats().find(|method| method.name() == name);
    found.ok_or_else(|| Error::unknown_name("format of floats", name, floats().map(|method| method.name())))
}

fn settings(arguments: &Quantize) -> Result<QuantizeSettings, Error> {
    let mut settings = QuantizeSettings::for_target(target(&arguments.target)?);
    if let Some(name) = &arguments.activations {
        // Activations that stay in float are no format of the target.
        if name != "float" {
            settings.activations = format(name)?;
        }
        // Unsigned codes are there for values of one sign; signed ones are fast only around zero.
        settings.symmetric_activations = has_zero_in_the_middle(settings.activations);
    }
    settings.granularity = granularity(&arguments.granularity)?;
    let in_groups = matches!(settings.granularity, Granularity::Group(_));
    // Groups have formats of their own.
    if let Some(name) = arguments.weights.as_ref().filter(|_| !in_groups) {
        settings.weights = format(name)?;
        settings.symmetric_weights = has_zero_in_the_middle(settings.weights);
    }
    settings.symmetric_activations = arguments
        .symmetric_activations
        .unwrap_or(settings.symmetric_activations);
    settings.symmetric_weights = arguments.symmetric_weights.unwrap_or(settings.symmetric_weights);
    if let Some(name) = &arguments.range {
        settings.range = range(name)?;
    }
    if let Some(name) = &arguments.weight_range {
        settings.weight_range = range(name)?;
    }
    settings.bias_correction = !arguments.no_bias_correction;
    settings.include = selectors(&arguments.include)?;
    settings.exclude = selectors(&arguments.exclude)?;
    Ok(settings)
}

/// Signed codes, and floats.
fn has_zero_in_the_middle(format: &dyn NumberFormat) -> bool {
    format.min_code() < 0 || format.kind() == FormatKind::Float
}

/// How codes are chosen, if algorithms are named or formats are narrower than files can say.
fn codes(arguments: &Quantize) -> Result<Option<Codes>, Error> {
    let algorithms = algorithms(&arguments.algorithm)?;
    let formats = [&arguments.weights, &arguments.activations];
    let narrow = formats
        .into_iter()
        .flatten()
        .any(|name| name == "float" || is_narrow(name));
    if algorithms.is_empty() && !narrow && arguments.edges.is_none() && arguments.width.is_empty() {
        return Ok(None);
    }
    refuse_what_needs_plain_codes(arguments)?;
    let quantize = settings(arguments)?;
    let mut settings = AwareSettings::for_target(quantize.target);
    let (weights, activations) = (quantize.weights.name(), quantize.activations.name());
    let ranges = (settings.quantize.range, settings.quantize.weight_range);
    settings.quantize = quantize;
    // Few codes are too coarse for the whole range.
    if arguments.range.is_none() {
        settings.quantize.range = ranges.0;
    }
    if arguments.weight_range.is_none() {
        settings.quantize.weight_range = ranges.1;
    }
    let activations = arguments.activations.as_deref().unwrap_or(activations);
    settings.set_formats(arguments.weights.as_deref().unwrap_or(weights), activations)?;
    if let Some(edges) = &arguments.edges {
        settings.set_edges(edges)?;
    }
    settings.widths = super::train::widths(&arguments.width)?;
    settings.packed_codes &= !arguments.saving.native_codes;
    Ok(Some(Codes {
        settings,
        algorithms: Algorithms {
            list: algorithms,
            steps: arguments.steps,
            learning_rate: arguments.learning_rate,
        },
    }))
}

/// A plan holds scales, but neither chosen codes nor bounds of narrow formats.
fn refuse_what_needs_plain_codes(arguments: &Quantize) -> Result<(), Error> {
    let needs = [
        (arguments.dynamic, "--dynamic", "formats of 8 bits"),
        (arguments.plan.is_some(), "--plan", "formats of the target"),
        (
            arguments.plan_out.is_some(),
            "--plan-out",
            "formats of the target and no --algorithm",
        ),
        (
            arguments.no_bias_correction,
            "--no-bias-correction",
            "formats of the target and no --algorithm",
        ),
    ];
    match needs.into_iter().find(|(given, ..)| *given) {
        None => Ok(()),
        Some((_, flag, what)) => Err(Error::Usage {
            message: format!("{flag} does not go with codes that are chosen for the network"),
            hint: format!("{flag} needs {what}"),
        }),
    }
}

/// The algorithms of these names.
pub(super) fn algorithms(names: &[String]) -> Result<Vec<&'static dyn Algorithm>, Error> {
    let known = || ALGORITHMS.iter().map(|algorithm| algorithm.name());
    let by_name = |name: &String| {
        algorithm_by_name(name).ok_or_else(|| Error::unknown_name("algorithm", name, known()))
    };
    names.iter().map(by_name).collect()
}

/// Whether a name is that of integers of fewer than 8 bits.
fn is_narrow(name: &str) -> bool {
    let format = trained_format_by_name(name).filter(|format| format.kind() == FormatKind::Integer);
    format.is_some_and(|format| format.bits() < 8)
}

/// The target of this name.
pub(super) fn target(name: &str) -> Result<&'static Target, Error> {
    let unknown = || Error::unknown_name("target", name, TARGETS.iter().map(|target| target.name));
    target_by_name(name).ok_or_else(unknown)
}

pub(super) fn granularity(name: &str) -> Result<Granularity, Error> {
    match name {
        "channel" => Ok(Granularity::Channel),
        "tensor" => Ok(Granularity::Tensor),
        other => {
            let length = other
                .strip_prefix("group:")
                .and_then(|length| length.parse().ok());
            if let Some(length) = length.filter(|length| *length > 0) {
                return Ok(Granularity::Group(length));
            }
            let known = ["channel", "tensor", "group:32"].into_iter();
            Err(Error::unknown_name("granularity", other, known))
        }
    }
}

pub(super) fn selectors(texts: &[String]) -> Result<Vec<Selector>, Error> {
    let parsed = texts.iter().map(|text| Selector::parse(text));
    Ok(parsed.collect::<Result<_, _>>()?)
}

pub(super) fn range(name: &str) -> Result<&'static dyn RangeMethod, Error> {
    range_by_name(name)
        .ok_or_else(|| Error::unknown_name("range", name, RANGES.iter().map(|range| range.name())))
}

/// A format of codes: integers, and floats of 8 bits.
fn format(name: &str) -> Result<&'static dyn NumberFormat, Error> {
    let is_code = |format: &&dyn NumberFormat| match format.kind() {
        FormatKind::Integer => true,
        FormatKind::Float => format.bits() == 8,
        FormatKind::Codebook => false,
    };
    if table_format_by_name(name).is_some() {
        let message = format!("{name} is for weights in groups");
        return Err(groups::usage(&message, "--granularity group:64"));
    }
    let known = || FORMATS.iter().chain(NARROW_FORMATS).copied().filter(is_code);
    let format = trained_format_by_name(name).filter(is_code);
    format.ok_or_else(|| Error::unknown_name("format of codes", name, known().map(|format| format.name())))
}
