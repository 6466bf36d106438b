//! Static post-training quantization: scales of activations from calibration data, of weights from the weights.

mod biases;

use bantam_graph::{Graph, Node, NodeId, Op, ValueId};
use bantam_tensor::QParams;

use super::activations::{activation_params, observed_values};
use super::bias_correction::corrected_inputs;
use super::placement::{Placement, place};
use super::products::{input_channels, product_inputs};
use super::weights::weight_params;
use super::{Method, QuantizeError, QuantizeSettings};
use crate::plan::{Action, Decision, Plan, Site};
use crate::quantizer::constant_sqnr;
use crate::stats::{Request, Stats};
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
        settings.check_ranges()?;
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
        let mut planner = Planner {
            graph,
            stats,
            settings,
            placement: &placement,
            scales: &scales,
            consumers: graph.consumers(),
            decisions: Vec::new(),
        };
        planner.activations(&graph.inputs);
        for (id, node) in graph.node_ids() {
            planner.node(node, placement.kept[id.index()].as_deref())?;
        }
        let (method, target) = (self.name().to_owned(), settings.target.name.to_owned());
        Ok(Plan {
            version: Plan::VERSION,
            model: None,
            method,
            target,
            decisions: planner.decisions,
        })
    }
}

struct Planner<'a> {
    graph: &'a Graph,
    stats: &'a Stats,
    settings: &'a QuantizeSettings,
    placement: &'a Placement,
    scales: &'a [Option<QParams>],
    consumers: Vec<Vec<(NodeId, usize)>>,
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
            self.decisions.extend(self.read_apart(node));
        } else if matches!(self.settings.target.role(&node.op), OpRole::Product { .. }) {
            self.product(node)?;
        }
        self.activations(&outputs);
        Ok(())
    }

    /// Keeps a float product in float: runtimes that quantize products between codes themselves, whole weights with
    /// one scale, leave those alone whose input has a scale for each channel.
    fn read_apart(&self, node: &Node) -> Option<Decision> {
        let channels = input_channels(self.graph, node).filter(|channels| *channels > 1)?;
        let input = node.input(0).filter(|_| self.settings.target.requantizes)?;
        let params = self.scales[input.index()].as_ref()?;
        let params = QParams {
            dtype: params.dtype,
            axis: Some(1),
            group: None,
            scale: vec![params.scale[0]; channels],
            zero_point: vec![params.zero_point[0]; channels],
        };
        let node = self.name(*node.outputs.iter().flatten().next()?);
        let site = Site::Input {
            value: self.name(input),
            node,
            input: 0,
        };
        let why = format!(
            "else {} would quantize the node itself",
            self.settings.target.name
        );
        Some(Decision {
            site,
            action: Action::DequantizeApart(params),
            why,
            sqnr_db: None,
        })
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
        let bias = match inputs.bias {
            Some(position) => Some((node, position)),
            None => self.added_bias(node),
        };
        let bias = bias.and_then(|(reader, position)| Some((reader, position, reader.input(position)?)));
        let input_scale = node
            .input(0)
            .and_then(|input| self.scales[input.index()].as_ref())
            .map(|p| p.scale[0]);
        let bias = match (bias, input_scale, self.settings.target.bias) {
            (Some((reader, position, bias)), Some(input_scale), BiasForm::Int32) => {
                self.bias_decision(reader, position, bias, input_scale, &mut params)?
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
