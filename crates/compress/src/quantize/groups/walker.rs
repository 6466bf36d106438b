//! The walk through a network whose products get codes one after another, each with the inputs that those before it give.

use bantam_graph::{Graph, ValueId};
use bantam_tensor::Tensor;

use super::added::{self, Added};
use super::decisions::decision;
use super::products::Product;
use super::rounded::{GroupRows, RoundedRow};
use super::tables::Table;
use super::{GroupError, GroupFormat, GroupSettings, Needs, fit};
use crate::plan::{Decision, Site};
use crate::quantize::layerwise::{
    Calibration, LayerwiseError, Layout, Moments, Walk, moments, rows_of_matrix, transposed,
};

/// The network on its way: weights of products that are done are on their levels.
pub(super) struct Walker<'a> {
    graph: Graph,
    /// What is looked at, if anything is.
    walks: Option<Walks<'a>>,
    /// Moments of the input that was looked at last: products that read the same one come one after another.
    last: Option<(ValueId, Moments)>,
    /// Weights on their levels alone, where something is added to their products.
    levels: Vec<(ValueId, Tensor)>,
}

/// Where we are in the quantized network, and in that in float.
struct Walks<'a> {
    calibration: &'a Calibration<'a>,
    quantized: Walk,
    float: Option<Walk>,
}

impl<'a> Walker<'a> {
    pub(super) fn new(
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

    pub(super) fn quantize(
        &mut self,
        product: &Product,
        settings: &GroupSettings,
    ) -> Result<Vec<Decision>, GroupError> {
        let depth = product.depth;
        self.look(product)?;
        let (shape, values) = self.values(product.weight, &product.name, &settings.format)?;
        let rows = rows_of_matrix(product.layout, values, depth);
        let moments = self.last.as_ref().map(|(_, moments)| moments);
        let not_finite = || LayerwiseError::NotFinite {
            layer: product.name.clone(),
        };
        let seed = self.walks.as_ref().map_or(0, |walks| walks.calibration.seed);
        let job = GroupRows {
            rows: &rows,
            depth,
            format: &settings.format,
            moments,
            // Products draw apart from each other.
            seed: seed.wrapping_add(product.node.index() as u64),
        };
        let format = job.format.for_weight(&job).ok_or_else(not_finite)?;
        let job = GroupRows {
            format: &format,
            ..job
        };
        let (rounded, added) = rounded(&job, settings).ok_or_else(not_finite)?;
        let group = format.group_len();
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
        let by = (&format, settings.algorithm.name());
        let mut decisions = vec![decision(product.site(), (product.layout, depth), by, &rounded)];
        if let Some(added) = added {
            self.levels.push((product.weight, as_stored(&levels)?));
            decisions.push(added.decision(&product.name, product.layout, &levels, depth));
        }
        Ok(decisions)
    }

    /// Puts a table on levels, and says so for each of its readers.
    pub(super) fn quantize_table(
        &mut self,
        table: &Table,
        settings: &GroupSettings,
    ) -> Result<Vec<Decision>, GroupError> {
        let format = settings.tables.as_ref().unwrap_or(&settings.format);
        let (shape, values) = self.values(table.weight, &table.name, format)?;
        let algorithm = match settings.algorithm.needs() {
            Needs::Nothing => settings.algorithm,
            _ => &fit::SEARCH,
        };
        let not_finite = || GroupError::Weights {
            node: table.name.clone(),
        };
        let job = GroupRows {
            rows: &values,
            depth: table.depth,
            format,
            moments: None,
            seed: 0,
        };
        let format = job.format.for_weight(&job).ok_or_else(not_finite)?;
        let job = GroupRows {
            format: &format,
            ..job
        };
        let rounded = algorithm.round(&job).ok_or_else(not_finite)?;
        let levels: Vec<f32> = (rounded.iter())
            .flat_map(|row| row.values(format.group_len()))
            .collect();
        let levels = Tensor::from_slice(&shape, &levels).map_err(LayerwiseError::from)?;
        self.graph.values[table.weight.index()].initializer = Some(levels);
        let decision = |site: &Site| {
            decision(
                site.clone(),
                (Layout::Rows, table.depth),
                (&format, algorithm.name()),
                &rounded,
            )
        };
        Ok(table.sites.iter().map(decision).collect())
    }

    /// The shape and the numbers of a weight, which a format can say.
    fn values(
        &self,
        weight: ValueId,
        name: &str,
        format: &GroupFormat,
    ) -> Result<(Vec<usize>, Vec<f32>), GroupError> {
        let tensor = self.graph.constant(weight).ok_or(GroupError::Nothing)?;
        let values = tensor.to_f32().map_err(LayerwiseError::from)?;
        match values.iter().all(|value| value.abs() <= format.limit()) {
            true => Ok((tensor.shape().to_vec(), values)),
            false => Err(GroupError::Weights {
                node: name.to_owned(),
            }),
        }
    }

    /// The network with weights on their levels, to be turned into codes.
    pub(super) fn with_levels(mut self) -> Graph {
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
fn rounded(job: &GroupRows<'_>, settings: &GroupSettings) -> Option<(Vec<RoundedRow>, Option<Added>)> {
    match job.moments {
        Some(moments) => added::rounded(job, moments, settings.algorithm, settings.addition),
        None => Some((settings.algorithm.round(job)?, None)),
    }
}
