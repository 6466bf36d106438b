//! Zeros of weights among the levels that they are rounded to.

use std::collections::HashMap;

use bantam_graph::{Node, Op, ValueId};

use super::evaluate::constants;
use super::{Aware, AwareError, QuantizerKind};

/// The weights whose levels leave zero out, so that pruned weights would not stay zero: those of two levels,
/// symmetric ones of one or two bits, and DoReFa's below 8 bits.
///
/// # Errors
/// When the levels depend on the inputs of the network.
pub fn weights_without_zero(aware: &Aware) -> Result<Vec<String>, AwareError> {
    let graph = &aware.graph;
    let nodes: HashMap<&str, &Node> = graph
        .nodes
        .iter()
        .map(|node| (node.name.as_str(), node))
        .collect();
    let quantizers = aware
        .quantizers
        .iter()
        .filter_map(|quantizer| match &quantizer.kind {
            QuantizerKind::Weight { weight, .. } => Some((weight, *nodes.get(quantizer.node.as_str())?)),
            QuantizerKind::Activation { .. } => None,
        });
    let quantizers: Vec<(&String, &Node)> = quantizers.collect();
    let seconds: Vec<ValueId> = quantizers.iter().filter_map(|(_, node)| node.input(2)).collect();
    let mut names = Vec::new();
    for ((name, node), second) in quantizers.into_iter().zip(constants(graph, &seconds)?) {
        let not_constant = || AwareError::NotConstant {
            quantizer: node.name.clone(),
        };
        let numbers = second.ok_or_else(not_constant)?.to_f32()?;
        let has_zero = match &node.op {
            Op::FakeQuant(op) => numbers.iter().all(|zero_point| {
                zero_point.fract() == 0.0 && (op.low as f32..=op.high as f32).contains(zero_point)
            }),
            // Three levels have a threshold, except where a channel is nothing but zeros.
            _ => numbers.iter().any(|threshold| *threshold > 0.0),
        };
        if !has_zero {
            names.push(name.clone());
        }
    }
    Ok(names)
}
