//! What must happen to activations before QuantizeLinear rounds them, where its type has more codes than the network.

use std::collections::HashMap;

use bantam_graph::ops::{Binary, Clip, Unary, Where};
use bantam_graph::passes::{ELIMINATE_DEAD_NODES, run_passes};
use bantam_graph::{Graph, InferOptions, Node, NodeId, Op, Patch, Value, ValueId, infer_shapes};
use bantam_tensor::Tensor;

use super::AwareError;
use crate::plan::{Action, Plan, Site};

/// Levels that a value must not leave.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    value: String,
    low: f32,
    high: f32,
    /// Nothing between the two.
    only_ends: bool,
}

impl Bounds {
    /// Elements beyond the ends are moved to them.
    pub(super) fn clip(value: String, [low, high]: [f32; 2]) -> Bounds {
        Bounds {
            value,
            low,
            high,
            only_ends: false,
        }
    }

    /// Elements below zero become the low end, others the high end.
    pub(super) fn sign(value: String, [low, high]: [f32; 2]) -> Bounds {
        Bounds {
            value,
            low,
            high,
            only_ends: true,
        }
    }
}

/// Bounds values, and lets the plan speak of what is bounded.
///
/// # Errors
/// When a value is not there.
pub(super) fn bound(graph: &Graph, bounds: &[Bounds], plan: &mut Plan) -> Result<Graph, AwareError> {
    let mut bounded = graph.clone();
    let mut names = HashMap::new();
    for bound in bounds {
        let value = bounded
            .value_by_name(&bound.value)
            .ok_or_else(|| AwareError::Unknown {
                name: bound.value.clone(),
            })?;
        let is_output = bounded.outputs.contains(&value);
        let name = bounded.unique_name(&format!("{}_bounded", bound.value));
        apply(&mut bounded, value, &name, bound)?;
        // A graph output keeps its name; then what was bounded is called by the new one.
        names.insert(
            bound.value.clone(),
            if is_output { bound.value.clone() } else { name },
        );
    }
    run_passes(&mut bounded, &[ELIMINATE_DEAD_NODES])?;
    infer_shapes(&mut bounded, &InferOptions::default())?;
    for decision in &mut plan.decisions {
        let name = match (&mut decision.site, &decision.action) {
            (Site::Value(name), Action::QuantizeActivation(_)) => name,
            (Site::Input { value, .. }, Action::DequantizeApart(_)) => value,
            _ => continue,
        };
        if let Some(bounded) = names.get(name) {
            name.clone_from(bounded);
        }
    }
    Ok(bounded)
}

fn apply(graph: &mut Graph, value: ValueId, name: &str, bound: &Bounds) -> Result<(), AwareError> {
    let ty = graph.value(value).ty.clone();
    let mut patch = Patch::new(graph);
    let low = patch.add_constant(&format!("{}_low", bound.value), Tensor::scalar(bound.low));
    let high = patch.add_constant(&format!("{}_high", bound.value), Tensor::scalar(bound.high));
    let output = patch.add_value(Value {
        name: name.to_owned(),
        ty,
        ..Value::default()
    });
    if bound.only_ends {
        let zero = patch.add_constant(&format!("{}_zero", bound.value), Tensor::scalar(0f32));
        let condition = format!("{}_at_least_zero", bound.value);
        let is_high = patch.add_value(Value {
            name: condition.clone(),
            ..Value::default()
        });
        let compare = Binary::GreaterOrEqual.into();
        patch.add_node(Node::new(condition, compare, &[value, zero], &[is_high]));
        patch.add_node(Node::new(name, Where {}.into(), &[is_high, high, low], &[output]));
    } else {
        let x = before_relu(graph, value)
            .filter(|_| bound.low == 0.0)
            .unwrap_or(value);
        patch.add_node(Node::new(name, Clip {}.into(), &[x, low, high], &[output]));
    }
    patch.replace_uses(value, output);
    patch.apply(graph)?;
    Ok(())
}

/// What a Relu that computes the value reads.
fn before_relu(graph: &Graph, value: ValueId) -> Option<ValueId> {
    let producer: NodeId = graph.producers()[value.index()]?;
    let node = graph.node(producer);
    (node.op == Op::Unary(Unary::Relu))
        .then(|| node.input(0))
        .flatten()
}
