//! Static post-training quantization: scales of activations from calibration data, of weights from the weights.

use bantam_graph::{Graph, Node, Op, ValueId};
use bantam_tensor::QParams;

use super::bias_correction::{correction, input_means};
use super::placement::{Placement, ProductInputs, place, product_inputs};
use super::weights::{bias_params, finite_values, weight_params};
use super::{Method, QuantizeError, QuantizeSettings};
use crate::plan::{Action, Decision, Plan, Site};
use crate::quantizer::constant_sqnr;
use crate::range::RangeGoal;
use crate::stats::{Observed, Request, Stats};
use crate::target::{BiasForm, OpRole};

/// Static quantization (Jacob et al. 2018; Wu et al. 2020).
pub(super) struct PostTraining;

impl Method for PostTraining {
    fn name(&self) -> &'static str {
        "static"
    }

    fn summary(&self) -> &'static str {
        "post-training, scales of activations fixed by calibration"
    }

    fn requests(&self, graph: &Graph, settings: &QuantizeSettings) -> Result<Vec<Request>, QuantizeError> {
        let placement = place(graph, settings.target, settings.kept_by_user(graph)?);
        let stat = settings.range.stat();
        let ranges = observed_values(graph, settings, &placement);
        let mut requests: Vec<Request> = ranges.into_iter().map(|value| Request { value, stat }).collect();
        if settings.bias_correction {
            requests.extend(corrected_inputs(graph, settings, &placement));
        }
        Ok(requests)
    }

    fn plan(&self, graph: &Graph, stats: &Stats, settings: &QuantizeSettings) -> Result<Plan, QuantizeError> {
        let placement = place(graph, settings.target, settings.kept_by_user(graph)?);
        if placement.quantized.is_empty() {
            let mut reasons: Vec<String> = placement.kept.into_iter().flatten().collect();
            reasons.dedup();
            reasons.truncate(3);
            return Err(QuantizeError::Nothing {
                target: settings.target.name,
                reasons: reasons.join("; "),
            });
        }
        let scales = activation_params(graph, stats, settings, &placement)?;
        let decisions = Vec::new();
        let mut planner = Planner {
            graph,
            stats,
            settings,
            placement: &placement,
            scales: &scales,
            decisions,
        };
        planner.activations(&graph.inputs);
        for (id, node) in graph.node_ids() {
            planner.node(node, placement.kept[id.index()].as_deref())?;
        }
        let (method, target) = (self.name().to_owned(), settings.target.name.to_owned());
        Ok(Plan {
            version: Plan::VERSION,
            method,
            target,
            decisions: planner.decisions,
        })
    }
}

/// Values whose ranges are needed: those with scales, less those that only have moved elements of another.
fn observed_values(graph: &Graph, settings: &QuantizeSettings, placement: &Placement) -> Vec<ValueId> {
    let producers = graph.producers();
    let is_moved = |value: &ValueId| {
        let producer = producers[value.index()].map(|id| (id, &graph.node(id).op));
        producer.is_some_and(|(id, op)| {
            placement.kept[id.index()].is_none() && settings.target.role(op) == OpRole::Movement
        })
    };
    placement
        .quantized
        .iter()
        .copied()
        .filter(|value| !is_moved(value))
        .collect()
}

/// Means of the inputs of products that have a bias.
fn corrected_inputs(graph: &Graph, settings: &QuantizeSettings, placement: &Placement) -> Vec<Request> {
    let is_corrected = |node: &Node, kept: &Option<String>| {
        let product = matches!(settings.target.role(&node.op), OpRole::Product { .. });
        kept.is_none() && product && product_inputs(graph, node).is_some_and(|inputs| inputs.bias.is_some())
    };
    let nodes = graph
        .nodes
        .iter()
        .zip(&placement.kept)
        .filter(|(node, kept)| is_corrected(node, kept));
    nodes
        .filter_map(|(node, _)| {
            Some(Request {
                value: node.input(0)?,
                stat: input_means(&node.op),
            })
        })
        .collect()
}

