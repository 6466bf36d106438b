//! What is quantized, and in which format: the decisions of the method `static`, with the widths of training.

use std::collections::{BTreeMap, BTreeSet};

use bantam_graph::{Graph, NodeId, ValueId};
use bantam_tensor::{NumberFormat, QParams, format_by_name};

use super::grid::Grid;
use super::initialize::lsq_activation;
use super::settings::{ActivationMapping, AwareSettings, InitialScale};
use crate::plan::Plan;
use crate::quantize::activations::activation_params;
use crate::quantize::placement::{Placement, place};
use crate::quantize::{QuantizeError, QuantizeSettings, method_by_name};
use crate::range::RangeMethod;
use crate::select::Selector;
use crate::stats::{Observed, Stat, Stats};
use crate::target::OpRole;

/// Values with one scale.
#[derive(Clone, Debug)]
pub(super) struct ActivationGroup {
    /// The value that the scale is named after.
    pub(super) root: ValueId,
    /// All of them.
    pub(super) members: Vec<ValueId>,
    /// Values that are rounded; the others only move what was.
    pub(super) rounded: Vec<ValueId>,
    pub(super) params: QParams,
    pub(super) grid: Grid,
    /// At an edge of the network.
    pub(super) edge: bool,
    /// Smallest element that calibration saw.
    pub(super) lowest: f32,
    /// Mean magnitude of the elements, where it was observed.
    pub(super) mean: Option<f32>,
    /// Elements of one sample.
    pub(super) elements: usize,
    /// The target prescribes the scale.
    pub(super) prescribed: bool,
}

/// A weight as one product reads it.
#[derive(Clone, Debug)]
pub(super) struct WeightSite {
    pub(super) node: NodeId,
    pub(super) input: usize,
    pub(super) weight: ValueId,
    pub(super) edge: bool,
    pub(super) format: &'static dyn NumberFormat,
}

/// Everything that is quantized in a graph whose BatchNormalization is folded.
pub(super) struct Sites {
    pub(super) plan: Plan,
    pub(super) activations: Vec<ActivationGroup>,
    pub(super) weights: Vec<WeightSite>,
}

/// Settings that `static` can plan by: formats of training are ours to set.
pub(super) fn plan_settings(settings: &AwareSettings) -> QuantizeSettings {
    let mut quantize = settings.quantize.clone();
    quantize.bias_correction = false;
    quantize.weights = format_by_name("int8").expect("listed");
    quantize
}

/// Finds what is quantized.
pub(super) fn find(graph: &Graph, stats: &Stats, settings: &AwareSettings) -> Result<Sites, QuantizeError> {
    let quantize = plan_settings(settings);
    let placement = place(graph, quantize.target, quantize.kept_by_user(graph)?);
    let finder = Finder {
        graph,
        settings,
        edges: edges(graph),
        widths: widths(graph, settings)?,
        placement: &placement,
        producers: graph.producers(),
    };
    let activations = finder.activation_groups(stats)?;
    let method = method_by_name("static").expect("listed");
    let mut plan = method.plan(graph, stats, &quantize)?;
    plan.method = "aware".to_owned();
    let (decisions, weights) = finder.decisions(plan.decisions, &activations);
    plan.decisions = decisions;
    Ok(Sites {
        plan,
        activations,
        weights,
    })
}

/// The formats of nodes with widths of their own.
fn widths(graph: &Graph, settings: &AwareSettings) -> Result<Widths, QuantizeError> {
    let mut widths = BTreeMap::new();
    for width in &settings.widths {
        let nodes = width.nodes.select(graph)?;
        widths.extend(nodes.into_iter().map(|node| (node, width.format)));
    }
    Ok(widths)
}

/// The first and the last product.
fn edges(graph: &Graph) -> BTreeSet<NodeId> {
    let select = |role| Selector::parse(role).and_then(|selector| selector.select(graph));
    let found = [select("role:first"), select("role:last")];
    found.into_iter().flatten().flatten().collect()
}

type Widths = BTreeMap<NodeId, &'static dyn NumberFormat>;

pub(super) struct Finder<'a> {
    pub(super) graph: &'a Graph,
    pub(super) settings: &'a AwareSettings,
    edges: BTreeSet<NodeId>,
    pub(super) widths: Widths,
    pub(super) placement: &'a Placement,
    pub(super) producers: Vec<Option<NodeId>>,
}

