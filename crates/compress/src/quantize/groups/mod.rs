//! Weights in groups that share a scale, with inputs in float: what language models are made small by.
//!
//! A [`GroupAlgorithm`] chooses scales and codes of one product at a time, with the inputs that the products before it give once
//! they are quantized. To add one: a file with an `impl GroupAlgorithm`, and a line in [`GROUP_ALGORITHMS`].

mod added;
mod awq;
mod decisions;
mod deferred;
mod fit;
mod format;
mod half_quadratic;
mod low_rank;
mod outliers;
mod products;
mod rounded;
mod sign_round;
mod solve;
mod stochastic;
mod table_format;
mod tables;
mod walker;

use bantam_graph::{Graph, InferOptions, infer_shapes, verify};

pub use self::added::Addition;
pub use self::deferred::{DeferredGroups, DeferredWeight, StandIns, deferred_groups};
pub use self::format::GroupFormat;
use self::products::products;
pub use self::rounded::{GroupRows, RoundedRow};
pub use self::table_format::{LEARNED_TABLES, TableGroups};
use self::tables::tables;
use self::walker::Walker;
use super::QuantizeSettings;
use super::layerwise::{Calibration, LayerwiseError};
use crate::plan::{Decision, Plan};
use crate::rewrite::{RewriteError, rewrite};
use crate::select::SelectorError;

/// What an algorithm looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// The weights alone.
    Nothing,
    /// What the products' inputs are.
    Inputs,
    /// That, and what they are in the float network.
    FloatInputs,
}

/// An algorithm that chooses scales and codes of groups.
pub trait GroupAlgorithm: Sync {
    /// The name that users write.
    fn name(&self) -> &'static str;
    /// One line for lists.
    fn summary(&self) -> &'static str;
    /// What it looks at.
    fn needs(&self) -> Needs;
    /// Whether [`GroupSettings::smooth`] is a part of it.
    fn smooths(&self) -> bool {
        false
    }
    /// Whether the codes of a group are what the format's own encoder makes of it, so that groups need not know of each other.
    fn is_plain(&self) -> bool {
        false
    }
    /// Whether it can round to the values of a table, which lie unevenly.
    fn takes_tables(&self) -> bool {
        true
    }
    /// The rows of a weight in levels; `None` where the inputs are no finite numbers.
    fn round(&self, rows: &GroupRows<'_>) -> Option<Vec<RoundedRow>>;
}

/// Every algorithm; the first is the one that is used where none is named.
pub static GROUP_ALGORITHMS: &[&dyn GroupAlgorithm] = &[
    &fit::NEAREST,
    &fit::SEARCH,
    &half_quadratic::HalfQuadratic,
    &stochastic::Stochastic,
    &fit::AWQ,
    &sign_round::SignRound,
    &solve::GPTQ,
    &solve::LEAST_SQUARES,
];

/// The algorithm with this name.
pub fn group_algorithm_by_name(name: &str) -> Option<&'static dyn GroupAlgorithm> {
    GROUP_ALGORITHMS
        .iter()
        .copied()
        .find(|algorithm| algorithm.name() == name)
}

/// What is to be done.
#[derive(Clone)]
pub struct GroupSettings {
    /// What groups are made of.
    pub format: GroupFormat,
    /// How codes are chosen.
    pub algorithm: &'static dyn GroupAlgorithm,
    /// First move factors between constants, so that weights that meet large inputs lose less (AWQ). Looks at samples.
    pub smooth: bool,
    /// What is added to each weight to take back what rounding loses. Looks at samples.
    pub addition: Addition,
    /// Tables that rows are looked up in get codes of this format too, without looking at samples; those that are a head as well share them with it.
    pub tables: Option<GroupFormat>,
    /// Which nodes are included and excluded.
    pub quantize: QuantizeSettings,
}

/// Why weights could not be quantized.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum GroupError {
    #[error(transparent)]
    Layer(#[from] LayerwiseError),
    #[error(transparent)]
    Rewrite(#[from] RewriteError),
    #[error(transparent)]
    Selector(#[from] SelectorError),
    #[error("the algorithm {name} looks at samples\nhint: give --data FILE")]
    NoSamples { name: &'static str },
    #[error(
        "the algorithm {name} wants even steps, {format} has none\nhint: these take any format: {others}"
    )]
    Uneven {
        name: &'static str,
        format: &'static str,
        others: String,
    },
    #[error(
        "the weights of `{node}` are no numbers, or larger than scales of 16 bits can say\nhint: keep it in float with --exclude name:{node}"
    )]
    Weights { node: String },
    #[error("the quantized graph is wrong: {0}")]
    Graph(String),
    #[error(
        "there is no product with a constant matrix to quantize\nhint: groups are for MatMul and Gemm; `bantam inspect` lists the ops of the model"
    )]
    Nothing,
}

