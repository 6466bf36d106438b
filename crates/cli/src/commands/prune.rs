//! `bantam prune`.

mod training;

use bantam::Error;
use bantam::compress::prune::channels::{ChannelScope, ChannelSettings, Target, UnitKind};
use bantam::compress::prune::criterion::{CRITERIA, Criterion, FOR_CHANNELS, criterion_by_name};
use bantam::compress::prune::layers::{LayerCriterion, LayerSettings};
use bantam::compress::prune::reconstruct::{RECONSTRUCTIONS, Reconstruction, reconstruction_by_name};
use bantam::compress::prune::{PruneSettings, Scope, Structure};
use bantam::compress::train::Loss;
use bantam::graph::InferOptions;
use bantam::jobs::{self, LatencyTarget, PruneJob, PruneReport, PrunedLayer, Pruning, RuntimeChoice};

use super::quantize::selectors;
use super::train::by_name;
use crate::arguments::{Prune, byte_count};
use crate::progress::Bars;
use crate::{commands, output};

pub(crate) fn run(arguments: &Prune) -> Result<(), Error> {
    let told = told_of_zeros(arguments)?;
    if let Some(epochs) = arguments.recovery.epochs {
        let recipe = training::recipe(arguments, epochs)?;
        told.iter()
            .for_each(|told| output::talk(&format!("warning: {told}")));
        let report = jobs::recipe(&recipe, &Bars::new())?;
        return match arguments.json {
            true => output::json(&report),
            false => commands::compress::print_recipe(&report),
        };
    }
    let job = job(arguments)?;
    told.iter()
        .for_each(|told| output::talk(&format!("warning: {told}")));
    let report = jobs::prune(&job, &Bars::new())?;
    for warning in &report.warnings {
        output::talk(&format!("warning: {warning}"));
    }
    match arguments.json {
        true => output::json(&report),
        false => print(&report),
    }
}

/// Prints what was done.
fn print(report: &PruneReport) -> Result<(), Error> {
    let to = report.output.as_ref();
    output::talk(&format!(
        "{} -> {}: {} with {} samples in {:.2} s, {:.2}% of the weights are zero",
        report.model.display(),
        to.map_or("nothing is written".to_owned(), |to| to.display().to_string()),
        report.method,
        report.samples,
        report.seconds,
        report.sparsity * 100.0,
    ));
    if let Some(bytes) = &report.bytes {
        output::talk(&format!(
            "{} -> {}, deflated {} -> {}",
            output::bytes(bytes.before),
            output::bytes(bytes.after),
            output::bytes(bytes.deflated_before),
            output::bytes(bytes.deflated_after),
        ));
    }
    if let Some(cost) = &report.cost {
        output::talk(&format!(
            "MACs {} -> {} ({:.2} times fewer), parameters {} -> {}",
            cost.macs_before,
            cost.macs_after,
            cost.macs_before as f64 / cost.macs_after.max(1) as f64,
            cost.parameters_before,
            cost.parameters_after,
        ));
    }
    if let Some(latency) = &report.latency {
        output::talk(&format!(
            "{} with {} samples on {} threads: {:.3} -> {:.3} ms ({:.2} times faster), the best of {} networks that were timed",
            latency.runtime,
            latency.batch,
            latency.threads,
            latency.before_ms,
            latency.after_ms,
            latency.before_ms / latency.after_ms.max(f64::MIN_POSITIVE),
            latency.tried,
        ));
    }
    if report.followed > 0 {
        output::talk(&format!(
            "{} statistics and biases follow the outputs of the pruned network",
            report.followed
        ));
    }
    for kept in &report.kept {
        output::talk(&format!("kept: {} ({})", kept.node, kept.why));
    }
    match (&report.scores, to) {
        (Some(scores), _) => output::data(&commands::comparison(scores)),
        (None, Some(_)) => Ok(()),
        (None, None) => output::data(&table(&report.layers)),
    }
}

