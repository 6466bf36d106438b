//! What training made of the quantizers.

use std::collections::{BTreeSet, HashMap};

use bantam_graph::{Graph, NodeId, Op, Patch, ValueId};
use bantam_tensor::Tensor;

use super::evaluate::constants;
use super::grid::Grid;
use super::{Aware, AwareError, Quantizer, QuantizerKind};

/// A quantizer with its trained levels.
pub(super) struct Trained<'a> {
    pub(super) quantizer: &'a Quantizer,
    pub(super) node: NodeId,
    /// Codes; the zero point is that of the first channel.
    pub(super) grid: Grid,
    pub(super) scale: Vec<f32>,
    pub(super) zero_point: Vec<f32>,
    /// Both signs of the scale and nothing between.
    pub(super) is_sign: bool,
    /// The rounded weight.
    pub(super) rounded: Option<Tensor>,
}

/// Reads the levels of every quantizer.
///
/// # Errors
/// When a quantizer is gone, or its levels are of no use.
pub(super) fn read(aware: &Aware) -> Result<Vec<Trained<'_>>, AwareError> {
    let graph = &aware.graph;
    let names: HashMap<&str, NodeId> = graph
        .node_ids()
        .map(|(id, node)| (node.name.as_str(), id))
        .collect();
    let nodes = aware.quantizers.iter().map(|quantizer| {
        let node = names.get(quantizer.node.as_str()).copied();
        let is_quantizer = |id: &NodeId| matches!(graph.node(*id).op, Op::FakeQuant(_) | Op::FakeSign(_));
        node.filter(is_quantizer).ok_or_else(|| AwareError::NoQuantizer {
            node: quantizer.node.clone(),
        })
    });
    let nodes: Vec<NodeId> = nodes.collect::<Result<_, _>>()?;
    let mut wanted: Vec<ValueId> = Vec::new();
    for &node in &nodes {
        let node = graph.node(node);
        wanted.extend(
            [node.inputs[1], node.inputs[2], node.outputs[0]]
                .into_iter()
                .flatten(),
        );
    }
    let values = constants(graph, &wanted)?;
    let found = aware.quantizers.iter().zip(nodes).zip(values.chunks(3));
    found
        .map(|((quantizer, node), values)| trained(graph, quantizer, node, values))
        .collect()
}

fn trained<'a>(
    graph: &Graph,
    quantizer: &'a Quantizer,
    node: NodeId,
    values: &[Option<Tensor>],
) -> Result<Trained<'a>, AwareError> {
    let numbers = |index: usize| {
        let tensor = values[index].as_ref().ok_or_else(|| AwareError::NotConstant {
            quantizer: quantizer.node.clone(),
        })?;
        Ok::<_, AwareError>(tensor.to_f32()?)
    };
    let (mut scale, second) = (numbers(0)?, numbers(1)?);
    let is_weight = matches!(quantizer.kind, QuantizerKind::Weight { .. });
    let (grid, zero_point, is_sign) = match &graph.node(node).op {
        Op::FakeQuant(op) => {
            let grid = Grid {
                low: op.low,
                high: op.high,
                zero_point: second.first().copied().unwrap_or(0.0),
            };
            (grid, second, false)
        }
        _ => {
            let grid = Grid {
                low: -1,
                high: 1,
                zero_point: 0.0,
            };
            // The mean magnitude of a channel of zeros.
            scale
                .iter_mut()
                .filter(|scale| is_weight && **scale == 0.0)
                .for_each(|scale| *scale = 1.0);
            (grid, vec![0.0; scale.len()], true)
        }
    };
    if let Some(&scale) = scale.iter().find(|scale| !scale.is_finite() || **scale <= 0.0) {
        return Err(AwareError::Scale {
            quantizer: quantizer.node.clone(),
            scale,
        });
    }
    let rounded = match &quantizer.kind {
        QuantizerKind::Activation { .. } => None,
        QuantizerKind::Weight { weight, .. } => {
            if numbers(2)?.iter().any(|value| !value.is_finite()) {
                return Err(AwareError::NonFinite {
                    weight: weight.clone(),
                });
            }
            values[2].clone()
        }
    };
    Ok(Trained {
        quantizer,
        node,
        grid,
        scale,
        zero_point,
        is_sign,
        rounded,
    })
}

/// The graph without quantizers, with weights as they were trained or as they are rounded.
///
/// # Errors
/// When the graph lacks what a quantizer belongs to.
pub(super) fn without_quantizers(
    graph: &Graph,
    trained: &[Trained<'_>],
    rounded: bool,
) -> Result<Graph, AwareError> {
    let producers = graph.producers();
    let consumers = graph.consumers();
    let mut patch = Patch::new(graph);
    let mut weights: HashMap<&str, usize> = HashMap::new();
    for quantizer in trained {
        if let QuantizerKind::Weight { weight, .. } = &quantizer.quantizer.kind {
            *weights.entry(weight).or_default() += 1;
        }
    }
    for found in trained {
        let node = graph.node(found.node);
        let gone = || AwareError::NoQuantizer {
            node: found.quantizer.node.clone(),
        };
        let output = node.output(0).ok_or_else(gone)?;
        match &found.quantizer.kind {
            QuantizerKind::Activation { before } => {
                let mut x = node.input(0).ok_or_else(gone)?;
                for _ in 0..*before {
                    let id = producers[x.index()].ok_or_else(gone)?;
                    patch.remove_node(id);
                    x = graph.node(id).input(0).ok_or_else(gone)?;
                }
                patch.replace_uses(output, x);
            }
            QuantizerKind::Weight { weight, .. } => {
                let id = graph
                    .value_by_name(weight)
                    .ok_or_else(|| AwareError::Unknown { name: weight.clone() })?;
                let readers = ancestors(graph, &producers, found.node);
                let alone = weights[weight.as_str()] == 1
                    && consumers[id.index()]
                        .iter()
                        .all(|(reader, _)| readers.contains(reader));
                let replacement = match found.rounded.clone().filter(|_| rounded) {
                    None => id,
                    Some(tensor) if alone => {
                        patch.set_initializer(id, tensor);
                        id
                    }
                    Some(tensor) => patch.add_constant(weight, tensor),
                };
                patch.replace_uses(output, replacement);
            }
        }
        patch.remove_node(found.node);
    }
    let mut stripped = graph.clone();
    patch.apply(&mut stripped)?;
    Ok(stripped)
}

/// A node and all that it depends on.
fn ancestors(graph: &Graph, producers: &[Option<NodeId>], node: NodeId) -> BTreeSet<NodeId> {
    let mut found = BTreeSet::from([node]);
    let mut open = vec![node];
    while let Some(node) = open.pop() {
        let inputs = graph.node(node).inputs.iter().flatten();
        for producer in inputs.filter_map(|input| producers[input.index()]) {
            if found.insert(producer) {
                open.push(producer);
            }
        }
    }
    found
}
