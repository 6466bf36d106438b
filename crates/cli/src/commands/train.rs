//! `bantam train`.

use bantam::Error;
use bantam::compress::quantize::aware::{
    ActivationMapping, AwareSettings, BatchNormalizationMode, InitialScale, ScaleTraining, WeightMapping,
    Width,
};
use bantam::compress::train::sparse::{
    Criterion, LayerSparsity, Scope, SparseMethod, SparsitySchedule, SparsitySettings,
};
use bantam::compress::train::{
    Distillation, Loss, Optimizer, Penalty, Precision, Regularization, Schedule, TrainSettings,
};
use bantam::jobs::{self, TrainJob, TrainReport};
use bantam::pipeline::Algorithms;
use bantam::tensor::Granularity;

use super::quantize::{granularity, range, selectors, target};
use crate::arguments::{Penalties, Quantization, Sparsity, Train, Training, Zeros};
use crate::progress::Bars;
use crate::{commands, output};

pub(crate) fn run(arguments: &Train) -> Result<(), Error> {
    let job = job(arguments)?;
    if !job.settings.precision.is_native() {
        output::talk(
            "this CPU has no instructions for BF16 (AVX-512 BF16): products are computed by plain code\n\
             hint: --precision float32 is faster here",
        );
    }
    let report = jobs::train(&job, &Bars::new())?;
    if arguments.files.json {
        return output::json(&report);
    }
    print(&report)
}

/// Prints what was done.
pub(crate) fn print(report: &TrainReport) -> Result<(), Error> {
    for (index, epoch) in report.epochs.iter().enumerate() {
        let percent = |what: &str, share: Option<f64>| {
            share.map_or(String::new(), |share| format!(", {what} {:.2}%", share * 100.0))
        };
        output::talk(&format!(
            "epoch {}: loss {:.4}{}{}{}{}, {:.0} samples/s",
            epoch.epoch,
            epoch.loss,
            percent("right in training", epoch.accuracy),
            percent("validation", epoch.validation),
            percent("score", report.epoch_scores.get(index).copied()),
            percent("zeros", epoch.sparsity),
            epoch.samples_per_second,
        ));
    }
    if !report.sparsity.is_empty() {
        output::talk(&output::table(&zeros(&report.sparsity)));
    }
    if report.segments > 1 {
        output::talk(&format!(
            "{} of {} parts of the forward pass ran twice to save memory",
            report.segments - 1,
            report.segments
        ));
    }
    output::talk(&format!(
        "{} -> {}: {} steps in {:.1} s, {} -> {}",
        report.model.display(),
        report.output.display(),
        report.steps,
        report.seconds,
        output::bytes(report.bytes_before),
        output::bytes(report.bytes_after),
    ));
    match &report.scores {
        Some(scores) => output::data(&commands::comparison(scores)),
        None => Ok(()),
    }
}

