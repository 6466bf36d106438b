//! Which decisions of the method `static` stand in a network that is trained for its codes.

use std::collections::{BTreeSet, HashMap};

use bantam_graph::ops::Unary;
use bantam_graph::{Node, NodeId, Op, ValueId};
use bantam_tensor::{DType, QParams};

use super::sites::{ActivationGroup, Finder, WeightSite};
use crate::plan::{Action, Decision, Site};
use crate::quantize::products::{input_channels, product_inputs};
use crate::target::OpRole;

/// What was decided so far.
struct Standing<'a> {
    activations: &'a [ActivationGroup],
    names: HashMap<&'a str, ValueId>,
    decisions: Vec<Decision>,
    weights: Vec<WeightSite>,
    /// Values that become codes.
    values: BTreeSet<String>,
}

impl Finder<'_> {
    /// The decisions that stand, and the weights among them.
    pub(super) fn decisions(
        &self,
        decisions: Vec<Decision>,
        activations: &[ActivationGroup],
    ) -> (Vec<Decision>, Vec<WeightSite>) {
        let mut standing = Standing {
            activations,
            names: self.graph.names(),
            decisions: Vec::new(),
            weights: Vec::new(),
            values: BTreeSet::new(),
        };
        decisions
            .into_iter()
            .for_each(|decision| self.decide(&mut standing, decision));
        let moved = self
            .graph
            .nodes
            .iter()
            .filter_map(|node| self.moved_apart(&standing, node));
        let moved: Vec<Decision> = moved.collect();
        standing.decisions.extend(moved);
        (standing.decisions, standing.weights)
    }

    fn decide(&self, standing: &mut Standing<'_>, mut decision: Decision) {
        let stands = match (&decision.site, &mut decision.action) {
            (Site::Value(name), Action::QuantizeActivation(params)) => {
                match self.activation(standing, name) {
                    Some(found) => {
                        *params = found;
                        standing.values.insert(name.clone())
                    }
                    None => false,
                }
            }
            (Site::Input { .. }, Action::QuantizeConstant { params, .. }) if params.dtype == DType::I32 => {
                self.settings.runs_in_integers()
            }
            (Site::Input { node, input, .. }, Action::QuantizeConstant { .. }) => {
                let site = self.weight(standing, node, *input);
                let apart = site.as_ref().and_then(|site| self.reads_apart(standing, site));
                standing.weights.extend(site);
                standing.decisions.extend(apart);
                true
            }
            (Site::Input { value, .. }, Action::DequantizeApart(_)) => standing.values.contains(value),
            // What `branch_off` put there is not in the result.
            (Site::Node(name), Action::Keep) => !self.is_branch(standing, name),
            _ => true,
        };
        if stands {
            standing.decisions.push(decision);
        }
    }

    /// Whether the node of this name gives products a value of their own.
    fn is_branch(&self, standing: &Standing<'_>, name: &str) -> bool {
        let producer = (standing.names.get(name)).and_then(|value| self.producers[value.index()]);
        producer.is_some_and(|id| matches!(self.graph.node(id).op, Op::Unary(Unary::Identity)))
    }

    /// Parameters of a value, if it becomes codes: where the target does not multiply in integers, those that are moved need
    /// not, but for what products read as whole bytes. ONNX Runtime moves 4-bit codes itself where it sees a pair of
    /// QuantizeLinear and DequantizeLinear, by ops that do not take them.
    fn activation(&self, standing: &Standing<'_>, name: &str) -> Option<QParams> {
        let value = *standing.names.get(name)?;
        let root = self.placement.scale_of[value.index()]?;
        let group = standing.activations.iter().find(|group| group.root == root)?;
        let bytes = group.params.dtype.bits() >= 8;
        let read = || {
            let mut products = self.graph.node_ids().filter(|(id, _)| self.is_product(*id));
            bytes && products.any(|(_, node)| node.inputs.contains(&Some(value)))
        };
        let stands = self.settings.runs_in_integers() || group.rounded.contains(&value) || read();
        stands.then(|| group.params.clone())
    }

    /// Keeps the bias of a product in float: runtimes that would round it to codes leave products alone whose input has a scale
    /// for each channel.
    fn reads_apart(&self, standing: &Standing<'_>, site: &WeightSite) -> Option<Decision> {
        let target = self.settings.quantize.target;
        let node = self.graph.node(site.node);
        let has_bias = product_inputs(self.graph, node)?.bias.is_some();
        let channels = input_channels(self.graph, node).filter(|channels| *channels > 1)?;
        let value = self.graph.value(node.input(0)?).name.clone();
        let rounds_bias = target.requantizes && has_bias && !self.settings.runs_in_integers();
        if !rounds_bias || !standing.values.contains(&value) {
            return None;
        }
        let params = self.activation(standing, &value)?;
        let why = format!("else {} would round the bias to codes", target.name);
        self.apart(node, (value, channels), &params, why)
    }

    /// Lets the runtime compute in float what moves 4-bit codes: it would move the codes, by ops that take only bytes.
    fn moved_apart(&self, standing: &Standing<'_>, node: &Node) -> Option<Decision> {
        let target = self.settings.quantize.target;
        let input = self.graph.value(node.input(0)?);
        let channels = input
            .ty
            .shape()?
            .get(1)?
            .known()
            .filter(|channels| *channels > 1)?;
        let is_moved = matches!(target.role(&node.op), OpRole::Movement | OpRole::Join);
        if !target.requantizes || !is_moved || !standing.values.contains(&input.name) {
            return None;
        }
        let params = self.activation(standing, &input.name)?;
        let why = format!("else {} would move 4-bit codes", target.name);
        let narrow = params.dtype.bits() < 8;
        narrow.then(|| self.apart(node, (input.name.clone(), channels), &params, why))?
    }

    /// The first input of a node, read with a scale for each channel.
    fn apart(
        &self,
        node: &Node,
        (value, channels): (String, usize),
        params: &QParams,
        why: String,
    ) -> Option<Decision> {
        Some(Decision {
            action: Action::DequantizeApart(QParams {
                dtype: params.dtype,
                axis: Some(1),
                group: None,
                scale: vec![params.scale[0]; channels],
                zero_point: vec![params.zero_point[0]; channels],
            }),
            site: Site::Input {
                value,
                node: self.graph.value(node.output(0)?).name.clone(),
                input: 0,
            },
            why,
            sqnr_db: None,
        })
    }

    fn weight(&self, standing: &Standing<'_>, node: &str, input: usize) -> Option<WeightSite> {
        let output = *standing.names.get(node)?;
        let (id, node): (NodeId, &Node) = self
            .graph
            .node_ids()
            .find(|(_, node)| node.output(0) == Some(output))?;
        let edge = self.is_edge(id);
        let format = match (self.widths.get(&id), &self.settings.edges) {
            (Some(own), _) => *own,
            (None, Some(edges)) if edge => edges.weights,
            _ => self.settings.quantize.weights,
        };
        Some(WeightSite {
            node: id,
            input,
            weight: node.input(input)?,
            edge,
            format,
        })
    }
}
