//! Dynamic quantization: scales of activations are found at run time, so no data is needed.

use bantam_graph::{Graph, Node, Op, ValueId};
use bantam_tensor::{DType, Granularity, QParams};

use super::products::product_inputs;
use super::weights::weight_params;
use super::{Method, QuantizeError, QuantizeSettings};
use crate::plan::{Action, Decision, Plan, Site};
use crate::quantizer::constant_sqnr;
use crate::stats::{Request, Stats};

/// Integer products with inputs quantized at run time; for networks made of matrix products. Tables that rows are
/// looked up in are stored as codes.
///
/// Convolutions only where the user asks: ONNX Runtime 1.32 took 25 ms (uint8 weights) and 90 ms (int8) for a
/// ResNet-20 that took 16 ms in float.
pub(super) struct Dynamic;

impl Method for Dynamic {
    fn name(&self) -> &'static str {
        "dynamic"
    }

    fn summary(&self) -> &'static str {
        "weights beforehand, activations at run time; for matrix products and lookups, no data needed"
    }

    fn requests(&self, graph: &Graph, settings: &QuantizeSettings) -> Result<Vec<Request>, QuantizeError> {
        settings.kept_by_user(graph)?;
        Ok(Vec::new())
    }

    fn plan(&self, graph: &Graph, _: &Stats, settings: &QuantizeSettings) -> Result<Plan, QuantizeError> {
        let kept = settings.kept_by_user(graph)?;
        let storage = settings.weights.storage();
        if !matches!(storage, DType::I8 | DType::U8) {
            let format = settings.weights.name();
            return Err(QuantizeError::DynamicFormat { format, storage });
        }
        let mut decisions = Vec::new();
        for (node, kept) in graph.nodes.iter().zip(kept) {
            decisions.push(decide(graph, node, kept, settings)?);
        }
        if decisions.iter().all(|decision| decision.action == Action::Keep) {
            let reasons =
                "it has no MatMul or Gemm with a constant matrix (convolutions need `--include op:Conv`)"
                    .to_owned();
            return Err(QuantizeError::Nothing {
                target: settings.target.name,
                reasons,
            });
        }
        let (method, target) = (self.name().to_owned(), settings.target.name.to_owned());
        Ok(Plan {
            version: Plan::VERSION,
            model: None,
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
    if let Some(reason) = kept
        .map(str::to_owned)
        .or_else(|| obstacle(graph, node, settings))
    {
        return Ok(Decision {
            site,
            action: Action::Keep,
            why: reason,
            sqnr_db: None,
        });
    }
    let (weight, params, why) = weight_of(graph, node, settings)?;
    let format = settings.weights.name().to_owned();
    let tensor = graph.value(weight).initializer.as_ref();
    let sqnr_db = tensor
        .and_then(|tensor| constant_sqnr(tensor, &format, &params).ok())
        .filter(|db| db.is_finite());
    Ok(Decision {
        site,
        action: Action::QuantizeDynamically { format, params },
        why: why.to_owned(),
        sqnr_db,
    })
}

/// The constant of a node without an obstacle, its scales, and what the node is.
fn weight_of(
    graph: &Graph,
    node: &Node,
    settings: &QuantizeSettings,
) -> Result<(ValueId, QParams, &'static str), QuantizeError> {
    let constant = |position| node.input(position).expect("it has no obstacle");
    let is_lookup = matches!(node.op, Op::Gather(_));
    // ConvInteger takes one zero point for all weights.
    let one_zero_point = matches!(node.op, Op::Conv(_)) && !settings.symmetric_weights;
    let mut settings = settings.clone();
    if is_lookup || one_zero_point {
        settings.granularity = Granularity::Tensor;
    }
    if is_lookup {
        let params = weight_params(graph, node, constant(0), 0, &settings)?;
        return Ok((constant(0), params, "lookup in a constant table"));
    }
    let inputs = product_inputs(graph, node).expect("it has no obstacle");
    let weight = constant(inputs.weight);
    let params = weight_params(graph, node, weight, inputs.channel_axis, &settings)?;
    Ok((weight, params, "product with a constant matrix"))
}

/// Why a node cannot be quantized dynamically, if so.
fn obstacle(graph: &Graph, node: &Node, settings: &QuantizeSettings) -> Option<String> {
    let no_matrix = |position: usize| {
        let weight = graph.constant_input(node, position);
        let fits = weight.is_some_and(|weight| weight.rank() == 2 && weight.dtype() == DType::F32);
        (!fits).then(|| "it has no constant float32 matrix".to_owned())
    };
    match &node.op {
        Op::MatMul(_) => no_matrix(1),
        Op::Gemm(gemm) if gemm.alpha == 1.0 && gemm.beta == 1.0 && !gemm.transA => no_matrix(1),
        Op::Gemm(_) => Some("a Gemm with factors or a transposed first input has no dynamic form".to_owned()),
        Op::Gather(gather) if gather.axis == 0 => no_matrix(0),
        Op::Conv(_) if settings.include.is_empty() => Some(
            "ConvInteger is slower than a float convolution; `--include op:Conv` has it all the same"
                .to_owned(),
        ),
        Op::Conv(_) => {
            let weight = graph.constant_input(node, 1);
            let fits = weight.is_some_and(|weight| weight.rank() > 2 && weight.dtype() == DType::F32);
            let bias = node.input(2).is_none_or(|bias| graph.constant(bias).is_some());
            (!fits || !bias).then(|| "its weight or bias is not constant".to_owned())
        }
        _ => Some("neither a product nor a lookup".to_owned()),
    }
}
