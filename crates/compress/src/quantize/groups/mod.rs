//! Weights in groups that share a scale, with inputs in float: what language models are made small by.
//!
//! A [`GroupAlgorithm`] chooses scales and codes of one product at a time, with the inputs that the products before it give once
//! they are quantized. To add one: a file with an `impl GroupAlgorithm`, and a line in [`GROUP_ALGORITHMS`].

mod added;
mod awq;
mod deferred;
mod fit;
mod half_quadratic;
mod low_rank;
mod outliers;
mod products;
mod rounded;
mod sign_round;
mod solve;
mod tables;

use bantam_graph::{Graph, InferOptions, infer_shapes, verify};
use bantam_tensor::formats::blocks::IntegerGroups;
use bantam_tensor::{DType, QParams, Tensor};

use self::added::Added;
pub use self::added::Addition;
pub use self::deferred::{DeferredGroups, DeferredWeight, StandIns, deferred_groups};
use self::products::{Product, products};
pub use self::rounded::{GroupRows, RoundedRow};
use self::tables::{Table, tables};
use super::QuantizeSettings;
use super::layerwise::{Calibration, LayerwiseError, Moments, Walk, moments, transposed};
use super::layerwise::{Layout, rows_of_matrix};
use crate::plan::{Action, Decision, Plan, Site};
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
    /// The rows of a weight in levels; `None` where the inputs are no finite numbers.
    fn round(&self, rows: &GroupRows<'_>) -> Option<Vec<RoundedRow>>;
}

/// Every algorithm; the first is the one that is used where none is named.
pub static GROUP_ALGORITHMS: &[&dyn GroupAlgorithm] = &[
    &fit::NEAREST,
    &fit::SEARCH,
    &half_quadratic::HalfQuadratic,
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
    /// Bits, length and zero points of groups.
    pub format: IntegerGroups,
    /// How codes are chosen.
    pub algorithm: &'static dyn GroupAlgorithm,
    /// First move factors between constants, so that weights that meet large inputs lose less (AWQ). Looks at samples.
    pub smooth: bool,
    /// What is added to each weight to take back what rounding loses. Looks at samples.
    pub addition: Addition,
    /// Tables that rows are looked up in get codes of this format too, without looking at samples; those that are a head as well share them with it.
    pub tables: Option<IntegerGroups>,
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
            && !self.smooths()
            && self.addition == Addition::None
            && self.tables.is_none()
    }

    fn smooths(&self) -> bool {
        self.smooth || self.algorithm.smooths()
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

/// The network on its way: weights of products that are done are on their levels.
struct Walker<'a> {
    graph: Graph,
    /// What is looked at, if anything is.
    walks: Option<Walks<'a>>,
    /// Moments of the input that was looked at last: products that read the same one come one after another.
    last: Option<(bantam_graph::ValueId, Moments)>,
    /// Weights on their levels alone, where something is added to their products.
    levels: Vec<(bantam_graph::ValueId, Tensor)>,
}

/// Where we are in the quantized network, and in that in float.
struct Walks<'a> {
    calibration: &'a Calibration<'a>,
    quantized: Walk,
    float: Option<Walk>,
}