/// Scale and zero point of every quantized value, by value.
fn activation_params(
    graph: &Graph,
    stats: &Stats,
    settings: &QuantizeSettings,
    placement: &Placement,
) -> Result<Vec<Option<QParams>>, QuantizeError> {
    let mut groups: std::collections::BTreeMap<ValueId, Observed> = Default::default();
    for value in observed_values(graph, settings, placement) {
        let Some(observed) = stats.get(value, settings.range.stat()) else {
            continue;
        };
        if observed.has_non_finite() {
            return Err(QuantizeError::NonFiniteActivation {
                name: graph.value(value).name.clone(),
            });
        }
        let root = placement.scale_of[value.index()].expect("a quantized value");
        groups
            .entry(root)
            .and_modify(|group| group.merge(observed))
            .or_insert_with(|| observed.clone());
    }
    let goal = RangeGoal {
        format: settings.activations,
        symmetric: settings.symmetric_activations,
    };
    let groups: Vec<(ValueId, Observed)> = groups.into_iter().collect();
    use rayon::prelude::*;
    let params: std::collections::BTreeMap<ValueId, QParams> = (groups.par_iter())
        .map(|(root, observed)| {
            let (low, high) = settings.range.range(observed, goal);
            let (scale, zero_point) = QParams::for_range(goal.format, goal.symmetric, low, high);
            let dtype = goal.format.storage();
            (
                *root,
                QParams {
                    dtype,
                    axis: None,
                    scale: vec![scale],
                    zero_point: vec![zero_point],
                },
            )
        })
        .collect();
    Ok(placement
        .scale_of
        .iter()
        .map(|root| params.get(root.as_ref()?).cloned())
        .collect())
}

struct Planner<'a> {
    graph: &'a Graph,
    stats: &'a Stats,
    settings: &'a QuantizeSettings,
    placement: &'a Placement,
    scales: &'a [Option<QParams>],
    decisions: Vec<Decision>,
}

