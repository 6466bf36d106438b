//! Weights in groups: `bantam quantize --granularity group:LENGTH`.

use bantam::Error;
use bantam::compress::quantize::QuantizeSettings;
use bantam::compress::quantize::groups::{
    Addition, GROUP_ALGORITHMS, GroupFormat, GroupSettings, LEARNED_TABLES, TableGroups,
    group_algorithm_by_name,
};
use bantam::tensor::formats::blocks::IntegerGroups;
use bantam::tensor::{
    FORMATS, FormatKind, Granularity, NARROW_FORMATS, NumberFormat, TABLE_FORMATS, table_format_by_name,
    trained_format_by_name,
};

use super::rescaling::AWQ;
use super::{granularity, settings};
use crate::arguments::Quantize;
use crate::commands::prune::share;

/// The format where none is named.
const FORMAT: &str = "int4";
/// More than so many would be better off with more bits for all.
const MOST_OUTLIERS: f64 = 0.1;

/// What is asked of groups, if they are asked for.
pub(super) fn groups(arguments: &Quantize) -> Result<Option<GroupSettings>, Error> {
    let Granularity::Group(len) = granularity(&arguments.granularity)? else {
        let what = match addition(arguments)? {
            Addition::None if arguments.embeddings.is_some() => "--embeddings",
            Addition::None => return Ok(None),
            Addition::LowRank(_) => "--low-rank",
            Addition::Outliers(_) => "--outliers",
        };
        return Err(usage(
            &format!("{what} is for weights in groups"),
            "--granularity group:32",
        ));
    };
    refuse_what_has_no_groups(arguments)?;
    let name = arguments.weights.as_deref().unwrap_or(FORMAT);
    let format = groups_of(name, len, arguments.symmetric_weights)?;
    let quantize = QuantizeSettings {
        granularity: Granularity::Group(len),
        ..settings(arguments)?
    };
    Ok(Some(GroupSettings {
        tables: tables(arguments, len, &format)?,
        format,
        algorithm: algorithm(&arguments.algorithm)?,
        smooth: arguments.smooth.as_deref() == Some(AWQ),
        addition: addition(arguments)?,
        quantize,
    }))
}

/// Groups of a format.
fn groups_of(name: &str, len: usize, symmetric: Option<bool>) -> Result<GroupFormat, Error> {
    let table = table_format_by_name(name).map(|format| TableGroups::new(format, len));
    if let Some(table) = table.or_else(|| TableGroups::learned(name, len)) {
        return match symmetric {
            Some(false) => Err(usage(
                &format!("{name} has no code of zero"),
                "leave out --symmetric-weights",
            )),
            _ => Ok(table.into()),
        };
    }
    let fits =
        |format: &&dyn NumberFormat| format.kind() == FormatKind::Integer && (2..=8).contains(&format.bits());
    let integers = || FORMATS.iter().chain(NARROW_FORMATS).copied().filter(fits);
    let known = || {
        integers()
            .chain(TABLE_FORMATS.iter().copied())
            .map(|format| format.name())
            .chain(LEARNED_TABLES.iter().map(|(name, _)| *name))
    };
    let format = trained_format_by_name(name).filter(fits);
    let format = format.ok_or_else(|| Error::unknown_name("format of groups", name, known()))?;
    let zero_point = !symmetric.unwrap_or(format.min_code() < 0);
    Ok(IntegerGroups::new(format.bits(), len, zero_point, false).into())
}

/// The format of tables that rows are looked up in, if they get codes.
fn tables(arguments: &Quantize, len: usize, weights: &GroupFormat) -> Result<Option<GroupFormat>, Error> {
    match arguments.embeddings.as_deref() {
        None => Ok(None),
        Some("") => Ok(Some(weights.clone())),
        Some(name) => groups_of(name, len, None).map(Some),
    }
}

/// What is added to weights in levels.
fn addition(arguments: &Quantize) -> Result<Addition, Error> {
    match (&arguments.outliers, arguments.low_rank) {
        (Some(text), _) => match share(text)? {
            share if (0.0..=MOST_OUTLIERS).contains(&share) => Ok(Addition::Outliers(share)),
            _ => Err(usage(
                &format!("`{text}` is no share of outliers"),
                "0% to 10%: each takes 4 bytes",
            )),
        },
        (None, 0) => Ok(Addition::None),
        (None, rank) => Ok(Addition::LowRank(rank)),
    }
}

fn algorithm(
    names: &[String],
) -> Result<&'static dyn bantam::compress::quantize::groups::GroupAlgorithm, Error> {
    let known = || GROUP_ALGORITHMS.iter().map(|algorithm| algorithm.name());
    match names {
        [] => Ok(GROUP_ALGORITHMS[0]),
        [name] => group_algorithm_by_name(name)
            .ok_or_else(|| Error::unknown_name("algorithm for groups", name, known())),
        _ => Err(usage("groups take one algorithm", "name the last one only")),
    }
}

fn refuse_what_has_no_groups(arguments: &Quantize) -> Result<(), Error> {
    let floats = arguments
        .activations
        .as_deref()
        .is_none_or(|name| name == "float");
    let needs = [
        (!floats, "--activations"),
        (arguments.dynamic, "--dynamic"),
        (arguments.edges.is_some(), "--edges"),
        (arguments.plan.is_some(), "--plan"),
        (arguments.plan_out.is_some(), "--plan-out"),
        (arguments.range.is_some(), "--range"),
        (arguments.weight_range.is_some(), "--weight-range"),
        (arguments.steps.is_some(), "--steps"),
    ];
    match needs.into_iter().find(|(given, _)| *given) {
        None => Ok(()),
        Some((_, flag)) => Err(usage(
            &format!("{flag} does not go with groups"),
            "groups are of weights only, activations stay in float",
        )),
    }
}

pub(super) fn usage(message: &str, hint: &str) -> Error {
    Error::Usage {
        message: message.to_owned(),
        hint: hint.to_owned(),
    }
}