/// Rows for the zeros of each weight, and of all.
pub(crate) fn zeros(layers: &[LayerSparsity]) -> Vec<Vec<String>> {
    let row = |name: &str, elements: usize, zeros: usize| {
        let share = format!("{:.2}", 100.0 * zeros as f64 / elements.max(1) as f64);
        vec![name.to_owned(), elements.to_string(), zeros.to_string(), share]
    };
    let mut rows = vec![
        ["weight", "elements", "zeros", "zeros %"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(
        layers
            .iter()
            .map(|layer| row(&layer.name, layer.elements, layer.zeros)),
    );
    let sum = |count: fn(&LayerSparsity) -> usize| layers.iter().map(count).sum();
    rows.push(row("all", sum(|layer| layer.elements), sum(|layer| layer.zeros)));
    rows
}

pub(crate) fn job(arguments: &Train) -> Result<TrainJob, Error> {
    let files = &arguments.files;
    let mut beside = files.output.as_os_str().to_owned();
    beside.push(".checkpoint");
    let save = match arguments.quantization.quantize {
        true => files.saving.options_for(target(&arguments.quantization.target)?),
        false => files.saving.options(),
    };
    Ok(TrainJob {
        model: arguments.model.clone(),
        data: arguments.data.clone(),
        settings: settings(arguments)?,
        quantize: match arguments.quantization.quantize {
            true => Some(aware(&arguments.quantization, files.saving.native_codes)?),
            false => None,
        },
        algorithms: Algorithms {
            list: super::quantize::algorithms(&arguments.quantization.algorithm)?,
            ..Algorithms::default()
        },
        progressive: arguments.quantization.progressive.clone(),
        calibration_samples: arguments.quantization.samples,
        teacher: arguments.teacher.teacher.clone(),
        checkpoint: files.checkpoint.clone().unwrap_or_else(|| beside.into()),
        keep_checkpoint: files.checkpoint.is_some(),
        checkpoint_steps: files.checkpoint_steps,
        resume: files.resume,
        metrics_out: files.metrics_out.clone(),
        score_split: (!files.no_eval).then(|| "test".to_owned()),
        score_epochs: files.score_epochs,
        metrics: files.metric.clone(),
        limit: files.limit.unwrap_or(usize::MAX),
        output: files.output.clone(),
        save,
    })
}

/// The settings of a command that trains, without teacher and zeros.
pub(crate) fn training(arguments: &Training) -> Result<TrainSettings, Error> {
    let optimizer = match by_name("optimizer", &arguments.optimizer, Optimizer::ALL)? {
        Optimizer::Sgd { .. } => Optimizer::Sgd {
            momentum: arguments.momentum,
            nesterov: arguments.nesterov,
        },
        other => other,
    };
    Ok(TrainSettings {
        epochs: arguments.epochs,
        batch: arguments.batch,
        max_steps: arguments.max_steps,
        loss: by_name("loss", &arguments.loss, Loss::ALL)?,
        label_smoothing: arguments.label_smoothing,
        optimizer,
        learning_rate: arguments.learning_rate,
        schedule: by_name("schedule", &arguments.schedule, Schedule::ALL)?,
        warmup: arguments.warmup,
        weight_decay: arguments.weight_decay,
        clip_norm: arguments.clip_norm,
        ema: arguments.ema,
        freeze: arguments.freeze.clone(),
        freeze_statistics: arguments.freeze_statistics,
        validation: arguments.validation,
        patience: arguments.patience,
        precision: by_name("precision", &arguments.precision, Precision::ALL)?,
        memory_limit: arguments.memory_limit,
        seed: arguments.seed,
        ..TrainSettings::default()
    })
}

fn settings(arguments: &Train) -> Result<TrainSettings, Error> {
    let teacher = &arguments.teacher;
    let distillation = teacher.teacher.as_ref().map(|_| Distillation {
        temperature: teacher.temperature,
        weight: teacher.teacher_weight,
        features: teacher.feature.clone(),
        feature_weight: teacher.feature_weight,
    });
    Ok(TrainSettings {
        distillation,
        sparsity: sparsity(&arguments.sparsity)?,
        regularization: regularization(&arguments.regularization)?,
        ..training(&arguments.training)?
    })
}

fn regularization(arguments: &Penalties) -> Result<Option<Regularization>, Error> {
    let Some(name) = &arguments.regularization else {
        return Ok(None);
    };
    Ok(Some(Regularization {
        penalty: by_name("penalty", name, Penalty::ALL)?,
        strength: arguments.regularization_strength,
        growth: arguments.regularization_growth,
    }))
}

fn sparsity(arguments: &Sparsity) -> Result<Option<SparsitySettings>, Error> {
    let methods: Vec<(&str, SparseMethod)> = SparseMethod::ALL
        .iter()
        .map(|(name, method, _)| (*name, *method))
        .collect();
    let chosen = arguments.sparse_method.as_deref();
    let chosen = chosen
        .map(|name| by_name("sparse method", name, &methods))
        .transpose()?;
    let (method, amount) = match (arguments.sparsity, chosen) {
        (None, _) => return Ok(None),
        (Some(Zeros::Keep), None | Some(SparseMethod::Keep)) => {
            (SparseMethod::Keep, SparsitySettings::default().amount)
        }
        (Some(Zeros::Amount(amount)), method) if method != Some(SparseMethod::Keep) => {
            (method.unwrap_or(SparseMethod::Gradual), amount)
        }
        _ => {
            return Err(Error::Usage {
                message: "zeros that are kept have no share and no other method".to_owned(),
                hint: "--sparsity keep alone, or --sparsity 90% with another --sparse-method".to_owned(),
            });
        }
    };
    let scope = arguments.sparsity_scope.as_deref();
    let schedule = arguments.sparsity_schedule.as_deref();
    Ok(Some(SparsitySettings {
        method,
        amount,
        scope: scope.map(|name| by_name("scope", name, Scope::ALL)).transpose()?,
        criterion: by_name("criterion", &arguments.sparsity_criterion, Criterion::ALL)?,
        schedule: (schedule.map(|name| by_name("schedule of zeros", name, SparsitySchedule::ALL)))
            .transpose()?,
        from: arguments.sparsity_from,
        until: arguments.sparsity_until,
        every: arguments.sparsity_every,
        exchange: arguments.sparsity_exchange,
        mask_decay: arguments.sparsity_mask_decay,
        exclude: arguments.sparsity_exclude.clone(),
    }))
}

/// The entry of a list with this name.
pub(crate) fn by_name<T: Copy>(kind: &'static str, name: &str, all: &[(&str, T)]) -> Result<T, Error> {
    let found = all.iter().find(|(known, _)| *known == name);
    found
        .map(|(_, value)| *value)
        .ok_or_else(|| Error::unknown_name(kind, name, all.iter().map(|(name, _)| *name)))
}

/// Widths of single nodes.
pub(super) fn widths(texts: &[String]) -> Result<Vec<Width>, Error> {
    Ok(texts
        .iter()
        .map(|text| Width::parse(text))
        .collect::<Result<_, _>>()?)
}

fn aware(arguments: &Quantization, native_codes: bool) -> Result<AwareSettings, Error> {
    let mut settings = AwareSettings::for_target(target(&arguments.target)?);
    settings.set_formats(&arguments.weights, &arguments.activations)?;
    settings.set_edges(&arguments.edges)?;
    settings.widths = widths(&arguments.width)?;
    settings.packed_codes &= !native_codes;
    settings.quantize.granularity = match granularity(&arguments.granularity)? {
        Granularity::Group(_) => {
            return Err(Error::Usage {
                message: "weights in groups cannot be trained".to_owned(),
                hint: "--granularity channel or tensor".to_owned(),
            });
        }
        granularity => granularity,
    };
    settings.quantize.range = range(&arguments.range)?;
    settings.quantize.weight_range = range(&arguments.weight_range)?;
    settings.quantize.include = selectors(&arguments.include)?;
    settings.quantize.exclude = selectors(&arguments.exclude)?;
    macro_rules! choose {
        ($field:ident, $kind:literal, $choice:ident) => {
            choose!(Some(&arguments.$field), $field, $kind, $choice)
        };
        ($given:expr, $field:ident, $kind:literal, $choice:ident) => {
            if let Some(given) = $given {
                let names = || $choice::ALL.iter().map(|choice| choice.name());
                let unknown = || Error::unknown_name($kind, given, names());
                settings.$field = $choice::from_name(given).ok_or_else(unknown)?;
            }
        };
    }
    let given = arguments.scales.as_deref();
    choose!(given, scales, "training of scales", ScaleTraining);
    choose!(weight_mapping, "mapping of weights", WeightMapping);
    choose!(activation_mapping, "mapping of activations", ActivationMapping);
    choose!(initial, "start of scales", InitialScale);
    let given = arguments.batch_normalization.as_deref();
    choose!(
        given,
        batch_normalization,
        "mode of BatchNormalization",
        BatchNormalizationMode
    );
    Ok(settings)
}