/// The layers, one a line.
fn table(layers: &[PrunedLayer]) -> String {
    let heading = ["weight", "shape", "elements", "zeros", "zeros %", "2:4", "why"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(layers.iter().map(|layer| {
        let sizes: Vec<String> = layer.shape.iter().map(usize::to_string).collect();
        vec![
            layer.weight.clone(),
            sizes.join("x"),
            layer.elements.to_string(),
            layer.zeros.to_string(),
            format!("{:.2}", 100.0 * layer.zeros as f64 / layer.elements.max(1) as f64),
            if layer.two_of_four { "yes" } else { "no" }.to_owned(),
            layer.why.clone(),
        ]
    }));
    output::table(&rows)
}

pub(crate) fn job(arguments: &Prune) -> Result<PruneJob, Error> {
    let loss = arguments.loss.as_ref();
    Ok(PruneJob {
        model: arguments.model.clone(),
        data: arguments.data.clone(),
        pruning: pruning(arguments)?,
        latency: latency(arguments)?,
        loss: loss.map(|name| by_name("loss", name, Loss::ALL)).transpose()?,
        samples: arguments.samples,
        calibration_split: "train".to_owned(),
        plan: arguments.plan.clone(),
        plan_out: arguments.plan_out.clone(),
        score_split: (!arguments.no_eval).then(|| "test".to_owned()),
        metrics: arguments.metric.clone(),
        limit: arguments.limit.unwrap_or(usize::MAX),
        output: arguments.output.clone(),
        save: arguments.saving.options(),
    })
}

fn settings(arguments: &Prune) -> Result<PruneSettings, Error> {
    let scope = arguments.scope.as_ref();
    Ok(PruneSettings {
        criterion: criterion(arguments, CRITERIA[0])?,
        structure: Structure::parse(&arguments.structure)?,
        sparsity: arguments.sparsity.as_deref().map(share).transpose()?,
        steps: arguments.steps,
        permute: arguments.permute,
        scope: scope.map(|name| by_name("scope", name, Scope::ALL)).transpose()?,
        reconstruction: reconstruction(arguments)?,
        recalibrate: !arguments.no_recalibrate,
        include: selectors(&arguments.include)?,
        exclude: selectors(&arguments.exclude)?,
        seed: arguments.seed,
    })
}

/// What the structure asks for.
fn pruning(arguments: &Prune) -> Result<Pruning, Error> {
    let structure = arguments.structure.as_str();
    let removes = structure == "layer" || UnitKind::ALL.iter().any(|(name, _)| *name == structure);
    if arguments.permute && removes {
        return Err(Error::Usage {
            message: format!("channels change places for the sake of patterns, not of {structure}s"),
            hint: "leave --permute away, or --structure 2:4".to_owned(),
        });
    }
    if let Some((_, kind)) = UnitKind::ALL.iter().find(|(name, _)| *name == structure) {
        return Ok(Pruning::Channels(channels(arguments, *kind)?));
    }
    if structure == "layer" {
        return Ok(Pruning::Layers(layers(arguments)?));
    }
    let options = &arguments.removal;
    let saved = [
        &options.target_macs,
        &options.target_parameters,
        &options.target_bytes,
        &options.target_latency,
    ];
    if saved.iter().any(|target| target.is_some()) {
        return Err(Error::Usage {
            message: format!("{structure} weights that are zero save no MACs, parameters, bytes or time"),
            hint: "--structure channel, head or layer removes them; zeros are counted by --sparsity"
                .to_owned(),
        });
    }
    Ok(Pruning::Weights(settings(arguments)?))
}

/// What is to be saved, and the share of it that stays.
fn target(arguments: &Prune) -> Result<(Target, f64), Error> {
    let options = &arguments.removal;
    let targets = [
        (
            Target::Macs,
            options.target_macs.as_deref().map(share).transpose()?,
        ),
        (
            Target::Parameters,
            options.target_parameters.as_deref().map(share).transpose()?,
        ),
        (
            Target::Bytes,
            options
                .target_bytes
                .as_deref()
                .map(|text| share_of_bytes(arguments, text))
                .transpose()?,
        ),
        // Found by timing networks with fewer and fewer MACs.
        (
            Target::Macs,
            options.target_latency.as_deref().map(share).transpose()?,
        ),
        (
            Target::Units,
            arguments
                .sparsity
                .as_deref()
                .map(share)
                .transpose()?
                .map(|gone| 1.0 - gone),
        ),
    ];
    let given: Vec<(Target, f64)> = (targets.into_iter())
        .filter_map(|(target, left)| Some((target, left?)))
        .collect();
    match given[..] {
        [only] => Ok(only),
        _ => Err(Error::Usage {
            message: "one target is needed to know how much to remove".to_owned(),
            hint: "give one of --target-macs 50%, --target-parameters 50%, --target-bytes 300KB, --target-latency 60% (what stays) or --sparsity 50% \
                   (units that go)"
                .to_owned(),
        }),
    }
}

/// A share, or bytes as a share of those of the model.
fn share_of_bytes(arguments: &Prune, text: &str) -> Result<f64, Error> {
    let Ok(bytes) = byte_count(text) else {
        return share(text);
    };
    // `0.5` is no number of bytes, and `1` no share that could stay.
    let all = jobs::constant_bytes(&arguments.model)?;
    match bytes < all {
        true => Ok(bytes as f64 / all as f64),
        false => Err(Error::Usage {
            message: format!("the constants have {all} bytes, which is no more than {bytes}"),
            hint: "fewer bytes, or a share as --target-bytes 50%".to_owned(),
        }),
    }
}

/// How the time of runs is measured, if it is the target.
fn latency(arguments: &Prune) -> Result<Option<LatencyTarget>, Error> {
    let options = &arguments.removal;
    let Some(left) = options.target_latency.as_deref() else {
        return Ok(None);
    };
    Ok(Some(LatencyTarget {
        left: share(left)?,
        runtime: RuntimeChoice::by_name(&options.runtime)?,
        batch: options.runtime_batch.max(1),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    }))
}

fn channels(arguments: &Prune, kind: UnitKind) -> Result<ChannelSettings, Error> {
    let (options, (target, left)) = (&arguments.removal, target(arguments)?);
    let unnamed = match kind {
        UnitKind::Channel => FOR_CHANNELS,
        _ => CRITERIA[0],
    };
    let criterion = criterion(arguments, unnamed)?;
    let scope = match arguments.scope.as_deref() {
        None => criterion.channel_scope(),
        Some("global") => ChannelScope::Global,
        Some("layer") => ChannelScope::Group,
        Some(other) => {
            return Err(Error::unknown_name(
                "scope of channels",
                other,
                ["global", "layer"].into_iter(),
            ));
        }
    };
    Ok(ChannelSettings {
        kind,
        criterion,
        target,
        left,
        scope,
        savings_power: options.savings_power,
        least: share(&options.least)?,
        multiple: multiple(arguments, kind)?,
        streams: options.streams,
        steps: arguments.steps,
        reconstruction: reconstruction(arguments)?,
        recalibrate: !arguments.no_recalibrate,
        include: selectors(&arguments.include)?,
        exclude: selectors(&arguments.exclude)?,
        sizes: InferOptions::default(),
        seed: arguments.seed,
    })
}

/// Units that stay go in multiples of this: where time counts, of the channels that kernels of the target work on at once.
fn multiple(arguments: &Prune, kind: UnitKind) -> Result<usize, Error> {
    let options = &arguments.removal;
    let target = arguments
        .target
        .as_deref()
        .map(super::quantize::target)
        .transpose()?;
    let counts = options.target_macs.is_some() && kind == UnitKind::Channel;
    let default = target
        .filter(|_| counts)
        .map_or(1, |target| target.channel_multiple);
    Ok(options.multiple.unwrap_or(default))
}

/// What to know of zeros that do not make the target faster.
fn told_of_zeros(arguments: &Prune) -> Result<Option<String>, Error> {
    let Some(name) = arguments.target.as_deref() else {
        return Ok(None);
    };
    let target = super::quantize::target(name)?;
    let structure = arguments.structure.as_str();
    let removes = ["channel", "head", "layer"].contains(&structure);
    let faster = removes || target.sparsity.contains(&structure);
    let hint = match target.sparsity {
        [] => "--structure channel makes it faster".to_owned(),
        patterns => format!("--structure {} or channel makes it faster", patterns.join(", ")),
    };
    Ok((!faster).then(|| format!("{structure} zeros do not make {name} faster: {hint}")))
}

fn layers(arguments: &Prune) -> Result<LayerSettings, Error> {
    let (target, left) = target(arguments)?;
    let name = arguments.criterion.as_deref().unwrap_or(LayerCriterion::ALL[0].0);
    let found = LayerCriterion::ALL.iter().find(|(known, ..)| *known == name);
    let names = LayerCriterion::ALL.iter().map(|(name, ..)| *name);
    Ok(LayerSettings {
        criterion: found
            .map(|(_, criterion, _)| *criterion)
            .ok_or_else(|| Error::unknown_name("criterion of layers", name, names))?,
        target,
        left,
        include: selectors(&arguments.include)?,
        exclude: selectors(&arguments.exclude)?,
        sizes: InferOptions::default(),
        seed: arguments.seed,
    })
}

/// The criterion of weights and channels, or this one where none is named.
fn criterion(arguments: &Prune, unnamed: &'static dyn Criterion) -> Result<&'static dyn Criterion, Error> {
    let Some(name) = arguments.criterion.as_deref() else {
        return Ok(unnamed);
    };
    let unknown = || Error::unknown_name("criterion", name, CRITERIA.iter().map(|it| it.name()));
    criterion_by_name(name).ok_or_else(unknown)
}

fn reconstruction(arguments: &Prune) -> Result<Option<&'static dyn Reconstruction>, Error> {
    let all = || RECONSTRUCTIONS.iter().map(|it| it.name());
    let unknown =
        |name: &str| Error::unknown_name("reconstruction", name, std::iter::once("none").chain(all()));
    match arguments.reconstruct.as_deref() {
        None => Ok(RECONSTRUCTIONS
            .first()
            .copied()
            .filter(|_| arguments.data.is_some())),
        Some("none") => Ok(None),
        Some(name) => reconstruction_by_name(name)
            .map(Some)
            .ok_or_else(|| unknown(name)),
    }
}

/// A share of 1, also in percent.
pub(crate) fn share(text: &str) -> Result<f64, Error> {
    let number = |text: &str| {
        text.trim()
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite())
    };
    let share = match text.strip_suffix('%') {
        Some(percent) => number(percent).map(|percent| percent / 100.0),
        None => number(text),
    };
    share.ok_or_else(|| Error::Usage {
        message: format!("`{text}` is no share"),
        hint: "write it as 80% or 0.8".to_owned(),
    })
}