impl<'a> Walker<'a> {
    fn new(
        graph: &Graph,
        settings: &GroupSettings,
        calibration: Option<&'a Calibration<'a>>,
    ) -> Result<Walker<'a>, GroupError> {
        let walks = match (settings.needs(), calibration) {
            (Needs::Nothing, _) => None,
            (_, None) => {
                let name = settings.algorithm.name();
                return Err(GroupError::NoSamples { name });
            }
            (needs, Some(calibration)) => {
                let batches = calibration.batches().map_err(LayerwiseError::from)?;
                let float = (needs == Needs::FloatInputs).then(|| Walk::new(graph, &batches));
                Some(Walks {
                    calibration,
                    quantized: Walk::new(graph, &batches)?,
                    float: float.transpose()?,
                })
            }
        };
        Ok(Walker {
            graph: graph.clone(),
            walks,
            last: None,
            levels: Vec::new(),
        })
    }

    fn quantize(&mut self, product: &Product, settings: &GroupSettings) -> Result<Vec<Decision>, GroupError> {
        let depth = product.depth;
        self.look(product)?;
        let tensor = &self.graph.values[product.weight.index()].initializer;
        let tensor = tensor.as_ref().ok_or(GroupError::Nothing)?;
        let (shape, values) = (
            tensor.shape().to_vec(),
            tensor.to_f32().map_err(LayerwiseError::from)?,
        );
        let limit = settings.format.limit();
        if !values.iter().all(|value| value.abs() <= limit) {
            let node = product.name.clone();
            return Err(GroupError::Weights { node });
        }
        let rows = rows_of_matrix(product.layout, values, depth);
        let moments = self.last.as_ref().map(|(_, moments)| moments);
        let not_finite = || LayerwiseError::NotFinite {
            layer: product.name.clone(),
        };
        let (rounded, added) = rounded((&rows, depth), moments, settings).ok_or_else(not_finite)?;
        let group = settings.format.group_len();
        let levels: Vec<f32> = rounded.iter().flat_map(|row| row.values(group)).collect();
        let as_stored = |rows: &[f32]| {
            let values = match product.layout {
                Layout::Rows => rows.to_vec(),
                Layout::Columns => transposed(rows, rounded.len(), depth),
            };
            Tensor::from_slice(&shape, &values).map_err(LayerwiseError::from)
        };
        let sum = added.as_ref().map(|added| added.onto(&levels));
        self.graph.values[product.weight.index()].initializer =
            Some(as_stored(sum.as_ref().unwrap_or(&levels))?);
        let by = (&settings.format, settings.algorithm.name());
        let mut decisions = vec![decision(product.site(), (product.layout, depth), by, &rounded)];
        if let Some(added) = added {
            self.levels.push((product.weight, as_stored(&levels)?));
            decisions.push(added.decision(&product.name, product.layout, &levels, depth));
        }
        Ok(decisions)
    }

    /// Puts a table on levels, and says so for each of its readers.
    fn quantize_table(
        &mut self,
        table: &Table,
        settings: &GroupSettings,
    ) -> Result<Vec<Decision>, GroupError> {
        let format = settings.tables.as_ref().unwrap_or(&settings.format);
        let tensor = &self.graph.values[table.weight.index()].initializer;
        let tensor = tensor.as_ref().ok_or(GroupError::Nothing)?;
        let (shape, values) = (
            tensor.shape().to_vec(),
            tensor.to_f32().map_err(LayerwiseError::from)?,
        );
        let wrong = || GroupError::Weights {
            node: table.name.clone(),
        };
        if !values.iter().all(|value| value.abs() <= format.limit()) {
            return Err(wrong());
        }
        let algorithm = match settings.algorithm.needs() {
            Needs::Nothing => settings.algorithm,
            _ => &fit::SEARCH,
        };
        let rounded = algorithm.round(&GroupRows {
            rows: &values,
            depth: table.depth,
            format,
            moments: None,
        });
        let rounded = rounded.ok_or_else(wrong)?;
        let levels: Vec<f32> = (rounded.iter())
            .flat_map(|row| row.values(format.group_len()))
            .collect();
        let levels = Tensor::from_slice(&shape, &levels).map_err(LayerwiseError::from)?;
        self.graph.values[table.weight.index()].initializer = Some(levels);
        let decision = |site: &Site| {
            decision(
                site.clone(),
                (Layout::Rows, table.depth),
                (format, algorithm.name()),
                &rounded,
            )
        };
        Ok(table.sites.iter().map(decision).collect())
    }

    /// The network with weights on their levels, to be turned into codes.
    fn with_levels(mut self) -> Graph {
        for (weight, levels) in self.levels {
            self.graph.values[weight.index()].initializer = Some(levels);
        }
        self.graph
    }

    /// Moments of the product's input, if samples are looked at at all.
    fn look(&mut self, product: &Product) -> Result<(), LayerwiseError> {
        let Some(walks) = &mut self.walks else {
            return Ok(());
        };
        if matches!(&self.last, Some((input, _)) if *input == product.input) {
            return Ok(());
        }
        let missing = || LayerwiseError::Shape {
            problem: format!("`{}` does not depend on the network's inputs", product.name),
        };
        walks.quantized.advance(&self.graph, product.node.index())?;
        let x = walks.quantized.get(product.input).ok_or_else(missing)?;
        let y = match &mut walks.float {
            Some(float) => {
                float.advance(walks.calibration.float, product.node.index())?;
                Some(float.get(product.input).ok_or_else(missing)?)
            }
            None => None,
        };
        let node = self.graph.node(product.node);
        let shape = [product.rows, product.depth];
        let around_zero = (false, walks.calibration.seed);
        let found = moments(node, &shape, product.depth, (x, y), around_zero)?;
        self.last = found.into_iter().next().map(|moments| (product.input, moments));
        Ok(())
    }
}

/// The rows in levels, and what is added to them.
fn rounded(
    (rows, depth): (&[f32], usize),
    moments: Option<&Moments>,
    settings: &GroupSettings,
) -> Option<(Vec<RoundedRow>, Option<Added>)> {
    let job = GroupRows {
        rows,
        depth,
        format: &settings.format,
        moments,
    };
    match moments {
        Some(moments) => added::rounded(&job, moments, settings.algorithm, settings.addition),
        None => Some((settings.algorithm.round(&job)?, None)),
    }
}

/// What the plan says of a weight whose rows have so many inputs.
fn decision(
    site: Site,
    (layout, depth): (Layout, usize),
    by: (&IntegerGroups, &str),
    rows: &[RoundedRow],
) -> Decision {
    let (format, _) = by;
    let (dtype, name) = stored_as(format);
    let groups = depth.div_ceil(format.group_len());
    // Scales lie as the elements of the weight do.
    let lie = |numbers: Vec<f32>| match layout {
        Layout::Rows => numbers,
        Layout::Columns => transposed(&numbers, rows.len(), groups),
    };
    let grids = || rows.iter().flat_map(|row| &row.grids);
    // A group of zeros has no scale.
    let scale = |scale: f32| if scale > 0.0 { scale } else { 1.0 };
    let params = QParams {
        dtype,
        axis: Some(match layout {
            Layout::Rows => 1,
            Layout::Columns => 0,
        }),
        group: Some(format.group_len()),
        scale: lie(grids().map(|grid| scale(grid.scale)).collect()),
        zero_point: lie(grids().map(|grid| grid.zero_point).collect())
            .into_iter()
            .map(|zero_point| zero_point as i32)
            .collect(),
    };
    quantized(site, by, name, params)
}

/// The type that holds codes, and its name as a format.
fn stored_as(format: &IntegerGroups) -> (DType, &'static str) {
    match (format.bits > 4, format.zero_point) {
        (false, false) => (DType::I4, "int4"),
        (false, true) => (DType::U4, "uint4"),
        (true, false) => (DType::I8, "int8"),
        (true, true) => (DType::U8, "uint8"),
    }
}

fn quantized(
    site: Site,
    (format, algorithm): (&IntegerGroups, &str),
    name: &str,
    params: QParams,
) -> Decision {
    Decision {
        site,
        action: Action::QuantizeConstant {
            format: name.to_owned(),
            params,
        },
        why: format!("weights of {} bits, chosen by {algorithm}", format.bits),
        sqnr_db: None,
    }
}
