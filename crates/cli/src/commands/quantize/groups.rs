//! Weights in groups: `bantam quantize --granularity group:LENGTH`.

use bantam::Error;
use bantam::compress::quantize::QuantizeSettings;
use bantam::compress::quantize::groups::{
    Addition, GROUP_ALGORITHMS, GroupSettings, group_algorithm_by_name,
};
use bantam::tensor::formats::blocks::IntegerGroups;
use bantam::tensor::{FormatKind, Granularity, NumberFormat};

use super::rescaling::AWQ;
use super::{format, granularity, settings};
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
    let format = groups_of(arguments.weights.as_deref().unwrap_or(FORMAT))?;
    let quantize = QuantizeSettings {
        granularity: Granularity::Group(len),
        ..settings(arguments)?
    };
    let zero_point = !arguments.symmetric_weights.unwrap_or(format.min_code() < 0);
    Ok(Some(GroupSettings {
        format: IntegerGroups::new(format.bits(), len, zero_point, false),
        algorithm: algorithm(&arguments.algorithm)?,
        smooth: arguments.smooth.as_deref() == Some(AWQ),
        addition: addition(arguments)?,
        tables: tables(arguments, len, format)?,
        quantize,
    }))
}

/// A format that groups can have.
fn groups_of(name: &str) -> Result<&'static dyn NumberFormat, Error> {
    let format = format(name)?;
    match format.kind() == FormatKind::Integer && (2..=8).contains(&format.bits()) {
        true => Ok(format),
        false => Err(usage(
            &format!(
                "groups of weights are integers of 2 to 8 bits, {} are not",
                format.name()
            ),
            "--weights int4 or uint4",
        )),
    }
}

/// The format of tables that rows are looked up in, if they get codes.
fn tables(
    arguments: &Quantize,
    len: usize,
    weights: &'static dyn NumberFormat,
) -> Result<Option<IntegerGroups>, Error> {
    let format = match arguments.embeddings.as_deref() {
        None => return Ok(None),
        Some("") => weights,
        Some(name) => groups_of(name)?,
    };
    let zero_point = format.min_code() >= 0;
    Ok(Some(IntegerGroups::new(format.bits(), len, zero_point, false)))
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