impl GroupSettings {
    /// What has to be looked at.
    pub fn needs(&self) -> Needs {
        match self.algorithm.needs() {
            Needs::Nothing if self.smooths() || self.addition != Addition::None => Needs::Inputs,
            needs => needs,
        }
    }

    /// Whether codes are what the format's own encoder makes of each group.
    pub fn is_plain(&self) -> bool {
        self.algorithm.is_plain()
            && !self.format.is_learned()
            && !self.smooths()
            && self.addition == Addition::None
            && self.tables.is_none()
    }

    fn smooths(&self) -> bool {
        self.smooth || self.algorithm.smooths()
    }

    /// Refuses formats without even steps where the algorithm needs them.
    fn check_steps(&self) -> Result<(), GroupError> {
        if self.algorithm.takes_tables() || self.format.integers().is_some() {
            return Ok(());
        }
        let others = GROUP_ALGORITHMS.iter().filter(|it| it.takes_tables());
        let others: Vec<&str> = others.map(|algorithm| algorithm.name()).collect();
        Err(GroupError::Uneven {
            name: self.algorithm.name(),
            format: self.format.stored_as().1,
            others: others.join(", "),
        })
    }

    fn plan(&self, decisions: Vec<Decision>) -> Plan {
        let smooth = if self.smooth && !self.algorithm.smooths() {
            "smooth awq, "
        } else {
            ""
        };
        let (length, name) = (self.format.group_len(), self.algorithm.name());
        Plan {
            version: Plan::VERSION,
            model: None,
            method: format!("groups of {length}, {smooth}{name}"),
            target: "weights only".to_owned(),
            decisions,
        }
    }
}

/// The graph with weights as codes behind DequantizeLinear, and what was done. Algorithms that need nothing do without samples.
///
/// # Errors
/// When there is nothing to quantize, samples are missing, or the network cannot be run on them.
pub fn quantize_groups(
    graph: &Graph,
    settings: &GroupSettings,
    calibration: Option<&Calibration<'_>>,
    progress: &dyn Fn(usize, usize),
) -> Result<(Graph, Plan), GroupError> {
    settings.check_steps()?;
    let kept = settings.quantize.kept_by_user(graph)?;
    let tables = match &settings.tables {
        Some(_) => tables(graph, &kept),
        None => Vec::new(),
    };
    let (products, mut decisions) = products(graph, &kept);
    decisions.retain(|decision| !tables.iter().any(|table| table.is_read_by(decision.site.name())));
    if products.is_empty() && tables.is_empty() {
        return Err(GroupError::Nothing);
    }
    let mut smoothed = graph.clone();
    if settings.smooths() {
        let calibration = calibration.ok_or(GroupError::NoSamples {
            name: settings.algorithm.name(),
        })?;
        decisions.extend(awq::activation_aware(graph, &products, settings, calibration)?);
        smoothed = rewrite(graph, &settings.plan(decisions.clone()))?;
    }
    let calibration = calibration.map(|calibration| Calibration {
        float: &smoothed,
        ..*calibration
    });
    let mut walker = Walker::new(&smoothed, settings, calibration.as_ref())?;
    let mut codes = Vec::new();
    for table in &tables {
        codes.extend(walker.quantize_table(table, settings)?);
    }
    for (index, product) in products.iter().enumerate() {
        progress(index, products.len());
        codes.extend(walker.quantize(product, settings)?);
    }
    progress(products.len(), products.len());
    let mut quantized = rewrite(&walker.with_levels(), &settings.plan(codes.clone()))?;
    decisions.extend(codes);
    let plan = settings.plan(decisions);
    let wrong = |error: &dyn std::fmt::Display| GroupError::Graph(error.to_string());
    infer_shapes(&mut quantized, &InferOptions::default()).map_err(|error| wrong(&error))?;
    verify(&quantized).map_err(|error| wrong(&error))?;
    Ok((quantized, plan))
}
