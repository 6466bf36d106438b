//! `bantam list`.

use bantam::Error;
use bantam::compress::evaluate::METRICS;
use bantam::compress::prune::criterion::CRITERIA;
use bantam::compress::prune::layers::LayerCriterion;
use bantam::compress::prune::reconstruct::RECONSTRUCTIONS;
use bantam::compress::quantize::METHODS;
use bantam::compress::quantize::groups::{GROUP_ALGORITHMS, LEARNED_TABLES};
use bantam::compress::quantize::layerwise::ALGORITHMS;
use bantam::compress::range::RANGES;
use bantam::compress::target::{Facts, TARGETS};
use bantam::compress::train::sparse::SparseMethod;
use bantam::compress::train::{Loss, Optimizer, Schedule};
use bantam::formats::FILE_FORMATS;
use bantam::formats::data::CORRUPTIONS;
use bantam::formats::huggingface::ARCHITECTURES;
use bantam::graph::passes::PASSES;
use bantam::jobs::RuntimeChoice;
use bantam::networks::{NETWORKS, SCHEMES};
use bantam::tensor::{FORMATS, NARROW_FORMATS, TABLE_FORMATS, format_by_name};
use serde::Serialize;

use crate::arguments::List;
use crate::output;
use crate::recipe::{PRESETS, summary};

/// One thing there is.
#[derive(Serialize)]
struct Entry {
    name: String,
    summary: String,
    /// Of targets, their tables.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    facts: Option<Facts>,
}

/// The kinds of things, with how to list them.
const KINDS: &[(&str, fn() -> Vec<Entry>)] = &[
    ("networks", || {
        NETWORKS.iter().map(|x| entry(x.name, x.summary)).collect()
    }),
    ("initializations", || {
        SCHEMES.iter().map(|x| entry(x.name, x.summary)).collect()
    }),
    ("methods", || {
        METHODS.iter().map(|x| entry(x.name(), x.summary())).collect()
    }),
    ("algorithms", || {
        ALGORITHMS.iter().map(|x| entry(x.name(), x.summary())).collect()
    }),
    ("group-algorithms", || {
        (GROUP_ALGORITHMS.iter())
            .map(|x| entry(x.name(), x.summary()))
            .collect()
    }),
    ("criteria", || {
        CRITERIA.iter().map(|x| entry(x.name(), x.summary())).collect()
    }),
    ("layer-criteria", || {
        (LayerCriterion::ALL.iter())
            .map(|(name, _, summary)| entry(name, summary))
            .collect()
    }),
    ("reconstructions", || {
        (RECONSTRUCTIONS.iter())
            .map(|x| entry(x.name(), x.summary()))
            .collect()
    }),
    ("losses", || {
        Loss::ALL.iter().map(|(name, _)| entry(name, "")).collect()
    }),
    ("optimizers", || {
        Optimizer::ALL.iter().map(|(name, _)| entry(name, "")).collect()
    }),
    ("schedules", || {
        Schedule::ALL.iter().map(|(name, _)| entry(name, "")).collect()
    }),
    ("sparse-methods", || {
        SparseMethod::ALL
            .iter()
            .map(|(name, _, summary)| entry(name, summary))
            .collect()
    }),
    ("recipes", || {
        PRESETS
            .iter()
            .map(|(name, text)| entry(name, summary(text)))
            .collect()
    }),
    ("ranges", || {
        RANGES.iter().map(|x| entry(x.name(), x.summary())).collect()
    }),
    ("formats", || {
        let tables = TABLE_FORMATS
            .iter()
            .filter(|x| format_by_name(x.name()).is_none());
        let all = FORMATS.iter().chain(NARROW_FORMATS).chain(tables);
        let learned = LEARNED_TABLES.iter().map(|(name, bits)| {
            let values = 1 << bits;
            entry(
                name,
                &format!("{bits}-bit codes for {values} values that are learned for each weight"),
            )
        });
        all.map(|x| entry(x.name(), x.summary())).chain(learned).collect()
    }),
    ("targets", || {
        let described = TARGETS.iter().map(|x| Entry {
            facts: Some(x.facts()),
            ..entry(x.name, x.summary)
        });
        described.collect()
    }),
    ("file-formats", || {
        FILE_FORMATS
            .iter()
            .map(|x| entry(x.name(), x.summary()))
            .collect()
    }),
    ("architectures", || {
        ARCHITECTURES.iter().map(|x| entry(x.name, x.summary)).collect()
    }),
    ("metrics", || {
        METRICS.iter().map(|x| entry(x.name(), x.summary())).collect()
    }),
    ("corruptions", || {
        (CORRUPTIONS.iter())
            .map(|x| entry(x.name, &format!("{}: {}", x.family, x.summary)))
            .collect()
    }),
    ("runtimes", || {
        RuntimeChoice::NAMES
            .iter()
            .map(|(name, _)| entry(name, ""))
            .collect()
    }),
    ("passes", || {
        PASSES.iter().map(|x| entry(x.name, x.summary)).collect()
    }),
    ("ops", ops),
];

fn entry(name: &str, summary: &str) -> Entry {
    Entry {
        name: name.to_owned(),
        summary: summary.to_owned(),
        facts: None,
    }
}

fn ops() -> Vec<Entry> {
    let mut ops = bantam::graph::Op::known();
    ops.retain(|(domain, _)| *domain != bantam::graph::OWN_DOMAIN);
    ops.sort_unstable();
    ops.into_iter()
        .map(|(domain, name)| entry(name, domain))
        .collect()
}

pub(crate) fn run(arguments: &List) -> Result<(), Error> {
    let what = arguments.what.as_str();
    let kind = KINDS.iter().find(|(name, _)| *name == what);
    let unknown = || Error::unknown_name("list", what, KINDS.iter().map(|(name, _)| *name));
    let entries = kind.ok_or_else(unknown)?.1();
    if arguments.json {
        return output::json(&std::collections::BTreeMap::from([(what, entries)]));
    }
    let mut rows = Vec::new();
    for entry in entries {
        rows.push(vec![entry.name, entry.summary]);
        let facts = entry.facts.map(|facts| facts.lines()).unwrap_or_default();
        rows.extend(
            facts
                .into_iter()
                .map(|line| vec![String::new(), format!("  {line}")]),
        );
    }
    output::data(&output::table(&rows))
}
