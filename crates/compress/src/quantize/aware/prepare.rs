//! The graphs that are observed and trained.

use bantam_graph::passes::{ELIMINATE_IDENTITY, FOLD_BATCH_NORMALIZATION, PASSES, run_passes};
use bantam_graph::{Graph, InferOptions, NodeId, Op, ValueId, infer_shapes};

use super::branches::branch_off;
use super::settings::{AwareSettings, BatchNormalizationMode};
use super::{AwareError, sites};
use crate::stats::Request;

/// What [`prepare`] gives.
#[derive(Clone)]
pub struct Preparation {
    /// The graph to observe, BatchNormalization folded.
    pub observed: Graph,
    /// What to observe of it.
    pub requests: Vec<Request>,
    /// The graph to train: where quantizers are put in.
    pub base: Graph,
    pub(super) settings: AwareSettings,
}

/// Brings a float graph without local functions into the forms that are observed and trained.
///
/// # Errors
/// When the graph is malformed, a selector matches nothing, or the target does not take such scales.
pub fn prepare(graph: &Graph, settings: &AwareSettings) -> Result<Preparation, AwareError> {
    settings.check_scales()?;
    let mut base = graph.clone();
    infer_shapes(&mut base, &InferOptions::default())?;
    let others: Vec<_> = PASSES
        .iter()
        .copied()
        .filter(|pass| pass.name != FOLD_BATCH_NORMALIZATION.name)
        .collect();
    run_passes(&mut base, &others)?;
    branch_off(&mut base, settings)?;
    let observed = folded(&base)?;
    if settings.batch_normalization == BatchNormalizationMode::Fold {
        base = observed.clone();
    }
    Ok(Preparation {
        requests: sites::requests(&observed, settings)?,
        observed,
        base,
        settings: settings.clone(),
    })
}

/// The graph with BatchNormalization folded.
pub(super) fn folded(graph: &Graph) -> Result<Graph, AwareError> {
    let mut folded = graph.clone();
    let mut passes = PASSES.to_vec();
    // Products keep the values that `branch_off` gave them.
    passes.retain(|pass| pass.name != ELIMINATE_IDENTITY.name);
    run_passes(&mut folded, &passes)?;
    infer_shapes(&mut folded, &InferOptions::default())?;
    Ok(folded)
}

/// Finds what stands in the trained graph for values and nodes of the observed one.
pub(super) struct Counterparts<'a> {
    base: &'a Graph,
    observed: &'a Graph,
    consumers: Vec<Vec<(NodeId, usize)>>,
    producers: Vec<Option<NodeId>>,
    /// First outputs of BatchNormalization nodes that the observed graph still has.
    unfolded: Vec<&'a str>,
}

impl<'a> Counterparts<'a> {
    pub(super) fn new(preparation: &'a Preparation) -> Counterparts<'a> {
        let (base, observed) = (&preparation.base, &preparation.observed);
        let normalizations = observed
            .nodes
            .iter()
            .filter(|node| matches!(node.op, Op::BatchNormalization(_)));
        Counterparts {
            base,
            observed,
            consumers: base.consumers(),
            producers: base.producers(),
            unfolded: normalizations
                .filter_map(|node| Some(observed.value(node.output(0)?).name.as_str()))
                .collect(),
        }
    }

    fn name_in_base(&self, value: ValueId) -> Result<ValueId, AwareError> {
        let name = &self.observed.value(value).name;
        self.base
            .value_by_name(name)
            .ok_or_else(|| AwareError::Unknown { name: name.clone() })
    }

    /// The value that holds what a value of the observed graph holds: behind the BatchNormalization that was folded.
    pub(super) fn value(&self, observed: ValueId) -> Result<ValueId, AwareError> {
        let value = self.name_in_base(observed)?;
        let [(reader, 0)] = self.consumers[value.index()][..] else {
            return Ok(value);
        };
        let node = self.base.node(reader);
        match (&node.op, node.output(0)) {
            (Op::BatchNormalization(_), Some(output)) => {
                let stays = self.unfolded.contains(&self.base.value(output).name.as_str());
                Ok(if stays { value } else { output })
            }
            _ => Ok(value),
        }
    }

    /// The product that a product of the observed graph was made of.
    pub(super) fn product(&self, observed: NodeId) -> Result<NodeId, AwareError> {
        let output = self.observed.node(observed).output(0);
        let output = output.ok_or_else(|| AwareError::Unknown {
            name: self.observed.describe(self.observed.node(observed)),
        })?;
        let value = self.name_in_base(output)?;
        let unknown = || AwareError::Unknown {
            name: self.base.value(value).name.clone(),
        };
        let producer = self.producers[value.index()].ok_or_else(unknown)?;
        let node = self.base.node(producer);
        match (&node.op, node.input(0)) {
            // A graph output takes its name along when the normalization before it is folded.
            (Op::BatchNormalization(_), Some(input)) => self.producers[input.index()].ok_or_else(unknown),
            _ => Ok(producer),
        }
    }
}