impl Planner<'_> {
    fn name(&self, value: ValueId) -> String {
        self.graph.value(value).name.clone()
    }

    fn activations(&mut self, values: &[ValueId]) {
        for value in values {
            let (Some(params), Some(root)) = (
                &self.scales[value.index()],
                self.placement.scale_of[value.index()],
            ) else {
                continue;
            };
            let why = if root == *value {
                format!("range by {} from calibration", self.settings.range.name())
            } else {
                format!("shares the scale of `{}`", self.name(root))
            };
            let (site, action) = (
                Site::Value(self.name(*value)),
                Action::QuantizeActivation(params.clone()),
            );
            self.decisions.push(Decision {
                site,
                action,
                why,
                sqnr_db: None,
            });
        }
    }

    fn node(&mut self, node: &Node, kept: Option<&str>) -> Result<(), QuantizeError> {
        let outputs: Vec<ValueId> = node.outputs.iter().flatten().copied().collect();
        if let Some(reason) = kept {
            let name = outputs.first().map_or(String::new(), |output| self.name(*output));
            let (site, why) = (Site::Node(name), reason.to_owned());
            self.decisions.push(Decision {
                site,
                action: Action::Keep,
                why,
                sqnr_db: None,
            });
        } else if matches!(self.settings.target.role(&node.op), OpRole::Product { .. }) {
            self.product(node)?;
        }
        self.activations(&outputs);
        Ok(())
    }

    /// The weight and the bias of a product.
    fn product(&mut self, node: &Node) -> Result<(), QuantizeError> {
        let Some(inputs) = product_inputs(self.graph, node) else {
            return Ok(());
        };
        let weight = node.input(inputs.weight).expect("it has a weight");
        let mut params = weight_params(self.graph, node, weight, inputs.channel_axis, self.settings)?;
        // Grouped transposed convolutions repeat channels along the axis: one scale for all stays right.
        if let Op::ConvTranspose(op) = &node.op
            && op.group > 1
            && params.axis.is_some()
        {
            let largest = params.scale.iter().copied().fold(0.0, f32::max);
            params = QParams {
                axis: None,
                scale: vec![largest],
                zero_point: vec![params.zero_point[0]],
                ..params
            };
        }
        let bias = inputs
            .bias
            .and_then(|position| Some((position, node.input(position)?)));
        let input_scale = node
            .input(0)
            .and_then(|input| self.scales[input.index()].as_ref())
            .map(|p| p.scale[0]);
        let bias = match (bias, input_scale, self.settings.target.bias) {
            (Some((position, bias)), Some(input_scale), BiasForm::Int32) => {
                self.bias_decision(node, position, bias, input_scale, &mut params)?
            }
            _ => None,
        };
        let format = self.settings.weights.name();
        let corrected = self.corrected_bias(node, &inputs, &params);
        let why = format!("range by {} of the weight", self.settings.weight_range.name());
        self.constant(node, inputs.weight, weight, format, params, why);
        self.decisions.extend(bias);
        self.decisions.extend(corrected);
        Ok(())
    }

    /// The correction of a bias that only this node reads.
    fn corrected_bias(&self, node: &Node, inputs: &ProductInputs, params: &QParams) -> Option<Decision> {
        let bias = node.input(inputs.bias.filter(|_| self.settings.bias_correction)?)?;
        let readers = self
            .graph
            .nodes
            .iter()
            .flat_map(|node| node.inputs.iter().flatten());
        let tensor = self.graph.constant(bias).filter(|tensor| tensor.rank() == 1)?;
        let by = correction(
            self.graph,
            node,
            inputs,
            (self.settings.weights.name(), params),
            self.stats,
        )?;
        if readers.filter(|value| **value == bias).count() != 1 || by.len() != tensor.len() {
            return None;
        }
        let why = "takes back the mean of what quantized weights add".to_owned();
        Some(Decision {
            site: Site::Value(self.name(bias)),
            action: Action::ShiftConstant(by),
            why,
            sqnr_db: None,
        })
    }

    fn bias_decision(
        &mut self,
        node: &Node,
        position: usize,
        bias: ValueId,
        input_scale: f32,
        weight: &mut QParams,
    ) -> Result<Option<Decision>, QuantizeError> {
        let Some(tensor) = self.graph.constant(bias).filter(|tensor| tensor.rank() == 1) else {
            return Ok(None);
        };
        let values = finite_values(self.graph, node, &self.name(bias), tensor)?;
        if weight.scale.len() > 1 && weight.scale.len() != values.len() {
            return Ok(None);
        }
        let params = bias_params(input_scale, weight, &values);
        let why = "scale of the input times scale of the weight, so that it adds to the sums".to_owned();
        Ok(Some(
            self.constant_decision(node, position, bias, "int32", params, why),
        ))
    }

    fn constant(
        &mut self,
        node: &Node,
        input: usize,
        value: ValueId,
        format: &str,
        params: QParams,
        why: String,
    ) {
        let decision = self.constant_decision(node, input, value, format, params, why);
        self.decisions.push(decision);
    }

    fn constant_decision(
        &self,
        node: &Node,
        input: usize,
        value: ValueId,
        format: &str,
        params: QParams,
        why: String,
    ) -> Decision {
        let node = node
            .outputs
            .iter()
            .flatten()
            .next()
            .map_or(String::new(), |output| self.name(*output));
        let tensor = self.graph.value(value).initializer.as_ref();
        let sqnr_db = tensor
            .and_then(|tensor| constant_sqnr(tensor, format, &params).ok())
            .filter(|db| db.is_finite());
        let action = Action::QuantizeConstant {
            format: format.to_owned(),
            params,
        };
        Decision {
            site: Site::Input {
                value: self.name(value),
                node,
                input,
            },
            action,
            why,
            sqnr_db,
        }
    }
}