impl Finder<'_> {
    pub(super) fn is_edge(&self, node: NodeId) -> bool {
        self.settings.edges.is_some() && self.edges.contains(&node)
    }

    /// Whether a node is a product that is quantized.
    pub(super) fn is_product(&self, node: NodeId) -> bool {
        let role = self.settings.quantize.target.role(&self.graph.node(node).op);
        self.placement.kept[node.index()].is_none() && matches!(role, OpRole::Product { .. })
    }

    /// For each group that a product reads, by root: whether products at the edges alone read it.
    fn read_by_products(&self) -> BTreeMap<ValueId, bool> {
        let mut read = BTreeMap::new();
        for (id, node) in self.graph.node_ids().filter(|(id, _)| self.is_product(*id)) {
            let operands = node.inputs.iter().take(2).flatten();
            for root in operands.filter_map(|value| self.placement.scale_of[value.index()]) {
                *read.entry(root).or_insert(true) &= self.is_edge(id);
            }
        }
        read
    }

    /// Groups of activations. Where the target does not multiply in integers, only what products read is quantized.
    fn activation_groups(&self, stats: &Stats) -> Result<Vec<ActivationGroup>, QuantizeError> {
        if self.settings.float_activations {
            return Ok(Vec::new());
        }
        let (read, integers) = (self.read_by_products(), self.settings.runs_in_integers());
        let settings = [self.settings.inside(), self.settings.at_edges()];
        let params = |index: usize| activation_params(self.graph, stats, &settings[index], self.placement);
        let params = [params(0)?, params(1)?];
        let mut groups: Vec<ActivationGroup> = Vec::new();
        for &value in &self.placement.quantized {
            let root = self.placement.scale_of[value.index()].expect("a quantized value");
            if !integers && !read.contains_key(&root) {
                continue;
            }
            if let Some(group) = groups.iter_mut().find(|group| group.root == root) {
                self.join(group, value, stats);
                continue;
            }
            let edge = read.get(&root).copied().unwrap_or(false);
            let Some(found) = params[usize::from(edge)][value.index()].clone() else {
                continue;
            };
            let format = settings[usize::from(edge)].activations;
            let mut group = ActivationGroup {
                root,
                members: Vec::new(),
                rounded: Vec::new(),
                grid: Grid::full(format, found.zero_point[0]),
                params: found,
                edge,
                lowest: f32::INFINITY,
                mean: None,
                elements: self.elements(root),
                prescribed: false,
            };
            self.join(&mut group, value, stats);
            groups.push(group);
        }
        groups.iter_mut().for_each(|group| self.start(group, stats));
        Ok(groups)
    }

    fn join(&self, group: &mut ActivationGroup, value: ValueId, stats: &Stats) {
        group.members.push(value);
        let target = self.settings.quantize.target;
        let producer = self.producers[value.index()].map(|id| &self.graph.node(id).op);
        let format = self.settings.quantize.activations;
        group.prescribed |= producer.is_some_and(|op| target.fixed_output(op, format).is_some());
        if !self.is_moved(value) {
            group.rounded.push(value);
        }
        if let Some(observed) = stats.get(value, self.settings.quantize.range.stat()) {
            group.lowest = group.lowest.min(observed.bounds().0);
        }
    }

    /// Whether a value only holds elements of another of its group.
    fn is_moved(&self, value: ValueId) -> bool {
        self.producers[value.index()].is_some_and(|id| {
            let role = self.settings.quantize.target.role(&self.graph.node(id).op);
            self.placement.kept[id.index()].is_none() && role == OpRole::Movement
        })
    }

    /// Elements of one sample.
    fn elements(&self, value: ValueId) -> usize {
        let dims = self.graph.value(value).ty.shape().unwrap_or_default();
        let known = dims.iter().skip(1).filter_map(bantam_graph::Dim::known);
        known.product::<usize>().max(1)
    }

    /// The mean magnitude of a group, and LSQ's start where it is asked for.
    fn start(&self, group: &mut ActivationGroup, stats: &Stats) {
        let observed = group
            .rounded
            .iter()
            .map(|value| stats.get(*value, Stat::Histogram));
        let parts = observed.flatten().filter_map(magnitudes);
        let (sum, count) = parts.fold((0.0, 0), |(sum, count), part| (sum + part.0, count + part.1));
        group.mean = (count > 0).then(|| (sum / count as f64) as f32);
        if let (InitialScale::Lsq, Some(mean), false) = (self.settings.initial, group.mean, group.prescribed)
        {
            lsq_activation(
                &mut group.params,
                mean,
                &group.grid,
                self.settings.quantize.target.scales,
            );
        }
    }
}

/// Sum of the magnitudes of all elements, and their number.
fn magnitudes(observed: &Observed) -> Option<(f64, u64)> {
    let Observed::Histogram(histogram) = observed else {
        return None;
    };
    let sum = histogram.bins().map(|(x, count)| x.abs() * count as f64).sum();
    Some((sum, histogram.total()))
}

/// What must be observed: what `static` asks, and what the first scales need.
pub(super) fn requests(
    graph: &Graph,
    settings: &AwareSettings,
) -> Result<Vec<crate::stats::Request>, QuantizeError> {
    if settings.float_activations {
        return Ok(Vec::new());
    }
    let method = method_by_name("static").expect("listed");
    let mut requests = method.requests(graph, &plan_settings(settings))?;
    let range: &dyn RangeMethod = settings.quantize.range;
    let needs_means =
        settings.initial == InitialScale::Lsq || settings.activation_mapping == ActivationMapping::Binary;
    if needs_means && range.stat() != Stat::Histogram {
        let more: Vec<_> = requests
            .iter()
            .map(|request| crate::stats::Request {
                value: request.value,
                stat: Stat::Histogram,
            })
            .collect();
        requests.extend(more);
    }
    Ok(requests)
}

impl ActivationGroup {
    /// Whether the sign stands for its elements: some lie below zero.
    pub(super) fn is_signed(&self) -> bool {
        self.lowest < 0.0
    }

    /// The mapping that it gets.
    pub(super) fn mapping(&self, asked: ActivationMapping, is_input: bool) -> ActivationMapping {
        if self.edge || is_input {
            ActivationMapping::Uniform
        } else {
            asked
        }
    }
}
