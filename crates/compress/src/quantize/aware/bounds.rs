//! What must happen to activations before QuantizeLinear rounds them, where its type has more codes than the network.

use std::collections::HashMap;

use bantam_graph::ops::{Binary, Variadic, Where};
use bantam_graph::{Graph, InferOptions, Node, Op, Patch, Value, ValueId, ValueType, infer_shapes};
use bantam_tensor::Tensor;

use super::AwareError;
use crate::plan::{Action, Plan, Site};

/// Levels that a value must not leave.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    pub(super) value: String,
    pub(super) kind: BoundsKind,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum BoundsKind {
    /// Elements beyond a bound are moved to it; the type of the codes bounds the other side.
    Between { low: Option<f32>, high: Option<f32> },
    /// Elements below zero become minus the scale, others the scale.
    Sign { scale: f32 },
}

/// Bounds values, and lets the plan speak of what is bounded.
///
/// # Errors
/// When a value is not there.
pub(super) fn bound(graph: &Graph, bounds: &[Bounds], plan: &mut Plan) -> Result<Graph, AwareError> {
    let mut bounded = graph.clone();
    let mut names = HashMap::new();
    // Nodes are known by their first outputs.
    let mut nodes = HashMap::new();
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
        if is_output {
            nodes.insert(bound.value.clone(), name.clone());
        }
        names.insert(
            bound.value.clone(),
            if is_output { bound.value.clone() } else { name },
        );
    }
    infer_shapes(&mut bounded, &InferOptions::default())?;
    for decision in &mut plan.decisions {
        if let Site::Input { node, .. } | Site::Node(node) = &mut decision.site
            && let Some(renamed) = nodes.get(node)
        {
            node.clone_from(renamed);
        }
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

fn apply(graph: &mut Graph, value: ValueId, name: &str, bounds: &Bounds) -> Result<(), AwareError> {
    let mut adder = Adder {
        stem: &bounds.value,
        ty: graph.value(value).ty.clone(),
        patch: Patch::new(graph),
    };
    let output = match bounds.kind {
        // Clip before QuantizeLinear of 4 bits is refused by ONNX Runtime 1.32, which merges the two.
        BoundsKind::Between { low, high } => {
            let above = match (low, high) {
                (Some(low), Some(_)) => adder.nearest(Variadic::Max, value, low, &format!("{name}_below")),
                (Some(low), None) => adder.nearest(Variadic::Max, value, low, name),
                (None, _) => value,
            };
            high.map_or(above, |high| adder.nearest(Variadic::Min, above, high, name))
        }
        BoundsKind::Sign { scale } => {
            let [zero, low, high] = [("zero", 0.0), ("low", -scale), ("high", scale)]
                .map(|(suffix, number)| adder.constant(suffix, number));
            let is_high = adder.node(
                Binary::GreaterOrEqual,
                &[value, zero],
                "is_high",
                ValueType::Unknown,
            );
            let ty = adder.ty.clone();
            adder.node(Where {}, &[is_high, high, low], name, ty)
        }
    };
    let mut patch = adder.patch;
    patch.replace_uses(value, output);
    patch.apply(graph)?;
    Ok(())
}

/// Adds nodes behind a value.
struct Adder<'a> {
    stem: &'a str,
    ty: ValueType,
    patch: Patch,
}

impl Adder<'_> {
    fn constant(&mut self, suffix: &str, number: f32) -> ValueId {
        self.patch
            .add_constant(&format!("{}_{suffix}", self.stem), Tensor::scalar(number))
    }

    fn node(&mut self, op: impl Into<Op>, inputs: &[ValueId], name: &str, ty: ValueType) -> ValueId {
        let output = self.patch.add_value(Value {
            name: name.to_owned(),
            ty,
            ..Value::default()
        });
        self.patch.add_node(Node::new(name, op.into(), inputs, &[output]));
        output
    }

    /// The smaller or the larger of the value and a number.
    fn nearest(&mut self, which: Variadic, value: ValueId, number: f32, name: &str) -> ValueId {
        let bound = self.constant("bound", number);
        let ty = self.ty.clone();
        self.node(which, &[value, bound], name, ty)
    }
}
