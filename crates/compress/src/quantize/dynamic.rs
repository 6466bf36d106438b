//! Dynamic quantization: scales of activations are found at run time, so no data is needed.

use bantam_graph::{Graph, Node, Op};

use super::placement::product_inputs;
use super::weights::weight_params;
use super::{Method, QuantizeError, QuantizeSettings};
use crate::plan::{Action, Decision, Plan, Site};
use crate::quantizer::constant_sqnr;
use crate::stats::{Request, Stats};

/// Integer products with inputs quantized at run time; for networks made of matrix products.
pub(super) struct Dynamic;

impl Method for Dynamic {
    fn name(&self) -> &'static str {
        "dynamic"
    }

    fn summary(&self) -> &'static str {
        "weights beforehand, activations at run time; matrix products only, no data needed"
    }

    fn requests(&self, graph: &Graph, settings: &QuantizeSettings) -> Result<Vec<Request>, QuantizeError> {
        settings.kept_by_user(graph)?;
        Ok(Vec::new())
    }

    fn plan(&self, graph: &Graph, _: &Stats, settings: &QuantizeSettings) -> Result<Plan, QuantizeError> {
        let kept = settings.kept_by_user(graph)?;
        let mut decisions = Vec::new();
        for (node, kept) in graph.nodes.iter().zip(kept) {
            decisions.push(decide(graph, node, kept, settings)?);
        }
        if decisions.iter().all(|decision| decision.action == Action::Keep) {
            let reasons = "it has no MatMul or Gemm with a constant matrix".to_owned();
            return Err(QuantizeError::Nothing {
                target: settings.target.name,
                reasons,
            });
        }
        let (method, target) = (self.name().to_owned(), settings.target.name.to_owned());
        Ok(Plan {
            version: Plan::VERSION,
            method,
            target,
            decisions,
        })
    }
}

fn decide(
    graph: &Graph,
    node: &Node,
    kept: Option<&'static str>,
    settings: &QuantizeSettings,
) -> Result<Decision, QuantizeError> {
    let output = node.outputs.iter().flatten().next();
    let site = Site::Node(output.map_or(String::new(), |output| graph.value(*output).name.clone()));
    if let Some(reason) = kept.map(str::to_owned).or_else(|| obstacle(graph, node)) {
        return Ok(Decision {
            site,
            action: Action::Keep,
            why: reason,
            sqnr_db: None,
        });
    }
    let inputs = product_inputs(graph, node).expect("checked above");
    let weight = node.input(inputs.weight).expect("it has a weight");
    let params = weight_params(graph, node, weight, inputs.channel_axis, settings)?;
    let format = settings.weights.name().to_owned();
    let tensor = graph.value(weight).initializer.as_ref();
    let sqnr_db = tensor
        .and_then(|tensor| constant_sqnr(tensor, &format, &params).ok())
        .filter(|db| db.is_finite());
    let why = "product with a constant matrix".to_owned();
    Ok(Decision {
        site,
        action: Action::QuantizeDynamically { format, params },
        why,
        sqnr_db,
    })
}

/// Why a node cannot be quantized dynamically, if so.
fn obstacle(graph: &Graph, node: &Node) -> Option<String> {
    match &node.op {
        Op::MatMul(_) => {}
        Op::Gemm(gemm) if gemm.alpha == 1.0 && gemm.beta == 1.0 && !gemm.transA => {}
        Op::Gemm(_) => {
            return Some("a Gemm with factors or a transposed first input has no dynamic form".to_owned());
        }
        _ => return Some("not a matrix product".to_owned()),
    }
    match product_inputs(graph, node) {
        Some(inputs)
            if graph
                .constant_input(node, inputs.weight)
                .is_some_and(|w| w.rank() == 2) =>
        {
            None
        }
        _ => Some("its second input is not a constant matrix".to_owned()),
    }
}
